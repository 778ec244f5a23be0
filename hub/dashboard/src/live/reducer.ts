import type { Changes, EventView, Fault, HubView, Readings, Robot, Snapshot } from "../api/models.gen";

export type ServerFrame = Snapshot | Changes | Readings | Fault;

/** Everything that the dashboard knows of the fleet without asking. Never changed in place. */
export interface FleetState {
  /** Id of the last frame, or null before the first. */
  readonly id: string | null;
  readonly hub: HubView | null;
  readonly robots: ReadonlyMap<string, Robot>;
  /** Newest first. */
  readonly events: readonly EventView[];
  /** Microseconds that the hub's clock is ahead of this browser's. */
  readonly clockOffset: number;
  /** Events that the hub left out because this client was too slow. */
  readonly skipped: number;
}

export const MOST_EVENTS = 500;

export const EMPTY: FleetState = {
  id: null,
  hub: null,
  robots: new Map(),
  events: [],
  clockOffset: 0,
  skipped: 0,
};

/** The state after a frame that arrived at `now` (microseconds, this browser's clock). */
export function reduce(state: FleetState, frame: ServerFrame, now: number): FleetState {
  if (frame.type === "snapshot") return fromSnapshot(frame, now);
  if (frame.type === "changes") return withChanges(state, frame, now);
  return state;
}

function fromSnapshot(frame: Snapshot, now: number): FleetState {
  return {
    id: frame.id,
    hub: frame.hub,
    robots: new Map(frame.robots.map((robot) => [robot.id, robot])),
    events: merged([], frame.events),
    clockOffset: frame.hub.now - now,
    skipped: 0,
  };
}

function withChanges(state: FleetState, frame: Changes, now: number): FleetState {
  const changed = frame.robots ?? [];
  const removed = frame.removed ?? [];
  let robots = state.robots;
  if (changed.length > 0 || removed.length > 0) {
    const next = new Map(state.robots);
    for (const id of removed) next.delete(id);
    for (const robot of changed) next.set(robot.id, robot);
    robots = next;
  }
  return {
    id: frame.id,
    hub: frame.hub ?? state.hub,
    robots,
    events: frame.events?.length ? merged(state.events, frame.events) : state.events,
    clockOffset: frame.hub ? frame.hub.now - now : state.clockOffset,
    skipped: state.skipped + (frame.skipped ?? 0),
  };
}

/** Both lists, newest first and each event once, no longer than MOST_EVENTS. */
function merged(known: readonly EventView[], fresh: readonly EventView[]): EventView[] {
  const byId = new Map<number, EventView>();
  for (const event of known) byId.set(event.id, event);
  for (const event of fresh) byId.set(event.id, event);
  return [...byId.values()].sort((a, b) => b.id - a.id).slice(0, MOST_EVENTS);
}
