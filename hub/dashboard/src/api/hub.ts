import { request } from "./http";
import type { HubView, QuarantinePage, SiteList } from "./models.gen";

export type { BrokerView, HubView, QuarantinedView, Site, Station, Zone } from "./models.gen";

export const getHub = (signal?: AbortSignal) => request<HubView>("GET", "/hub", { signal });

export const getSites = (signal?: AbortSignal) => request<SiteList>("GET", "/sites", { signal });

export interface QuarantineFilter {
  robot?: string | null;
  reason?: string;
}

/** A page of refused messages, newest first. */
export const getQuarantine = (filter: QuarantineFilter, cursor?: string | null, signal?: AbortSignal) =>
  request<QuarantinePage>("GET", "/quarantine", { query: { ...filter, limit: 50, cursor }, signal });
