import type { Command, CommandStatus } from "../api/commands";
import type { EventView, Robot } from "../api/models.gen";
import type { Tone } from "../components/status";

/** What every robot understands. There is none that clears an emergency stop, which is done at the robot. */
export const STOP = "safety.stop";
/** Seconds that a stop waits for a robot that is away. */
export const STOP_EXPIRES = 60;

interface Words {
  tone: Tone;
  text: string;
  /** What it means for whoever asked. */
  meaning: string;
}

export const STATUS: Record<CommandStatus, Words> = {
  queued: { tone: "off", text: "Queued", meaning: "kept by the hub, and not sent yet" },
  sent: { tone: "busy", text: "Sent", meaning: "sent, the robot has not answered yet" },
  accepted: { tone: "busy", text: "Accepted", meaning: "the robot has it" },
  running: { tone: "busy", text: "Running", meaning: "the robot is at it" },
  succeeded: { tone: "ok", text: "Done", meaning: "the robot has done it" },
  failed: { tone: "bad", text: "Failed", meaning: "the robot could not do it" },
  rejected: { tone: "warn", text: "Rejected", meaning: "the robot refused" },
  expired: { tone: "warn", text: "Expired", meaning: "it was not begun in time" },
  cancelled: { tone: "off", text: "Cancelled", meaning: "it was cancelled" },
};

const OPEN: readonly CommandStatus[] = ["queued", "sent", "accepted", "running"];

/** Whether something is still to be expected of it. */
export const isOpen = (command: Command): boolean => OPEN.includes(command.status.status);

/** Where a command is, in one sentence: why, if there is a reason, or else what its status means. */
export function progressOf(command: Command): string {
  const { status, reason, progress, late } = command.status;
  const words = STATUS[status];
  const share = status === "running" && progress != null ? ` (${Math.round(progress * 100)} %)` : "";
  const after = late ? "; the answer came after the hub had given it up" : "";
  return `${reason || words.meaning}${share}${after}`;
}

/** What a stop is asked about with: whether it reaches the robot now. */
export function stopQuestion(robot: Robot): string {
  const name = robot.spec.name || robot.id;
  if (robot.status.presence.status === "online") return `Stop ${name} now?`;
  return `${name} is not connected. The request waits for it, at most ${STOP_EXPIRES} s. Ask for a stop?`;
}

/** Whether anything can be asked of the robot. */
export const canBeAsked = (robot: Robot): boolean => robot.status.registration === "accepted";

/** Changes whenever the hub tells something new about the commands of a robot. */
export function newsOf(events: readonly EventView[], robot: string): number {
  return events.find((event) => event.robot === robot && event.name.startsWith("command."))?.id ?? 0;
}

/** An id that makes asking twice harmless. */
export function newId(prefix: string, random: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array): string {
  return `${prefix}-${[...random(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** The arguments in one line. */
export function argumentsOf(command: Command): string {
  return Object.entries(command.spec.args)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(", ");
}
