import type { Span } from "../api/readings";

/** What the charts show: the last so many seconds up to now, or a fixed span. */
export type Range = { kind: "last"; seconds: number } | ({ kind: "span" } & Span);

export const PRESETS = [
  { name: "5m", seconds: 300, text: "5 min" },
  { name: "15m", seconds: 900, text: "15 min" },
  { name: "1h", seconds: 3600, text: "1 h" },
  { name: "6h", seconds: 21_600, text: "6 h" },
  { name: "24h", seconds: 86_400, text: "24 h" },
  { name: "7d", seconds: 604_800, text: "7 d" },
  { name: "30d", seconds: 2_592_000, text: "30 d" },
] as const;

export const DEFAULT: Range = { kind: "last", seconds: 300 };

/** A shorter span is asked for as the samples themselves at once. */
const RAW_SECONDS = 300;
/** Narrower than this a bucket's band is not seen. */
const PIXELS_PER_BUCKET = 2;
const FEWEST_BUCKETS = 60;
/**
 * Widths of buckets in seconds. From a minute on they are made of whole minutes, and from an hour on of whole hours, so
 * that the hub can answer from its rollups.
 */
const NICE = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1200, 1800,
  3600, 7200, 10_800, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000, 7_776_000, 31_536_000,
];
const WIDEST = 31_536_000;
const SHORTEST_SPAN = 1e6;
const LONGEST_SPAN = 10 * 31_536_000e6;

export function spanOf(range: Range, now: number): Span {
  return range.kind === "span" ? { from: range.from, to: range.to } : { from: now - range.seconds * 1e6, to: now };
}

export const secondsOf = (range: Range): number =>
  range.kind === "span" ? (range.to - range.from) / 1e6 : range.seconds;

/** Width in seconds of the buckets that suit so many seconds on so many pixels. */
export function bucketFor(seconds: number, pixels: number): number {
  const most = Math.max(FEWEST_BUCKETS, pixels / PIXELS_PER_BUCKET);
  return NICE.find((width) => seconds / width <= most) ?? WIDEST;
}

/** Width of the buckets to ask for in seconds; null when the span is so short that the samples themselves are asked for. */
export function bucketOf(range: Range, pixels: number): number | null {
  const seconds = secondsOf(range);
  return seconds <= RAW_SECONDS ? null : bucketFor(seconds, pixels);
}

/** The span moved by a share of its length (negative is earlier), back to `now` if it would be beyond that. */
export function moved({ from, to }: Span, share: number, now: number): Span {
  const by = Math.min((to - from) * share, now - to);
  return { from: Math.round(from + by), to: Math.round(to + by) };
}

/** The span made `factor` times as long around its middle, ending at `now` at the latest. */
export function scaled({ from, to }: Span, factor: number, now: number): Span {
  const length = Math.min(LONGEST_SPAN, Math.max(SHORTEST_SPAN, (to - from) * factor));
  const end = Math.min((from + to) / 2 + length / 2, Math.max(now, to));
  return { from: Math.round(Math.max(1, end - length)), to: Math.round(end) };
}

export const sameRange = (a: Range, b: Range): boolean => JSON.stringify(a) === JSON.stringify(b);

/** The range that an address' query asks for; the usual one when it asks for none or nonsense. */
export function parseRange(query: URLSearchParams): Range {
  const from = Number(query.get("from"));
  const to = Number(query.get("to"));
  if (Number.isSafeInteger(from) && Number.isSafeInteger(to) && from > 0 && from < to)
    return { kind: "span", from, to };
  const preset = PRESETS.find(({ name }) => name === query.get("range"));
  return preset ? { kind: "last", seconds: preset.seconds } : DEFAULT;
}

/** The range as changes of an address' query. */
export function rangeQuery(range: Range): Record<"range" | "from" | "to", string | null> {
  if (range.kind === "span")
    return { range: null, from: String(Math.round(range.from)), to: String(Math.round(range.to)) };
  const preset = PRESETS.find(({ seconds }) => seconds === range.seconds);
  return { range: sameRange(range, DEFAULT) ? null : (preset?.name ?? null), from: null, to: null };
}
