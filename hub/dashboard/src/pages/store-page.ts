import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { ApiError, isAbort, sentence } from "../api/http";
import { getStore, type StoreClass, type StoreReport } from "../api/store";
import { PageElement } from "../components/element";
import { shapes } from "../components/icons";
import "../components/size-chart";
import { count } from "../format/count";
import { dateTime } from "../format/time";
import { bytes, number } from "../format/values";
import { FleetController } from "../live/controllers";
import { fleet } from "../live/fleet";
import {
  FRESH,
  classText,
  classUnit,
  forecast,
  growthText,
  keepText,
  partsOf,
  roomOf,
  shareText,
  sharesOf,
  warningOf,
  type Part,
} from "../store/words";
import "../styles/store-page.css";

const EVERY = 15_000;
const COLOURS = 6;

/** What the store holds, how fast it grows, and when the disk will be full. */
@customElement("by-store-page")
export class StorePage extends PageElement {
  @state() private store: StoreReport | null = null;
  @state() private error = "";
  @state() private absent = false;
  #timer: ReturnType<typeof setInterval> | undefined;
  #abort = new AbortController();
  #session = -1;

  constructor() {
    super();
    new FleetController(this);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#session = -1;
    this.#timer = setInterval(() => document.visibilityState === "visible" && void this.#load(), EVERY);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#timer);
    this.#abort.abort();
  }

  override willUpdate(): void {
    if (this.#session === fleet.session) return;
    this.#session = fleet.session;
    void this.#load();
  }

  override render() {
    const { store } = this;
    return html`<div class="page">
      <div class="title">
        <h1>Store</h1>
        ${store ? html`<p class="muted small where">${engineText(store)} <code>${store.address}</code></p>` : nothing}
      </div>
      ${this.absent ? this.#missing() : nothing}
      ${
        this.error
          ? html`<p class="notice tone-bad" role="alert">
              ${shapes.alert}<span>The store's figures could not be loaded: ${this.error}</span>
            </p>`
          : nothing
      }
      ${store ? this.#report(store) : nothing}
      ${!store && !this.absent && !this.error ? html`<p class="empty muted" role="status">Loading …</p>` : nothing}
    </div>`;
  }

  #report(store: StoreReport): TemplateResult {
    return html`
      ${this.#warning(store)}
      <dl class="facts" data-testid="store-facts">${this.#facts(store)}</dl>
      <section class="panel">
        <header><h2>Size over time</h2></header>
        <div class="body">
          ${
            store.history.length > 1
              ? html`<by-size-chart data-testid="store-chart" .store=${store}></by-size-chart>`
              : html`<p class="muted early">Too early to say: growth is known after an hour.</p>`
          }
        </div>
      </section>
      <section class="panel">
        <header><h2>What it is made of</h2></header>
        <div class="body">${this.#bar(store)}</div>
        ${this.#table(store)}
      </section>
    `;
  }

