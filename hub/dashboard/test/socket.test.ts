import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ServerFrame } from "../src/live/reducer";
import { backoff, LiveSocket, type Connection, type SocketLike } from "../src/live/socket";

class FakeSocket implements SocketLike {
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  sent: unknown[] = [];
  closed = false;

  constructor(readonly since: string | null) {}

  send(data: string): void {
    this.sent.push(JSON.parse(data));
  }

  close(): void {
    this.closed = true;
  }

  accept(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  say(frame: Partial<ServerFrame>): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  break(): void {
    this.readyState = 3;
    this.onclose?.();
  }
}

const changes = (id: string) => ({ type: "changes" as const, id });

let sockets: FakeSocket[];
let frames: ServerFrame[];
let states: Connection["state"][];
let refused: number;
let live: LiveSocket;

const last = (): FakeSocket => sockets.at(-1) as FakeSocket;

function connect(id = "h-1"): void {
  last().accept();
  last().say(changes(id));
}

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  frames = [];
  states = [];
  refused = 0;
  live = new LiveSocket({
    open: (since) => {
      sockets.push(new FakeSocket(since));
      return last();
    },
    onFrame: (frame) => frames.push(frame),
    onConnection: ({ state }) => states.push(state),
    onRefused: () => (refused += 1),
    random: () => 1,
    now: Date.now,
  });
  live.start();
});

afterEach(() => {
  live.stop();
  vi.useRealTimers();
});

describe("LiveSocket", () => {
  it("is live from the first frame and hands frames on", () => {
    expect(states).toEqual(["reconnecting"]);
    connect();
    expect(states).toEqual(["reconnecting", "live"]);
    expect(frames).toEqual([changes("h-1")]);
    expect(last().since).toBeNull();
  });

  it("resumes after a drop from the last frame's id", () => {
    connect("h-7");
    last().break();
    expect(states.at(-1)).toBe("reconnecting");
    vi.advanceTimersByTime(500);
    expect(last().since).toBe("h-7");
    connect("h-8");
    expect(states.at(-1)).toBe("live");
  });

  it("waits longer after every failure, and again shortly after a success", () => {
    const waits: number[] = [];
    for (let i = 0; i < 4; i += 1) {
      const known = sockets.length;
      last().break();
      const from = Date.now();
      while (sockets.length === known) vi.advanceTimersByTime(10);
      waits.push(Date.now() - from);
    }
    expect(waits).toEqual([500, 1000, 2000, 4000]);
    connect();
    last().break();
    const known = sockets.length;
    vi.advanceTimersByTime(500);
    expect(sockets.length).toBe(known + 1);
  });

  it("does not count as a success what opens and says nothing", () => {
    last().accept();
    last().break();
    vi.advanceTimersByTime(500);
    last().accept();
    last().break();
    vi.advanceTimersByTime(990);
    expect(sockets).toHaveLength(2);
    vi.advanceTimersByTime(10);
    expect(sockets).toHaveLength(3);
  });

  it("is offline after half a minute, goes on trying, and comes back", () => {
    connect();
    last().break();
    for (let i = 0; i < 8; i += 1) {
      vi.advanceTimersByTime(4000);
      last().onclose?.();
    }
    expect(states.at(-1)).toBe("offline");
    vi.advanceTimersByTime(15_000);
    connect();
    expect(states.at(-1)).toBe("live");
  });

  it("asks a silent hub for a sign of life and gives it up without one", () => {
    connect();
    vi.advanceTimersByTime(15_000);
    const silent = last();
    expect(silent.sent).toEqual([{ type: "ping" }]);
    vi.advanceTimersByTime(10_000);
    expect(silent.closed).toBe(true);
    expect(states.at(-1)).toBe("reconnecting");
    vi.advanceTimersByTime(500);
    expect(sockets).toHaveLength(2);
  });

  it("stays while the hub answers the ping", () => {
    connect();
    vi.advanceTimersByTime(15_000);
    last().say(changes("h-2"));
    vi.advanceTimersByTime(14_000);
    expect(sockets).toHaveLength(1);
    expect(states.at(-1)).toBe("live");
  });

  it("gives up an attempt that never opens", () => {
    vi.advanceTimersByTime(10_000);
    expect(sockets[0]?.closed).toBe(true);
    vi.advanceTimersByTime(500);
    expect(sockets).toHaveLength(2);
  });

  it("says again what it watches after a reconnection", () => {
    connect();
    live.watch(["picker-1"]);
    expect(last().sent).toEqual([{ type: "watch", robots: ["picker-1"] }]);
    last().break();
    vi.advanceTimersByTime(500);
    last().accept();
    expect(last().sent).toEqual([{ type: "watch", robots: ["picker-1"] }]);
  });

  it("watches no more robots than the hub allows", () => {
    connect();
    live.watch(Array.from({ length: 20 }, (_, i) => `r${i}`));
    expect((last().sent[0] as { robots: string[] }).robots).toHaveLength(16);
  });

  it("tells of an attempt that was refused, but not of a drop", () => {
    last().break();
    expect(refused).toBe(1);
    vi.advanceTimersByTime(500);
    connect();
    last().break();
    expect(refused).toBe(1);
  });

  it("tries at once when hurried", () => {
    last().break();
    live.hurry();
    expect(sockets).toHaveLength(2);
    vi.advanceTimersByTime(9000);
    expect(sockets).toHaveLength(2);
  });

  it("does nothing any more when stopped", () => {
    connect();
    live.stop();
    vi.advanceTimersByTime(120_000);
    expect(sockets).toHaveLength(1);
    expect(sockets[0]?.closed).toBe(true);
  });

  it("survives a frame that is no JSON", () => {
    connect();
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    last().onmessage?.({ data: "{" });
    expect(warn).toHaveBeenCalledOnce();
    last().say(changes("h-2"));
    expect(frames.at(-1)).toEqual(changes("h-2"));
    warn.mockRestore();
  });
});

describe("backoff", () => {
  it("doubles up to a ceiling and is spread over its upper half", () => {
    expect(backoff(0, 0)).toBe(250);
    expect(backoff(0, 1)).toBe(500);
    expect(backoff(3, 0)).toBe(2000);
    expect(backoff(50, 1)).toBe(15_000);
  });
});
