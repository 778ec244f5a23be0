import "uplot/dist/uPlot.min.css";
import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import type uPlot from "uplot";
import type { ChannelInfo, Span } from "../api/readings";
import { PageElement } from "../components/element";
import { signs } from "../components/icons";
import { THEME_CHANGED } from "../components/theme-toggle";
import { widthText } from "../format/resolution";
import { scaleOf } from "../format/units";
import { number, percent, withUnit } from "../format/values";
import { fleet } from "../live/fleet";
import { readPalette } from "../styles/palette";
import { align, type Line } from "./column";
import type { ChannelFeed } from "./feed";
import type { Feeds } from "./feeds";
import { COLOURS, makePlot, seriesName } from "./plot";
import { moved, scaled as zoomed, spanOf, type Range } from "./range";
import { parseRef, unitOf } from "./refs";

const REDRAW = 200;
const FEW_POINTS = 60;
const STEP = 0.25;

interface Row {
  ref: string;
  label: string;
  factor: number;
  line: Line;
  /** Column of the line's values in the aligned data. */
  column: number;
}

/**
 * One chart of several lines. Says `show` (detail: span in microseconds), `live`, `remove` (detail: a reference) and `close`.
 * `pointCount` is the number of samples or buckets drawn, `lastTime` the time of the newest one (microseconds, 0 for none).
 */
@customElement("by-line-chart")
export class LineChart extends PageElement {
  @property({ attribute: false }) refs: readonly string[] = [];
  @property({ attribute: false }) channels: ReadonlyMap<string, ChannelInfo> = new Map();
  @property({ attribute: false }) feeds!: Feeds;
  @property({ attribute: false }) range!: Range;
  @state() private hovered: number | null = null;
  @query(".plot") private target!: HTMLElement | null;
  pointCount = 0;
  lastTime = 0;
  #plot: uPlot | null = null;
  #shape = "";
  #rows: Row[] = [];
  #data: ReturnType<typeof align> = [[]];
  #timer: ReturnType<typeof setInterval> | undefined;
  #dirty = true;
  #drawnAt = -Infinity;
  #frame = 0;
  #resize = new ResizeObserver(() => this.#fit());
  #dark = matchMedia("(prefers-color-scheme: dark)");

