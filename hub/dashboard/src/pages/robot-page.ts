import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { keyed } from "lit/directives/keyed.js";
import { ApiError, isAbort, sentence } from "../api/http";
import { getRobot, type Robot } from "../api/robots";
import { PageElement } from "../components/element";
import "../components/command-list";
import "../components/event-list";
import "../components/message-list";
import "../components/quarantine-list";
import "../components/robot-calibration";
import "../components/robot-data";
import "../components/robot-header";
import "../components/robot-settings";
import "../components/robot-state";
import { rovingTabs } from "../components/roving";
import { FleetController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { replaceQuery } from "../routing/router";
import "../styles/robot-page.css";

const TABS = [
  { tab: "data", text: "Data" },
  { tab: "state", text: "State" },
  { tab: "calibration", text: "Calibration" },
  { tab: "commands", text: "Commands" },
  { tab: "events", text: "Events" },
  { tab: "messages", text: "Messages" },
  { tab: "refused", text: "Refused" },
  { tab: "settings", text: "Settings" },
] as const;

type Tab = (typeof TABS)[number]["tab"];

/** One robot, in tabs. */
@customElement("by-robot-page")
export class RobotPage extends PageElement {
  @property() robotId = "";
  @state() private tab: Tab = tabFromAddress();
  /** A robot that has left the fleet, of which the live feed says nothing. */
  @state() private former: Robot | null = null;
  @state() private looking = false;
  @state() private error = "";
  #asked = "";
  #abort = new AbortController();

  constructor() {
    super();
    new FleetController(this);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#abort.abort();
  }

  override willUpdate(): void {
    const { hub, robots } = fleet.state;
    if (robots.has(this.robotId)) {
      this.#asked = "";
      this.former = null;
      return;
    }
    const asked = `${fleet.session}/${this.robotId}`;
    if (hub === null || asked === this.#asked) return;
    this.#asked = asked;
    void this.#askFor(this.robotId);
  }

  override render() {
    const robot = fleet.state.robots.get(this.robotId) ?? this.former;
    if (!robot) return this.#absent();
    return html`<div class="page robot-page">
      <by-robot-header .robot=${robot}></by-robot-header>
      <div class="tabs" role="tablist" aria-label="About this robot" @keydown=${rovingTabs}>
        ${TABS.map(
          ({ tab, text }) =>
            html`<button
              type="button"
              role="tab"
              id="tab-${tab}"
              aria-controls="robot-panel"
              aria-selected=${tab === this.tab ? "true" : "false"}
              tabindex=${tab === this.tab ? 0 : -1}
              @click=${() => this.#choose(tab)}
            >
              ${text}
            </button>`,
        )}
      </div>
      <div id="robot-panel" role="tabpanel" aria-labelledby="tab-${this.tab}">
        ${keyed(robot.id, this.#panel(robot))}
      </div>
    </div>`;
  }

  override updated(changed: PropertyValues): void {
    if (!changed.has("tab")) return;
    this.querySelector('[role="tab"][aria-selected="true"]')?.scrollIntoView({ block: "nearest", inline: "center" });
  }

  #panel(robot: Robot): TemplateResult {
    switch (this.tab) {
      case "data":
        return html`<by-robot-data .robot=${robot.id}></by-robot-data>`;
      case "state":
        return html`<by-robot-state .robot=${robot}></by-robot-state>`;
      case "calibration":
        return html`<by-robot-calibration .robot=${robot}></by-robot-calibration>`;
      case "commands":
        return html`<by-command-list .robot=${robot}></by-command-list>`;
      case "events":
        return html`<by-event-list .filter=${{ robot: robot.id }}></by-event-list>`;
      case "messages":
        return html`<by-message-list .robot=${robot.id}></by-message-list>`;
      case "refused":
        return html`<by-quarantine-list .robot=${robot.id}></by-quarantine-list>`;
      case "settings":
        return html`<by-robot-settings .robot=${robot}></by-robot-settings>`;
    }
  }

  #absent(): TemplateResult {
    if (fleet.state.hub === null || this.looking) {
      const waiting = this.looking ? "Loading …" : "Waiting for the hub …";
      return html`<div class="page"><p class="empty muted">${waiting}</p></div>`;
    }
    return html`<div class="page">
      <div class="empty">
        <h1>There is no robot <code>${this.robotId}</code></h1>
        ${this.error ? html`<p class="notice tone-bad" role="alert">${this.error}</p>` : nothing}
        <p class="muted">It was removed, or has not been heard yet. This page shows it as soon as it appears.</p>
        <p><a href="/">Go to the fleet</a></p>
      </div>
    </div>`;
  }

  async #askFor(id: string): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.former = null;
    this.error = "";
    this.looking = true;
    try {
      const robot = await getRobot(id, signal);
      if (signal.aborted) return;
      this.former = robot;
      this.looking = false;
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      this.looking = false;
      if (!(error instanceof ApiError && error.status === 404)) this.error = sentence(error);
    }
  }

  #choose(tab: Tab): void {
    this.tab = tab;
    replaceQuery({ tab: tab === "data" ? null : tab });
  }
}

function tabFromAddress(): Tab {
  const wanted = new URLSearchParams(location.search).get("tab");
  return TABS.find(({ tab }) => tab === wanted)?.tab ?? "data";
}
