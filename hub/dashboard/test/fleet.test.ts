import { describe, expect, it } from "vitest";
import type { Robot, State } from "../src/api/models.gen";
import { visibleRange } from "../src/components/window";
import { bestView, boxAround, EARTH, mapViews, placesOf, planView, trail } from "../src/map/places";
import { counts, rows, type Sort } from "../src/pages/fleet-rows";

type Partly = {
  name?: string;
  state?: Partial<State>;
  logical?: Robot["status"]["logical"];
  pending?: boolean;
  group?: string;
};

function robot(id: string, { name = id, state, logical = "idle", pending, group }: Partly = {}): Robot {
  const full: State | null = state ? { mode: "auto", health: "ok", ...state } : null;
  return {
    id,
    created: 0,
    spec: { name, type: "diffdrive", group: group ?? null, tags: [], notes: "" },
    status: {
      registration: pending ? "pending" : "accepted",
      logical,
      presence: { status: "online", since: null, reason: null, flapping: false, changes: 0 },
      last_seen: null,
      state: full,
      state_ts: null,
      retired: null,
      clock: null,
      sync: null,
    },
  };
}

const byName: Sort = { key: "name", descending: false };
const ids = (robots: Robot[]): string[] => robots.map(({ id }) => id);

describe("rows", () => {
  it("orders numbers in names as numbers, pending robots first", () => {
    const robots = [robot("p-10"), robot("p-2"), robot("z", { pending: true })];
    expect(ids(rows(robots, "", "all", byName))).toEqual(["z", "p-2", "p-10"]);
    expect(ids(rows(robots, "", "all", { ...byName, descending: true }))).toEqual(["z", "p-10", "p-2"]);
  });

  it("finds all words anywhere", () => {
    const robots = [robot("a", { group: "Hall 1", logical: "busy" }), robot("b", { group: "Hall 1" })];
    expect(ids(rows(robots, "hall BUSY", "all", byName))).toEqual(["a"]);
    expect(rows(robots, "hall nothing", "all", byName)).toEqual([]);
  });

  it("puts what needs people first by status: emergency stops, then errors", () => {
    const robots = [robot("idle"), robot("err", { logical: "error" }), robot("stop", { state: { mode: "estop" } })];
    expect(ids(rows(robots, "", "all", { key: "status", descending: false }))).toEqual(["stop", "err", "idle"]);
  });

  it("counts and shows robots that need attention", () => {
    const robots = [
      robot("ok", { state: {} }),
      robot("ill", { state: { health: "warning" } }),
      robot("new", { pending: true }),
    ];
    expect(counts(robots)).toMatchObject({ all: 3, attention: 1, pending: 1 });
    expect(ids(rows(robots, "", "attention", byName))).toEqual(["ill"]);
  });
});

describe("map", () => {
  const pose = (frame: string) => ({ pose: { frame, x: 1, y: 2, yaw: 0 } });
  const site = { id: "hall", name: "Hall", width: 10, height: 5, walls: [], zones: [], stations: [], roads: [] };

  it("turns headings of both kinds to clockwise from up", () => {
    expect(placesOf(robot("a", { state: pose("hall") }))[0]?.rotation).toBeCloseTo(Math.PI / 2);
    expect(placesOf(robot("a", { state: { geo: { lat: 1, lon: 2, heading: 180 } } }))[0]?.rotation).toBeCloseTo(
      Math.PI,
    );
    expect(placesOf(robot("a", { state: { geo: { lat: 1, lon: 2 } } }))[0]?.rotation).toBeNull();
  });

  it("offers plans, frames without a plan, and the Earth", () => {
    const views = mapViews(
      [robot("a", { state: pose("field") }), robot("b", { state: { geo: { lat: 1, lon: 2 } } })],
      [site],
    );
    expect(views.map(({ id, robots }) => [id, robots])).toEqual([
      [planView("hall"), 0],
      [planView("field"), 1],
      [EARTH, 1],
    ]);
  });

  it("begins where most robots are, with the first plan when there are none", () => {
    expect(bestView(mapViews([], [site]))).toBe(planView("hall"));
    expect(bestView(mapViews([robot("b", { state: { geo: { lat: 1, lon: 2 } } })], [site]))).toBe(EARTH);
  });

  it("does not zoom into a single robot without end", () => {
    expect(boxAround([{ x: 5, y: 5 }], 4)).toEqual({ minX: 3, minY: 3, maxX: 7, maxY: 7 });
    expect(boxAround([], 4)).toBeNull();
  });

  it("draws a trail of what moves, and none through a jump", () => {
    let points: [number, number][] = [];
    for (let x = 0; x < 10; x += 1) points = trail(points, x, 0, 0.5, 4);
    expect(points.map(([x]) => x)).toEqual([6, 7, 8, 9]);
    expect(trail(points, 9.1, 0, 0.5, 4)).toBe(points);
    expect(trail(points, 900, 0, 0.5, 4)).toEqual([[900, 0]]);
  });
});

describe("visibleRange", () => {
  it("is the rows in view and some more", () => {
    expect(visibleRange(5000, 50, -5000, 500, 8)).toEqual({ first: 92, last: 118 });
    expect(visibleRange(5, 50, 0, 500, 8)).toEqual({ first: 0, last: 5 });
    expect(visibleRange(0, 50, 0, 500, 8)).toEqual({ first: 0, last: 0 });
    expect(visibleRange(10, 50, -90_000, 500, 8)).toEqual({ first: 10, last: 10 });
  });
});
