import { request } from "./http";
import type { Command, CommandCreate, CommandDetail, CommandPage } from "./models.gen";

export type { Command, CommandCreate, CommandDetail } from "./models.gen";

export type CommandStatus = Command["status"]["status"];

const path = (robot: string): string => `/robots/${encodeURIComponent(robot)}/commands`;

/** A page of a robot's commands, newest first. */
export const getCommands = (robot: string, cursor?: string | null, signal?: AbortSignal) =>
  request<CommandPage>("GET", path(robot), { query: { limit: 30, cursor }, signal });

export const getCommand = (robot: string, id: string, signal?: AbortSignal) =>
  request<CommandDetail>("GET", `${path(robot)}/${encodeURIComponent(id)}`, { signal });

/** Ask a robot to do something. With an id, asking twice does nothing more. */
export const requestCommand = (robot: string, command: CommandCreate) =>
  request<Command>("POST", path(robot), { body: command });

/** Cancel a command that was not sent yet. */
export const cancelCommand = (robot: string, id: string) =>
  request<Command>("POST", `${path(robot)}/${encodeURIComponent(id)}/cancel`);
