import type { State } from "../api/robots";
import { unitLabel } from "../format/units";

type Limits = NonNullable<State["limits"]>;
export type Limit = Limits[string];
type Node = NonNullable<State["nodes"]>[string];

const NAMES: Record<string, string> = {
  max_speed: "Speed",
  max_angular_speed: "Turning",
  max_acceleration: "Acceleration",
  min_battery: "Battery at least",
  max_temperature: "Temperature",
  max_tilt: "Tilt",
  geofence: "Geofence",
  keep_out: "Keep-out zones",
};
const AREAS = new Set(["geofence", "keep_out"]);
const THEN: Record<Limit["on_violation"], string> = {
  clamp: "Commands are cut down to it",
  reject: "Commands beyond it are refused",
  safe: "Beyond it the robot goes to safe mode",
};
/** What kind of end a node had. */
const REASON: Record<NonNullable<Node["reason"]>, string> = {
  error: "It failed",
  connection: "Its device was gone",
  hang: "It hung",
  budget: "It failed too often, and is not started again",
  configuration: "Its settings cannot work",
};

/** A limit's name for people; one that this page does not know keeps the robot's own name. */
export const limitName = (key: string): string => NAMES[key] ?? key.replaceAll("_", " ");

/** A limit's value with its unit; of areas, how many there are. */
export function limitValue(key: string, { value, unit }: Limit): string {
  if (AREAS.has(key)) return `${value} ${value === 1 ? "area" : "areas"}`;
  if (unit === "1") return `${Number((value * 100).toPrecision(4))} %`;
  if (unit === "rad" || unit === "rad/s")
    return `${Number(((value * 180) / Math.PI).toPrecision(4))}${unit === "rad" ? "°" : "°/s"}`;
  return `${Number(value.toPrecision(4))} ${unitLabel(unit)}`;
}

/** What becomes of whatever exceeds the limit. */
export const limitThen = (limit: Limit): string => THEN[limit.on_violation] ?? limit.on_violation;

/** Why a node ended the last time, in a few words and the robot's own; "" when it never did. */
export function nodeTrouble({ reason, error }: Node): string {
  const kind = reason ? (REASON[reason] ?? reason) : "";
  return [kind, error].filter(Boolean).join(": ");
}
