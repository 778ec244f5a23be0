import type { Span } from "../api/readings";

/** What the charts show: the last so many seconds up to now, or a fixed span. */
export type Range = { kind: "last"; seconds: number } | ({ kind: "span" } & Span);

export const PRESETS = [
  { name: "5m", seconds: 300, text: "5 min" },
  { name: "1h", seconds: 3600, text: "1 h" },
  { name: "24h", seconds: 86_400, text: "24 h" },
  { name: "7d", seconds: 604_800, text: "7 d" },
] as const;

const DEFAULT: Range = { kind: "last", seconds: 300 };

/** Longer spans are fetched as buckets. */
const RAW_SECONDS = 900;
const MOST_BUCKETS = 400;
const NICE = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800,
  2_592_000,
];

export function spanOf(range: Range, now: number): Span {
  return range.kind === "span" ? { from: range.from, to: range.to } : { from: now - range.seconds * 1e6, to: now };
}

/** Width of the buckets to ask for in seconds; null when the samples themselves are few enough. */
export function bucketOf(range: Range): number | null {
  const seconds = range.kind === "span" ? (range.to - range.from) / 1e6 : range.seconds;
  if (seconds <= RAW_SECONDS) return null;
  return NICE.find((width) => seconds / width <= MOST_BUCKETS) ?? Math.ceil(seconds / MOST_BUCKETS);
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
