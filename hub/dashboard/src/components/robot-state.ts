import { html, nothing, type TemplateResult } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { Robot, State } from "../api/robots";
import { count } from "../format/count";
import { flapping, givenUp, presenceReason, shortSpan, skewOf, skewText } from "../format/link";
import { ago, dateTime } from "../format/time";
import { SecondsController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { limitName, limitThen, limitValue, nodeTrouble } from "../safety/words";
import { PageElement } from "./element";
import { shapes } from "./icons";
import type { Tone } from "./status";

const NODE: Record<string, { tone: Tone; shape: TemplateResult }> = {
  starting: { tone: "busy", shape: shapes.half },
  running: { tone: "ok", shape: shapes.disc },
  backoff: { tone: "warn", shape: shapes.diamond },
  failed: { tone: "bad", shape: shapes.alert },
  stopped: { tone: "off", shape: shapes.ring },
};

const ABOUT: [keyof NonNullable<State["about"]>, string][] = [
  ["vendor", "Vendor"],
  ["model", "Model"],
  ["serial", "Serial number"],
  ["software", "Software"],
  ["name", "Calls itself"],
  ["type", "Kind"],
];

const MODE: Record<State["mode"], string> = {
  auto: "Auto: the robot's own missions drive",
  manual: "Manual: a person drives",
  safe: "Safe: nothing drives until the cause is gone",
  estop: "Emergency stop: nothing drives",
};

/** Everything that the robot last said of itself. */
@customElement("by-robot-state")
export class RobotState extends PageElement {
  @property({ attribute: false }) robot!: Robot;

  constructor() {
    super();
    new SecondsController(this);
  }

  override render() {
    const { state, state_ts: ts } = this.robot.status;
    if (!state) return html`<p class="empty muted">The robot has not reported its state yet.</p>`;
    return html`
      <p class="muted small">Reported ${ago(ts, fleet.now())}${ts ? html` (${dateTime(ts)})` : nothing}</p>
      <div class="cards">
        <section class="panel">
          <header><h2>Mode</h2></header>
          <dl class="pairs" data-testid="mode">${this.#mode(state)}</dl>
        </section>
        <section class="panel">
          <header><h2>Software nodes</h2></header>
          ${this.#nodes(state)}
        </section>
        <section class="panel">
          <header><h2>Limits</h2></header>
          ${this.#limits(state)}
        </section>
        <section class="panel">
          <header><h2>Connection</h2></header>
          <dl class="pairs">${this.#connection(state)}</dl>
        </section>
        <section class="panel">
          <header><h2>About</h2></header>
          <dl class="pairs">${ABOUT.map(([key, text]) => pair(text, state.about?.[key]))}</dl>
          ${state.about ? nothing : html`<p class="empty muted">The robot says nothing about itself.</p>`}
        </section>
      </div>
      <details class="panel raw">
        <summary>The state as JSON</summary>
        <pre>${JSON.stringify(state, null, 2)}</pre>
      </details>
    `;
  }

  #mode(state: State) {
    return [
      pair("Mode", MODE[state.mode]),
      pair("Why", state.mode_reason ?? (state.mode === "auto" ? null : "The robot gives no reason")),
      pair("Does", state.doing ?? (state.busy ? "Something" : null)),
      state.mode === "estop" ? pair("Cleared", "At the robot itself, and nowhere else") : nothing,
    ];
  }

  #connection({ link }: State) {
    const { presence, sync, clock, last_seen: seen } = this.robot.status;
    const waiting = sync?.behind ?? link?.backlog;
    const lost = givenUp(this.robot);
    const trip = clock?.round_trip ?? link?.round_trip;
    const skew = skewOf(this.robot);
    return [
      pair("Presence", [presence.status, presenceReason(presence), flapping(presence)].filter(Boolean).join(", ")),
      pair("Since", presence.since == null ? null : dateTime(presence.since)),
      pair("Last heard", seen == null ? null : dateTime(seen)),
      pair("Messages waiting at the robot", waiting == null ? null : count(waiting)),
      pair("Messages given up", lost === null ? null : count(lost)),
      pair("Robot's clock", skew && skewText(skew)),
      pair("Robot's clock minus the hub's", skew && `${skew.ahead > 0 ? "+" : "−"}${shortSpan(skew.ahead)}`),
      pair("Round trip to the hub", trip == null ? null : shortSpan(trip)),
      pair("First met", dateTime(this.robot.created)),
    ];
  }

  #limits(state: State): TemplateResult {
    const limits = Object.entries(state.limits ?? {});
    if (limits.length === 0) return html`<p class="empty muted">The robot keeps no limits.</p>`;
    return html`<table class="plain-table" data-testid="limits">
      <tbody>
        ${limits.map(
          ([key, limit]) =>
            html`<tr>
              <td>
                ${limitName(key)}
                <div class="small muted">${limitThen(limit)}</div>
              </td>
              <td class="number">${limitValue(key, limit)}</td>
            </tr>`,
        )}
      </tbody>
    </table>`;
  }

  #nodes(state: State): TemplateResult {
    const nodes = Object.entries(state.nodes ?? {}).sort(([, a], [, b]) => rank(a.status) - rank(b.status));
    if (nodes.length === 0) return html`<p class="empty muted">The robot reports no nodes.</p>`;
    return html`<table class="plain-table">
      <thead>
        <tr>
          <th scope="col">Node</th>
          <th scope="col">Status</th>
          <th scope="col" class="number">Restarts</th>
        </tr>
      </thead>
      <tbody>
        ${nodes.map(([name, node]) => {
          const look = NODE[node.status];
          return html`<tr>
            <td>
              <span class="mono">${name}</span
              >${nodeTrouble(node) ? html`<div class="small muted">${nodeTrouble(node)}</div>` : nothing}
            </td>
            <td><span class="mark tone-${look?.tone}">${look?.shape}${node.status}</span></td>
            <td class="number">${node.restarts}</td>
          </tr>`;
        })}
      </tbody>
    </table>`;
  }
}

/** What needs looking at comes first. */
const rank = (status: string): number => ["failed", "backoff"].indexOf(status) + 1 || 3;

function pair(name: string, value: string | null | undefined): TemplateResult | typeof nothing {
  return value == null
    ? nothing
    : html`<div>
        <dt>${name}</dt>
        <dd>${value}</dd>
      </div>`;
}
