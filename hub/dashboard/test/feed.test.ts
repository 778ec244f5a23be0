import { afterEach, describe, expect, it, vi } from "vitest";
import type { Bucket, ChannelInfo, Reading } from "../src/api/readings";
import { ChannelFeed } from "../src/chart/feed";

const NOW = 10_000e6;
const channel: ChannelInfo = { robot: "r", name: "force", type: "number", unit: "N" };

/** A hub that answers every call with what `answer` makes of its address. */
function hub(answer: (url: URL) => unknown): URL[] {
  const asked: URL[] = [];
  vi.stubGlobal("fetch", async (path: string) => {
    const url = new URL(path, "http://hub");
    asked.push(url);
    return new Response(JSON.stringify(answer(url)), { headers: { "Content-Type": "application/json" } });
  });
  return asked;
}

const reading = (ts: number, value: unknown = ts): Reading => ({ robot: "r", channel: "force", ts, value });
const make = (seconds: number, of = channel) => {
  const changed = vi.fn();
  return { feed: new ChannelFeed(of, { kind: "last", seconds }, () => NOW, changed), changed };
};

afterEach(() => vi.unstubAllGlobals());

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
    expect(asked.map((url) => url.pathname)).toEqual(["/api/v1/readings", "/api/v1/readings"]);
    expect(asked[0]?.searchParams.get("from")).toBe(String(NOW - 300e6));
    expect(feed.line("force").ts).toEqual([NOW - 2e6, NOW - 1e6, NOW]);
    expect(changed).toHaveBeenCalled();
  });

  it("asks for buckets of a long range and lets live samples grow the last one", async () => {
    const bucket: Bucket = { ts: NOW - 10e6, count: 1, min: 5, max: 5, mean: 5 };
    const asked = hub(() => ({ robot: "r", channel: "force", unit: "N", bucket: 10, items: [bucket] }));
    const { feed } = make(3600);
    await feed.load();
    expect(asked[0]?.searchParams.get("bucket")).toBe("10");
    feed.add({ ts: [NOW - 1], values: [99] }); // was in the store when history was read
    feed.add({ ts: [NOW, NOW + 1e6], values: [1, 3] });
    const line = feed.line("force");
    expect(line.values).toEqual([5, 2]);
    expect(line.band).toEqual({ min: [5, 1], max: [5, 3] });
  });

  it("takes single samples of positions over a long range, and no hole for their distance", async () => {
    const pose = { frame: "f", x: 1, y: 2, yaw: 0 };
    const asked = hub((url) => ({ items: [reading(Number(url.searchParams.get("from")), pose)], next: null }));
    const { feed } = make(3600, { ...channel, name: "pose", type: "pose", unit: null });
    await feed.load();
    expect(asked).toHaveLength(60);
    feed.add({ ts: Array.from({ length: 200 }, (_, i) => NOW + i * 1e5), values: new Array(200).fill(pose) });
    expect(feed.line("pose:y").values[0]).toBe(2);
    expect(feed.line("pose:y").hole).toBeGreaterThan(60e6);
    expect(feed.remark).not.toBe("");
  });

  it("adds nothing live to a range that has ended", async () => {
    hub(() => ({ items: [reading(5e6)], next: null }));
    const feed = new ChannelFeed(channel, { kind: "span", from: 1e6, to: 9e6 }, () => NOW, vi.fn());
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
