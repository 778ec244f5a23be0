import { request } from "./http";

export type StoreClassName = "telemetry" | "rollups_minute" | "rollups_hour" | "events" | "reports" | "quarantine";

/** One class of data. `count` is of samples, buckets or rows; times in microseconds. */
export interface StoreClass {
  name: StoreClassName;
  count: number;
  bytes: number;
  oldest: number | null;
  newest: number | null;
  /** Older data is deleted; null keeps it for ever. */
  keep_days: number | null;
  /** Beyond this size the oldest data is deleted; null sets no limit. */
  keep_bytes: number | null;
}

/** The store's size at a time (microseconds). */
export interface StoreSize {
  ts: number;
  bytes: number;
}

/** What the store holds and how it grows. */
export interface StoreReport {
  engine: "sqlite" | "postgresql";
  /** Where it is, without a password. */
  address: string;
  bytes: number;
  /** What is left on the disk, where the hub can see that. */
  free_bytes: number | null;
  /** The most that the store may take. */
  limit_bytes: number | null;
  /** What is committed and not compacted yet. */
  waiting: { messages: number; bytes: number };
  classes: StoreClass[];
  bytes_per_sample: number | null;
  /** Null as long as it is too early to tell. */
  growth_bytes_per_day: number | null;
  history: StoreSize[];
  /** When the disk or the limit is reached at this growth; microseconds. */
  full_at: number | null;
}

export const getStore = (signal?: AbortSignal) => request<StoreReport>("GET", "/store", { signal });
