import type { Site } from "../api/hub";
import type { Robot } from "../api/robots";

/** Name of the map that shows the Earth; site plans are named by their frame, which is prefixed so that both never meet. */
export const EARTH = "earth";
export const planView = (frame: string): string => `plan:${frame}`;

/** Where a robot is drawn. Metres on a plan, degrees (x is longitude) on Earth. */
export interface Place {
  view: string;
  x: number;
  y: number;
  /** Clockwise from up, in radians; null when the robot does not say where its nose is. */
  rotation: number | null;
}

export interface MapView {
  id: string;
  name: string;
  /** The plan, when the hub has one for this frame. */
  site: Site | null;
  robots: number;
}

export function placesOf(robot: Robot): Place[] {
  const state = robot.status.state;
  const places: Place[] = [];
  if (state?.pose) {
    const { frame, x, y, yaw } = state.pose;
    places.push({ view: planView(frame), x, y, rotation: Math.PI / 2 - yaw });
  }
  if (state?.geo) {
    const { lat, lon, heading } = state.geo;
    places.push({ view: EARTH, x: lon, y: lat, rotation: heading == null ? null : (heading * Math.PI) / 180 });
  }
  return places;
}

/** Every map that there is something to see on: the hub's plans, frames that robots name without one, and the Earth. */
export function mapViews(robots: Iterable<Robot>, sites: readonly Site[]): MapView[] {
  const counted = new Map<string, number>();
  for (const robot of robots) {
    for (const { view } of placesOf(robot)) counted.set(view, (counted.get(view) ?? 0) + 1);
  }
  const views = sites.map((site) => ({
    id: planView(site.id),
    name: site.name || site.id,
    site,
    robots: counted.get(planView(site.id)) ?? 0,
  }));
  const known = new Set(views.map((view) => view.id));
  const unplanned = [...counted.keys()].filter((id) => id !== EARTH && !known.has(id)).sort();
  return [
    ...views,
    ...unplanned.map((id) => ({ id, name: id.slice("plan:".length), site: null, robots: counted.get(id) ?? 0 })),
    { id: EARTH, name: "Earth", site: null, robots: counted.get(EARTH) ?? 0 },
  ];
}

/** The map to begin with: the one with most robots; with none anywhere, the first plan. */
export function bestView(views: readonly MapView[]): string {
  let best = views[0];
  for (const view of views) if (best && view.robots > best.robots) best = view;
  return best?.id ?? EARTH;
}

export interface Box {
  minX: number;
  minY: number;
  maxX: number;
  maxY: number;
}

/** The box around points, at least `least` wide and high; null without points. */
export function boxAround(points: Iterable<{ x: number; y: number }>, least: number): Box | null {
  let box: Box | null = null;
  for (const { x, y } of points) {
    if (!box) box = { minX: x, minY: y, maxX: x, maxY: y };
    else {
      box.minX = Math.min(box.minX, x);
      box.minY = Math.min(box.minY, y);
      box.maxX = Math.max(box.maxX, x);
      box.maxY = Math.max(box.maxY, y);
    }
  }
  if (!box) return null;
  const growX = Math.max(0, least - (box.maxX - box.minX)) / 2;
  const growY = Math.max(0, least - (box.maxY - box.minY)) / 2;
  return { minX: box.minX - growX, minY: box.minY - growY, maxX: box.maxX + growX, maxY: box.maxY + growY };
}

/** A trail with a new point, no longer than `most`; standing still adds nothing, and a jump starts a new trail. */
export function trail(
  points: readonly [number, number][],
  x: number,
  y: number,
  step: number,
  most: number,
): [number, number][] {
  const last = points.at(-1);
  if (!last) return [[x, y]];
  const moved = Math.hypot(x - last[0], y - last[1]);
  if (moved < step) return points as [number, number][];
  if (moved > step * 100) return [[x, y]];
  return [...points.slice(-(most - 1)), [x, y]];
}
