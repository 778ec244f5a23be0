import type { StoreReport } from "../api/store";
import { roomOf } from "./words";

const DAY = 86_400e6;
const HOUR = 3600e6;

/** What the chart of sizes draws, side by side on common times (seconds): size so far, forecast, and what fits. */
export interface Sizes {
  data: [number[], (number | null)[], (number | null)[], (number | null)[]];
  /** Whether there is a forecast in it. */
  ahead: boolean;
  /** The most that fits, when the chart comes near it; bytes. */
  capacity: number | null;
}

/** Further ahead than this many times what is known, a straight line says nothing. */
const FARTHEST = 4;

/** The history, and ahead of it the present growth up to the day when it is full, or as far as the history reaches back. */
export function sizesOf(store: StoreReport, now: number): Sizes {
  const history = store.history.filter(({ ts }) => ts <= now);
  const times = history.map(({ ts }) => ts / 1e6);
  const sizes: (number | null)[] = history.map(({ bytes }) => bytes);
  const last = history.at(-1);
  if (!last || last.ts < now) {
    times.push(now / 1e6);
    sizes.push(store.bytes);
  }
  const known = Math.max(HOUR, now - (history[0]?.ts ?? now));
  const growth = store.growth_bytes_per_day;
  const ahead = growth !== null && history.length > 1;
  const blank = times.map((): number | null => null);
  if (!ahead) return { data: [times, sizes, blank, [...blank]], ahead, capacity: null };

  const full = store.full_at !== null && store.full_at > now && store.full_at - now <= FARTHEST * known;
  const end = full ? (store.full_at ?? now) : now + known;
  const expected = Math.max(0, store.bytes + (growth * (end - now)) / DAY);
  const room = roomOf(store);
  const capacity = full && room !== null ? store.bytes + room : null;
  const forecast = [...blank.slice(0, -1), store.bytes, capacity ?? expected];
  const limit = [...times, end / 1e6].map(() => capacity);
  return { data: [[...times, end / 1e6], [...sizes, null], forecast, limit], ahead, capacity };
}
