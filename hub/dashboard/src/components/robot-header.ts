import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { sentence } from "../api/http";
import { acceptRobot, returnRobot, type Robot } from "../api/robots";
import { counted } from "../format/count";
import { behind, flapping, givenUp, presenceDetail, shortSpan, skewOf, skewText, syncing } from "../format/link";
import { ago, dateTime } from "../format/time";
import { geo, pose } from "../format/values";
import { SecondsController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { PageElement } from "./element";
import { shapes } from "./icons";
import "./robot-stop";
import { batteryBar, healthMark, logicalMark, modeChip, presenceMark } from "./status";

/** Who the robot is and how it is, at a glance. */
@customElement("by-robot-header")
export class RobotHeader extends PageElement {
  @property({ attribute: false }) robot!: Robot;
  @state() private error = "";
  @state() private waiting = false;

  constructor() {
    super();
    new SecondsController(this);
  }

  override render() {
    const { id, spec, status } = this.robot;
    return html`
      <nav class="crumbs small" aria-label="Breadcrumb">
        <a href="/">Fleet</a><span aria-hidden="true">/</span><span>${spec.name || id}</span>
      </nav>
      <div class="names">
        <h1>${spec.name || id}</h1>
        ${modeChip(status.state)}
        <p class="muted">
          <span class="mono">${id}</span> · ${spec.type}${spec.group ? html` · ${spec.group}` : nothing}
        </p>
        ${(spec.tags ?? []).map((tag) => html`<span class="chip">${tag}</span>`)}
        <by-robot-stop .robot=${this.robot}></by-robot-stop>
      </div>
      ${status.registration === "pending" ? this.#pending() : nothing}
      ${status.registration === "retired" ? this.#retired() : nothing} ${this.#mode()} ${this.#health()}
      <dl class="facts">${this.#facts()}</dl>
    `;
  }

  #facts(): TemplateResult[] {
    const { id, status } = this.robot;
    const { presence, state } = status;
    const now = fleet.now();
    const lost = givenUp(this.robot);
    const facts = [
      fact("Presence", html`<span data-testid="presence-${id}" data-presence=${presence.status}>${presenceMark(presence.status)}</span>`,
        html`<span data-testid="presence-detail-${id}" title=${presence.since ? dateTime(presence.since) : ""}>${presenceDetail(presence, now)}</span>${unsteady(presence)}`),
      fact("Data", this.#sync(), lost ? html`<span class="mark tone-warn" data-testid="dropped-${id}">${shapes.alert}${counted(lost, "message")} given up</span>` : nothing),
      fact("Status", logicalMark(status.logical), state?.doing ?? nothing),
      fact("Health", state ? healthMark(state.health) : "–", state && state.health_reasons?.length ? plural(state.health_reasons.length) : nothing),
      fact("Battery", batteryBar(state?.battery), electrical(state?.battery)),
      fact("Last seen", ago(status.last_seen, now), status.last_seen ? dateTime(status.last_seen) : nothing),
    ]; // prettier-ignore
    const skew = skewOf(this.robot);
    if (skew) {
      const within = skew.error === null ? "" : `known to ${shortSpan(skew.error)}`;
      facts.push(fact("Robot's clock", html`<span data-testid="clock-${id}">${skewText(skew)}</span>`, within));
    }
    if (state?.pose)
      facts.push(fact("Position", html`<span class="tight">${pose(state.pose)}</span>`, `on ${state.pose.frame}`));
    if (state?.geo)
      facts.push(fact("On Earth", html`<span class="tight">${geo(state.geo)}</span>`, heading(state.geo.heading)));
    return facts;
  }

  /** Whether everything that the robot has is here. */
  #sync(): TemplateResult {
    const { id, status } = this.robot;
    const text = syncing(this.robot);
    const known = status.sync !== null || status.state?.link != null;
    const look = text ? "busy" : known ? "ok" : "off";
    const shape = text ? shapes.up : known ? shapes.disc : shapes.dots;
    return html`<span class="mark tight tone-${look}" data-testid="sync-${id}" data-behind=${behind(this.robot)}
      >${shape}<span>${text ? sentenceCase(text) : known ? "Up to date" : "Unknown"}</span></span
    >`;
  }

  #mode(): TemplateResult | typeof nothing {
    const state = this.robot.status.state;
    if (state?.mode === "estop") {
      return html`<p class="notice tone-bad" role="status">
        ${shapes.stop}<span
          ><strong>Emergency stop.</strong> ${ended(state.mode_reason)} It is cleared at the robot itself, by somebody
          who sees it; nothing here can clear it.</span
        >
      </p>`;
    }
    if (state?.mode === "safe") {
      return html`<p class="notice tone-warn" role="status">
        ${shapes.shield}<span><strong>Safe mode.</strong> ${ended(state.mode_reason)}</span>
      </p>`;
    }
    if (state?.mode === "manual" && state.mode_reason) {
      return html`<p class="notice tone-other">
        ${shapes.hand}<span><strong>Manual.</strong> ${state.mode_reason}</span>
      </p>`;
    }
    return nothing;
  }

  #health(): TemplateResult | typeof nothing {
    const state = this.robot.status.state;
    if (!state?.health_reasons?.length) return nothing;
    const tone = state.health === "error" ? "bad" : "warn";
    return html`<div class="notice tone-${tone}">
      ${shapes.diamond}
      <ul>
        ${state.health_reasons.map((reason) => html`<li>${reason}</li>`)}
      </ul>
    </div>`;
  }

  #pending(): TemplateResult {
    return html`<div class="notice tone-warn">
      ${shapes.alert}<span
        ><strong>This robot waits to be accepted.</strong> Until then nothing is asked of it. ${this.error}</span
      >
      <button
        type="button"
        class="button primary small"
        data-testid="accept-${this.robot.id}"
        ?disabled=${this.waiting}
        @click=${this.accept}
      >
        Accept
      </button>
    </div>`;
  }

  #retired(): TemplateResult {
    const { retired } = this.robot.status;
    return html`<div class="notice tone-off" data-testid="retired-${this.robot.id}">
      ${shapes.square}<span
        ><strong>This robot is retired${retired ? ` since ${dateTime(retired)}` : ""}.</strong> What it sent stays; what
        it still sends is refused and stays on the robot. ${this.error}</span
      >
      <button type="button" class="button small" ?disabled=${this.waiting} @click=${this.comeBack}>
        Return to the fleet
      </button>
    </div>`;
  }

  private accept(): Promise<void> {
    return this.#try(acceptRobot, "It was not accepted");
  }

  private comeBack(): Promise<void> {
    return this.#try(returnRobot, "It could not return");
  }

  async #try(call: (id: string) => Promise<unknown>, failure: string): Promise<void> {
    this.waiting = true;
    try {
      await call(this.robot.id);
      this.error = "";
    } catch (error) {
      this.error = `${failure}: ${sentence(error)}`;
    } finally {
      this.waiting = false;
    }
  }
}

