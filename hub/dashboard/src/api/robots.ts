import { request } from "./http";
import type { ChannelList, RawMessages, Robot, RobotCreate, RobotPage, RobotPatch } from "./models.gen";

export type { ChannelInfo, RawMessage, Robot, RobotCreate, RobotPatch, RobotSpec, RobotStatus } from "./models.gen";
export type { State } from "./models.gen";

const path = (id: string): string => `/robots/${encodeURIComponent(id)}`;

export const getRobot = (id: string, signal?: AbortSignal) => request<Robot>("GET", path(id), { signal });

export const createRobot = (robot: RobotCreate) => request<Robot>("POST", "/robots", { body: robot });

export const patchRobot = (id: string, patch: RobotPatch) => request<Robot>("PATCH", path(id), { body: patch });

export const deleteRobot = (id: string) => request<void>("DELETE", path(id));

export const acceptRobot = (id: string) => request<Robot | undefined>("POST", `${path(id)}/accept`);

export const getChannels = (id: string, signal?: AbortSignal) =>
  request<ChannelList>("GET", `${path(id)}/channels`, { signal });

export const getMessages = (id: string, signal?: AbortSignal) =>
  request<RawMessages>("GET", `${path(id)}/messages`, { signal });

/** Let a robot leave the fleet; what it sent stays. */
export const retireRobot = (id: string) => request<Robot>("POST", `${path(id)}/retire`);

export const returnRobot = (id: string) => request<Robot>("POST", `${path(id)}/return`);

/** Robots that have left the fleet. */
export const getRetired = (signal?: AbortSignal) =>
  request<RobotPage>("GET", "/robots", { query: { registration: "retired" }, signal });
