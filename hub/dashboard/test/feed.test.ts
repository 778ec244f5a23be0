import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Bucket, ChannelInfo, Reading } from "../src/api/readings";
import { ChannelFeed } from "../src/chart/feed";
import type { Range } from "../src/chart/range";

const NOW = 10_000e6;
const channel: ChannelInfo = { robot: "r", name: "force", type: "number", unit: "N" };

/** A hub that answers every call with what `answer` makes of its address. */
function hub(answer: (url: URL) => unknown): URL[] {
  const asked: URL[] = [];
  vi.stubGlobal("fetch", async (path: string) => {
    const url = new URL(path, "http://hub");
    asked.push(url);
    return new Response(JSON.stringify(await answer(url)), { headers: { "Content-Type": "application/json" } });
  });
  return asked;
}

const pathsOf = (asked: URL[]): string[] => asked.map((url) => url.pathname.replace("/api/v1/readings", "") || "/");
const isAggregate = (url: URL): boolean => url.pathname.endsWith("aggregate");
const reading = (ts: number, value: unknown = ts): Reading => ({ robot: "r", channel: "force", ts, value });
const bucket = (ts: number, count = 5000, value = 5): Bucket => ({
  ts,
  count,
  min: value,
  max: value,
  mean: value,
  last: value,
});
const buckets = (...items: Bucket[]) => ({ robot: "r", channel: "force", unit: "N", bucket: 10, items });

let clock = NOW;
const make = (range: number | Range, { of = channel, before }: { of?: ChannelInfo; before?: ChannelFeed } = {}) => {
  const changed = vi.fn();
  const wanted: Range = typeof range === "number" ? { kind: "last", seconds: range } : range;
  const feed = new ChannelFeed({ channel: of, range: wanted, pixels: 1000, clock: () => clock, changed, before });
  return { feed, changed };
};

beforeEach(() => void (clock = NOW));
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("ChannelFeed", () => {
  it("reads all pages of a short range, and joins what came live meanwhile", async () => {
    const asked = hub((url) =>
      url.searchParams.has("cursor")
        ? { items: [reading(NOW - 1e6)], next: null }
        : { items: [reading(NOW - 2e6)], next: "more" },
    );
    const { feed, changed } = make(300);
    const loading = feed.load();
    feed.add({ ts: [NOW - 1e6, NOW], values: [NOW - 1e6, NOW] });
    await loading;
    expect(pathsOf(asked)).toEqual(["/", "/"]);
    expect(asked[0]?.searchParams.get("from")).toBe(String(NOW - 300e6));
    expect(feed.line("force").ts).toEqual([NOW - 2e6, NOW - 1e6, NOW]);
    expect(feed.width).toBeNull();
    expect(changed).toHaveBeenCalled();
  });

  it("asks for buckets of a long range and lets live samples grow the last one", async () => {
    const asked = hub(() => buckets(bucket(NOW - 10e6)));
    const { feed } = make(3600);
    await feed.load();
    expect(asked[0]?.searchParams.get("bucket")).toBe("10");
    feed.add({ ts: [NOW - 1], values: [99] }); // was in the store when history was read
    feed.add({ ts: [NOW, NOW + 1e6], values: [1, 3] });
    const line = feed.line("force");
    expect(line.values).toEqual([5, 2]);
    expect(line.band).toEqual({ min: [5, 1], max: [5, 3] });
    feed.stop();
  });

  it("asks for whole buckets only", async () => {
    const asked = hub(() => buckets(bucket(NOW - 10e6)));
    await make({ kind: "span", from: NOW - 3_605e6 - 7, to: NOW - 3e6 }).feed.load();
    expect(asked[0]?.searchParams.get("from")).toBe(String(NOW - 3610e6));
    expect(asked[0]?.searchParams.get("to")).toBe(String(NOW));
  });

  it("shows the samples themselves where they are hardly more than pixels", async () => {
    const asked = hub((url) =>
      isAggregate(url) ? buckets(bucket(NOW - 60e6, 2)) : { items: [reading(NOW - 59e6), reading(NOW - 3e6)], next: null },
    ); // prettier-ignore
    const { feed } = make(86_400);
    await feed.load();
    expect(pathsOf(asked)).toEqual(["/aggregate", "/"]);
    expect(feed.width).toBeNull();
    expect(feed.line("force").ts).toEqual([NOW - 59e6, NOW - 3e6]);
  });

  it("falls back to buckets when a short range turns out to hold far too many samples", async () => {
    const dense = Array.from({ length: 5000 }, (_, i) => reading(NOW - 300e6 + i * 1000));
    const asked = hub((url) => (isAggregate(url) ? buckets(bucket(NOW - 1e6)) : { items: dense, next: "more" }));
    const { feed } = make(300);
    await feed.load();
    expect(pathsOf(asked)).toEqual(["/", "/aggregate"]);
    expect(asked[1]?.searchParams.get("bucket")).toBe("1");
    expect(feed.width).toBe(1e6);
  });

  it("takes single samples of positions over a long range, and no hole for their distance", async () => {
    const pose = { frame: "f", x: 1, y: 2, yaw: 0 };
    const asked = hub((url) => ({ items: [reading(Number(url.searchParams.get("from")), pose)], next: null }));
    const { feed } = make(3600, { of: { ...channel, name: "pose", type: "pose", unit: null } });
    await feed.load();
    expect(asked).toHaveLength(60);
    feed.add({ ts: Array.from({ length: 200 }, (_, i) => NOW + i * 1e5), values: new Array(200).fill(pose) });
    expect(feed.line("pose:y").values[0]).toBe(2);
    expect(feed.line("pose:y").hole).toBeGreaterThan(60e6);
    expect(feed.remark).not.toBe("");
  });

  it("adds nothing live to a range that has ended", async () => {
    hub(() => ({ items: [reading(5e6)], next: null }));
    const { feed } = make({ kind: "span", from: 1e6, to: 9e6 });
    await feed.load();
    feed.add({ ts: [NOW], values: [1] });
    expect(feed.line("force").ts).toEqual([5e6]);
  });

  it("keeps the sentence of what went wrong", async () => {
    vi.stubGlobal("fetch", vi.fn().mockRejectedValue(new TypeError("no")));
    const { feed } = make(300);
    await feed.load();
    expect(feed.error).toBe("The hub does not answer.");
    expect(feed.loading).toBe(false);
  });
});

