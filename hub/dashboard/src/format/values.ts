import { scaleOf } from "./units";

/** A number with as many digits as are of use to people: about four, none for noise far below the value. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e7 || size < 1e-4)) return value.toExponential(2);
  const digits = size >= 1000 || Number.isInteger(value) ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
  return value.toLocaleString("en-US", { maximumFractionDigits: digits });
}

export const percent = (share: number): string => `${Math.round(share * 100)} %`;

/** A sample's value with its unit, of whatever type it is. */
export function reading(channel: string, type: string, unit: string | null | undefined, value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "true" : "false";
  if (typeof value === "number") {
    const { factor, label } = scaleOf(channel, unit);
    return withUnit(number(value * factor), label);
  }
  if (typeof value === "string") return value;
  if (type === "pose") return pose(value as { x: number; y: number; yaw: number });
  if (type === "geo") return geo(value as { lat: number; lon: number });
  return JSON.stringify(value);
}

export function withUnit(text: string, label: string): string {
  if (!label) return text;
  return label === "°" ? text + label : `${text}\u00a0${label}`;
}

const fixed = (value: unknown, digits: number): string => (typeof value === "number" ? value.toFixed(digits) : "–");

export function pose(at: { x: number; y: number; yaw: number }): string {
  const degrees = typeof at.yaw === "number" ? (at.yaw * 180) / Math.PI : NaN;
  return `${fixed(at.x, 2)}, ${fixed(at.y, 2)} m · ${number(Math.round(degrees))}°`;
}

export function geo(at: { lat: number; lon: number; alt?: number | null }): string {
  const altitude = at.alt == null ? "" : ` · ${Math.round(at.alt)} m`;
  return `${fixed(at.lat, 5)}, ${fixed(at.lon, 5)}${altitude}`;
}

const SIZES = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/** "512 B", "2.0 KiB", "38 MiB": at least two digits that count. */
export function bytes(size: number): string {
  if (Math.abs(size) < 1024) return `${Math.round(size)} B`;
  let unit = -1;
  let rest = size;
  // What would be rounded to 1024 of a unit is 1 of the next one.
  while (Math.abs(rest) >= 1023.5 && unit < SIZES.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${rest.toFixed(Math.abs(rest) < 9.95 ? 1 : 0)} ${SIZES[unit]}`;
}

/** JSON in lines when it is JSON, else the text as it is. */
export function prettyJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
