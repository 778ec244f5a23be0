import { html, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import { PageElement } from "../components/element";
import { signs } from "../components/icons";
import { duration, shortTime } from "../format/time";
import { SecondsController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { holeOf, segments, type Segment } from "./column";
import type { Feeds } from "./feeds";
import { COLOURS, seriesName } from "./plot";
import { spanOf, type Range } from "./range";

const MOST_DRAWN = 300;
const MOST_LISTED = 8;

/** A channel of booleans or texts as stretches of time. Says `close`. `pointCount` is the number of samples behind it. */
@customElement("by-timeline")
export class Timeline extends PageElement {
  @property({ attribute: false }) channel = "";
  @property({ attribute: false }) feeds!: Feeds;
  @property({ attribute: false }) range!: Range;

  constructor() {
    super();
    new SecondsController(this);
  }

  get pointCount(): number {
    return this.feeds.get(this.channel)?.samples.ts.length ?? 0;
  }

  refresh(): void {
    this.requestUpdate();
  }

  override render() {
    const feed = this.feeds.get(this.channel);
    const now = fleet.now();
    const span = spanOf(this.range, now);
    const found = feed ? segments(feed.samples, Math.min(span.to, now), holeOf(feed.samples.ts)) : [];
    // While another range is loading, what was shown before is still there.
    const all = found.filter(({ from, to }) => to >= span.from && from <= span.to);
    const colours = colourOf(all);
    const drawn = all.slice(-MOST_DRAWN);
    return html`
      <div class="legend">
        <ul>
          <li><span class="name">${this.channel}</span><span class="value">${text(all.at(-1)?.value)}</span></li>
        </ul>
        <button
          type="button"
          class="button quiet square small"
          aria-label="Remove ${this.channel}"
          @click=${() => this.dispatchEvent(new CustomEvent("close"))}
        >
          ${signs.cross}
        </button>
      </div>
      <div class="strip" aria-hidden="true">
        ${drawn.map((segment) => this.#piece(segment, span, colours.get(text(segment.value)) ?? 0))}
      </div>
      ${feed?.error ? html`<p class="notice tone-bad" role="alert">${feed.error}</p>` : nothing}
      ${
        all.length === 0 && !feed?.error
          ? html`<p class="small muted">${feed?.loading ? "Loading …" : "No samples in this range"}</p>`
          : nothing
      }
      <ol class="changes" aria-label="Latest changes of ${this.channel}">
        ${all
          .slice(-MOST_LISTED)
          .reverse()
          .map(
            (segment) =>
              html`<li>
                <span
                  class="swatch"
                  style="background:var(--${seriesName(colours.get(text(segment.value)) ?? 0)})"
                ></span>
                <span>${text(segment.value)}</span>
                <span class="muted">${shortTime(segment.from, now)}</span>
                <span class="muted">${duration(segment.to - segment.from)}</span>
              </li>`,
          )}
      </ol>
      ${feed?.remark ? html`<p class="small muted">${feed.remark}</p>` : nothing}
    `;
  }

  #piece(segment: Segment, { from, to }: { from: number; to: number }, colour: number) {
    const share = (ts: number): number => (Math.min(Math.max(ts, from), to) - from) / (to - from);
    const left = share(segment.from) * 100;
    const width = Math.max(0.15, share(segment.to) * 100 - left);
    const style = `left:${left.toFixed(2)}%;width:${width.toFixed(2)}%;background:var(--${seriesName(colour)})`;
    return html`<span
      class=${segment.value === false ? "faint" : ""}
      style=${style}
      title=${text(segment.value)}
    ></span>`;
  }
}

const text = (value: unknown): string => (value === undefined || value === null ? "–" : String(value));

function colourOf(all: readonly Segment[]): Map<string, number> {
  const colours = new Map<string, number>();
  for (const name of [...new Set(all.map(({ value }) => text(value)))].sort().reverse()) {
    colours.set(name, colours.size % COLOURS);
  }
  return colours;
}
