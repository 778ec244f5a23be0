import { html, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { PRESETS, spanOf, type Range } from "../chart/range";
import { fromLocalInput, toLocalInput } from "../format/time";
import { fleet } from "../live/fleet";
import { PageElement } from "./element";

/** Chooses what time the charts show. Says `range` (detail: Range). */
@customElement("by-range-bar")
export class RangeBar extends PageElement {
  @property({ attribute: false }) range!: Range;
  /** The range to go back to from a fixed span. */
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
      ${
        range.kind === "span"
          ? html`<button type="button" class="button small" @click=${() => this.#say(this.previous)}>
              Reset zoom
            </button>`
          : nothing
      }
      ${this.custom ? this.#form() : nothing}
    `;
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
