import { html } from "lit";
import { customElement, state } from "lit/decorators.js";
import type { EventFilter } from "../api/events";
import { PageElement } from "../components/element";
import "../components/event-list";
import { fromLocalInput, toLocalInput } from "../format/time";
import { FleetController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { replaceQuery } from "../routing/router";
import "../styles/events-page.css";

/** What happened on all robots and in the hub. The filter is kept in the address. */
@customElement("by-events-page")
export class EventsPage extends PageElement {
  @state() private filter: EventFilter = fromAddress();

  constructor() {
    super();
    new FleetController(this);
  }

  override render() {
    const robots = [...fleet.state.robots.values()];
    const time = (ts: number | null | undefined): string => (ts == null ? "" : toLocalInput(ts));
    return html`<div class="page">
      <div class="title"><h1>Events</h1></div>
      <form
        class="filters"
        aria-label="Filter"
        @change=${this.change}
        @submit=${(event: Event) => event.preventDefault()}
      >
        <label class="field"
          >Robot
          <input
            class="input"
            name="robot"
            list="robots"
            placeholder="All"
            .value=${this.filter.robot ?? ""}
            autocomplete="off"
          />
          <datalist id="robots">
            ${robots.slice(0, 500).map(({ id, spec }) => html`<option value=${id}>${spec.name}</option>`)}
          </datalist>
        </label>
        <label class="field"
          >Name
          <input class="input" name="name" placeholder="docking, battery.low …" .value=${this.filter.name ?? ""} />
        </label>
        <label class="field"
          >From<input class="input" type="datetime-local" step="1" name="from" .value=${time(this.filter.from)}
        /></label>
        <label class="field"
          >To<input class="input" type="datetime-local" step="1" name="to" .value=${time(this.filter.to)}
        /></label>
      </form>
      <section class="panel" aria-label="Events">
        <div class="body">
          <by-event-list .filter=${this.filter} .withRobot=${true}></by-event-list>
        </div>
      </section>
    </div>`;
  }

  private change(event: Event): void {
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string): string => String(form.get(name) ?? "").trim();
    const from = fromLocalInput(text("from"));
    const to = fromLocalInput(text("to"));
    this.filter = { robot: text("robot") || null, name: text("name"), from, to };
    const number = (value: number | null): string | null => (value === null ? null : String(value));
    replaceQuery({ robot: text("robot") || null, name: text("name") || null, from: number(from), to: number(to) });
  }
}

function fromAddress(): EventFilter {
  const query = new URLSearchParams(location.search);
  const time = (name: string): number | null => Number(query.get(name)) || null;
  return { robot: query.get("robot"), name: query.get("name") ?? "", from: time("from"), to: time("to") };
}
