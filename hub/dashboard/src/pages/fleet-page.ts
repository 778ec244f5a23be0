import { html, nothing, type TemplateResult } from "lit";
import { customElement, query, state } from "lit/decorators.js";
import { getSites, type Site } from "../api/hub";
import { sentence } from "../api/http";
import "../components/copy-command";
import { PageElement } from "../components/element";
import { shapes, signs } from "../components/icons";
import "../components/robot-table";
import type { RobotTable } from "../components/robot-table";
import { FleetController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { replaceQuery } from "../routing/router";
import "../styles/fleet-page.css";
import { counts, isQuick, rows, type Quick, type Sort } from "./fleet-rows";

const QUICK: { quick: Quick; text: string }[] = [
  { quick: "all", text: "All" },
  { quick: "online", text: "Online" },
  { quick: "busy", text: "Busy" },
  { quick: "attention", text: "Attention" },
  { quick: "pending", text: "Pending" },
];

/** All robots, as a table and on a map side by side. */
@customElement("by-fleet-page")
export class FleetPage extends PageElement {
  @state() private text = new URLSearchParams(location.search).get("q") ?? "";
  @state() private quick: Quick = quickFromAddress();
  @state() private sort: Sort = { key: "name", descending: false };
  @state() private selected: string | null = null;
  @state() private sites: Site[] = [];
  @state() private sitesError = "";
  @query("by-robot-table") private table!: RobotTable | null;
  #session = -1;

  constructor() {
    super();
    new FleetController(this);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    // OpenLayers is the largest part of the dashboard; the table does not wait for it.
    void import("../map/robot-map");
  }

  override willUpdate(): void {
    if (this.#session === fleet.session) return;
    this.#session = fleet.session; // a new connection may mean a new hub, with other plans
    void this.#loadSites();
  }

  override render() {
    const { robots, hub } = fleet.state;
    if (hub && robots.size === 0) return this.#welcome(hub.broker.address);
    const shown = rows(robots.values(), this.text, this.quick, this.sort);
    return html`<div class="fleet">
      ${this.#bar()}
      <section class="panel list" aria-label="Robots">
        <by-robot-table
          .robots=${shown}
          .sort=${this.sort}
          .selected=${this.selected}
          @sort=${(event: CustomEvent<Sort>) => (this.sort = event.detail)}
          @select=${(event: CustomEvent<string>) => (this.selected = event.detail)}
        ></by-robot-table>
        ${hub === null ? html`<p class="empty muted">Waiting for the hub …</p>` : nothing}
        ${hub !== null && shown.length === 0 ? this.#nothingFound() : nothing}
      </section>
      <section class="panel map-panel" aria-label="Map">
        <by-robot-map
          .robots=${robots}
          .sites=${this.sites}
          .selected=${this.selected}
          @select=${(event: CustomEvent<string | null>) => this.#selectOnMap(event.detail)}
        ></by-robot-map>
        ${this.sitesError ? html`<p class="notice tone-warn" role="alert">${this.sitesError}</p>` : nothing}
      </section>
    </div>`;
  }

  #bar(): TemplateResult {
    const count = counts(fleet.state.robots.values());
    return html`<div class="bar">
      <h1>Fleet</h1>
      <div class="choices" role="group" aria-label="Show">
        ${QUICK.map(
          ({ quick, text }) =>
            html`<button
              type="button"
              data-quick=${quick}
              class=${count[quick] > 0 ? "some" : ""}
              aria-pressed=${this.quick === quick ? "true" : "false"}
              @click=${() => this.#choose(quick)}
            >
              ${text}<span class="count">${count[quick]}</span>
            </button>`,
        )}
      </div>
      <label class="search">
        ${signs.search}<span class="visually-hidden">Filter robots</span>
        <input
          class="input"
          type="search"
          placeholder="Filter by name, id, group, status …"
          .value=${this.text}
          @input=${(event: InputEvent) => this.#filter((event.target as HTMLInputElement).value)}
        />
      </label>
    </div>`;
  }

  #welcome(broker: string): TemplateResult {
    return html`<div class="page">
      <section class="empty panel">
        <h1>No robots yet</h1>
        <p class="muted">Robots appear here by themselves as soon as they are heard for the first time.</p>
        <h2>See it move</h2>
        <p class="muted small">Five simulated robots in a small warehouse:</p>
        <by-command text="botyard demo"></by-command>
        <h2>Connect a robot</h2>
        <p class="muted small">On the robot, with this broker's address in its <code>robot.yaml</code>:</p>
        <by-command text="botyard-edge run robot.yaml"></by-command>
        <by-command text=${broker}></by-command>
      </section>
    </div>`;
  }

  #nothingFound(): TemplateResult {
    return html`<div class="empty">
      <p>${shapes.ring} No robot matches.</p>
      <p><button type="button" class="button" @click=${() => this.#reset()}>Show all robots</button></p>
    </div>`;
  }

  async #loadSites(): Promise<void> {
    try {
      this.sites = (await getSites()).items;
      this.sitesError = "";
    } catch (error) {
      this.sitesError = `The site plans could not be loaded: ${sentence(error)}`;
    }
  }

  #selectOnMap(id: string | null): void {
    this.selected = id;
    if (id !== null) this.table?.reveal(id);
  }

  #filter(text: string): void {
    this.text = text;
    replaceQuery({ q: text || null });
  }

  #choose(quick: Quick): void {
    this.quick = quick;
    replaceQuery({ show: quick === "all" ? null : quick });
  }

  #reset(): void {
    this.#filter("");
    this.#choose("all");
  }
}

function quickFromAddress(): Quick {
  const text = new URLSearchParams(location.search).get("show");
  return isQuick(text) ? text : "all";
}
