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

/** All samples of one channel in a span, in the order of time; `complete` is false when there were too many to fetch. */
export async function getReadings(
  robot: string,
  channel: string,
  span: Span,
  signal?: AbortSignal,
): Promise<{ items: Reading[]; complete: boolean }> {
  const items: Reading[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const query = {
      robot,
      channel: [channel],
      from: Math.round(span.from),
      to: Math.round(span.to),
      limit: PAGE,
      cursor,
    };
    const answer: ReadingPage = await request<ReadingPage>("GET", "/readings", { query, signal });
    items.push(...answer.items);
    cursor = answer.next ?? null;
    if (cursor === null) return { items, complete: true };
  }
  return { items, complete: false };
}

/** Single samples spread over a span, for channels that cannot be aggregated and are too many to fetch. */
export async function getSparseReadings(
  robot: string,
  channel: string,
  span: Span,
  signal?: AbortSignal,
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
