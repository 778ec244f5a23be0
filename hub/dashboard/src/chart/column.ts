import type { Bucket } from "../api/readings";

/** Samples in the order of time, each time once. */
export interface Samples {
  readonly ts: readonly number[];
  readonly values: readonly unknown[];
}

export const NO_SAMPLES: Samples = { ts: [], values: [] };

/** Both together, without what is older than `from`. Cheap when `fresh` is newer than everything known. */
export function merge(known: Samples, fresh: Samples, from: number): Samples {
  const last = known.ts.at(-1) ?? -Infinity;
  const inOrder = fresh.ts.every((ts, i) => ts > (i === 0 ? last : (fresh.ts[i - 1] ?? -Infinity)));
  if (!inOrder) return sorted(known, fresh, from);
  let cut = 0;
  while (cut < known.ts.length && (known.ts[cut] ?? 0) < from) cut += 1;
  return { ts: [...known.ts.slice(cut), ...fresh.ts], values: [...known.values.slice(cut), ...fresh.values] };
}

function sorted(known: Samples, fresh: Samples, from: number): Samples {
  const byTime = new Map<number, unknown>();
  for (const { ts, values } of [known, fresh]) ts.forEach((time, i) => byTime.set(time, values[i]));
  const ts = [...byTime.keys()].filter((time) => time >= from).sort((a, b) => a - b);
  return { ts, values: ts.map((time) => byTime.get(time)) };
}

/** The buckets with one more sample; a late one goes into the bucket where it belongs, if that is still known. */
export function addToBuckets(buckets: readonly Bucket[], ts: number, value: number, width: number): Bucket[] {
  const start = Math.floor(ts / width) * width;
  const at = buckets.findLastIndex((bucket) => bucket.ts <= start);
  const bucket = buckets[at];
  if (bucket?.ts === start) {
    const count = bucket.count + 1;
    const mean = bucket.mean + (value - bucket.mean) / count;
    const [min, max] = [Math.min(bucket.min, value), Math.max(bucket.max, value)];
    return buckets.with(at, { ts: start, count, mean, min, max, last: value });
  }
  return buckets.toSpliced(at + 1, 0, { ts: start, count: 1, min: value, max: value, mean: value, last: value });
}

/** One line to draw; `band` is there for buckets. Times in microseconds. */
export interface Line {
  ts: readonly number[];
  values: readonly (number | null)[];
  band?: { min: readonly number[]; max: readonly number[] };
  /** A longer silence than this is a hole in the line. */
  hole: number;
}

const LEAST_HOLE = 5e6;

/** How long a silence may be before the line is interrupted: several times the usual distance of its samples. */
export function holeOf(ts: readonly number[]): number {
  return ts.length < 3 ? LEAST_HOLE * 4 : Math.max(LEAST_HOLE, 5 * usualDistance(ts));
}

/** The same of buckets of a width: those of a slow channel are further apart than that, and belong together. */
export function holeOfBuckets(ts: readonly number[], width: number): number {
  return 2.5 * Math.max(width, ts.length < 3 ? 0 : usualDistance(ts));
}

/** The median of the distances of neighbours. */
function usualDistance(ts: readonly number[]): number {
  const distances = ts.slice(1).map((time, i) => time - (ts[i] ?? time));
  distances.sort((a, b) => a - b);
  return distances[distances.length >> 1] ?? 0;
}

/** Rows of a column that have a value and none beside them: no line goes through them, so they need a point. */
export function lonely(column: readonly Cell[], first: number, last: number): number[] {
  const found: number[] = [];
  let before: number | null = null; // the value before, through cells that only belong to other lines
  let candidate = -1;
  for (let i = first; i <= last; i += 1) {
    const value = column[i];
    if (value === undefined) continue;
    if (candidate >= 0 && value === null) found.push(candidate);
    candidate = value !== null && before === null ? i : -1;
    before = value;
  }
  if (candidate >= 0) found.push(candidate);
  return found;
}

export type Cell = number | null | undefined;

/**
 * Lines side by side on common times (seconds), as uPlot wants them: per line its values, and for a band two more
 * columns, maximum and minimum. `undefined` means no sample of this line at that time, null a hole.
 */
export function align(lines: readonly Line[]): [number[], ...Cell[][]] {
  const times = new Set<number>();
  const holes = lines.map((line) => holesOf(line));
  lines.forEach((line, i) => {
    for (const ts of line.ts) times.add(ts);
    for (const ts of holes[i] ?? []) times.add(ts);
  });
  const axis = [...times].sort((a, b) => a - b);
  const row = new Map(axis.map((ts, i) => [ts, i]));
  const columns: Cell[][] = [];
  const column = (line: Line, values: readonly (number | null)[], own: readonly number[]): Cell[] => {
    const cells = new Array<Cell>(axis.length).fill(undefined);
    for (const ts of own) cells[row.get(ts) ?? 0] = null;
    line.ts.forEach((ts, i) => (cells[row.get(ts) ?? 0] = values[i] ?? null));
    return cells;
  };
  lines.forEach((line, i) => {
    const own = holes[i] ?? [];
    columns.push(column(line, line.values, own));
    if (line.band) columns.push(column(line, line.band.max, own), column(line, line.band.min, own));
  });
  return [axis.map((ts) => ts / 1e6), ...columns];
}

function holesOf({ ts, hole }: Line): number[] {
  const found: number[] = [];
  for (let i = 1; i < ts.length; i += 1) {
    const before = ts[i - 1] ?? 0;
    if ((ts[i] ?? 0) - before > hole) found.push(before + 1);
  }
  return found;
}

/** A stretch of time with one value. */
export interface Segment {
  from: number;
  to: number;
  value: unknown;
  samples: number;
}

/**
 * Neighbouring samples of equal value as one stretch, the last one reaching to `end`. Nothing is claimed of a silence
 * longer than `hole`: a stretch ends with the last sample before it.
 */
export function segments({ ts, values }: Samples, end: number, hole = Infinity): Segment[] {
  const found: Segment[] = [];
  ts.forEach((time, i) => {
    const silent = time - (ts[i - 1] ?? time) > hole;
    const last = found.at(-1);
    // Up to this sample the value before it held, also when it is another one now.
    if (last && !silent) last.to = time;
    if (last && !silent && last.value === values[i]) last.samples += 1;
    else found.push({ from: time, to: time, value: values[i], samples: 1 });
  });
  const last = found.at(-1);
  if (last && end - (ts.at(-1) ?? end) <= hole) last.to = Math.max(last.to, end);
  return found;
}
