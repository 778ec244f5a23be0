import { describe, expect, it } from "vitest";
import type { ChannelInfo } from "../src/api/readings";
import { addToBuckets, align, holeOf, holeOfBuckets, lonely, merge, NO_SAMPLES, segments } from "../src/chart/column";
import { bucketFor, bucketOf, moved, parseRange, rangeQuery, scaled, type Range } from "../src/chart/range";
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
  const bucket = { ts: 10, count: 2, min: 1, max: 3, mean: 2, last: 3 };

  it("joins a sample to its bucket", () => {
    expect(addToBuckets([bucket], 19, 8, 10)).toEqual([{ ts: 10, count: 3, min: 1, max: 8, mean: 4, last: 8 }]);
  });

  it("opens a bucket, also between others", () => {
    const buckets = addToBuckets([bucket, { ...bucket, ts: 40 }], 25, 5, 10);
    expect(buckets.map(({ ts }) => ts)).toEqual([10, 20, 40]);
    expect(buckets[1]).toEqual({ ts: 20, count: 1, min: 5, max: 5, mean: 5, last: 5 });
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

describe("gaps", () => {
  it("of buckets are not bridged, but a slow channel's buckets belong together", () => {
    expect(holeOfBuckets([0, 60, 120, 180], 60)).toBe(150);
    expect(holeOfBuckets([0, 300, 600, 900], 60)).toBe(750);
    expect(holeOfBuckets([0], 60)).toBe(150);
  });

  it("leave values alone that get a point, through the cells of other lines", () => {
    expect(lonely([1, null, 2, undefined, 3, null, undefined, 4, undefined], 0, 8)).toEqual([0, 7]);
    expect(lonely([1, 2, 3], 0, 2)).toEqual([]);
    expect(lonely([undefined, 5], 0, 1)).toEqual([1]);
    expect(lonely([], 0, -1)).toEqual([]);
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
    [300, 1000, null],
    [900, 1000, 2],
    [3600, 1000, 10],
    [21_600, 1000, 60],
    [86_400, 1000, 180],
    [604_800, 1000, 1800],
    [2_592_000, 1000, 7200],
    [86_400, 260, 900],
    [2_592_000, 260, 21_600],
  ])("of %s s on %s pixels are asked for in buckets of %s s", (seconds, pixels, bucket) =>
    expect(bucketOf({ kind: "last", seconds }, pixels)).toBe(bucket),
  );

  it("are long enough ones in buckets that the hub's rollups can answer", () => {
    for (let seconds = 400; seconds < 3e8; seconds *= 1.7) {
      for (const pixels of [100, 260, 777, 1400, 3800]) {
        const width = bucketFor(seconds, pixels);
        expect(seconds / width).toBeLessThanOrEqual(Math.max(60, pixels / 2));
        if (width > 60) expect(width % 60).toBe(0);
        if (width > 3600) expect(width % 3600).toBe(0);
      }
    }
  });

  it("are moved and zoomed, never beyond now", () => {
    const span = { from: 100e6, to: 200e6 };
    expect(moved(span, -0.5, 300e6)).toEqual({ from: 50e6, to: 150e6 });
    expect(moved(span, 0.5, 220e6)).toEqual({ from: 120e6, to: 220e6 });
    expect(moved(span, 0, 290e6)).toEqual(span);
    expect(moved(span, 0, 190e6)).toEqual({ from: 90e6, to: 190e6 });
    expect(scaled(span, 0.5, 300e6)).toEqual({ from: 125e6, to: 175e6 });
    expect(scaled(span, 2, 210e6)).toEqual({ from: 10e6, to: 210e6 });
    expect(scaled({ from: 5e6, to: 5e6 + 10 }, 0.5, 9e6)).toEqual({ from: 4_500_005, to: 5_500_005 });
  });

  it("goes to the address and back", () => {
    const ranges: Range[] = [
      { kind: "last", seconds: 900 },
      { kind: "last", seconds: 86_400 },
      { kind: "span", from: 1_000_000, to: 2_000_000 },
    ];
    for (const range of ranges) {
      const entries = Object.entries(rangeQuery(range)).filter((entry): entry is [string, string] => entry[1] !== null);
      expect(parseRange(new URLSearchParams(entries))).toEqual(range);
    }
  });

  it.each(["range=nonsense", "range=7m", "from=5&to=4", "from=x&to=9", ""])(
    "takes the usual range for '%s'",
    (query) => {
      expect(parseRange(new URLSearchParams(query))).toEqual({ kind: "last", seconds: 300 });
    },
  );
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
