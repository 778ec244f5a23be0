import type { ChannelInfo } from "../api/readings";

/** Something that can be a line: a channel, or one component of a channel of positions (`pose:x`). */
export interface LineRef {
  channel: string;
  component: string | null;
}

export type ChannelKind = "line" | "states" | "none";

const COMPONENTS: Partial<Record<ChannelInfo["type"], { name: string; unit: string }[]>> = {
  pose: [
    { name: "x", unit: "m" },
    { name: "y", unit: "m" },
    { name: "yaw", unit: "rad" },
  ],
  geo: [
    { name: "lat", unit: "deg" },
    { name: "lon", unit: "deg" },
    { name: "alt", unit: "m" },
  ],
};

export function kindOf(type: ChannelInfo["type"]): ChannelKind {
  if (type === "number" || type === "integer" || type === "pose" || type === "geo") return "line";
  return type === "object" ? "none" : "states";
}

export const isPosition = (type: ChannelInfo["type"]): boolean => type === "pose" || type === "geo";

/** What a channel offers to be drawn, as references. */
export function refsOf(channel: ChannelInfo): string[] {
  const components = COMPONENTS[channel.type];
  if (components) return components.map(({ name }) => `${channel.name}:${name}`);
  return kindOf(channel.type) === "none" ? [] : [channel.name];
}

export function parseRef(ref: string): LineRef {
  const at = ref.indexOf(":");
  return at < 0 ? { channel: ref, component: null } : { channel: ref.slice(0, at), component: ref.slice(at + 1) };
}

export function unitOf(ref: string, channel: ChannelInfo): string | null {
  const { component } = parseRef(ref);
  if (component === null) return channel.unit ?? null;
  return COMPONENTS[channel.type]?.find(({ name }) => name === component)?.unit ?? null;
}

/** A sample's number for a reference; null when it has none. */
export function numberOf(ref: LineRef, value: unknown): number | null {
  const part = ref.component === null ? value : (value as Record<string, unknown> | null)?.[ref.component];
  if (typeof part === "boolean") return part ? 1 : 0;
  return typeof part === "number" && Number.isFinite(part) ? part : null;
}

/** Charts from an address' query: every `chart` is a list of references. */
export function parseCharts(query: URLSearchParams): string[][] | null {
  const all = query.getAll("chart");
  return all.length === 0 ? null : all.map((text) => text.split(",").filter(Boolean));
}

const WANTED = [
  /temperature|temp$/,
  /force|torque|effort/,
  /battery.*(level|voltage)|soc/,
  /speed|velocity/,
  /signal|rssi/,
];
const MOST_DEFAULTS = 3;
const MOST_LINES = 3;

/** Charts for somebody who has chosen none: what people look at first, channels of one kind and unit together. */
export function defaultCharts(channels: readonly ChannelInfo[]): string[][] {
  const lines = channels.filter(({ type }) => type === "number" || type === "integer");
  const charts: string[][] = [];
  const used = new Set<string>();
  const add = (start: ChannelInfo): void => {
    if (used.has(start.name) || charts.length >= MOST_DEFAULTS) return;
    const last = start.name.split(".").at(-1);
    const alike = lines.filter(
      ({ name, unit }) => !used.has(name) && unit === start.unit && name.split(".").at(-1) === last,
    );
    const names = alike.slice(0, MOST_LINES).map(({ name }) => name);
    for (const name of names) used.add(name);
    charts.push(names);
  };
  for (const pattern of WANTED) {
    const found = lines.find(({ name }) => pattern.test(name));
    if (found) add(found);
  }
  for (const channel of lines) add(channel);
  const position = channels.find(({ type }) => isPosition(type));
  if (charts.length === 0 && position) charts.push(refsOf(position).slice(0, 2));
  return charts;
}
