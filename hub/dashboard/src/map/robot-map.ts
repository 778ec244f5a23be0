import "ol/ol.css";
import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import type { Site } from "../api/hub";
import type { Robot } from "../api/robots";
import { PageElement } from "../components/element";
import { signs } from "../components/icons";
import { rovingTabs } from "../components/roving";
import { THEME_CHANGED } from "../components/theme-toggle";
import { navigate, replaceQuery, robotPath } from "../routing/router";
import { readPalette } from "../styles/palette";
import "../styles/robot-map.css";
import { MapCanvas } from "./canvas";
import { bestView, EARTH, mapViews, placesOf, type MapView, type Place } from "./places";

/**
 * The robots on the Earth or on a site plan. Says `select` (detail: robot id or null). For tests, `robotPositions` tells
 * where every robot is, and the attribute `data-robots` the same as JSON, renewed once a second at most.
 */
@customElement("by-robot-map")
export class RobotMap extends PageElement {
  @property({ attribute: false }) robots: ReadonlyMap<string, Robot> = new Map();
  @property({ attribute: false }) sites: readonly Site[] = [];
  @property({ attribute: false }) selected: string | null = null;
  @state() private chosen: string | null = new URLSearchParams(location.search).get("map");
  @query(".canvas") private target!: HTMLElement;
  #canvas: MapCanvas | null = null;
  #first: string | null = null;
  /** Whether there were robots when the first map was chosen. */
  #settled = false;
  #toldAt = 0;
  #resize = new ResizeObserver(() => this.#canvas?.resized());
  #dark = matchMedia("(prefers-color-scheme: dark)");

  /** Where every robot is that says so, by id. */
  get robotPositions(): Record<string, Place[]> {
    const positions: Record<string, Place[]> = {};
    for (const robot of this.robots.values()) {
      const places = placesOf(robot);
      if (places.length > 0) positions[robot.id] = places;
    }
    return positions;
  }

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
    this.#canvas?.dispose();
    this.#canvas = null;
  }

  override render() {
    const views = this.#views();
    const current = this.#current(views);
    return html`
      <header>
        <div class="choices" role="tablist" aria-label="Map" @keydown=${rovingTabs}>
          ${views.map((view) => this.#tab(view, view.id === current.id))}
        </div>
        <button
          type="button"
          class="button quiet small"
          title="Show all robots"
          @click=${() => this.#canvas?.fit(true)}
        >
          ${signs.fit}<span>Fit</span>
        </button>
      </header>
      <div
        class="canvas"
        role="tabpanel"
        id="map-canvas"
        tabindex="0"
        data-testid="map"
        data-view=${current.id}
        aria-label="Map of ${current.name} with ${current.robots} robots; the table lists the same robots"
      ></div>
      ${current.robots === 0 ? this.#nobody(current) : nothing}
    `;
  }

  override updated(changed: PropertyValues<this>): void {
    if (!this.#canvas) {
      this.#canvas = new MapCanvas(this.target, readPalette(this), (id, open) => this.#picked(id, open));
      this.#resize.observe(this.target);
    }
    this.#canvas.show(this.#current(this.#views()), this.robots);
    if (changed.has("selected")) this.#canvas.select(this.selected);
    this.#tell();
  }

  #views(): MapView[] {
    return mapViews(this.robots.values(), this.sites);
  }

  /** The chosen map while it exists; else the first sensible one, which then stays although robots wander about. */
  #current(views: MapView[]): MapView {
    const find = (id: string | null): MapView | undefined => views.find((view) => view.id === id);
    if (!this.#settled || !find(this.#first)) {
      this.#first = bestView(views);
      this.#settled = views.some((view) => view.robots > 0);
    }
    return find(this.chosen) ?? find(this.#first) ?? { id: EARTH, name: "Earth", site: null, robots: 0 };
  }

  #tab(view: MapView, selected: boolean): TemplateResult {
    return html`<button
      type="button"
      role="tab"
      aria-selected=${selected ? "true" : "false"}
      aria-controls="map-canvas"
      tabindex=${selected ? 0 : -1}
      data-view=${view.id}
      @click=${() => this.#choose(view.id)}
    >
      ${view.name}<span class="count">${view.robots}</span>
    </button>`;
  }

  #nobody(view: MapView): TemplateResult {
    const what = view.id === EARTH ? "a geographic position (geo)" : `a pose in the frame “${view.id.slice(5)}”`;
    return html`<p class="nobody">No robot here. It appears as soon as it reports ${what}.</p>`;
  }

  #choose(id: string): void {
    this.chosen = id;
    replaceQuery({ map: id });
  }

  #picked(id: string | null, open: boolean): void {
    if (id !== null && open) navigate(robotPath(id));
    else this.dispatchEvent(new CustomEvent<string | null>("select", { detail: id }));
  }

  #theme = (): void => {
    if (this.#canvas) this.#canvas.palette = readPalette(this);
  };

  #tell(): void {
    const now = Date.now();
    if (now - this.#toldAt < 1000) return;
    this.#toldAt = now;
    this.dataset.robots = JSON.stringify(this.robotPositions);
  }
}
