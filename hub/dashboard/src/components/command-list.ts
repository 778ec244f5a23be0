import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { cancelCommand, getCommands, type Command } from "../api/commands";
import { isAbort, sentence } from "../api/http";
import type { Robot } from "../api/robots";
import { argumentsOf, isOpen, newsOf, progressOf } from "../commands/words";
import { ago, dateTime } from "../format/time";
import { FleetController, SecondsController } from "../live/controllers";
import { fleet } from "../live/fleet";
import "../styles/messages.css";
import { commandMark } from "./command-status";
import { PageElement } from "./element";

const REFRESH = 2000;

/** What the robot was asked to do, newest first, and what came of it. Read again when the hub tells of a change. */
@customElement("by-command-list")
export class CommandList extends PageElement {
  @property({ attribute: false }) robot!: Robot;
  @state() private items: readonly Command[] = [];
  @state() private next: string | null = null;
  @state() private loaded = false;
  @state() private error = "";
  #news = -1;
  #session = -1;
  #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    new FleetController(this);
    new SecondsController(this);
  }

  override willUpdate(changed: PropertyValues<this>): void {
    const before = changed.get("robot");
    const news = newsOf(fleet.state.events, this.robot.id);
    if (news === this.#news && this.#session === fleet.session && (!before || before.id === this.robot.id)) return;
    this.#news = news;
    this.#session = fleet.session;
    void this.#load(null);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  override render() {
    return html`
      ${this.error ? html`<p class="notice tone-bad" role="alert">${this.error}</p>` : nothing}
      <ol class="messages" data-testid="commands">
        ${repeat(
          this.items,
          (command) => command.id,
          (command) => this.#item(command),
        )}
      </ol>
      ${this.items.length === 0 && !this.error ? this.#empty() : nothing}
      ${
        this.next === null
          ? nothing
          : html`<p class="more">
              <button type="button" class="button" @click=${() => this.#load(this.next)}>Load more</button>
            </p>`
      }
    `;
  }

  #empty(): TemplateResult {
    if (!this.loaded) return html`<p class="muted">Loading …</p>`;
    return html`<div class="empty">
      <h2>Nothing was asked of this robot yet</h2>
      <p class="muted">
        A stop is requested above. Anything else its drivers offer goes by the command line, or by the API:
      </p>
      <p class="command">
        <code class="mono">botyard robots command ${this.robot.id} goto --args '{"waypoint": "dock-1"}' --wait</code>
      </p>
    </div>`;
  }

  #item(command: Command): TemplateResult {
    const { spec, status, created, actor, id } = command;
    const given = argumentsOf(command);
    return html`<li data-testid="command-${id}">
      <div class="head">
        ${commandMark(command)}
        <strong class="mono">${spec.name}</strong>
        ${given ? html`<span class="mono small muted given">${given}</span>` : nothing}
        <time class="muted small" datetime=${new Date(created / 1000).toISOString()} title=${dateTime(created)}
          >${ago(created, fleet.now())}</time
        >
        <span class="muted small">by ${actor}</span>
        ${
          status.status === "queued"
            ? html`<button type="button" class="button small" @click=${() => this.#cancel(command)}>Cancel</button>`
            : nothing
        }
      </div>
      <p class="detail muted">${progressOf(command)}</p>
    </li>`;
  }

  async #cancel({ robot, id }: Command): Promise<void> {
    try {
      await cancelCommand(robot, id);
    } catch (error) {
      this.error = `It was not cancelled: ${sentence(error)}`;
      return;
    }
    await this.#load(null);
  }

  async #load(cursor: string | null): Promise<void> {
    this.#abort.abort();
    clearTimeout(this.#timer);
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      const page = await getCommands(this.robot.id, cursor, signal);
      if (signal.aborted) return;
      this.items = cursor === null ? page.items : [...this.items, ...page.items];
      this.next = page.next ?? null;
      this.loaded = true;
      this.error = "";
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      this.error = `The commands could not be loaded: ${sentence(error)}`;
    }
    // Progress makes no events, so what is under way is looked at now and then.
    if (cursor === null && this.items.some(isOpen)) this.#timer = setTimeout(() => void this.#load(null), REFRESH);
  }
}
