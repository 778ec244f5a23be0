import { html, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { isAbort, sentence } from "../api/http";
import { getMessages, type RawMessage } from "../api/robots";
import { shortTime } from "../format/time";
import { bytes, prettyJson } from "../format/values";
import { fleet } from "../live/fleet";
import "../styles/messages.css";
import { PageElement } from "./element";

const REFRESH = 2000;

/** The latest messages of a robot as they came in, read again every two seconds unless somebody reads one. */
@customElement("by-message-list")
export class MessageList extends PageElement {
  @property() robot = "";
  @state() private items: readonly RawMessage[] = [];
  @state() private loaded = false;
  @state() private paused = false;
  @state() private error = "";
  #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  override connectedCallback(): void {
    super.connectedCallback();
    this.#abort = new AbortController();
    void this.#load();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  override render() {
    const now = fleet.now();
    return html`
      <p class="controls">
        <label
          ><input type="checkbox" .checked=${!this.paused} @change=${() => (this.paused = !this.paused)} /> Refresh
          automatically</label
        >
      </p>
      ${this.error ? html`<p class="notice tone-bad" role="alert">${this.error}</p>` : nothing}
      <ol class="messages">
        ${this.items.map(
          (item) =>
            html`<li>
              <details @toggle=${this.#reads}>
                <summary>
                  <span class="mono">${item.topic.split("/").at(-1)}</span>
                  <span class="muted small">${shortTime(item.received, now)} · ${bytes(item.size)}</span>
                  <span class="mono peek">${item.payload.slice(0, 160)}</span>
                </summary>
                <p class="small muted">${item.topic}</p>
                <pre>${prettyJson(item.payload)}</pre>
              </details>
            </li>`,
        )}
      </ol>
      ${
        this.items.length === 0 && !this.error
          ? html`<p class="muted">
              ${this.loaded ? "The hub has heard nothing of this robot since its start." : "Loading …"}
            </p>`
          : nothing
      }
    `;
  }

  #reads = (event: Event): void => {
    if ((event.target as HTMLDetailsElement).open) this.paused = true;
  };

  async #load(): Promise<void> {
    const { signal } = this.#abort;
    try {
      if (!this.paused) this.items = (await getMessages(this.robot, signal)).items;
      this.error = "";
      this.loaded = true;
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      this.error = sentence(error);
    }
    if (!signal.aborted) this.#timer = setTimeout(() => void this.#load(), REFRESH);
  }
}
