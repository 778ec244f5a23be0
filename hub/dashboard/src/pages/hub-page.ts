import { html, nothing, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import type { HubView } from "../api/hub";
import "../components/copy-command";
import { PageElement } from "../components/element";
import { shapes } from "../components/icons";
import "../components/quarantine-list";
import "../components/retired-list";
import { count } from "../format/count";
import { dateTime, duration } from "../format/time";
import { FleetController, SecondsController } from "../live/controllers";
import { fleet } from "../live/fleet";
import "../styles/hub-page.css";

/** The hub itself: what it is, its broker, what became of messages, and which ones it refused. */
@customElement("by-hub-page")
export class HubPage extends PageElement {
  constructor() {
    super();
    new FleetController(this);
    new SecondsController(this);
  }

  override render() {
    const { hub } = fleet.state;
    return html`<div class="page">
      <div class="title">
        <h1>Hub</h1>
        <a class="button" href="/api/docs">API documentation</a>
      </div>
      ${hub ? this.#cards(hub) : html`<p class="empty muted">Waiting for the hub …</p>`}
      <section class="panel retired-panel">
        <header><h2>Retired robots</h2></header>
        <div class="body"><by-retired-list></by-retired-list></div>
      </section>
      <section class="panel">
        <header><h2>Refused messages</h2></header>
        <div class="body"><by-quarantine-list></by-quarantine-list></div>
      </section>
    </div>`;
  }

  #cards(hub: HubView): TemplateResult {
    const { broker } = hub;
    const up = duration(Math.max(0, fleet.now() - hub.started));
    return html`<div class="cards hub-cards">
      <section class="panel">
        <header><h2>Hub</h2></header>
        <dl class="pairs">
          ${pair("Version", hub.version)}${pair("Running for", html`<span title=${dateTime(hub.started)}>${up}</span>`)}
          ${pair("Robots", String(fleet.state.robots.size))} ${pair("Roles", hub.roles.join(", "))}
          ${pair("New robots", hub.auto_accept ? "are accepted by themselves" : "wait to be accepted")}
        </dl>
      </section>
      <section class="panel">
        <header><h2>Broker</h2></header>
        <dl class="pairs">
          ${pair(
            "Connection",
            broker.connected
              ? html`<span class="mark tone-ok">${shapes.disc}Connected</span>`
              : html`<span class="mark tone-bad">${shapes.alert}Not connected</span>`,
          )}
          ${broker.error ? pair("Reason", broker.error) : nothing}
          ${pair("Address", html`<code>${broker.address}</code>`)}
          ${pair("Kind", broker.embedded ? "embedded, run by the hub" : "external")}
          ${hub.transports
            .filter((way) => way.connections !== null)
            .map((way) =>
              pair("Robots on the hub's own socket", html`${way.connections}, <code>${way.address}</code>`),
            )}
        </dl>
      </section>
      <section class="panel">
        <header><h2>Messages since the start</h2></header>
        <dl class="pairs counters">
          ${Object.entries(hub.counters).map(([name, messages]) => pair(name.replaceAll("_", " "), count(messages)))}
        </dl>
        ${Object.keys(hub.counters).length === 0 ? html`<p class="empty muted">None yet.</p>` : nothing}
      </section>
    </div>`;
  }
}

function pair(name: string, value: unknown): TemplateResult {
  return html`<div>
    <dt>${name}</dt>
    <dd>${value}</dd>
  </div>`;
}
