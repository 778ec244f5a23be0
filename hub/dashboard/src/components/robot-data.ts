import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { isAbort, sentence } from "../api/http";
import { getLatest, type ChannelInfo, type Samples, type Span } from "../api/readings";
import { getChannels } from "../api/robots";
import { Feeds } from "../chart/feeds";
import "../chart/line-chart";
import { DEFAULT, parseRange, rangeQuery, type Range } from "../chart/range";
import { defaultCharts, kindOf, parseCharts, parseRef } from "../chart/refs";
import "../chart/timeline";
import { FleetController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { replaceQuery } from "../routing/router";
import "../styles/chart.css";
import "../styles/robot-data.css";
import "./channel-list";
import { PageElement } from "./element";
import "./range-bar";

/** Pixels of a chart's panel that are axis and padding. */
const BESIDE_LINES = 110;
const ADDRESS_AFTER = 300;

type Latest = { ts: number; value: unknown };

/** Charts of a robot's channels, and the channels with their latest values. The choice is kept in the address. */
@customElement("by-robot-data")
export class RobotData extends PageElement {
  @property() robot = "";
  @state() private channels: ReadonlyMap<string, ChannelInfo> = new Map();
  @state() private charts: readonly (readonly string[])[] = [];
  @state() private range: Range = parseRange(new URLSearchParams(location.search));
  @state() private error = "";
  @state() private loaded = false;
  #previous: Range = this.range.kind === "last" ? this.range : DEFAULT;
  #latest = new Map<string, Latest>();
  #feeds!: Feeds;
  #unwatch: (() => void) | undefined;
  #abort = new AbortController();
  #session = -1;
  #chosen = parseCharts(new URLSearchParams(location.search));
  #showing = false;
  #addressing: ReturnType<typeof setTimeout> | undefined;
  #resize = new ResizeObserver(() => this.requestUpdate());

  constructor() {
    super();
    new FleetController(this);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#abort = new AbortController();
    this.#resize.observe(this);
    this.#session = -1;
    this.#feeds = new Feeds(this.robot, (loaded) => this.#refresh(loaded));
    this.#feeds.start();
    this.#unwatch = fleet.watch(this.robot, (frame) => this.#live(frame.channels));
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#abort.abort();
    this.#resize.disconnect();
    clearTimeout(this.#addressing);
    this.#unwatch?.();
    this.#feeds.stop();
  }

  override willUpdate(_: PropertyValues<this>): void {
    if (this.#session !== fleet.session) {
      this.#session = fleet.session;
      void this.#load();
    }
    const names = new Set(this.charts.flat().map((ref) => parseRef(ref).channel));
    const channels = [...names].flatMap((name) => this.channels.get(name) ?? []);
    this.#feeds.want(channels, this.range, this.#pixels());
  }

  override render() {
    const drawn = new Set(this.charts.flat());
    return html`
      <section class="charts" aria-label="Charts">
        <by-range-bar
          .range=${this.range}
          .previous=${this.#previous}
          @range=${(event: CustomEvent<Range>) => this.#show(event.detail)}
        ></by-range-bar>
        ${this.error ? html`<p class="notice tone-bad" role="alert">${this.error}</p>` : nothing}
        ${repeat(
          this.charts,
          (refs) => refs[0],
          (refs, i) => this.#chart(refs, i),
        )}
        ${
          this.loaded && this.charts.length === 0
            ? html`<p class="panel empty muted">
                ${this.channels.size === 0 ? "This robot has sent no telemetry yet." : "Choose a channel to draw its chart."}
              </p>`
            : nothing
        }
      </section>
      <section class="panel channels" aria-label="Channels">
        <header>
          <h2>Channels</h2>
          <span class="muted small">${this.channels.size}</span>
        </header>
        <by-channel-list
          .channels=${[...this.channels.values()]}
          .latest=${this.#latest}
          .drawn=${drawn}
          @toggle=${(event: CustomEvent<string>) => this.#toggle(event.detail)}
        ></by-channel-list>
      </section>
    `;
  }

  #chart(refs: readonly string[], index: number): TemplateResult {
    const first = this.channels.get(parseRef(refs[0] ?? "").channel);
    const close = (): void => this.#setCharts(this.charts.filter((_, i) => i !== index));
    if (first && kindOf(first.type) === "states") {
      return html`<by-timeline
        class="panel"
        data-testid="timeline"
        .channel=${first.name}
        .feeds=${this.#feeds}
        .range=${this.range}
        @close=${close}
      ></by-timeline>`;
    }
    return html`<div class="panel">
      <by-line-chart
        data-testid="chart"
        data-channels=${refs.join(",")}
        .refs=${refs}
        .channels=${this.channels}
        .feeds=${this.#feeds}
        .range=${this.range}
        @close=${close}
        @remove=${(event: CustomEvent<string>) => this.#toggle(event.detail)}
        @show=${(event: CustomEvent<Span>) => this.#show({ kind: "span", ...event.detail })}
        @live=${() => this.#show(this.#previous)}
      ></by-line-chart>
      ${this.#adder(refs, index)}
    </div>`;
  }

  /** A list to put one more line into a chart. */
  #adder(refs: readonly string[], index: number): TemplateResult | typeof nothing {
    const lines = [...this.channels.values()].filter(({ type }) => type === "number" || type === "integer");
    const more = lines.filter(({ name }) => !refs.includes(name));
    if (more.length === 0) return nothing;
    return html`<label class="adder"
      ><span class="visually-hidden">Add a channel to this chart</span>
      <select @change=${(event: Event) => this.#addTo(index, event.target as HTMLSelectElement)}>
        <option value="">Add a channel …</option>
        ${more.map(({ name }) => html`<option value=${name}>${name}</option>`)}
      </select></label
    >`;
  }

  #addTo(index: number, select: HTMLSelectElement): void {
    const ref = select.value;
    select.value = "";
    this.#setCharts(this.charts.map((refs, i) => (i === index ? [...refs, ref] : refs)));
  }

  #toggle(ref: string): void {
    const drawn = this.charts.some((refs) => refs.includes(ref));
    if (!drawn) this.#setCharts([...this.charts, [ref]]);
    else
      this.#setCharts(
        this.charts.map((refs) => refs.filter((other) => other !== ref)).filter((refs) => refs.length > 0),
      );
  }

  #setCharts(charts: readonly (readonly string[])[]): void {
    this.charts = charts;
    // An empty name means "none", where no name means "the usual ones".
    replaceQuery({ chart: charts.length === 0 ? [""] : charts.map((refs) => refs.join(",")) });
  }

  #show(range: Range): void {
    if (range.kind === "last") this.#previous = range;
    this.range = range;
    // Browsers refuse to change the address as often as somebody can push a chart along.
    clearTimeout(this.#addressing);
    this.#addressing = setTimeout(() => replaceQuery(rangeQuery(range)), ADDRESS_AFTER);
  }

  /** How wide the charts' lines are drawn. */
  #pixels(): number {
    const width = this.querySelector(".charts")?.clientWidth ?? window.innerWidth;
    return Math.max(100, width - BESIDE_LINES);
  }

  #live(channels: readonly Samples[]): void {
    let unknown = false;
    for (const { channel, ts, values } of channels) {
      unknown ||= this.loaded && !this.channels.has(channel);
      const known = this.#latest.get(channel);
      const last = ts.at(-1);
      if (last !== undefined && last >= (known?.ts ?? 0)) this.#latest.set(channel, { ts: last, value: values.at(-1) });
    }
    if (unknown) void this.#load();
    this.#refresh();
  }

  /** Many frames a second come; what they change is drawn once per painted frame. */
  #refresh(loaded = false): void {
    type Chart = HTMLElement & { refresh(loaded: boolean): void };
    for (const chart of this.querySelectorAll<Chart>("by-line-chart, by-timeline")) chart.refresh(loaded);
    if (this.#showing) return;
    this.#showing = true;
    requestAnimationFrame(() => {
      this.#showing = false;
      this.querySelector<HTMLElement & { requestUpdate(): void }>("by-channel-list")?.requestUpdate();
    });
  }

  async #load(): Promise<void> {
    const { signal } = this.#abort;
    try {
      const [channels, latest] = await Promise.all([getChannels(this.robot, signal), getLatest(this.robot, signal)]);
      for (const { channel, ts, value } of latest.items) {
        if (ts >= (this.#latest.get(channel)?.ts ?? 0)) this.#latest.set(channel, { ts, value });
      }
      this.channels = new Map(channels.items.map((channel) => [channel.name, channel]));
      if (!this.loaded || (this.#chosen === null && this.charts.length === 0)) {
        this.charts = this.#chosen?.filter((refs) => refs.length > 0) ?? defaultCharts(channels.items);
      }
      this.loaded = true;
      this.error = "";
    } catch (error) {
      if (!signal.aborted && !isAbort(error)) this.error = `The channels could not be loaded: ${sentence(error)}`;
    }
  }
}
