import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { getEvents, matches, SEVERITIES, type EventFilter, type EventView, type Severity } from "../api/events";
import { isAbort, sentence } from "../api/http";
import { ago, dateTime } from "../format/time";
import { FleetController, SecondsController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { robotPath } from "../routing/router";
import "../styles/event-list.css";
import { PageElement } from "./element";
import { shapes } from "./icons";
import type { Tone } from "./status";

const LOOK: Record<Severity, { tone: Tone; shape: TemplateResult }> = {
  debug: { tone: "off", shape: shapes.dots },
  info: { tone: "busy", shape: shapes.disc },
  warning: { tone: "warn", shape: shapes.diamond },
  error: { tone: "bad", shape: shapes.alert },
  critical: { tone: "bad", shape: shapes.stop },
};

/** Events, newest first: history from the hub page by page, new ones as they happen. */
@customElement("by-event-list")
export class EventList extends PageElement {
  /** Without severities, which people choose here. */
  @property({ attribute: false }) filter: EventFilter = {};
  @property({ type: Boolean }) withRobot = false;
  @state() private severities: readonly Severity[] = [];
  @state() private items: readonly EventView[] = [];
  @state() private next: string | null = null;
  @state() private loading = true;
  @state() private error = "";
  #abort = new AbortController();
  #session = -1;

  constructor() {
    super();
    new FleetController(this);
    new SecondsController(this);
  }

  override willUpdate(changed: PropertyValues<this>): void {
    const other = changed.has("filter") && JSON.stringify(changed.get("filter")) !== JSON.stringify(this.filter);
    if (other || this.#session !== fleet.session) {
      this.#session = fleet.session; // what happened while there was no connection is in the store
      void this.#load(null);
    }
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#abort.abort();
  }

  override render() {
    const shown = this.#merged();
    return html`
      <div class="choices" role="group" aria-label="Severity">
        <button
          type="button"
          aria-pressed=${this.severities.length === 0 ? "true" : "false"}
          @click=${() => this.#choose([])}
        >
          All
        </button>
        ${SEVERITIES.map((severity) => this.#choice(severity))}
      </div>
      ${this.error ? html`<p class="notice tone-bad" role="alert">${shapes.alert}The events could not be loaded: ${this.error}</p>` : nothing}
      ${fleet.state.skipped > 0 ? this.#skipped() : nothing}
      <ol class="events" aria-busy=${this.loading ? "true" : "false"}>
        ${repeat(
          shown,
          (event) => event.id,
          (event) => this.#item(event),
        )}
      </ol>
      ${
        shown.length === 0 && !this.error
          ? html`<p class="empty muted">
              ${this.loading ? "Loading …" : "No events match. New ones appear here as they happen."}
            </p>`
          : nothing
      }
      ${
        this.next !== null
          ? html`<p class="more">
              <button type="button" class="button" ?disabled=${this.loading} @click=${() => this.#load(this.next)}>
                Load more
              </button>
            </p>`
          : nothing
      }
    `;
  }

  get #asked(): EventFilter {
    return { ...this.filter, severity: this.severities };
  }

  /** What was fetched with what came since, each event once. */
  #merged(): readonly EventView[] {
    const newest = this.items[0]?.id ?? 0;
    const asked = this.#asked;
    if (this.loading && this.items.length === 0) return [];
    const fresh = fleet.state.events.filter((event) => event.id > newest && matches(asked, event));
    return fresh.length === 0 ? this.items : [...fresh, ...this.items];
  }

  #choice(severity: Severity): TemplateResult {
    const on = this.severities.includes(severity);
    const { tone, shape } = LOOK[severity];
    const next = on ? this.severities.filter((other) => other !== severity) : [...this.severities, severity];
    return html`<button type="button" aria-pressed=${on ? "true" : "false"} @click=${() => this.#choose(next)}>
      <span class="mark tone-${tone}">${shape}${severity}</span>
    </button>`;
  }

  #item(event: EventView): TemplateResult {
    const { tone, shape } = LOOK[event.severity];
    const data = event.data && Object.keys(event.data).length > 0 ? JSON.stringify(event.data, null, 2) : "";
    return html`<li data-testid="event-${event.id}" data-severity=${event.severity}>
      <span class="mark tone-${tone}" title=${event.severity}
        >${shape}<span class="visually-hidden">${event.severity}</span></span
      >
      <time class="muted" datetime=${new Date(event.ts / 1000).toISOString()} title=${dateTime(event.ts)}
        >${ago(event.ts, fleet.now())}</time
      >
      <span class="what">
        <strong>${event.name}</strong>
        ${event.message ? html`<span>${event.message}</span>` : nothing}
        ${
          data
            ? html`<details>
                <summary>Details</summary>
                <pre>${data}</pre>
              </details>`
            : nothing
        }
      </span>
      <span class="who"
        >${this.withRobot && event.robot ? html`<a href=${robotPath(event.robot)}>${this.#name(event.robot)}</a>` : nothing}
        ${event.actor !== `robot:${event.robot}` ? html`<span class="muted small">by ${event.actor}</span>` : nothing}</span
      >
    </li>`;
  }

  #name(id: string): string {
    return fleet.state.robots.get(id)?.spec.name || id;
  }

  #skipped(): TemplateResult {
    return html`<p class="notice">
      ${shapes.half}<span
        >This page was too slow for ${fleet.state.skipped} events.
        <button type="button" class="button small" @click=${() => this.#load(null)}>Load them</button></span
      >
    </p>`;
  }

  #choose(severities: readonly Severity[]): void {
    this.severities = severities.length === SEVERITIES.length ? [] : severities;
    void this.#load(null);
  }

  async #load(cursor: string | null): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.loading = true;
    try {
      const page = await getEvents(this.#asked, cursor, signal);
      const known = cursor === null ? [] : this.#merged();
      const ids = new Set(known.map(({ id }) => id));
      this.items = [...known, ...page.items.filter(({ id }) => !ids.has(id))];
      this.next = page.next ?? null;
      this.error = "";
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      this.error = sentence(error);
    }
    this.loading = false;
  }
}
