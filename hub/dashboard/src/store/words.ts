import type { StoreClass, StoreClassName, StoreReport } from "../api/store";
import { duration } from "../format/time";
import { bytes, percent } from "../format/values";

const DAY = 86_400e6;
const URGENT = 7 * DAY;
const SOON = 30 * DAY;

/** What a class of data is called, and what is counted of it. */
export const CLASSES: Record<StoreClassName, { text: string; unit: string }> = {
  telemetry: { text: "Telemetry", unit: "sample" },
  rollups_minute: { text: "Rollups, 1 min", unit: "bucket" },
  rollups_hour: { text: "Rollups, 1 h", unit: "bucket" },
  events: { text: "Events", unit: "row" },
  reports: { text: "Reports", unit: "row" },
  quarantine: { text: "Refused messages", unit: "row" },
};

/** A class that a newer hub has and this page does not know is shown by its own name. */
export const classText = (name: string): string =>
  CLASSES[name as StoreClassName]?.text ?? name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

/** "sample" or "samples" ... */
export const classUnit = ({ name, count }: StoreClass): string =>
  (CLASSES[name]?.unit ?? "row") + (count === 1 ? "" : "s");

/** A share as people read it: neither nothing nor everything where it is not. */
export function shareText(share: number): string {
  if (share < 0.005) return "< 1 %";
  return share < 1 && share >= 0.995 ? "> 99 %" : percent(share);
}

export interface Warning {
  tone: "bad" | "warn";
  title: string;
  text: string;
}

/** What people have to be told of the space that is left: null when it lasts for more than 30 days or nobody knows. */
export function warningOf(store: StoreReport, now: number): Warning | null {
  const limited = limitFirst(store);
  if (roomOf(store) === 0) {
    return {
      tone: "bad",
      title: limited ? "The store has reached its limit." : "The disk is full.",
      text: "The hub goes on serving what it has; robots keep their messages until there is room again.",
    };
  }
  if (store.full_at === null || store.full_at - now > SOON) return null;
  const urgent = store.full_at - now <= URGENT;
  const cure = "Keep data for a shorter time (retention), or give the store more room.";
  return {
    tone: urgent ? "bad" : "warn",
    title: `${limited ? "The store reaches its limit" : "The disk is full"} ${within(store.full_at, now)}.`,
    text: `At this growth, that is on ${dayOf(store.full_at)}. ${cure}`,
  };
}

/** Bytes that the store may still grow by, or null when nothing bounds it. */
export function roomOf({ bytes: size, free_bytes: free, limit_bytes: limit }: StoreReport): number | null {
  const left = limit === null ? Infinity : Math.max(0, limit - size);
  const room = Math.min(free ?? Infinity, left);
  return Number.isFinite(room) ? Math.max(0, room) : null;
}

/** Whether the limit that was set is nearer than the end of the disk. */
const limitFirst = ({ bytes: size, free_bytes: free, limit_bytes: limit }: StoreReport): boolean =>
  limit !== null && (free === null || limit - size < free);

function within(ts: number, now: number): string {
  const days = (ts - now) / DAY;
  if (days > 730) return `in ${Math.floor(days / 365.25)} years`;
  if (days > 60) return `in ${Math.floor(days / 30.44)} months`;
  return days <= 0 ? "any moment now" : `in ${duration(ts - now)}`;
}

/** When it will be full, as a value and a remark. */
export function forecast(store: StoreReport, now: number): { text: string; more: string } {
  if (store.growth_bytes_per_day === null) return { text: "Too early to say", more: "growth is known after an hour" };
  if (store.full_at === null) {
    return store.growth_bytes_per_day <= 0 || roomOf(store) !== null
      ? { text: "Not in sight", more: "" }
      : { text: "Unknown", more: "the hub does not see the disk" };
  }
  if (store.full_at - now > 3650 * DAY) return { text: "Not in sight", more: "in more than ten years" };
  return { text: dayOf(store.full_at), more: within(store.full_at, now) };
}

/** "+1.2 GiB", "−30 MiB", "0 B", or null when nobody knows. */
export function growthText({ growth_bytes_per_day: growth }: StoreReport): string | null {
  if (growth === null) return null;
  return `${growth < 0 ? "−" : growth > 0 ? "+" : ""}${bytes(Math.abs(growth))}`;
}

/** How long a class of data is kept: "30 days, at most 2.0 GiB". */
export function keepText({ keep_days: days, keep_bytes: most }: StoreClass): string {
  const parts = [];
  if (days !== null) parts.push(days === 1 ? "1 day" : `${Number(days.toFixed(2))} days`);
  if (most !== null) parts.push(`${parts.length ? "at most" : "At most"} ${bytes(most)}`);
  return parts.length ? parts.join(", ") : "For ever";
}

/** "2026-11-21" in the browser's time zone. */
export function dayOf(ts: number): string {
  const date = new Date(ts / 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** Telemetry as it came, before it is compacted. */
export const FRESH = "fresh_telemetry";

/** A part of what the store takes. */
export interface Part {
  name: string;
  bytes: number;
}

/** The classes, and before them the telemetry that has just come: in the first minutes there is nothing else. */
export const partsOf = ({ classes, waiting }: StoreReport): Part[] =>
  waiting.bytes > 0 ? [...classes, { name: FRESH, bytes: waiting.bytes }] : [...classes];

/** Classes with something in them, the largest first, each with its share of the whole (0 to 1). */
export function sharesOf(parts: readonly Part[]): (Part & { share: number })[] {
  const sum = parts.reduce((total, { bytes: size }) => total + size, 0);
  if (sum === 0) return [];
  return parts
    .filter(({ bytes: size }) => size > 0)
    .map(({ name, bytes: size }) => ({ name, bytes: size, share: size / sum }))
    .sort((a, b) => b.bytes - a.bytes);
}
