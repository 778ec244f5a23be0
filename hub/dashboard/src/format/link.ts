import type { Robot, RobotStatus } from "../api/robots";
import { count, counted } from "./count";
import { ago, duration } from "./time";

type Presence = RobotStatus["presence"];

/** Messages that wait in ordinary times, too: as many may be under way to the hub and back (`link.window` of a robot). */
const IN_FLIGHT = 64;

/** A smaller difference of clocks than this is of no interest to people; microseconds. */
const LEAST_SKEW = 50_000;

const REASONS: Record<string, string> = {
  connected: "connected",
  message: "heard",
  heartbeat: "heard",
  stopped: "stopped on purpose",
  last_will: "connection lost",
  silence: "silent",
  socket_closed: "connection lost",
  retired: "retired",
};

/** Why a robot is said to be present or not, in words; a reason that is not known here is shown as it is. */
export const presenceReason = ({ reason }: Presence): string =>
  reason ? (REASONS[reason] ?? reason.replaceAll("_", " ")) : "";

/** "since 3 min (connection lost)", or what of it is known. */
export function presenceDetail(presence: Presence, now: number): string {
  const reason = presenceReason(presence);
  if (presence.since == null) return reason;
  const length = ago(presence.since, now);
  const since = length === "now" ? "just now" : `since ${length.replace(" ago", "")}`;
  return reason ? `${since} (${reason})` : since;
}

/** "3 min, connection lost" for those that are away, "" for the others, of whom nobody asks. */
export function absence(presence: Presence, now: number): string {
  if (presence.status !== "stale" && presence.status !== "offline") return "";
  const since = presence.since == null ? "" : duration(Math.max(0, now - presence.since));
  return [since, presenceReason(presence)].filter(Boolean).join(", ");
}

/** How many messages the robot still has to hand in; 0 when it is no more than what is under way at any time. */
export function behind({ status }: Robot): number {
  const backlog = status.sync?.behind ?? status.state?.link?.backlog ?? 0;
  return backlog > IN_FLIGHT ? backlog : 0;
}

/** How many messages the robot had to give up since its outbox was made; null when it has not told. */
export const givenUp = ({ status }: Robot): number | null =>
  status.sync?.dropped ?? status.state?.link?.dropped ?? null;

/** "unsteady, 12 changes" of a robot that comes and goes, else "". */
export const flapping = ({ flapping: unsteady, changes }: Presence): string =>
  unsteady ? `unsteady, ${counted(changes, "change")}` : "";

/** "syncing, 12,400 behind" while a robot hands in what gathered without a connection, else "". */
export function syncing(robot: Robot): string {
  const messages = behind(robot);
  if (messages === 0) return "";
  const away = robot.status.presence.status === "offline";
  return away ? `${count(messages)} waiting` : `syncing, ${count(messages)} behind`;
}

/** How a robot's own clock stands to the hub's: microseconds, `ahead` negative when it is behind; `error` at most. */
export interface Skew {
  ahead: number;
  error: number | null;
}

/** What is known of a robot's clock; null for nothing. */
export function skewOf({ status }: Robot): Skew | null {
  const link = status.state?.link;
  const offset = status.clock?.offset ?? link?.clock_offset;
  if (offset == null) return null;
  const trip = status.clock ? status.clock.round_trip : link?.round_trip;
  return { ahead: -offset, error: trip == null ? null : trip / 2 };
}

/** A share of a second, seconds, or more: "250 ms", "3.2 s", "5 min", from microseconds. */
export function shortSpan(us: number): string {
  const size = Math.abs(us);
  if (size < 999.5) return `${Math.round(size)} µs`;
  if (size < 9_950) return `${(size / 1000).toFixed(1)} ms`;
  if (size < 999_500) return `${Math.round(size / 1000)} ms`;
  if (size < 59.95e6) return `${(size / 1e6).toFixed(1)} s`;
  return duration(size);
}

/** "3.2 s ahead, corrected", or "in step" when there is no difference that matters. */
export function skewText({ ahead, error }: Skew): string {
  if (Math.abs(ahead) < Math.max(LEAST_SKEW, error ?? 0)) return "in step";
  return `${shortSpan(ahead)} ${ahead > 0 ? "ahead" : "behind"}, corrected`;
}
