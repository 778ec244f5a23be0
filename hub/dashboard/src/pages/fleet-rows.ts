import type { Robot } from "../api/robots";
import { LOGICAL, needsAttention, PRESENCE } from "../components/status";
import { presenceReason, syncing } from "../format/link";

export type SortKey = "name" | "type" | "group" | "presence" | "status" | "battery" | "seen";
export interface Sort {
  key: SortKey;
  descending: boolean;
}
export type Quick = "all" | "online" | "busy" | "attention" | "pending";

/** What needs people first comes first. */
const PRESENCE_ORDER = ["stale", "online", "offline", "unknown"];
const STATUS_ORDER = ["error", "recovering", "maintenance", "updating", "busy", "idle", "offline"];

const QUICK: Record<Quick, (robot: Robot) => boolean> = {
  all: () => true,
  online: (robot) => robot.status.presence.status === "online",
  busy: (robot) => robot.status.logical === "busy",
  attention: needsAttention,
  pending: (robot) => robot.status.registration === "pending",
};

export const isQuick = (text: string | null): text is Quick => text !== null && text in QUICK;

export function counts(robots: Iterable<Robot>): Record<Quick, number> {
  const result: Record<Quick, number> = { all: 0, online: 0, busy: 0, attention: 0, pending: 0 };
  for (const robot of robots) {
    for (const quick of Object.keys(QUICK) as Quick[]) if (QUICK[quick](robot)) result[quick] += 1;
  }
  return result;
}

/** The robots to show: all words of the text occur in them, pending ones first, then in the wanted order, then by id. */
export function rows(robots: Iterable<Robot>, text: string, quick: Quick, sort: Sort): Robot[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found: Robot[] = [];
  for (const robot of robots) {
    if (!QUICK[quick](robot)) continue;
    if (words.length > 0) {
      const haystack = searchText(robot);
      if (!words.every((word) => haystack.includes(word))) continue;
    }
    found.push(robot);
  }
  const order = sort.descending ? -1 : 1;
  return found.sort((a, b) => pendingFirst(a, b) || order * compare(a, b, sort.key) || collator.compare(a.id, b.id));
}

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function pendingFirst(a: Robot, b: Robot): number {
  return Number(b.status.registration === "pending") - Number(a.status.registration === "pending");
}

function compare(a: Robot, b: Robot, key: SortKey): number {
  switch (key) {
    case "name":
      return collator.compare(a.spec.name || a.id, b.spec.name || b.id);
    case "type":
      return collator.compare(a.spec.type, b.spec.type);
    case "group":
      return collator.compare(a.spec.group ?? "\uffff", b.spec.group ?? "\uffff");
    case "presence":
      return PRESENCE_ORDER.indexOf(a.status.presence.status) - PRESENCE_ORDER.indexOf(b.status.presence.status);
    case "status":
      return urgency(a) - urgency(b);
    case "battery":
      return (a.status.state?.battery?.level ?? 2) - (b.status.state?.battery?.level ?? 2);
    case "seen":
      return (b.status.last_seen ?? 0) - (a.status.last_seen ?? 0);
  }
}

const urgency = (robot: Robot): number =>
  robot.status.state?.mode === "estop" ? -1 : STATUS_ORDER.indexOf(robot.status.logical);

function searchText(robot: Robot): string {
  const { spec, status } = robot;
  const said = [
    LOGICAL[status.logical].text,
    PRESENCE[status.presence.status].text,
    status.state?.mode,
    status.registration,
    presenceReason(status.presence),
    syncing(robot),
  ];
  return [robot.id, spec.name, spec.type, spec.group, ...(spec.tags ?? []), ...said].join(" ").toLowerCase();
}
