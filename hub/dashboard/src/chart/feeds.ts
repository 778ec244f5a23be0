import type { ChannelInfo } from "../api/readings";
import { fleet } from "../live/fleet";
import { ChannelFeed } from "./feed";
import { bucketOf, sameRange, type Range } from "./range";

/** Milliseconds that a change of the range waits for the next one when they come fast, as while a chart is pushed along. */
const SETTLING = 150;

/** The feeds of one robot's charts: one per channel, whatever number of charts draws it. */
export class Feeds {
  #feeds = new Map<string, ChannelFeed>();
  #session = fleet.session;
  #unwatch: (() => void) | null = null;
  #settling: ReturnType<typeof setTimeout> | undefined;
  #unread = new Set<ChannelFeed>();
  #changedAt = -Infinity;

  constructor(
    private readonly robot: string,
    private readonly changed: (loaded?: boolean) => void,
  ) {}

  start(): void {
    this.#unwatch = fleet.watch(this.robot, (frame) => {
      for (const { channel, ts, values } of frame.channels) this.#feeds.get(channel)?.add({ ts, values });
      // Samples were left out on the way; they are in the store.
      if (frame.skipped) for (const feed of this.#feeds.values()) if (!feed.loading) void feed.load();
    });
  }

  stop(): void {
    this.#unwatch?.();
    clearTimeout(this.#settling);
    this.#unread.clear();
    for (const feed of this.#feeds.values()) feed.stop();
    this.#feeds.clear();
  }

  get(channel: string): ChannelFeed | undefined {
    return this.#feeds.get(channel);
  }

  /**
   * Have a feed for each of these channels and no other, for charts of so many pixels; after a new connection history is
   * read again.
   */
  want(channels: readonly ChannelInfo[], range: Range, pixels: number): void {
    const stale = this.#session !== fleet.session;
    this.#session = fleet.session;
    const bucket = bucketOf(range, pixels);
    const names = new Set(channels.map(({ name }) => name));
    const calm = performance.now() - this.#changedAt > SETTLING;
    for (const [name, feed] of this.#feeds) {
      if (names.has(name)) continue;
      this.#drop(feed);
      this.#feeds.delete(name);
    }
    for (const channel of channels) {
      const known = this.#feeds.get(channel.name);
      if (known && sameRange(known.range, range) && known.bucket === bucket) {
        if (stale) void known.load();
        continue;
      }
      if (known) this.#drop(known);
      const clock = (): number => fleet.now();
      const feed = new ChannelFeed({ channel, range, pixels, clock, changed: this.changed, before: known });
      this.#feeds.set(channel.name, feed);
      if (known) this.#changedAt = performance.now();
      if (known && !calm) this.#readSoon(feed);
      else void feed.load();
    }
  }

  #readSoon(feed: ChannelFeed): void {
    this.#unread.add(feed);
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      for (const unread of this.#unread) void unread.load();
      this.#unread.clear();
    }, SETTLING);
  }

  #drop(feed: ChannelFeed): void {
    feed.stop();
    this.#unread.delete(feed);
  }
}
