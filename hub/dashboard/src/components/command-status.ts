import { html, type SVGTemplateResult, type TemplateResult } from "lit";
import type { Command, CommandStatus } from "../api/commands";
import { STATUS } from "../commands/words";
import { shapes } from "./icons";

const SHAPES: Record<CommandStatus, SVGTemplateResult> = {
  queued: shapes.dots,
  sent: shapes.up,
  accepted: shapes.half,
  running: shapes.play,
  succeeded: shapes.disc,
  failed: shapes.alert,
  rejected: shapes.diamond,
  expired: shapes.ring,
  cancelled: shapes.dash,
};

/** Where a command is, in one word. */
export function commandMark(command: Command): TemplateResult {
  const { status } = command.status;
  const { tone, text } = STATUS[status];
  return html`<span class="mark tone-${tone}" data-status=${status}>${SHAPES[status]}<span>${text}</span></span>`;
}
