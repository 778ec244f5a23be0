import { describe, expect, it } from "vitest";
import type { Robot, State } from "../src/api/models.gen";
import {
  absence,
  behind,
  flapping,
  givenUp,
  presenceDetail,
  shortSpan,
  skewOf,
  skewText,
  syncing,
} from "../src/format/link";
import { rows } from "../src/pages/fleet-rows";

const NOW = 1_000_000e6;
type Presence = Robot["status"]["presence"];
const CALM = { flapping: false, changes: 0 };

function robot(link: State["link"], presence: Partial<Presence> = {}, id = "r"): Robot {
  return {
    id,
    created: 0,
    spec: { name: id, type: "t", group: null, tags: [], notes: "" },
    status: {
      registration: "accepted",
      logical: "idle",
      presence: { status: "online", since: NOW - 180e6, reason: "connected", ...CALM, ...presence },
      retired: null,
      last_seen: null,
      clock: null,
      sync: null,
      state: { mode: "auto", health: "ok", link },
      state_ts: null,
    },
  };
}

describe("presence", () => {
  it.each([
    ["online", "connected", "since 3 min (connected)", ""],
    ["offline", "stopped", "since 3 min (stopped on purpose)", "3 min, stopped on purpose"],
    ["offline", "last_will", "since 3 min (connection lost)", "3 min, connection lost"],
    ["stale", "silence", "since 3 min (silent)", "3 min, silent"],
    ["offline", "moon_phase", "since 3 min (moon phase)", "3 min, moon phase"],
  ] as const)("of %s robots by %s is told with its time", (status, reason, detail, away) => {
    const presence = { status, reason, since: NOW - 180e6, ...CALM } as Presence; // also of a newer hub
    expect(presenceDetail(presence, NOW)).toBe(detail);
    expect(absence(presence, NOW)).toBe(away);
  });

  it("of a robot that comes and goes tells how often", () => {
    const presence: Presence = { status: "online", since: NOW, reason: "connected", flapping: true, changes: 12 };
    expect(flapping(presence)).toBe("unsteady, 12 changes");
    expect(flapping({ ...presence, ...CALM })).toBe("");
  });

  it("without a time or a reason says what is left", () => {
    expect(presenceDetail({ status: "unknown", since: null, reason: null, ...CALM }, NOW)).toBe("");
    expect(presenceDetail({ status: "online", since: NOW, reason: "connected", ...CALM }, NOW)).toBe(
      "just now (connected)",
    );
    expect(absence({ status: "offline", since: null, reason: "last_will", ...CALM }, NOW)).toBe("connection lost");
  });
});

describe("backlog", () => {
  it("is told as messages behind", () => {
    expect(syncing(robot({ backlog: 12_400 }))).toBe("syncing, 12,400 behind");
    expect(behind(robot({ backlog: 12_400 }))).toBe(12_400);
  });

  it.each([[undefined], [null], [{}], [{ backlog: 0 }], [{ backlog: 64 }]])("is no matter when it is %j", (link) =>
    expect(syncing(robot(link))).toBe(""),
  );

  it("is taken from what the hub remembers before the robot's last state", () => {
    const remembered = robot({ backlog: 0, dropped: 1 });
    remembered.status.sync = { behind: 700, dropped: 37, at: NOW };
    expect(syncing(remembered)).toBe("syncing, 700 behind");
    expect(givenUp(remembered)).toBe(37);
    expect(givenUp(robot({ dropped: 2 }))).toBe(2);
    expect(givenUp(robot(null))).toBeNull();
  });

  it("of a robot that is away waits, and is not syncing", () => {
    expect(syncing(robot({ backlog: 500 }, { status: "offline" }))).toBe("500 waiting");
  });

  it("can be searched for in the fleet", () => {
    const robots = [robot({ backlog: 900 }, {}, "a"), robot({ backlog: 0 }, {}, "b")];
    const found = rows(robots, "syncing", "all", { key: "name", descending: false });
    expect(found.map(({ id }) => id)).toEqual(["a"]);
  });
});

describe("clock", () => {
  it.each([
    [-3_200_000, 4000, "3.2 s ahead, corrected"],
    [3_200_000, 4000, "3.2 s behind, corrected"],
    [-250_000, 4000, "250 ms ahead, corrected"],
    [-250_000, 600_000, "in step"],
    [900, 4000, "in step"],
    [-7_200e6, 4000, "2 h ahead, corrected"],
  ])("with hub time %s µs from the robot's is told as it is for people", (clock_offset, round_trip, text) => {
    const skew = skewOf(robot({ clock_offset, round_trip }));
    expect(skew && skewText(skew)).toBe(text);
  });

  it("is not spoken of when nothing is known", () => expect(skewOf(robot({ backlog: 0 }))).toBeNull());

  it("is taken from what the hub remembers before the robot's last state", () => {
    const remembered = robot({ clock_offset: 5, round_trip: 5 });
    remembered.status.clock = { offset: -1_000_000, round_trip: null, at: NOW };
    expect(skewOf(remembered)).toEqual({ ahead: 1_000_000, error: null });
  });

  it.each([
    [412, "412 µs"],
    [3400, "3.4 ms"],
    [-42_000, "42 ms"],
    [59_900_000, "59.9 s"],
    [125e6, "2 min"],
  ])("writes %s µs as %s", (us, text) => expect(shortSpan(us)).toBe(text));
});
