import { describe, expect, it } from "vitest";
import type { Changes, EventView, HubView, Robot } from "../src/api/models.gen";
import { EMPTY, MOST_EVENTS, reduce } from "../src/live/reducer";

const hub: HubView = {
  version: "1",
  started: 0,
  now: 5_000_000,
  roles: [],
  auto_accept: true,
  broker: { connected: true, address: "mqtt://x", embedded: true, error: null },
  transports: [],
  robots: 0,
  counters: {},
};

function robot(id: string, name = id): Robot {
  const spec = { name, type: "t", group: null, tags: [], notes: "" };
  const presence = { status: "online" as const, since: null, reason: null, flapping: false, changes: 0 };
  const observed = { retired: null, last_seen: null, clock: null, sync: null, state: null, state_ts: null };
  return { id, created: 0, spec, status: { registration: "accepted", logical: "idle", presence, ...observed } };
}

function event(id: number): EventView {
  return { id, ts: id, robot: null, actor: "hub", name: "x", severity: "info", message: null, data: {}, cause: null };
}

const changes = (id: string, what: Partial<Changes> = {}): Changes => ({
  type: "changes",
  id,
  robots: [],
  removed: [],
  events: [],
  hub: null,
  skipped: 0,
  ...what,
});

const snapshot = (robots: Robot[], events: EventView[] = []) => ({
  type: "snapshot" as const,
  id: "a-1",
  hub,
  robots,
  events,
});

describe("reduce", () => {
  it("replaces everything by a snapshot, also by that of another hub", () => {
    const before = reduce(EMPTY, snapshot([robot("old")], [event(9)]), 0);
    const after = reduce(before, { ...snapshot([robot("new")]), id: "b-1" }, 0);
    expect([...after.robots.keys()]).toEqual(["new"]);
    expect(after.events).toEqual([]);
    expect(after.id).toBe("b-1");
  });

  it("replaces changed robots whole, adds new ones and drops removed ones", () => {
    const before = reduce(EMPTY, snapshot([robot("a"), robot("b"), robot("c")]), 0);
    const after = reduce(before, changes("a-2", { robots: [robot("b", "B"), robot("d")], removed: ["a"] }), 0);
    expect([...after.robots.values()].map(({ spec }) => spec.name)).toEqual(["B", "c", "d"]);
    expect(after.robots.get("c")).toBe(before.robots.get("c"));
  });

  it("leaves the state before it as it was", () => {
    const before = reduce(EMPTY, snapshot([robot("a")]), 0);
    reduce(before, changes("a-2", { removed: ["a"] }), 0);
    expect(before.robots.size).toBe(1);
  });

  it("keeps the same robots for a frame without any, so that nothing is drawn again", () => {
    const before = reduce(EMPTY, snapshot([robot("a")]), 0);
    const after = reduce(before, changes("a-2"), 0);
    expect(after.robots).toBe(before.robots);
    expect(after.events).toBe(before.events);
    expect(after.id).toBe("a-2");
  });

  it("keeps events newest first, each once, and not for ever", () => {
    const many = Array.from({ length: MOST_EVENTS }, (_, i) => event(i));
    const before = reduce(EMPTY, snapshot([], many), 0);
    const after = reduce(before, changes("a-2", { events: [event(MOST_EVENTS), event(3)] }), 0);
    expect(after.events).toHaveLength(MOST_EVENTS);
    expect(after.events[0]?.id).toBe(MOST_EVENTS);
    expect(new Set(after.events.map(({ id }) => id)).size).toBe(MOST_EVENTS);
  });

  it("learns how far the hub's clock is ahead", () => {
    const state = reduce(EMPTY, snapshot([]), 3_000_000);
    expect(state.clockOffset).toBe(2_000_000);
    expect(reduce(state, changes("a-2", { hub: { ...hub, now: 9_000_000 } }), 8_000_000).clockOffset).toBe(1_000_000);
  });

  it("counts events that were left out until the next snapshot", () => {
    const slow = reduce(EMPTY, changes("a-2", { skipped: 3 }), 0);
    expect(reduce(slow, changes("a-3", { skipped: 2 }), 0).skipped).toBe(5);
    expect(reduce(slow, snapshot([]), 0).skipped).toBe(0);
  });
});
