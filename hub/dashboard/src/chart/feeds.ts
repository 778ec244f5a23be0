import type { ChannelInfo } from "../api/readings";
import { fleet } from "../live/fleet";
import { ChannelFeed } from "./feed";
import { sameRange, type Range } from "./range";

/** The feeds of one robot's charts: one per channel, whatever number of charts draws it. */
export class Feeds {
  #feeds = new Map<string, ChannelFeed>();
  #session = fleet.session;
  #unwatch: (() => void) | null = null;

  constructor(
    private readonly robot: string,
    private readonly changed: () => void,
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
    for (const feed of this.#feeds.values()) feed.stop();
    this.#feeds.clear();
  }

  get(channel: string): ChannelFeed | undefined {
    return this.#feeds.get(channel);
  }

  /** Have a feed for each of these channels and no other; after a new connection history is read again. */
  want(channels: readonly ChannelInfo[], range: Range): void {
    const stale = this.#session !== fleet.session;
    this.#session = fleet.session;
    const names = new Set(channels.map(({ name }) => name));
    for (const [name, feed] of this.#feeds) {
      if (names.has(name) && sameRange(feed.range, range)) continue;
      feed.stop();
      this.#feeds.delete(name);
    }
    for (const channel of channels) {
      const known = this.#feeds.get(channel.name);
      if (known && !stale) continue;
      const feed = known ?? new ChannelFeed(channel, range, () => fleet.now(), this.changed);
      this.#feeds.set(channel.name, feed);
      void feed.load();
    }
  }
}
