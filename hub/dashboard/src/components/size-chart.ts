import "uplot/dist/uPlot.min.css";
import { html } from "lit";
import { customElement, property, query } from "lit/decorators.js";
import type uPlot from "uplot";
import type { StoreReport } from "../api/store";
import { makeSizePlot } from "../chart/size-plot";
import { bytes } from "../format/values";
import { fleet } from "../live/fleet";
import { sizesOf } from "../store/sizes";
import { dayOf } from "../store/words";
import { readPalette } from "../styles/palette";
import { PageElement } from "./element";
import { THEME_CHANGED } from "./theme-toggle";

/** The store's size over time, with the forecast dashed. `pointCount` is the number of sizes known. */
@customElement("by-size-chart")
export class SizeChart extends PageElement {
  @property({ attribute: false }) store!: StoreReport;
  @query(".plot") private target!: HTMLElement | null;
  pointCount = 0;
  #plot: uPlot | null = null;
  #resize = new ResizeObserver(() => this.#fit());
  #dark = matchMedia("(prefers-color-scheme: dark)");

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener(THEME_CHANGED, this.#theme);
    this.#dark.addEventListener("change", this.#theme);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    window.removeEventListener(THEME_CHANGED, this.#theme);
    this.#dark.removeEventListener("change", this.#theme);
    this.#resize.disconnect();
    this.#plot?.destroy();
    this.#plot = null;
  }

  override render() {
    const { ahead, capacity } = sizesOf(this.store, fleet.now());
    return html`
      <div class="plot" role="img" aria-label=${this.#spoken()}></div>
      <ul class="keys small muted" aria-hidden="true">
        <li><span class="key"></span>Size</li>
        ${ahead ? html`<li><span class="key ahead"></span>Forecast at this growth</li>` : html`<li>No forecast yet</li>`}
        ${capacity === null ? "" : html`<li><span class="key limit"></span>Full at ${bytes(capacity)}</li>`}
      </ul>
    `;
  }

  override updated(): void {
    if (!this.target) return;
    if (!this.#plot) {
      this.#plot = makeSizePlot(this.target, readPalette(this));
      this.#resize.observe(this.target);
    }
    const { data } = sizesOf(this.store, fleet.now());
    this.pointCount = this.store.history.length;
    this.#plot.setData(data as uPlot.AlignedData);
  }

  #spoken(): string {
    const { bytes: size, full_at: full } = this.store;
    return `Size of the store over time, now ${bytes(size)}${full === null ? "" : `, full on ${dayOf(full)}`}`;
  }

  #fit(): void {
    if (this.#plot && this.target) this.#plot.setSize({ width: this.target.clientWidth, height: this.#plot.height });
  }

  #theme = (): void => {
    this.#plot?.destroy();
    this.#plot = null;
    this.requestUpdate();
  };
}
