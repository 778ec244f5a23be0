import OlMap from "ol/Map";
import View from "ol/View";
import ScaleLine from "ol/control/ScaleLine";
import Zoom from "ol/control/Zoom";
import { defaults as defaultInteractions } from "ol/interaction/defaults";
import Graticule from "ol/layer/Graticule";
import type BaseLayer from "ol/layer/Base";
import Projection from "ol/proj/Projection";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Text from "ol/style/Text";
import type { Robot } from "../api/robots";
import type { Palette } from "../styles/palette";
import { Markers } from "./markers";
import { boxAround, EARTH, type Box, type MapView } from "./places";
import { planLayer } from "./plan";
import { RobotFeatures } from "./robots";

const PADDING = [44, 44, 44, 44];

/** The OpenLayers side of the map: one canvas, a view and a ground per map, and the robots on top. */
export class MapCanvas {
  readonly #map: OlMap;
  readonly #robots: RobotFeatures;
  #palette: Palette;
  #view: MapView | null = null;
  #fitted = false;

  constructor(target: HTMLElement, palette: Palette, onSelect: (id: string | null, open: boolean) => void) {
    this.#palette = palette;
    this.#robots = new RobotFeatures(new Markers(palette));
    this.#map = new OlMap({
      target,
      controls: [new Zoom({ zoomInTipLabel: "Zoom in", zoomOutTipLabel: "Zoom out" }), new ScaleLine({ minWidth: 70 })],
      interactions: defaultInteractions({ altShiftDragRotate: false, pinchRotate: false, doubleClickZoom: false }),
    });
    this.#map.on("singleclick", (event) => onSelect(this.#robotAt(event.pixel), false));
    this.#map.on("dblclick", (event) => {
      const id = this.#robotAt(event.pixel);
      if (id !== null) onSelect(id, true);
    });
    this.#map.on("pointermove", (event) => {
      if (!event.dragging) target.style.cursor = this.#robotAt(event.pixel) === null ? "" : "pointer";
    });
  }

  dispose(): void {
    this.#map.setTarget(undefined);
    this.#map.dispose();
  }

  /** Draw the robots on a map, which is changed to when it is another one. */
  show(view: MapView, robots: ReadonlyMap<string, Robot>): void {
    const changed = view.id !== this.#view?.id || view.site !== this.#view.site;
    this.#robots.update(robots, view.id);
    this.#view = view;
    if (changed) this.#change(view);
    // The first robot may arrive after the map did.
    if (!this.#fitted && (view.site || this.#robots.size > 0)) this.fit();
  }

  select(id: string | null): void {
    this.#robots.select(id);
    const at = id === null ? null : this.#robots.coordinate(id);
    const view = this.#map.getView();
    if (!at || !this.#map.getSize()) return;
    const [minX = 0, minY = 0, maxX = 0, maxY = 0] = view.calculateExtent(this.#map.getSize());
    const [x = 0, y = 0] = at;
    if (x < minX || x > maxX || y < minY || y > maxY) view.animate({ center: at, duration: quiet() ? 0 : 250 });
  }

  set palette(palette: Palette) {
    this.#palette = palette;
    this.#robots.markers = new Markers(palette);
    if (this.#view) this.#ground(this.#view);
  }

  /** The whole plan, or all robots when `robotsOnly` or when there is no plan. */
  fit(robotsOnly = false): void {
    const site = this.#view?.site;
    const least = this.#view?.id === EARTH ? 200 : 6;
    const around = boxAround(this.#robots.coordinates(), least);
    const plan: Box | null = site ? { minX: 0, minY: 0, maxX: site.width, maxY: site.height } : null;
    const box = robotsOnly ? (around ?? plan) : (plan ?? around);
    if (!box || !this.#map.getSize()) return;
    this.#fitted = true;
    const padding = plan && box === plan ? [20, 20, 20, 20] : PADDING;
    const duration = robotsOnly && !quiet() ? 250 : 0;
    this.#map.getView().fit([box.minX, box.minY, box.maxX, box.maxY], { padding, duration });
  }

  /** The element got another size. */
  resized(): void {
    this.#map.updateSize();
    if (!this.#fitted) this.fit();
  }

  #change(view: MapView): void {
    this.#fitted = false;
    this.#map.setView(view.id === EARTH ? earthView() : siteView(view));
    this.#ground(view);
  }

  #ground(view: MapView): void {
    const layers: BaseLayer[] = [this.#robots.trailLayer, this.#robots.markerLayer, this.#robots.labelLayer];
    if (view.id === EARTH) layers.unshift(graticule(this.#palette));
    else if (view.site) layers.unshift(planLayer(view.site, this.#palette));
    this.#map.setLayers(layers);
  }

  #robotAt(pixel: number[]): string | null {
    const options = { hitTolerance: 6, layerFilter: (layer: BaseLayer) => layer === this.#robots.markerLayer };
    const id = this.#map.forEachFeatureAtPixel(pixel, (feature) => feature.getId(), options);
    return id === undefined ? null : String(id);
  }
}

const quiet = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;

const earthView = (): View => new View({ center: [0, 0], zoom: 2, minZoom: 1, maxZoom: 23 });

function siteView({ id, site }: MapView): View {
  const width = site?.width ?? 20;
  const height = site?.height ?? 20;
  const projection = new Projection({ code: id, units: "m", extent: [0, 0, width, height] });
  const largest = Math.max(width, height);
  return new View({
    projection,
    center: [width / 2, height / 2],
    resolution: largest / 500,
    minResolution: 0.002,
    maxResolution: Math.max(1, largest / 50),
  });
}

function graticule(palette: Palette): Graticule {
  const text = () => new Text({ font: "11px sans-serif", fill: new Fill({ color: palette.muted }) });
  const lonLabelStyle = text();
  lonLabelStyle.setTextBaseline("top");
  lonLabelStyle.setOffsetY(4);
  const latLabelStyle = text();
  latLabelStyle.setTextAlign("start");
  latLabelStyle.setOffsetX(6);
  return new Graticule({
    strokeStyle: new Stroke({ color: palette["map-grid"], width: 1 }),
    showLabels: true,
    lonLabelPosition: 1,
    latLabelPosition: 0,
    lonLabelStyle,
    latLabelStyle,
    lonLabelFormatter: (lon) => degrees(lon, "E", "W"),
    latLabelFormatter: (lat) => degrees(lat, "N", "S"),
    wrapX: false,
    intervals: [
      90, 45, 30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001,
    ],
  });
}

function degrees(value: number, positive: string, negative: string): string {
  const size = Number(Math.abs(value).toFixed(4));
  return size === 0 ? "0°" : `${size}° ${value > 0 ? positive : negative}`;
}