function fact(name: string, value: unknown, more: unknown): TemplateResult {
  return html`<div>
    <dt>${name}</dt>
    <dd>${value}</dd>
    ${more === nothing || more === "" ? nothing : html`<dd class="more">${more}</dd>`}
  </div>`;
}

function electrical(battery: NonNullable<Robot["status"]["state"]>["battery"]): string {
  const parts = [];
  if (battery?.voltage != null) parts.push(`${battery.voltage.toFixed(1)} V`);
  if (battery?.current != null) parts.push(`${battery.current.toFixed(1)} A`);
  if (battery?.charging) parts.push("charging");
  return parts.join(" · ");
}

/** The robot's reason as a sentence of its own. */
function ended(reason: string | null | undefined): string {
  if (!reason) return "The robot gives no reason.";
  return /[.!?]$/.test(reason) ? reason : `${reason}.`;
}

function unsteady(presence: Robot["status"]["presence"]): TemplateResult | typeof nothing {
  const text = flapping(presence);
  return text ? html`<br /><span class="mark tone-warn">${shapes.diamond}${text}</span>` : nothing;
}

const sentenceCase = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const plural = (count: number): string => (count === 1 ? "1 reason" : `${count} reasons`);

const heading = (degrees: number | null | undefined): string =>
  degrees == null ? "" : `heading ${Math.round(degrees)}°`;
