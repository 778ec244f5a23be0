import { html } from "lit";
import { customElement } from "lit/decorators.js";
import { duration } from "../format/time";
import { FleetController, SecondsController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { PageElement } from "./element";
import { shapes } from "./icons";

/** How the page is connected to the hub, and the hub to its broker. */
@customElement("by-connection")
export class ConnectionState extends PageElement {
  constructor() {
    super();
    new FleetController(this);
    new SecondsController(this);
  }

  override render() {
    if (fleet.unauthorized) {
      return html`<span class="chip tone-warn" data-testid="connection" data-state="offline"
        >${shapes.alert}Token needed</span
      >`;
    }
    const { state, since } = fleet.connection;
    const broker = fleet.state.hub?.broker;
    const brokerDown = state === "live" && broker !== undefined && !broker.connected;
    const lost = duration(Math.max(0, Date.now() - since) * 1000);
    const look = {
      live: { tone: brokerDown ? "warn" : "ok", shape: brokerDown ? shapes.alert : shapes.disc },
      reconnecting: { tone: "warn", shape: shapes.half },
      offline: { tone: "bad", shape: shapes.ring },
    }[state];
    const text = brokerDown ? "Broker down" : { live: "Live", reconnecting: "Reconnecting", offline: "Offline" }[state];
    const spoken = {
      live: brokerDown ? `Connected to the hub; the hub has no connection to its broker.` : "Connected to the hub.",
      reconnecting: "Connection to the hub lost, reconnecting.",
      offline: "No connection to the hub.",
    }[state];
    const title = brokerDown
      ? `The hub cannot reach its broker at ${broker.address}: ${broker.error ?? "not connected"}`
      : spoken;
    return html`<span
        class="chip tone-${look.tone}"
        data-testid="connection"
        data-state=${state}
        data-broker=${broker ? (broker.connected ? "connected" : "disconnected") : "unknown"}
        title=${title}
      >
        ${look.shape}<span>${text}</span>${state === "live" ? "" : html`<span aria-hidden="true">${lost}</span>`}
      </span>
      <span class="visually-hidden" role="status" aria-live="polite">${spoken}</span>`;
  }
}
