import { request } from "./http";
import type { EventPage, EventView } from "./models.gen";

export type { EventPage, EventView } from "./models.gen";

export type Severity = EventView["severity"];
export const SEVERITIES: readonly Severity[] = ["debug", "info", "warning", "error", "critical"];

export interface EventFilter {
  robot?: string | null;
  severity?: readonly Severity[];
  name?: string;
  from?: number | null;
  to?: number | null;
}

/** A page of events, newest first. */
export const getEvents = (filter: EventFilter, cursor?: string | null, signal?: AbortSignal) =>
  request<EventPage>("GET", "/events", { query: { ...filter, limit: 100, cursor }, signal });

/** Whether an event belongs to what the filter asks for, as the hub decides it. */
export function matches(filter: EventFilter, event: EventView): boolean {
  if (filter.robot && event.robot !== filter.robot) return false;
  if (filter.severity?.length && !filter.severity.includes(event.severity)) return false;
  if (filter.name && event.name !== filter.name && !event.name.startsWith(`${filter.name}.`)) return false;
  if (filter.from != null && event.ts < filter.from) return false;
  return filter.to == null || event.ts < filter.to;
}
