import { request } from "./http";
import type { Aggregate, LatestReadings, Reading, ReadingPage } from "./models.gen";

export type { Aggregate, Bucket, ChannelInfo, LatestReading, Reading, Samples } from "./models.gen";

/** Times in microseconds; `from` is in the range, `to` is not. */
export interface Span {
  from: number;
  to: number;
}

const PAGE = 5000;
const MOST_PAGES = 8;
/** How many single samples stand for a span. */
export const WINDOWS = 60;
const AT_ONCE = 6;

export interface ReadOptions {
  signal?: AbortSignal | undefined;
  /** Told how much is there, from 0 to 1, after each page. */
  onProgress?(share: number): void;
  /** Give up as soon as it can be seen that there are more samples than this. */
  most?: number;
}

/** All samples of one channel in a span, in the order of time; `complete` is false when there were too many to fetch. */
export async function getReadings(
  robot: string,
  channel: string,
  { from, to }: Span,
  { signal, onProgress, most = Infinity }: ReadOptions = {},
): Promise<{ items: Reading[]; complete: boolean }> {
  const items: Reading[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const query = { robot, channel: [channel], from: Math.round(from), to: Math.round(to), limit: PAGE, cursor };
    const answer: ReadingPage = await request<ReadingPage>("GET", "/readings", { query, signal });
    for (const item of answer.items) items.push(item);
    cursor = answer.next ?? null;
    if (cursor === null) return { items, complete: true };
    const share = ((items.at(-1)?.ts ?? from) - from) / (to - from);
    // At the density so far; a channel that fell silent later is wrongly taken for a dense one, and aggregated.
    if (items.length / Math.max(share, 1e-6) > most) return { items, complete: false };
    onProgress?.(share);
  }
  return { items, complete: false };
}

/** Single samples spread over a span, for channels that cannot be aggregated and are too many to fetch. */
export async function getSparseReadings(
  robot: string,
  channel: string,
  span: Span,
  signal?: AbortSignal,
  onProgress?: (share: number) => void,
): Promise<Reading[]> {
  const width = (span.to - span.from) / WINDOWS;
  const first = async (window: number): Promise<Reading[]> => {
    const from = Math.round(span.from + window * width);
    const query = { robot, channel: [channel], from, to: Math.round(from + width), limit: 1 };
    return (await request<ReadingPage>("GET", "/readings", { query, signal })).items;
  };
  const items: Reading[] = [];
  for (let window = 0; window < WINDOWS; window += AT_ONCE) {
    const windows = [...Array(AT_ONCE).keys()].map((i) => first(window + i));
    items.push(...(await Promise.all(windows)).flat());
    onProgress?.((window + AT_ONCE) / WINDOWS);
  }
  return items;
}

export const getLatest = (robot: string, signal?: AbortSignal) =>
  request<LatestReadings>("GET", "/readings/latest", { query: { robot }, signal });

/** Numeric samples in buckets of `bucket` seconds. */
export const getAggregate = (robot: string, channel: string, span: Span, bucket: number, signal?: AbortSignal) =>
  request<Aggregate>("GET", "/readings/aggregate", {
    query: { robot, channel, from: Math.round(span.from), to: Math.round(span.to), bucket },
    signal,
  });
