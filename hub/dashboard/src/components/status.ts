import { html, nothing, type SVGTemplateResult, type TemplateResult } from "lit";
import type { Robot, RobotStatus, State } from "../api/robots";
import { percent } from "../format/values";
import { shapes, signs } from "./icons";

export type Tone = "ok" | "busy" | "warn" | "bad" | "other" | "off";

interface Look {
  tone: Tone;
  shape: SVGTemplateResult;
  text: string;
}

export const PRESENCE: Record<RobotStatus["presence"]["status"], Look> = {
  online: { tone: "ok", shape: shapes.disc, text: "Online" },
  stale: { tone: "warn", shape: shapes.half, text: "Stale" },
  offline: { tone: "off", shape: shapes.ring, text: "Offline" },
  unknown: { tone: "off", shape: shapes.dots, text: "Unknown" },
};

export const LOGICAL: Record<RobotStatus["logical"], Look> = {
  idle: { tone: "ok", shape: shapes.pause, text: "Idle" },
  busy: { tone: "busy", shape: shapes.play, text: "Busy" },
  offline: { tone: "off", shape: shapes.dash, text: "Offline" },
  maintenance: { tone: "other", shape: shapes.square, text: "Maintenance" },
  updating: { tone: "other", shape: shapes.up, text: "Updating" },
  recovering: { tone: "warn", shape: shapes.diamond, text: "Recovering" },
  error: { tone: "bad", shape: shapes.alert, text: "Error" },
};

const HEALTH: Record<State["health"], Look> = {
  ok: { tone: "ok", shape: shapes.disc, text: "OK" },
  warning: { tone: "warn", shape: shapes.diamond, text: "Warning" },
  error: { tone: "bad", shape: shapes.alert, text: "Error" },
};

const MODES: Record<Exclude<State["mode"], "auto">, Look & { solid: boolean }> = {
  estop: { tone: "bad", shape: shapes.stop, text: "E-stop", solid: true },
  safe: { tone: "warn", shape: shapes.shield, text: "Safe mode", solid: true },
  manual: { tone: "other", shape: shapes.hand, text: "Manual", solid: false },
};

const mark = (look: Look): TemplateResult =>
  html`<span class="mark tone-${look.tone}">${look.shape}<span>${look.text}</span></span>`;

export const presenceMark = (status: RobotStatus["presence"]["status"]): TemplateResult => mark(PRESENCE[status]);
export const logicalMark = (status: RobotStatus["logical"]): TemplateResult => mark(LOGICAL[status]);
export const healthMark = (health: State["health"]): TemplateResult => mark(HEALTH[health]);

/** A chip for every mode that is not the usual one. */
export function modeChip(state: State | null | undefined): TemplateResult | typeof nothing {
  if (!state || state.mode === "auto") return nothing;
  const look = MODES[state.mode];
  const title = state.mode_reason ?? "";
  return html`<span class="chip ${look.solid ? "solid" : ""} tone-${look.tone}" title=${title}
    >${look.shape}${look.text}</span
  >`;
}

/** One colour for a robot on the map: what needs attention wins over what it does. */
export function robotTone(robot: Robot): Tone {
  const { presence, logical, state } = robot.status;
  if (presence.status === "offline" || presence.status === "unknown") return "off";
  if (state?.mode === "estop" || state?.health === "error") return "bad";
  if (state?.mode === "safe" || state?.health === "warning" || presence.status === "stale") return "warn";
  return LOGICAL[logical].tone;
}

export const needsAttention = (robot: Robot): boolean => {
  const { logical, state } = robot.status;
  if (state?.mode === "estop" || state?.mode === "safe") return true;
  return logical === "error" || (state != null && state.health !== "ok");
};

export function batteryBar(battery: State["battery"]): TemplateResult {
  if (!battery) return html`<span class="muted">–</span>`;
  const tone: Tone = battery.level < 0.15 ? "bad" : battery.level < 0.3 ? "warn" : "ok";
  const text = percent(battery.level);
  return html`<span class="battery tone-${tone}">
    <span class="bar" aria-hidden="true"><span style="width:${Math.round(battery.level * 100)}%"></span></span>
    <span>${text}</span>
    ${battery.charging ? html`<span title="Charging">${signs.bolt}<span class="visually-hidden">charging</span></span>` : nothing}
  </span>`;
}
