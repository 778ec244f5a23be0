import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { FleetController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { isOwnLink, navigate, onNavigated, parse, type Route } from "../routing/router";
import "../styles/app.css";
import "./connection-state";
import { PageElement } from "./element";
import { logo, shapes } from "./icons";
import "./theme-toggle";

const NAVIGATION = [
  { page: "fleet", path: "/", text: "Fleet" },
  { page: "events", path: "/events", text: "Events" },
  { page: "store", path: "/store", text: "Store" },
  { page: "hub", path: "/hub", text: "Hub" },
];

/** Each page is a chunk of its own, loaded when it is first wanted. */
const LOADERS: Record<Route["page"] | "token", () => Promise<unknown>> = {
  fleet: () => import("../pages/fleet-page"),
  robot: () => import("../pages/robot-page"),
  events: () => import("../pages/events-page"),
  store: () => import("../pages/store-page"),
  hub: () => import("../pages/hub-page"),
  missing: () => Promise.resolve(),
  token: () => import("../pages/token-page"),
};

/** The frame around all pages: navigation, connection, and the page that the address names. */
@customElement("by-app")
export class App extends PageElement {
  @state() private route: Route = parse(location.pathname);
  @state() private loadError = "";
  #stop: (() => void) | undefined;

  constructor() {
    super();
    new FleetController(this);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#stop = onNavigated(() => this.#arrive());
    document.addEventListener("click", this.#click);
    this.#load();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#stop?.();
    document.removeEventListener("click", this.#click);
  }

  override render() {
    const current = this.route.page === "robot" ? "fleet" : this.route.page;
    return html`
      <a class="skip" href="#main" @click=${this.#skip}>Skip to content</a>
      <header class="top">
        <a class="brand" href="/">${logo}<span>Botyard</span></a>
        <nav aria-label="Main">
          ${NAVIGATION.map(
            ({ page, path, text }) =>
              html`<a href=${path} aria-current=${page === current ? "page" : nothing}>${text}</a>`,
          )}
          <a href="/api/docs">API</a>
        </nav>
        <by-connection></by-connection>
        <by-theme-toggle></by-theme-toggle>
      </header>
      ${this.#brokerBanner()}
      <main id="main" tabindex="-1">${fleet.unauthorized ? this.#token() : this.#page()}</main>
    `;
  }

  #brokerBanner(): TemplateResult | typeof nothing {
    const broker = fleet.state.hub?.broker;
    if (!broker || broker.connected || fleet.connection.state !== "live") return nothing;
    return html`<div class="notice banner tone-warn" role="status">
      ${shapes.alert}<span
        ><strong>The hub has no connection to its broker</strong> at <code>${broker.address}</code>${
          broker.error ? html`: ${broker.error}` : nothing
        }.
        Robots cannot be heard until it is back.</span
      >
    </div>`;
  }

  #token(): TemplateResult {
    void LOADERS.token();
    return html`<by-token-page></by-token-page>`;
  }

  #page(): TemplateResult {
    if (this.loadError)
      return html`<div class="page"><p class="notice tone-bad" role="alert">${this.loadError}</p></div>`;
    switch (this.route.page) {
      case "fleet":
        return html`<by-fleet-page></by-fleet-page>`;
      case "robot":
        return html`<by-robot-page .robotId=${this.route.id}></by-robot-page>`;
      case "events":
        return html`<by-events-page></by-events-page>`;
      case "store":
        return html`<by-store-page></by-store-page>`;
      case "hub":
        return html`<by-hub-page></by-hub-page>`;
      case "missing":
        return html`<div class="page">
          <div class="empty">
            <h1>There is no such page</h1>
            <p class="muted">Nothing is at <code>${this.route.path}</code>.</p>
            <p><a href="/">Go to the fleet</a></p>
          </div>
        </div>`;
    }
  }

  #arrive(): void {
    const before = this.route;
    this.route = parse(location.pathname);
    this.#load();
    if (JSON.stringify(before) === JSON.stringify(this.route)) return;
    window.scrollTo(0, 0);
    // A new page: people who listen to it start reading at its top.
    this.querySelector<HTMLElement>("#main")?.focus({ preventScroll: true });
  }

  #load(): void {
    document.title = titleOf(this.route);
    this.loadError = "";
    LOADERS[this.route.page]().catch(() => {
      // The hub was upgraded or is away, and this part of the page was not loaded before.
      this.loadError = "This page could not be loaded from the hub. Reload when the hub is back.";
    });
  }

  #skip = (event: Event): void => {
    event.preventDefault();
    this.querySelector<HTMLElement>("#main")?.focus();
  };

  #click = (event: MouseEvent): void => {
    const link = (event.target as Element | null)?.closest?.("a");
    if (!link || !isOwnLink(event, link)) return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  };
}

function titleOf(route: Route): string {
  const names = { fleet: "Fleet", events: "Events", store: "Store", hub: "Hub", missing: "Not found" };
  return `${route.page === "robot" ? route.id : names[route.page]} · Botyard`;
}
