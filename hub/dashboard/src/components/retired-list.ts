import { html, nothing } from "lit";
import { customElement, state } from "lit/decorators.js";
import { isAbort, sentence } from "../api/http";
import { getRetired, type Robot } from "../api/robots";
import { dateTime } from "../format/time";
import { FleetController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { robotPath } from "../routing/router";
import { PageElement } from "./element";

/** Robots that have left the fleet; their pages still show what they sent. */
@customElement("by-retired-list")
export class RetiredList extends PageElement {
  @state() private robots: readonly Robot[] | null = null;
  @state() private error = "";
  #abort = new AbortController();
  #asked = "";

  constructor() {
    super();
    new FleetController(this);
  }

  override willUpdate(): void {
    // A robot that leaves or returns changes the number of the others.
    const asked = `${fleet.session}/${fleet.state.robots.size}`;
    if (asked === this.#asked) return;
    this.#asked = asked;
    void this.#load();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#abort.abort();
  }

  override render() {
    if (this.error) return html`<p class="notice tone-bad" role="alert">They could not be loaded: ${this.error}</p>`;
    if (this.robots === null) return html`<p class="muted">Loading …</p>`;
    if (this.robots.length === 0) return html`<p class="muted">None. A robot is retired in its settings.</p>`;
    return html`<ul class="retired">
      ${this.robots.map(
        ({ id, spec, status }) =>
          html`<li data-testid="retired-row-${id}">
            <a href=${robotPath(id)}>${spec.name || id}</a>
            ${spec.name && spec.name !== id ? html`<span class="mono small muted">${id}</span>` : nothing}
            <span class="muted small">${status.retired === null ? "" : `since ${dateTime(status.retired)}`}</span>
          </li>`,
      )}
    </ul>`;
  }

  async #load(): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      const { items } = await getRetired(signal);
      if (signal.aborted) return;
      this.robots = items.filter(({ status }) => status.registration === "retired");
      this.error = "";
    } catch (error) {
      if (!signal.aborted && !isAbort(error)) this.error = sentence(error);
    }
  }
}
