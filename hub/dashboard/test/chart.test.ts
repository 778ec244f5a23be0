import { describe, expect, it } from "vitest";
import type { ChannelInfo } from "../src/api/readings";
import { addToBuckets, align, holeOf, merge, NO_SAMPLES, segments } from "../src/chart/column";
import { bucketOf, parseRange, rangeQuery, type Range } from "../src/chart/range";
import { defaultCharts, numberOf, parseCharts, parseRef, refsOf, unitOf } from "../src/chart/refs";

const channel = (name: string, type: ChannelInfo["type"] = "number", unit: string | null = null): ChannelInfo => ({
  robot: "r",
  name,
  type,
  unit,
});

describe("merge", () => {
  it("appends what is newer and forgets what is too old", () => {
    const known = { ts: [1, 2, 3], values: ["a", "b", "c"] };
    expect(merge(known, { ts: [4], values: ["d"] }, 2)).toEqual({ ts: [2, 3, 4], values: ["b", "c", "d"] });
  });

  it("sorts late samples in and keeps every time once", () => {
    const known = { ts: [10, 20, 30], values: [1, 2, 3] };
    expect(merge(known, { ts: [20, 15], values: [2, 9] }, 0)).toEqual({ ts: [10, 15, 20, 30], values: [1, 9, 2, 3] });
  });

  it("joins history with the live samples that came while it was loading", () => {
    const live = merge(NO_SAMPLES, { ts: [3, 4], values: [3, 4] }, 0);
    expect(merge({ ts: [1, 2, 3], values: [1, 2, 3] }, live, 0).ts).toEqual([1, 2, 3, 4]);
  });
});

describe("addToBuckets", () => {
  const bucket = { ts: 10, count: 2, min: 1, max: 3, mean: 2 };

  it("joins a sample to its bucket", () => {
    expect(addToBuckets([bucket], 19, 8, 10)).toEqual([{ ts: 10, count: 3, min: 1, max: 8, mean: 4 }]);
  });

  it("opens a bucket, also between others", () => {
    const buckets = addToBuckets([bucket, { ...bucket, ts: 40 }], 25, 5, 10);
    expect(buckets.map(({ ts }) => ts)).toEqual([10, 20, 40]);
    expect(buckets[1]).toEqual({ ts: 20, count: 1, min: 5, max: 5, mean: 5 });
    expect(addToBuckets([], 5, 1, 10)[0]?.ts).toBe(0);
  });
});

describe("align", () => {
  it("puts lines on common times, in seconds", () => {
    const a = { ts: [1e6, 3e6], values: [1, 3], hole: 1e9 };
    const b = { ts: [2e6], values: [2], hole: 1e9 };
    expect(align([a, b])).toEqual([
      [1, 2, 3],
      [1, undefined, 3],
      [undefined, 2, undefined],
    ]);
  });

  it("interrupts a line where nothing was heard for long", () => {
    const [, values] = align([{ ts: [1e6, 2e6, 60e6], values: [1, 2, 3], hole: 10e6 }]);
    expect(values).toEqual([1, 2, null, 3]);
  });

  it("lays a band beside its line, upper edge first", () => {
    const line = { ts: [1e6], values: [2], band: { min: [1], max: [3] }, hole: 1e9 };
    expect(align([line])).toEqual([[1], [2], [3], [1]]);
  });

  it("takes a slow channel's rhythm for no silence", () => {
    expect(holeOf([0, 30e6, 60e6, 90e6])).toBe(150e6);
    expect(holeOf([0, 0.1e6, 0.2e6, 0.3e6])).toBe(5e6);
  });
});

describe("segments", () => {
  it("joins equal neighbours and reaches to the end", () => {
    const samples = { ts: [1, 2, 3, 4], values: [true, true, false, true] };
    expect(segments(samples, 9)).toEqual([
      { from: 1, to: 3, value: true, samples: 2 },
      { from: 3, to: 4, value: false, samples: 1 },
      { from: 4, to: 9, value: true, samples: 1 },
    ]);
  });

  it("claims nothing of a silence", () => {
    expect(segments({ ts: [1, 2, 50], values: ["a", "a", "a"] }, 99, 10)).toEqual([
      { from: 1, to: 2, value: "a", samples: 2 },
      { from: 50, to: 50, value: "a", samples: 1 },
    ]);
  });
});

describe("ranges", () => {
  it.each([
    [300, null],
    [3600, 10],
    [86_400, 300],
    [604_800, 1800],
  ])("asks for %s s in buckets of %s s", (seconds, bucket) => expect(bucketOf({ kind: "last", seconds })).toBe(bucket));

  it("goes to the address and back", () => {
    const ranges: Range[] = [
      { kind: "last", seconds: 300 },
      { kind: "last", seconds: 86_400 },
      { kind: "span", from: 1_000_000, to: 2_000_000 },
    ];
    for (const range of ranges) {
      const entries = Object.entries(rangeQuery(range)).filter((entry): entry is [string, string] => entry[1] !== null);
      expect(parseRange(new URLSearchParams(entries))).toEqual(range);
    }
  });

  it.each(["range=nonsense", "from=5&to=4", "from=x&to=9", ""])("takes the usual range for '%s'", (query) => {
    expect(parseRange(new URLSearchParams(query))).toEqual({ kind: "last", seconds: 300 });
  });
});

describe("references", () => {
  it("offers the components of positions, and nothing of objects", () => {
    expect(refsOf(channel("pose", "pose"))).toEqual(["pose:x", "pose:y", "pose:yaw"]);
    expect(refsOf(channel("camera", "object"))).toEqual([]);
    expect(unitOf("pose:yaw", channel("pose", "pose"))).toBe("rad");
  });

  it("takes numbers out of samples", () => {
    expect(numberOf(parseRef("pose:y"), { x: 1, y: 2 })).toBe(2);
    expect(numberOf(parseRef("on"), true)).toBe(1);
    expect(numberOf(parseRef("x"), "text")).toBeNull();
    expect(numberOf(parseRef("pose:y"), null)).toBeNull();
  });

  it("tells no choice from the choice of nothing", () => {
    expect(parseCharts(new URLSearchParams(""))).toBeNull();
    expect(parseCharts(new URLSearchParams("chart="))).toEqual([[]]);
    expect(parseCharts(new URLSearchParams("chart=a,b&chart=pose:x"))).toEqual([["a", "b"], ["pose:x"]]);
  });

  it("begins with alike channels together, and a position when there is nothing else", () => {
    const channels = [
      channel("motor.left.temperature", "number", "Cel"),
      channel("motor.right.temperature", "number", "Cel"),
      channel("note", "text"),
    ];
    expect(defaultCharts(channels)).toEqual([["motor.left.temperature", "motor.right.temperature"]]);
    expect(defaultCharts([channel("pose", "pose")])).toEqual([["pose:x", "pose:y"]]);
  });
});
