import Feature from "ol/Feature";
import LineString from "ol/geom/LineString";
import Point from "ol/geom/Point";
import VectorLayer from "ol/layer/Vector";
import { fromLonLat } from "ol/proj";
import VectorSource from "ol/source/Vector";
import type { Robot } from "../api/robots";
import { robotTone, type Tone } from "../components/status";
import type { Markers } from "./markers";
import { EARTH, placesOf, trail, type Place } from "./places";

const TRAIL_POINTS = 60;
const TRAIL_STEP = 0.15;
/** Beyond this many robots trails would be a carpet, and labels are left to the selected and to free places. */
const MOST_TRAILS = 200;

interface Entry {
  robot: Robot;
  point: Feature<Point>;
  trail: Feature<LineString>;
  points: [number, number][];
  tone: Tone;
  rotation: number | null;
}

/** The robots of one view as features: markers, labels and trails. Only what changed is touched. */
export class RobotFeatures {
  readonly #entries = new Map<string, Entry>();
  readonly #points = new VectorSource<Feature<Point>>();
  readonly #trails = new VectorSource<Feature<LineString>>();
  readonly markerLayer = new VectorLayer({
    source: this.#points,
    updateWhileInteracting: true,
    updateWhileAnimating: true,
  });
  readonly labelLayer = new VectorLayer({ source: this.#points, declutter: true, updateWhileInteracting: true });
  readonly trailLayer = new VectorLayer({ source: this.#trails });
  #view = "";
  #selected: string | null = null;
  #markers: Markers;

  constructor(markers: Markers) {
    this.#markers = markers;
    this.markerLayer.setStyle((feature) => {
      const entry = this.#entries.get(String(feature.getId()));
      if (!entry) return undefined;
      const look = { tone: entry.tone, oriented: entry.rotation !== null, selected: entry.robot.id === this.#selected };
      return this.#markers.robot(look, entry.rotation);
    });
    this.labelLayer.setStyle((feature) => {
      const entry = this.#entries.get(String(feature.getId()));
      if (!entry) return undefined;
      const look = { tone: entry.tone, selected: entry.robot.id === this.#selected };
      return this.#markers.label(entry.robot.spec.name || entry.robot.id, look);
    });
    this.trailLayer.setStyle((feature) => this.#markers.trail((feature.get("tone") as Tone | undefined) ?? "off"));
  }

  get size(): number {
    return this.#entries.size;
  }

  set markers(markers: Markers) {
    this.#markers = markers;
    for (const layer of [this.markerLayer, this.labelLayer, this.trailLayer]) layer.changed();
  }

  select(id: string | null): void {
    if (this.#selected === id) return;
    this.#selected = id;
    this.markerLayer.changed();
    this.labelLayer.changed();
  }

  /** Where a robot is drawn, in the map's coordinates. */
  coordinate(id: string): number[] | null {
    return this.#entries.get(id)?.point.getGeometry()?.getCoordinates() ?? null;
  }

  coordinates(): { x: number; y: number }[] {
    return [...this.#entries.values()].map(({ point }) => {
      const [x = 0, y = 0] = point.getGeometry()?.getCoordinates() ?? [];
      return { x, y };
    });
  }

  update(robots: ReadonlyMap<string, Robot>, view: string): void {
    if (view !== this.#view) this.#clear(view);
    for (const id of [...this.#entries.keys()]) if (!robots.has(id)) this.#remove(id);
    for (const robot of robots.values()) {
      const entry = this.#entries.get(robot.id);
      if (entry?.robot === robot) continue;
      const place = placesOf(robot).find((candidate) => candidate.view === view);
      if (place) this.#put(robot, place, entry);
      else if (entry) this.#remove(robot.id);
    }
  }

  #put(robot: Robot, place: Place, known: Entry | undefined): void {
    const [x = 0, y = 0] = place.view === EARTH ? fromLonLat([place.x, place.y]) : [place.x, place.y];
    const entry = known ?? this.#add(robot, x, y);
    entry.robot = robot;
    entry.rotation = place.rotation;
    entry.tone = robotTone(robot);
    entry.point.getGeometry()?.setCoordinates([x, y]);
    entry.point.changed();
    if (this.#entries.size > MOST_TRAILS) return;
    const points = trail(entry.points, x, y, place.view === EARTH ? TRAIL_STEP * 10 : TRAIL_STEP, TRAIL_POINTS);
    if (points === entry.points) return;
    entry.points = points;
    entry.trail.set("tone", entry.tone, true);
    entry.trail.getGeometry()?.setCoordinates(points);
  }

  #add(robot: Robot, x: number, y: number): Entry {
    const point = new Feature(new Point([x, y]));
    point.setId(robot.id);
    const line = new Feature(new LineString([]));
    const entry: Entry = { robot, point, trail: line, points: [], tone: "off", rotation: null };
    this.#entries.set(robot.id, entry);
    this.#points.addFeature(point);
    this.#trails.addFeature(line);
    return entry;
  }

  #remove(id: string): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#entries.delete(id);
    this.#points.removeFeature(entry.point);
    this.#trails.removeFeature(entry.trail);
  }

  #clear(view: string): void {
    this.#view = view;
    this.#entries.clear();
    this.#points.clear();
    this.#trails.clear();
  }
}
