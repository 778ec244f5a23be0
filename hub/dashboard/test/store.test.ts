import { afterEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "../src/api/http";
import { getStore, type StoreClass, type StoreReport } from "../src/api/store";
import { sizesOf } from "../src/store/sizes";
import {
  classText,
  classUnit,
  forecast,
  growthText,
  keepText,
  roomOf,
  shareText,
  partsOf,
  sharesOf,
  warningOf,
} from "../src/store/words";

const DAY = 86_400e6;
const NOW = new Date(2026, 10, 21, 12).getTime() * 1000;
const MIB = 2 ** 20;

const row = (name: string, size: number, more: Partial<StoreClass> = {}): StoreClass => ({
  name: name as StoreClass["name"],
  count: 10,
  bytes: size,
  oldest: null,
  newest: null,
  keep_days: null,
  keep_bytes: null,
  ...more,
});

const report = (more: Partial<StoreReport> = {}): StoreReport => ({
  engine: "sqlite",
  address: "sqlite:///botyard.db",
  bytes: 100 * MIB,
  free_bytes: 900 * MIB,
  limit_bytes: null,
  waiting: { messages: 0, bytes: 0 },
  classes: [],
  bytes_per_sample: 4.5,
  growth_bytes_per_day: 10 * MIB,
  history: [
    { ts: NOW - 10 * DAY, bytes: 0 },
    { ts: NOW - DAY, bytes: 90 * MIB },
  ],
  full_at: NOW + 90 * DAY,
  ...more,
});

afterEach(() => vi.unstubAllGlobals());

describe("the call", () => {
  it("asks for the store, and says when a hub has no such page", async () => {
    const asked: string[] = [];
    vi.stubGlobal("fetch", async (path: string) => {
      asked.push(path);
      return new Response(JSON.stringify({ title: "Not found", status: 404 }), {
        status: 404,
        headers: { "Content-Type": "application/problem+json" },
      });
    });
    const error = await getStore().catch((reason: unknown) => reason);
    expect(asked).toEqual(["/api/v1/store"]);
    expect(error).toBeInstanceOf(ApiError);
    expect((error as ApiError).status).toBe(404);
  });
});

describe("warningOf", () => {
  it.each([
    [90, null],
    [31, null],
    [29.5, "warn"],
    [8, "warn"],
    [6, "bad"],
    [0, "bad"],
  ])("with %s days left has the tone %s", (days, tone) =>
    expect(warningOf(report({ full_at: NOW + days * DAY }), NOW)?.tone ?? null).toBe(tone),
  );

  it("names the day, and what is full", () => {
    const warning = warningOf(report({ full_at: NOW + 5 * DAY }), NOW);
    expect(warning?.title).toBe("The disk is full in 5 d.");
    expect(warning?.text).toContain("2026-11-26");
    const limited = report({ limit_bytes: 120 * MIB, full_at: NOW + 2 * DAY });
    expect(warningOf(limited, NOW)?.title).toBe("The store reaches its limit in 2 d.");
  });

  it("says that it is full when there is no room, whatever the forecast", () => {
    expect(warningOf(report({ free_bytes: 0, full_at: null }), NOW)?.title).toBe("The disk is full.");
    expect(warningOf(report({ limit_bytes: 90 * MIB, full_at: null }), NOW)?.tone).toBe("bad");
  });
});

describe("figures", () => {
  it("take the nearer of disk and limit for the room that is left", () => {
    expect(roomOf(report())).toBe(900 * MIB);
    expect(roomOf(report({ limit_bytes: 150 * MIB }))).toBe(50 * MIB);
    expect(roomOf(report({ limit_bytes: 50 * MIB }))).toBe(0);
    expect(roomOf(report({ free_bytes: null }))).toBeNull();
  });

  it("say of the forecast what is known", () => {
    expect(forecast(report(), NOW)).toEqual({ text: "2027-02-19", more: "in 2 months" });
    expect(forecast(report({ growth_bytes_per_day: null, full_at: null }), NOW)).toEqual({
      text: "Too early to say",
      more: "growth is known after an hour",
    });
    expect(forecast(report({ growth_bytes_per_day: 0, full_at: null }), NOW).text).toBe("Not in sight");
    expect(forecast(report({ free_bytes: null, full_at: null }), NOW).text).toBe("Unknown");
    expect(forecast(report({ full_at: NOW + 1622 * DAY }), NOW).more).toBe("in 4 years");
    expect(forecast(report({ full_at: NOW + 9000 * DAY }), NOW).text).toBe("Not in sight");
  });

  it.each([
    [10 * MIB, "+10 MiB"],
    [-1536, "−1.5 KiB"],
    [0, "0 B"],
    [null, null],
  ])("write a growth of %s as %s", (growth, text) =>
    expect(growthText(report({ growth_bytes_per_day: growth }))).toBe(text),
  );

  it.each([
    [30, null, "30 days"],
    [1, null, "1 day"],
    [0.5, 2 * MIB, "0.5 days, at most 2.0 MiB"],
    [null, 2 * MIB, "At most 2.0 MiB"],
    [null, null, "For ever"],
  ])("write retention of %s days and %s bytes as %s", (keep_days, keep_bytes, text) =>
    expect(keepText(row("events", 1, { keep_days, keep_bytes }))).toBe(text),
  );

  it("share the whole out, the largest first, without what is empty", () => {
    const shares = sharesOf([row("events", 25), row("reports", 0), row("telemetry", 75)]);
    expect(shares.map(({ name, share }) => [name, share])).toEqual([
      ["telemetry", 0.75],
      ["events", 0.25],
    ]);
    expect(sharesOf([row("events", 0)])).toEqual([]);
  });

  it("show telemetry that has just come as a part of its own, since at first there is nothing else", () => {
    const fresh = { ...report(), classes: [row("events", 20)], waiting: { messages: 3, bytes: 60 } };
    expect(sharesOf(partsOf(fresh)).map(({ name, share }) => [classText(name), share])).toEqual([
      ["Fresh telemetry", 0.75],
      ["Events", 0.25],
    ]);
    expect(partsOf({ ...fresh, waiting: { messages: 0, bytes: 0 } })).toEqual(fresh.classes);
  });

  it("neither round a share to nothing nor to everything", () => {
    expect([0.0001, 0.3, 0.9999, 1].map(shareText)).toEqual(["< 1 %", "30 %", "> 99 %", "100 %"]);
    expect([row("quarantine", 1, { count: 1 }), row("telemetry", 1)].map(classUnit)).toEqual(["row", "samples"]);
  });

  it("show a class that is not known by its name", () => {
    expect(classText("rollups_minute")).toBe("Rollups, 1 min");
    expect(classText("video_frames")).toBe("Video frames");
  });
});

describe("sizesOf", () => {
  it("goes on from today as far as it is known, dashed", () => {
    const { data, ahead, capacity } = sizesOf(report(), NOW);
    const [times, sizes, dashed, limit] = data;
    expect(times).toEqual([NOW - 10 * DAY, NOW - DAY, NOW, NOW + 10 * DAY].map((ts) => ts / 1e6));
    expect(sizes).toEqual([0, 90 * MIB, 100 * MIB, null]);
    expect(dashed).toEqual([null, null, 100 * MIB, 200 * MIB]);
    expect(limit).toEqual([null, null, null, null]);
    expect([ahead, capacity]).toEqual([true, null]);
  });

  it("reaches to the day when it is full, if that is near, and shows what fits", () => {
    const { data, capacity } = sizesOf(report({ free_bytes: 50 * MIB, full_at: NOW + 5 * DAY }), NOW);
    expect(capacity).toBe(150 * MIB);
    expect(data[0].at(-1)).toBe((NOW + 5 * DAY) / 1e6);
    expect(data[2].at(-1)).toBe(150 * MIB);
    expect(data[3]).toEqual([150 * MIB, 150 * MIB, 150 * MIB, 150 * MIB]);
  });

  it("forecasts nothing while the growth is unknown", () => {
    const { data, ahead } = sizesOf(report({ growth_bytes_per_day: null, history: [{ ts: NOW - 1, bytes: 5 }] }), NOW);
    expect(ahead).toBe(false);
    expect(data[2].every((value) => value === null)).toBe(true);
  });

  it("never forecasts less than nothing", () => {
    const { data } = sizesOf(report({ growth_bytes_per_day: -50 * MIB, full_at: null }), NOW);
    expect(data[2].at(-1)).toBe(0);
  });
});
