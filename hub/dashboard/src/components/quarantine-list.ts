import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { isAbort, sentence } from "../api/http";
import { getQuarantine, type QuarantinedView } from "../api/hub";
import { ago, dateTime } from "../format/time";
import { bytes, prettyJson } from "../format/values";
import { FleetController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { robotPath } from "../routing/router";
import { PageElement } from "./element";
import "../styles/messages.css";

/** Messages that the hub refused, with the reason; of one robot or of all. */
@customElement("by-quarantine-list")
export class QuarantineList extends PageElement {
  @property() robot: string | null = null;
  @state() private items: readonly QuarantinedView[] = [];
  @state() private next: string | null = null;
  @state() private reason = "";
  @state() private loading = true;
  @state() private error = "";
  #abort = new AbortController();
  #asked = "";

  constructor() {
    super();
    new FleetController(this);
  }

  override willUpdate(): void {
    // The hub's count tells when there are new ones.
    const asked = `${fleet.session}/${this.robot}/${this.reason}/${fleet.state.hub?.counters["quarantined"] ?? ""}`;
    if (asked === this.#asked) return;
    this.#asked = asked;
    void this.#load(null);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#abort.abort();
  }

  override render() {
    const now = fleet.now();
    return html`
      ${this.error ? html`<p class="notice tone-bad" role="alert">${this.error}</p>` : nothing}
      ${
        this.reason
          ? html`<p class="small">
              Only <code>${this.reason}</code>
              <button type="button" class="button small quiet" @click=${() => (this.reason = "")}>Show all</button>
            </p>`
          : nothing
      }
      <ol class="messages">
        ${this.items.map((item) => this.#item(item, now))}
      </ol>
      ${
        this.items.length === 0 && !this.error
          ? html`<p class="muted">
              ${this.loading ? "Loading …" : "Nothing was refused. Messages that break the contract are kept here, with the reason."}
            </p>`
          : nothing
      }
      ${
        this.next !== null
          ? html`<p>
              <button type="button" class="button" ?disabled=${this.loading} @click=${() => this.#load(this.next)}>
                Load more
              </button>
            </p>`
          : nothing
      }
    `;
  }

  #item(item: QuarantinedView, now: number): TemplateResult {
    return html`<li data-testid="quarantine-${item.id}">
      <p class="head">
        <button
          type="button"
          class="chip tone-warn"
          title="Show only these"
          @click=${() => (this.reason = item.reason)}
        >
          ${item.reason}
        </button>
        ${item.robot && this.robot === null ? html`<a href=${robotPath(item.robot)}>${item.robot}</a>` : nothing}
        <span class="muted small" title=${dateTime(item.received)}
          >${ago(item.received, now)} · ${bytes(item.size)}</span
        >
      </p>
      <p class="detail">${item.detail}</p>
      <details>
        <summary>${item.topic ?? "Beginning of the message"}</summary>
        <pre>${prettyJson(item.payload)}</pre>
      </details>
    </li>`;
  }

  async #load(cursor: string | null): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.loading = true;
    try {
      const page = await getQuarantine({ robot: this.robot, reason: this.reason }, cursor, signal);
      this.items = cursor === null ? page.items : [...this.items, ...page.items];
      this.next = page.next ?? null;
      this.error = "";
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      this.error = sentence(error);
    }
    this.loading = false;
  }
}
