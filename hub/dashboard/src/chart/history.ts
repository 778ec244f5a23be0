import {
  getAggregate,
  getReadings,
  getSparseReadings,
  WINDOWS,
  type Bucket,
  type ChannelInfo,
  type Span,
} from "../api/readings";
import { merge, NO_SAMPLES, type Samples } from "./column";
import { bucketFor } from "./range";
import { isPosition, kindOf } from "./refs";

/** Texts and booleans cannot be aggregated, and all of a week would be too many. */
const STATES_SPAN = 3600e6;
/** Positions cannot be aggregated either: over a longer span there are single ones of them. */
const POSITIONS_SPAN = 900e6;
/** More samples of one channel than this are never drawn one by one. */
export const MOST_SAMPLES = 20_000;

/** What is known of a channel in a span: its samples, or buckets of them. */
export interface History {
  samples: Samples;
  buckets: readonly Bucket[];
  /** Width of the buckets in microseconds; null when these are samples. */
  width: number | null;
  /** How far apart samples are on purpose, in microseconds; live ones behind them are closer. */
  apart: number;
  /** Why what is shown is not all there is, or "". */
  remark: string;
}

export const NO_HISTORY: History = { samples: NO_SAMPLES, buckets: [], width: null, apart: 0, remark: "" };

/** How to ask: `bucket` in seconds (null for the samples themselves), `pixels` across, `onProgress` from 0 to 1. */
export interface Asking {
  bucket: number | null;
  pixels: number;
  signal: AbortSignal;
  onProgress(share: number): void;
}

/** A channel's history in the resolution that suits the screen. Throws ApiError, and AbortError when it is given up. */
export function readHistory(channel: ChannelInfo, span: Span, asking: Asking): Promise<History> {
  const numeric = channel.type === "number" || channel.type === "integer";
  if (numeric) return asking.bucket === null ? readNumbers(channel, span, asking) : readBuckets(channel, span, asking);
  if (isPosition(channel.type)) return readPositions(channel, span, asking);
  return readStates(channel, span, asking);
}

/** The samples themselves, or buckets when the first page shows that there are too many. */
async function readNumbers(channel: ChannelInfo, span: Span, asking: Asking): Promise<History> {
  const answer = await readPages(channel, span, asking, MOST_SAMPLES);
  if (answer.complete) return { ...NO_HISTORY, samples: columns(answer.items) };
  return aggregated(channel, span, bucketFor((span.to - span.from) / 1e6, asking.pixels), asking);
}

/** Buckets, or the samples themselves when there turn out to be hardly more of them than pixels. */
async function readBuckets(channel: ChannelInfo, span: Span, asking: Asking): Promise<History> {
  const found = await aggregated(channel, span, asking.bucket ?? 1, asking);
  const count = found.buckets.reduce((sum, bucket) => sum + bucket.count, 0);
  if (count === 0 || count > asking.pixels) return found;
  asking.onProgress(0.5);
  const { items, complete } = await readPages(channel, span, asking, MOST_SAMPLES);
  return complete ? { ...NO_HISTORY, samples: columns(items) } : found;
}

async function aggregated(channel: ChannelInfo, span: Span, bucket: number, { signal }: Asking): Promise<History> {
  const width = bucket * 1e6;
  // Whole buckets, so that the first and the last one are no smaller than they really are.
  const whole = { from: Math.floor(span.from / width) * width, to: Math.ceil(span.to / width) * width };
  const { items } = await getAggregate(channel.robot, channel.name, whole, bucket, signal);
  return { ...NO_HISTORY, buckets: items, width };
}

async function readPositions(channel: ChannelInfo, span: Span, asking: Asking): Promise<History> {
  if (span.to - span.from <= POSITIONS_SPAN) return readAll(channel, span, asking);
  const samples = columns(await getSparseReadings(channel.robot, channel.name, span, asking.signal, asking.onProgress));
  const remark = "Positions over a long time are shown as single samples.";
  return { ...NO_HISTORY, samples, apart: (span.to - span.from) / WINDOWS, remark };
}

async function readStates(channel: ChannelInfo, span: Span, asking: Asking): Promise<History> {
  const short = kindOf(channel.type) === "states" && span.to - span.from > STATES_SPAN;
  if (!short) return readAll(channel, span, asking);
  const found = await readAll(channel, { from: span.to - STATES_SPAN, to: span.to }, asking);
  const remark = "Single values are shown for the last hour of this range; zoom in to see others.";
  return { ...found, remark: found.remark || remark };
}

async function readAll(channel: ChannelInfo, span: Span, asking: Asking): Promise<History> {
  const { items, complete } = await readPages(channel, span, asking, Infinity);
  const remark = complete ? "" : "There are too many samples in this range; only the first ones are shown.";
  return { ...NO_HISTORY, samples: columns(items), remark };
}

const readPages = ({ robot, name }: ChannelInfo, span: Span, { signal, onProgress }: Asking, most: number) =>
  getReadings(robot, name, span, { signal, onProgress, most });

function columns(items: readonly { ts: number; value: unknown }[]): Samples {
  return merge(NO_SAMPLES, { ts: items.map(({ ts }) => ts), values: items.map(({ value }) => value) }, 0);
}