  override connectedCallback(): void {
    super.connectedCallback();
    // Samples come in many small frames; a few drawings a second are enough for eyes. A live axis also moves by itself.
    this.#timer = setInterval(() => this.#draw(), REDRAW);
    window.addEventListener(THEME_CHANGED, this.#theme);
    this.#dark.addEventListener("change", this.#theme);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#timer);
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    window.removeEventListener(THEME_CHANGED, this.#theme);
    this.#dark.removeEventListener("change", this.#theme);
    this.#resize.disconnect();
    this.#plot?.destroy();
    this.#plot = null;
    this.#shape = "";
  }

  /** There is more to draw: `loaded` history and what comes after a pause at once, the rest with the next drawing. */
  refresh(loaded = false): void {
    this.#dirty = true;
    if (this.#frame !== 0 || (!loaded && performance.now() - this.#drawnAt < REDRAW)) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  override render() {
    const feeds = this.refs.flatMap((ref) => this.feeds.get(parseRef(ref).channel) ?? []);
    const error = feeds.find((feed) => feed.error)?.error;
    const loading = feeds.filter((feed) => feed.loading);
    return html`
      <div class="legend">
        <ul>
          ${this.refs.map((ref, i) => this.#item(ref, i))}
        </ul>
        <button
          type="button"
          class="button quiet square small"
          aria-label="Remove this chart"
          @click=${() => this.#say("close")}
        >
          ${signs.cross}
        </button>
      </div>
      ${loading.length > 0 ? this.#progress(loading) : nothing}
      <div
        class="plot"
        role="group"
        tabindex="0"
        aria-label="Chart of ${this.refs.join(", ")}. Arrow keys move in time, plus and minus zoom, Escape goes back to live."
        @keydown=${this.#key}
      ></div>
      ${error ? html`<p class="over notice tone-bad" role="alert">${error}</p>` : nothing}
      ${!error && this.pointCount === 0 ? html`<p class="over muted">${loading.length > 0 ? "Loading …" : "No samples in this range"}</p>` : nothing}
      <p class="foot small muted">${foot(feeds)}</p>
    `;
  }

  override updated(changed: PropertyValues<this>): void {
    if (!this.hasUpdated || changed.has("refs") || changed.has("range") || changed.has("feeds")) this.#dirty = true;
    if (this.#plot === null && this.target) this.#resize.observe(this.target);
    if (this.#dirty) this.#draw();
  }

  /** A line that shows only when loading takes its time. */
  #progress(loading: readonly ChannelFeed[]): TemplateResult {
    const known = loading.every(({ progress }) => progress !== null);
    const share = loading.reduce((sum, { progress }) => sum + (progress ?? 0), 0) / loading.length;
    return html`<div
      class="progress ${known ? "" : "unknown"}"
      role="progressbar"
      aria-label="Loading history"
      aria-valuetext=${known ? percent(share) : "Loading"}
    >
      <span style=${known ? `width:${percent(share).replace(" ", "")}` : ""}></span>
    </div>`;
  }

  #item(ref: string, index: number): TemplateResult {
    const row = this.#rows[index];
    return html`<li>
      <span class="swatch" style="background:var(--${seriesName(index)})"></span>
      <span class="name">${ref}</span>
      <span class="value">${row?.ref === ref ? this.#value(row) : ""}</span>
      ${
        this.refs.length > 1
          ? html`<button type="button" aria-label="Remove ${ref}" @click=${() => this.#say("remove", ref)}>
              ${signs.cross}
            </button>`
          : nothing
      }
    </li>`;
  }

  #value(row: Row): string {
    const column = this.#data[row.column] ?? [];
    const at = this.hovered ?? column.length - 1;
    // The lines' times differ: the nearest sample before the cursor counts.
    for (let i = Math.min(at, column.length - 1); i >= 0 && i > at - 50; i -= 1) {
      const value = column[i];
      if (typeof value === "number") return withUnit(number(value), row.label);
    }
    return "–";
  }

  #draw(): void {
    if (!this.target || (!this.#dirty && (this.range.kind === "span" || this.pointCount === 0))) return;
    this.#drawnAt = performance.now();
    if (this.#dirty) this.#read();
    this.#dirty = false;
    const bands = this.#rows.map(({ line }) => line.band !== undefined);
    const few = this.pointCount < FEW_POINTS;
    const shape = JSON.stringify([this.refs, bands, few]);
    if (shape !== this.#shape || !this.#plot) this.#make(shape, few);
    const { from, to } = spanOf(this.range, fleet.now());
    this.#plot?.batch(() => {
      this.#plot?.setData(this.#data as uPlot.AlignedData, false);
      this.#plot?.setScale("x", { min: from / 1e6, max: to / 1e6 });
    });
    this.requestUpdate();
  }

  #read(): void {
    let column = 1;
    this.#rows = [];
    for (const ref of this.refs) {
      const channel = this.channels.get(parseRef(ref).channel);
      const { factor, label } = scaleOf(parseRef(ref).channel, channel ? unitOf(ref, channel) : null);
      const line = scaled(this.feeds.get(parseRef(ref).channel)?.line(ref) ?? { ts: [], values: [], hole: 0 }, factor);
      this.#rows.push({ ref, label, factor, line, column });
      column += line.band ? 3 : 1;
    }
    this.#data = align(this.#rows.map(({ line }) => line));
    this.pointCount = this.#rows.reduce((sum, { line }) => sum + line.ts.length, 0);
    this.lastTime = Math.max(0, ...this.#rows.map(({ line }) => line.ts.at(-1) ?? 0));
  }

  #make(shape: string, points: boolean): void {
    if (!this.target) return;
    this.#plot?.destroy();
    this.#shape = shape;
    const lines = this.#rows.map(({ label, line }, i) => ({
      colour: i % COLOURS,
      unit: label,
      band: line.band !== undefined,
      points,
    }));
    this.#plot = makePlot(this.target, lines, readPalette(this), {
      show: (span) => this.#show(moved(span, 0, fleet.now())),
      out: () => this.#show(zoomed(this.#span, 2, fleet.now())),
      hover: (row) => (this.hovered = row),
    });
  }

  get #span(): Span {
    return spanOf(this.range, fleet.now());
  }

  #show(span: Span): void {
    this.dispatchEvent(new CustomEvent<Span>("show", { detail: span }));
  }

  #key = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const now = fleet.now();
    const moves: Record<string, () => Span> = {
      ArrowLeft: () => moved(this.#span, -STEP, now),
      ArrowRight: () => moved(this.#span, STEP, now),
      "+": () => zoomed(this.#span, 0.5, now),
      "=": () => zoomed(this.#span, 0.5, now),
      "-": () => zoomed(this.#span, 2, now),
    };
    const move = moves[event.key];
    if (move) this.#show(move());
    else if (event.key === "Escape") this.dispatchEvent(new CustomEvent("live"));
    else return;
    event.preventDefault();
  };

  #fit(): void {
    if (this.#plot && this.target) this.#plot.setSize({ width: this.target.clientWidth, height: this.#plot.height });
  }

  #theme = (): void => {
    this.#shape = "";
    this.#dirty = true;
    this.#draw();
  };

  #say(name: "remove" | "close", detail?: string): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** How exact the lines are, and what is not all there. */
function foot(feeds: readonly ChannelFeed[]): string {
  const widths = [
    ...new Set(feeds.filter(({ samples, width }) => width !== null || samples.ts.length > 0).map(({ width }) => width)),
  ];
  const [width] = widths;
  const exact =
    width === undefined ? "" : width === null ? "Every sample" : `${widthText(width)} means, band from min to max`;
  const remark = feeds.find(({ remark }) => remark)?.remark;
  return remark || (widths.length > 1 ? "Means in bands from min to max, or every sample" : exact);
}

function scaled(line: Line, factor: number): Line {
  if (factor === 1) return line;
  const times = (values: readonly number[]): number[] => values.map((value) => value * factor);
  const values = line.values.map((value) => (value === null ? null : value * factor));
  const band = line.band && { min: times(line.band.min), max: times(line.band.max) };
  return band ? { ...line, values, band } : { ...line, values };
}
