import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { ChannelInfo, LatestReading } from "../api/readings";
import { kindOf, refsOf } from "../chart/refs";
import { ago } from "../format/time";
import { reading } from "../format/values";
import { SecondsController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { PageElement } from "./element";
import { signs } from "./icons";

/** A robot's channels with their latest values. Says `toggle` (detail: a reference to draw, or to draw no longer). */
@customElement("by-channel-list")
export class ChannelList extends PageElement {
  @property({ attribute: false }) channels: readonly ChannelInfo[] = [];
  @property({ attribute: false }) latest: ReadonlyMap<string, Pick<LatestReading, "ts" | "value">> = new Map();
  @property({ attribute: false }) drawn: ReadonlySet<string> = new Set();
  @state() private text = "";

  constructor() {
    super();
    new SecondsController(this);
  }

  override render() {
    const wanted = this.text.toLowerCase();
    const shown = this.channels.filter(({ name }) => name.toLowerCase().includes(wanted));
    return html`
      ${
        this.channels.length > 8
          ? html`<label class="find"
              ><span class="visually-hidden">Filter channels</span>
              <input
                class="input"
                type="search"
                placeholder="Filter channels"
                @input=${(event: InputEvent) => (this.text = (event.target as HTMLInputElement).value)}
            /></label>`
          : nothing
      }
      <ul>
        ${shown.map((channel) => this.#item(channel))}
      </ul>
      ${this.channels.length === 0 ? html`<p class="empty muted">No channel yet. They appear as the robot sends telemetry.</p>` : nothing}
    `;
  }

  #item(channel: ChannelInfo): TemplateResult {
    const latest = this.latest.get(channel.name);
    const value = latest ? reading(channel.name, channel.type, channel.unit, latest.value) : "–";
    const refs = refsOf(channel);
    return html`<li data-testid="channel-${channel.name}">
      <span class="name" title=${channel.name}>${channel.name}</span>
      <span class="value" title=${value}>${value}</span>
      <span class="age muted">${latest ? ago(latest.ts, fleet.now()) : ""}</span>
      <span class="draw"
        >${refs.length === 1 && refs[0] !== undefined ? this.#toggle(refs[0], "") : refs.map((ref) => this.#toggle(ref, ref.split(":")[1] ?? ""))}
        ${kindOf(channel.type) === "none" ? html`<span class="muted small">${channel.type}</span>` : nothing}</span
      >
    </li>`;
  }

  #toggle(ref: string, label: string): TemplateResult {
    const on = this.drawn.has(ref);
    return html`<button
      type="button"
      class="toggle"
      aria-pressed=${on ? "true" : "false"}
      aria-label="${on ? "Remove" : "Draw"} ${ref}"
      title=${on ? "Remove from charts" : "Draw a chart"}
      @click=${() => this.dispatchEvent(new CustomEvent("toggle", { detail: ref }))}
    >
      ${label || signs.chart}
    </button>`;
  }
}