describe("a feed whose answers come late", () => {
  it("never lets an older answer overwrite a newer one", async () => {
    const answers: ((answer: unknown) => void)[] = [];
    hub(() => new Promise((resolve) => answers.push(resolve)));
    const { feed } = make(300);
    const first = feed.load();
    const second = feed.load();
    answers[1]?.({ items: [reading(NOW - 2e6, 2)], next: null });
    await second;
    answers[0]?.({ items: [reading(NOW - 1e6, 1)], next: null }); // this hub goes on although it was told not to
    await first;
    expect(feed.line("force").values).toEqual([2]);
    expect(feed.loading).toBe(false);
  });

  it("changes nothing after it was stopped", async () => {
    let answer: (answer: unknown) => void = () => undefined;
    hub(() => new Promise((resolve) => (answer = resolve)));
    const { feed } = make(300);
    const loading = feed.load();
    feed.stop();
    answer({ items: [reading(NOW)], next: null });
    await loading;
    expect(feed.line("force").ts).toEqual([]);
  });

  it("shows what was there before until it has its own, and nothing of it when it fails", async () => {
    hub(() => ({ items: [reading(NOW - 1e6, 7)], next: null }));
    const { feed: before } = make(300);
    await before.load();
    let refuse: (error: Error) => void = () => undefined;
    vi.stubGlobal("fetch", () => new Promise((_, reject) => (refuse = reject)));
    const { feed } = make(60, { before });
    const loading = feed.load();
    expect(feed.line("force").values).toEqual([7]);
    refuse(new TypeError("gone"));
    await loading;
    expect(feed.line("force").values).toEqual([]);
    expect(feed.error).not.toBe("");
  });

  it("tells how far it is, page by page", async () => {
    hub((url) =>
      url.searchParams.has("cursor") ? { items: [], next: null } : { items: [reading(NOW - 225e6)], next: "more" },
    );
    const { feed, changed } = make(300);
    const seen: (number | null)[] = [];
    changed.mockImplementation(() => seen.push(feed.progress));
    await feed.load();
    expect(seen).toContain(0.25);
  });
});

describe("a feed while a backlog comes in", () => {
  it("sorts old samples in where samples are shown", async () => {
    hub(() => ({ items: [reading(NOW - 1e6, 1)], next: null }));
    const { feed } = make(300);
    await feed.load();
    feed.add({ ts: [NOW - 60e6], values: [0] });
    expect(feed.line("force").values).toEqual([0, 1]);
  });

  it("reads its buckets again, once in a while", async () => {
    vi.useFakeTimers();
    const asked = hub(() => buckets(bucket(NOW - 10e6)));
    const { feed } = make(3600);
    await feed.load();
    feed.add({ ts: [NOW - 600e6], values: [1] });
    feed.add({ ts: [NOW - 599e6], values: [1] });
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(5000);
    expect(asked).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(2);
  });

  it("does not read again for what is older than its range", async () => {
    vi.useFakeTimers();
    const asked = hub(() => buckets(bucket(NOW - 10e6)));
    const { feed } = make(3600);
    await feed.load();
    feed.add({ ts: [NOW - 4000e6], values: [1] });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(asked).toHaveLength(1);
  });
});
