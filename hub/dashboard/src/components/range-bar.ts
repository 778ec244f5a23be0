import { html, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Span } from "../api/readings";
import { moved, PRESETS, scaled, spanOf, type Range } from "../chart/range";
import { dateTime, duration, fromLocalInput, shortTime, toLocalInput } from "../format/time";
import { fleet } from "../live/fleet";
import { PageElement } from "./element";
import { shapes, signs } from "./icons";

const STEP = 0.5;

/** Chooses what time the charts show, and says which it is. Says `range` (detail: Range). */
@customElement("by-range-bar")
export class RangeBar extends PageElement {
  @property({ attribute: false }) range!: Range;
  /** The live range to go back to from a fixed span. */
  @property({ attribute: false }) previous!: Range;
  @state() private custom = false;
  @state() private error = "";

  override render() {
    const { range } = this;
    return html`
      <div class="choices" role="group" aria-label="Time range">
        ${PRESETS.map(
          ({ name, seconds, text }) =>
            html`<button
              type="button"
              data-range=${name}
              aria-pressed=${range.kind === "last" && range.seconds === seconds ? "true" : "false"}
              @click=${() => this.#say({ kind: "last", seconds })}
            >
              ${text}
            </button>`,
        )}
        <button
          type="button"
          aria-pressed=${range.kind === "span" ? "true" : "false"}
          aria-expanded=${this.custom ? "true" : "false"}
          @click=${() => (this.custom = !this.custom)}
        >
          Custom
        </button>
      </div>
      <div class="steps" role="group" aria-label="Move and zoom">
        ${this.#step("Earlier", signs.left, (span, now) => moved(span, -STEP, now))}
        ${this.#step("Later", signs.right, (span, now) => moved(span, STEP, now), range.kind === "last")}
        ${this.#step("Zoom out", signs.minus, (span, now) => scaled(span, 2, now))}
        ${this.#step("Zoom in", signs.plus, (span, now) => scaled(span, 0.5, now))}
      </div>
      <button
        type="button"
        class="button small live"
        data-testid="live"
        ?disabled=${range.kind === "last"}
        @click=${() => this.#say(this.previous)}
      >
        ${range.kind === "last" ? html`<span class="mark tone-ok">${shapes.disc}Live</span>` : "Back to live"}
      </button>
      <p class="shown small muted" data-testid="shown">${this.#shown()}</p>
      ${this.custom ? this.#form() : nothing}
    `;
  }

  #step(name: string, sign: unknown, to: (span: Span, now: number) => Span, disabled = false) {
    const go = (): void => {
      const now = fleet.now();
      this.#say({ kind: "span", ...to(spanOf(this.range, now), now) });
    };
    return html`<button
      type="button"
      class="button square small"
      aria-label=${name}
      title=${name}
      ?disabled=${disabled}
      @click=${go}
    >
      ${sign}
    </button>`;
  }

  #shown(): string {
    if (this.range.kind === "last") return `The last ${duration(this.range.seconds * 1e6)}`;
    const { from, to } = this.range;
    return `${dateTime(from)} to ${shortTime(to, from)}, ${duration(to - from)}`;
  }

  #form() {
    const span = spanOf(this.range, fleet.now());
    return html`<form @submit=${this.apply}>
      <label class="field"
        >From<input class="input" type="datetime-local" step="1" name="from" .value=${toLocalInput(span.from)} required
      /></label>
      <label class="field"
        >To<input class="input" type="datetime-local" step="1" name="to" .value=${toLocalInput(span.to)} required
      /></label>
      <button class="button">Show</button>
      ${this.error ? html`<p class="small mark tone-bad" role="alert">${this.error}</p>` : nothing}
    </form>`;
  }

  private apply(event: SubmitEvent): void {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    const from = fromLocalInput(String(form.get("from")));
    const to = fromLocalInput(String(form.get("to")));
    if (from === null || to === null || from >= to) {
      this.error = "“From” has to be before “To”.";
      return;
    }
    this.error = "";
    this.custom = false;
    this.#say({ kind: "span", from, to });
  }

  #say(range: Range): void {
    this.dispatchEvent(new CustomEvent<Range>("range", { detail: range }));
  }
}
