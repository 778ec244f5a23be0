import type { CalibrationProfile, CorrectionView, Profile } from "../api/calibration";
import type { CalibrationStatus, EventView, State } from "../api/models.gen";
import type { Tone } from "../components/status";

/** What every robot with an edge understands. */
export const ROLLBACK = "calibration.rollback";
export const HISTORY = "calibration.history";
/** Seconds that a change waits for a robot that is away. */
export const EXPIRES = 300;

interface Words {
  tone: Tone;
  text: string;
}

export const STATUS: Record<CalibrationStatus, Words> = {
  applied: { tone: "ok", text: "Applied" },
  off: { tone: "off", text: "Off" },
  unused: { tone: "bad", text: "Unused" },
  expired: { tone: "warn", text: "Applied, past its date" },
  drifted: { tone: "warn", text: "Drifted" },
};

export const KIND: Record<CorrectionView["kind"], string> = {
  linear: "Offset and scale",
  polynomial: "Polynomial",
  axes: "Axis alignment",
  motor: "Motor",
  wheels: "Wheels",
};

/** What a correction is about. */
export function target(correction: CorrectionView): string {
  switch (correction.kind) {
    case "axes":
      return correction.channels.join(", ");
    case "motor":
      return `${correction.command}.${correction.argument}`;
    case "wheels":
      return correction.driver;
    default:
      return correction.channel;
  }
}

/** A number as it counts in a calibration: six digits, no noise. */
export const figure = (value: number): string => String(Number(value.toPrecision(6))).replace("-", "−");

const term = (value: number, what: string): string => `${value < 0 ? "−" : "+"} ${figure(Math.abs(value))}${what}`;

/** What a correction does, as lines of arithmetic. */
export function formula(correction: CorrectionView): string[] {
  switch (correction.kind) {
    case "linear":
      return [`${figure(correction.scale)} × raw ${term(correction.offset, "")}`];
    case "polynomial": {
      const [first = 0, ...more] = correction.coefficients;
      const terms = more.map((value, index) => term(value, index === 0 ? " raw" : ` raw${power(index + 1)}`));
      const [low, high] = correction.range;
      return [[figure(first), ...terms].join(" "), `for raw values from ${figure(low)} to ${figure(high)}`];
    }
    case "axes": {
      const rows = correction.matrix.map((row, index) => `${"xyz"[index]} = (${row.map(figure).join(", ")}) · v`);
      const some = correction.offset.some((value) => value !== 0);
      return [...rows, some ? `v = raw − (${correction.offset.map(figure).join(", ")})` : "v = raw"];
    }
    case "motor":
      return [
        `forwards: ${figure(correction.gain)} × wanted + ${figure(correction.dead_band)}`,
        `backwards: ${figure(correction.gain_reverse)} × wanted − ${figure(correction.dead_band_reverse)}`,
      ];
    case "wheels":
      return [
        `radius ${figure(correction.radius_left)} m left, ${figure(correction.radius_right)} m right`,
        `track ${figure(correction.track)} m`,
      ];
  }
}

const power = (exponent: number): string => ["⁰", "¹", "²", "³", "⁴", "⁵"][exponent] ?? `^${exponent}`;

export interface Difference {
  path: string;
  before: string | null;
  after: string | null;
}

/** What a profile says beside its version: these fields are of the version itself. */
const OWN = new Set(["name", "version", "when", "who", "restores", "schema"]);

/** What differs between two versions, by path; null is version 0, that of before the first. */
export function differences(before: Profile | null, after: Profile | null): Difference[] {
  const old = flat(before);
  const fresh = flat(after);
  return [...new Set([...old.keys(), ...fresh.keys()])]
    .sort()
    .filter((path) => old.get(path) !== fresh.get(path))
    .map((path) => ({ path, before: old.get(path) ?? null, after: fresh.get(path) ?? null }));
}

function flat(profile: Profile | null): Map<string, string> {
  const found = new Map<string, string>();
  const walk = (value: unknown, path: string): void => {
    if (value === null || value === undefined || value === "") return;
    if (Array.isArray(value) && value.some((part) => Array.isArray(part)))
      return value.forEach((part, index) => walk(part, `${path}[${index}]`));
    if (Array.isArray(value)) return void found.set(path, value.map(plain).join(", "));
    if (typeof value === "object") {
      for (const [key, part] of Object.entries(value)) walk(part, path ? `${path}.${key}` : key);
      return;
    }
    found.set(path, plain(value));
  };
  for (const [key, value] of Object.entries(profile ?? {})) if (!OWN.has(key)) walk(value, key);
  return found;
}

const plain = (value: unknown): string => (typeof value === "number" ? figure(value) : String(value));

/** The version that a robot goes by, as far as it is known. */
export const current = ({ version, versions }: CalibrationProfile): Profile | undefined =>
  version === null ? versions[0] : versions.find((one) => one.version === version);

/** Changes whenever there is something new to read about the calibration of a robot. */
export function newsOf(state: State | null | undefined, events: readonly EventView[], robot: string): string {
  const told = events.find((event) => event.robot === robot && event.name.startsWith("calibration."))?.id ?? 0;
  const profiles = Object.entries(state?.calibration?.profiles ?? {});
  // Without the problems, whose figures change all the time.
  const standing = profiles.map(([name, { version, status }]) => `${name} ${version} ${status}`);
  return [told, state?.calibration?.hash ?? "", ...standing].join("\n");
}
