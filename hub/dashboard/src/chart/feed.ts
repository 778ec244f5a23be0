import { isAbort, sentence } from "../api/http";
import type { ChannelInfo, Span } from "../api/readings";
import { addToBuckets, holeOf, holeOfBuckets, merge, NO_SAMPLES, type Line, type Samples } from "./column";
import { MOST_SAMPLES, NO_HISTORY, readHistory, type History } from "./history";
import { bucketOf, spanOf, type Range } from "./range";
import { numberOf, parseRef } from "./refs";

/** What comes later than this after it was made belongs to buckets that were read already; microseconds. */
const LATE = 10e6;
/** Milliseconds between two readings of history because of late samples, as while a robot hands in its backlog. */
const AGAIN_AFTER = 5000;

export interface FeedOptions {
  channel: ChannelInfo;
  range: Range;
  /** Width of the charts, from which the resolution follows. */
  pixels: number;
  /** The hub's time in microseconds. */
  clock: () => number;
  /** There is more to draw; `loaded` when it is what people wait for. */
  changed: (loaded?: boolean) => void;
  /** What was shown before, to be looked at until there is something better. */
  before?: ChannelFeed | undefined;
}

/** History of one channel for a range, continued by what comes in live. Tells `changed` whenever there is more to draw. */
export class ChannelFeed {
  readonly channel: ChannelInfo;
  readonly range: Range;
  /** Width of the buckets in seconds that suit range and screen; null for the samples themselves. */
  readonly bucket: number | null;
  loading = true;
  /** How much of what is loading is there, from 0 to 1; null when that is not known. */
  progress: number | null = null;
  error = "";
  #options: FeedOptions;
  #history: History;
  /** Samples that came while history was on its way. */
  #waiting: Samples = NO_SAMPLES;
  #loadedTo = 0;
  /** Whether the history is of this range. */
  #own = false;
  #abort = new AbortController();
  #again: ReturnType<typeof setTimeout> | undefined;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.channel = options.channel;
    this.range = options.range;
    this.bucket = bucketOf(options.range, options.pixels);
    this.#history = options.before ? options.before.#history : NO_HISTORY;
  }

  /** Read the history. An answer that comes after another call of this, or after `stop`, changes nothing. */
  async load(): Promise<void> {
    this.stop();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const span = spanOf(this.range, this.#options.clock());
    this.loading = true;
    this.progress = null;
    this.#options.changed();
    try {
      const history = await this.#read(span, signal);
      if (signal.aborted) return;
      this.#history = history;
      this.#own = true;
      this.#loadedTo = span.to;
      this.error = "";
      this.loading = false;
      const waiting = this.#waiting;
      this.#waiting = NO_SAMPLES;
      this.add(waiting);
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      this.loading = false;
      if (!this.#own) this.#history = NO_HISTORY;
      this.error = sentence(error);
    }
    this.#options.changed(true);
  }

  stop(): void {
    clearTimeout(this.#again);
    this.#again = undefined;
    this.#abort.abort();
  }

  /** Live samples. They do not belong to a range that has ended. */
  add(fresh: Samples): void {
    if (this.range.kind === "span" || fresh.ts.length === 0) return;
    if (this.loading) {
      this.#waiting = merge(this.#waiting, fresh, 0);
      return;
    }
    const from = spanOf(this.range, this.#options.clock()).from;
    const { width, samples } = this.#history;
    if (width !== null) this.#addToBuckets(fresh, width, from);
    else this.#history = { ...this.#history, samples: merge(samples, fresh, from - 2e6) };
    // Samples were few when the range began; now buckets suit it better.
    if (this.bucket !== null && this.#history.samples.ts.length > MOST_SAMPLES) this.#loadAgain();
    this.#options.changed();
  }

  get samples(): Samples {
    return this.#history.samples;
  }

  /** Why what is shown is not all there is, or "". */
  get remark(): string {
    return this.#history.remark;
  }

  /** Width of the buckets shown in microseconds, null when every sample is. */
  get width(): number | null {
    return this.#history.width;
  }

  /** What a reference (the channel or one of its components) draws. */
  line(ref: string): Line {
    const { width, buckets, samples, apart } = this.#history;
    if (width !== null) {
      const ts = buckets.map((bucket) => bucket.ts + width / 2);
      const band = { min: buckets.map(({ min }) => min), max: buckets.map(({ max }) => max) };
      return { ts, values: buckets.map(({ mean }) => mean), band, hole: holeOfBuckets(ts, width) };
    }
    const parsed = parseRef(ref);
    const values = samples.values.map((value) => numberOf(parsed, value));
    return { ts: samples.ts, values, hole: Math.max(apart * 2.5, holeOf(samples.ts)) };
  }

  #read(span: Span, signal: AbortSignal): Promise<History> {
    const onProgress = (share: number): void => {
      if (signal.aborted) return;
      this.progress = share;
      this.#options.changed();
    };
    return readHistory(this.channel, span, { bucket: this.bucket, pixels: this.#options.pixels, signal, onProgress });
  }

  #addToBuckets(fresh: Samples, width: number, from: number): void {
    const ref = { channel: this.channel.name, component: null };
    let buckets = [...this.#history.buckets];
    let late = false;
    fresh.ts.forEach((ts, i) => {
      const value = numberOf(ref, fresh.values[i]);
      // What was made shortly before the history was read is part of it.
      if (value !== null && ts >= this.#loadedTo) buckets = addToBuckets(buckets, ts, value, width);
      else late ||= ts >= from && ts < this.#loadedTo - LATE;
    });
    const first = buckets.findIndex((bucket) => bucket.ts >= from - width);
    this.#history = { ...this.#history, buckets: first > 0 ? buckets.slice(first) : buckets };
    if (late) this.#loadAgain();
  }

  #loadAgain(): void {
    this.#again ??= setTimeout(() => void this.load(), AGAIN_AFTER);
  }
}
