import { sentence, isAbort } from "../api/http";
import { getAggregate, getReadings, getSparseReadings, WINDOWS, type Bucket, type ChannelInfo } from "../api/readings";
import { addToBuckets, holeOf, merge, NO_SAMPLES, type Line, type Samples } from "./column";
import { bucketOf, spanOf, type Range } from "./range";
import { isPosition, kindOf, numberOf, parseRef } from "./refs";

/** Texts and booleans cannot be aggregated, and all of a week would be too many. */
const STATES_SPAN = 3600e6;

/** History of one channel for a range, continued by what comes in live. Tells `changed` whenever there is more to draw. */
export class ChannelFeed {
  readonly channel: ChannelInfo;
  readonly range: Range;
  loading = true;
  error = "";
  /** Why what is shown is not all there is, or "". */
  remark = "";
  #samples: Samples = NO_SAMPLES;
  #buckets: readonly Bucket[] = [];
  #width: number | null;
  /** Samples that came while history was on its way. */
  #waiting: Samples = NO_SAMPLES;
  #loadedTo = 0;
  /** How far apart samples of history are on purpose; live ones behind them are closer. */
  #apart = 0;
  #abort = new AbortController();

  constructor(
    channel: ChannelInfo,
    range: Range,
    private readonly clock: () => number,
    private readonly changed: () => void,
  ) {
    this.channel = channel;
    this.range = range;
    const seconds = bucketOf(range);
    const numeric = channel.type === "number" || channel.type === "integer";
    this.#width = numeric && seconds !== null ? seconds * 1e6 : null;
  }

  async load(): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    const signal = this.#abort.signal;
    const span = spanOf(this.range, this.clock());
    this.loading = true;
    try {
      await this.#fetch(span, signal);
      this.error = "";
      this.#loadedTo = span.to;
      const waiting = this.#waiting;
      this.#waiting = NO_SAMPLES;
      this.loading = false;
      this.add(waiting);
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      this.loading = false;
      this.error = sentence(error);
    }
    this.changed();
  }

  stop(): void {
    this.#abort.abort();
  }

  /** Live samples. They do not belong to a range that has ended. */
  add(fresh: Samples): void {
    if (this.range.kind === "span" || fresh.ts.length === 0) return;
    if (this.loading) {
      this.#waiting = merge(this.#waiting, fresh, 0);
      return;
    }
    const from = spanOf(this.range, this.clock()).from;
    if (this.#width === null) this.#samples = merge(this.#samples, fresh, from - 2e6);
    else this.#addToBuckets(fresh, this.#width, from);
    this.changed();
  }

  get samples(): Samples {
    return this.#samples;
  }

  /** What a reference (the channel or one of its components) draws. */
  line(ref: string): Line {
    if (this.#width !== null) return bucketLine(this.#buckets, this.#width);
    const parsed = parseRef(ref);
    const { ts, values } = this.#samples;
    return {
      ts,
      values: values.map((value) => numberOf(parsed, value)),
      hole: Math.max(this.#apart * 2.5, holeOf(ts)),
    };
  }

  async #fetch(span: { from: number; to: number }, signal: AbortSignal): Promise<void> {
    const { robot, name, type } = this.channel;
    this.remark = "";
    this.#apart = 0;
    if (this.#width !== null) {
      this.#buckets = (await getAggregate(robot, name, span, this.#width / 1e6, signal)).items;
      return;
    }
    if (isPosition(type) && bucketOf(this.range) !== null) {
      this.#samples = columns(await getSparseReadings(robot, name, span, signal));
      this.#apart = (span.to - span.from) / WINDOWS;
      this.remark = "Positions over a long time are shown as single samples.";
      return;
    }
    const short = kindOf(type) === "states" && span.to - span.from > STATES_SPAN;
    if (short) this.remark = "Single values are shown for the last hour of this range; zoom in to see others.";
    const asked = short ? { from: span.to - STATES_SPAN, to: span.to } : span;
    const { items, complete } = await getReadings(robot, name, asked, signal);
    this.#samples = columns(items);
    if (!complete) this.remark = "There are too many samples in this range; only the first ones are shown.";
  }

  #addToBuckets(fresh: Samples, width: number, from: number): void {
    const ref = { channel: this.channel.name, component: null };
    let buckets = this.#buckets as Bucket[];
    fresh.ts.forEach((ts, i) => {
      const value = numberOf(ref, fresh.values[i]);
      // What was made before the history was read is part of it.
      if (value !== null && ts >= this.#loadedTo) buckets = addToBuckets(buckets, ts, value, width);
    });
    const first = buckets.findIndex((bucket) => bucket.ts >= from - width);
    this.#buckets = first > 0 ? buckets.slice(first) : buckets;
  }
}

function columns(items: readonly { ts: number; value: unknown }[]): Samples {
  return merge(NO_SAMPLES, { ts: items.map(({ ts }) => ts), values: items.map(({ value }) => value) }, 0);
}

function bucketLine(buckets: readonly Bucket[], width: number): Line {
  return {
    ts: buckets.map(({ ts }) => ts + width / 2),
    values: buckets.map(({ mean }) => mean),
    band: { min: buckets.map(({ min }) => min), max: buckets.map(({ max }) => max) },
    hole: width * 2.5,
  };
}
