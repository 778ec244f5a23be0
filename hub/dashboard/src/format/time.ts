const SECOND = 1_000_000;

/** "now", "12 s ago", "3 min ago" ... for microseconds of the same clock. */
export function ago(ts: number | null | undefined, now: number): string {
  if (ts == null) return "never";
  const text = duration(Math.max(0, now - ts));
  return text === "0 s" || text === "1 s" ? "now" : `${text} ago`;
}

/** A length of time in its largest sensible unit, from microseconds. */
export function duration(us: number): string {
  const seconds = Math.floor(us / SECOND);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

const pad = (value: number, length = 2): string => String(value).padStart(length, "0");

/** "2026-11-21 14:03:07" in the browser's time zone. */
export function dateTime(ts: number): string {
  const date = new Date(ts / 1000);
  return `${dateOf(date)} ${clockOf(date)}`;
}

/** Time of day only, when it was today. */
export function shortTime(ts: number, now: number): string {
  const date = new Date(ts / 1000);
  return dateOf(date) === dateOf(new Date(now / 1000)) ? clockOf(date) : `${dateOf(date)} ${clockOf(date)}`;
}

export const isoTime = (ts: number): string => new Date(ts / 1000).toISOString();

/** Value of an `<input type="datetime-local">`, and back to microseconds (null when empty or nonsense). */
export function toLocalInput(ts: number): string {
  const date = new Date(ts / 1000);
  return `${dateOf(date)}T${clockOf(date)}`;
}

export function fromLocalInput(text: string): number | null {
  const time = new Date(text).getTime();
  return text === "" || Number.isNaN(time) ? null : time * 1000;
}

function dateOf(date: Date): string {
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

function clockOf(date: Date): string {
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}