  #warning(store: StoreReport): TemplateResult | typeof nothing {
    const warning = warningOf(store, fleet.now());
    if (!warning) return nothing;
    return html`<p class="notice tone-${warning.tone}" role="alert" data-testid="store-warning">
      ${shapes.alert}<span><strong>${warning.title}</strong> ${warning.text}</span>
    </p>`;
  }

  #facts(store: StoreReport): TemplateResult[] {
    const room = roomOf(store);
    const ahead = forecast(store, fleet.now());
    const growth = growthText(store);
    const limit = store.limit_bytes === null ? "" : `of at most ${bytes(store.limit_bytes)}`;
    const free = store.free_bytes === null ? "the hub does not see the disk" : `${bytes(store.free_bytes)} on the disk`;
    const { messages, bytes: waiting } = store.waiting;
    return [
      fact("Size", bytes(store.bytes), limit),
      fact("Room left", room === null ? "Unknown" : bytes(room), free),
      fact("Growth per day", growth ?? "Too early to say", growth ? "" : "growth is known after an hour"),
      fact("Full", ahead.text, ahead.more),
      store.bytes_per_sample === null
        ? fact("Bytes per sample", "–", "not known yet")
        : fact("Bytes per sample", number(store.bytes_per_sample), "on the disk"),
      fact("Waiting for compaction", count(messages), messages === 1 ? `message, ${bytes(waiting)}` : `messages, ${bytes(waiting)}`),
    ]; // prettier-ignore
  }

  #bar(store: StoreReport): TemplateResult {
    const parts = partsOf(store);
    const shares = sharesOf(parts);
    if (shares.length === 0) return html`<p class="muted">Nothing is stored yet.</p>`;
    const colours = colourOf(parts);
    return html`<div class="shares" role="img" aria-label=${shares.map(({ name, share }) => `${classText(name)} ${shareText(share)}`).join(", ")}>
        ${shares.map(({ name, share }) => html`<span style="flex-grow:${share.toFixed(5)};background:var(${colours.get(name)})"></span>`)}
      </div>
      <ul class="keys small" aria-hidden="true">
        ${shares.map(({ name, share }) => html`<li><span class="swatch" style="background:var(${colours.get(name)})"></span>${classText(name)}<span class="muted">${shareText(share)}</span></li>`)}
      </ul>`; // prettier-ignore
  }

  #table({ classes, waiting }: StoreReport): TemplateResult {
    return html`<table class="plain-table classes" role="table" aria-label="Classes of data">
      <thead role="rowgroup">
        <tr role="row">
          <th role="columnheader" scope="col">Data</th>
          <th role="columnheader" scope="col" class="number">Count</th>
          <th role="columnheader" scope="col" class="number">Size</th>
          <th role="columnheader" scope="col">Oldest</th>
          <th role="columnheader" scope="col">Newest</th>
          <th role="columnheader" scope="col">Kept</th>
        </tr>
      </thead>
      <tbody role="rowgroup">
        ${waiting.messages > 0 ? this.#fresh(waiting) : nothing} ${classes.map((row) => this.#row(row))}
      </tbody>
    </table>`;
  }

  #fresh({ messages, bytes: size }: StoreReport["waiting"]): TemplateResult {
    return html`<tr role="row" data-testid="store-fresh">
      <th role="rowheader" scope="row">${classText(FRESH)}</th>
      <td role="cell" class="number" data-label="Count">${count(messages)} <span class="muted">${messages === 1 ? "message" : "messages"}</span></td>
      <td role="cell" class="number" data-label="Size">${bytes(size)}</td>
      <td role="cell" colspan="3" class="muted">As it came; compacted into telemetry and rollups within some minutes.</td>
    </tr>`; // prettier-ignore
  }

  #row(row: StoreClass): TemplateResult {
    return html`<tr role="row" data-testid="store-class-${row.name}">
      <th role="rowheader" scope="row">${classText(row.name)}</th>
      <td role="cell" class="number" data-label="Count">${count(row.count)} <span class="muted">${classUnit(row)}</span></td>
      <td role="cell" class="number" data-label="Size">${bytes(row.bytes)}</td>
      <td role="cell" data-label="Oldest">${row.oldest === null ? "–" : dateTime(row.oldest)}</td>
      <td role="cell" data-label="Newest">${row.newest === null ? "–" : dateTime(row.newest)}</td>
      <td role="cell" data-label="Kept">${keepText(row)}</td>
    </tr>`; // prettier-ignore
  }

  #missing(): TemplateResult {
    return html`<div class="empty panel" role="status" data-testid="store-absent">
      <h2>This hub says nothing about its store</h2>
      <p class="muted">
        It does not answer at <code>/api/v1/store</code>. A newer version of the hub does; its data is not affected.
      </p>
    </div>`;
  }

  async #load(): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      const store = await getStore(signal);
      if (signal.aborted) return;
      this.store = store;
      this.absent = false;
      this.error = "";
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      this.absent = error instanceof ApiError && error.status === 404;
      this.error = this.absent ? "" : sentence(error);
    }
  }
}

const engineText = ({ engine }: StoreReport): string =>
  ({ sqlite: "SQLite", postgresql: "PostgreSQL" })[engine] ?? engine;

/** A class keeps its colour whatever its rank, so that the bar can be compared from day to day. */
const colourOf = (parts: readonly Part[]): Map<string, string> =>
  new Map(parts.map(({ name }, i) => [name, name === FRESH ? "--muted" : `--series-${(i % COLOURS) + 1}`]));

function fact(name: string, value: string, more: string): TemplateResult {
  return html`<div>
    <dt>${name}</dt>
    <dd>${value}</dd>
    <dd class="more">${more || "\u00a0"}</dd>
  </div>`;
}
