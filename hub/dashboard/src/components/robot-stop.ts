import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { getCommand, requestCommand, type Command } from "../api/commands";
import { isAbort, sentence } from "../api/http";
import type { Robot } from "../api/robots";
import { canBeAsked, isOpen, newsOf, progressOf, STOP, STOP_EXPIRES, stopQuestion } from "../commands/words";
import { FleetController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { commandMark } from "./command-status";
import { PageElement } from "./element";
import { shapes } from "./icons";

const REFRESH = 2000;

/** Asks a robot to stop, once confirmed, and tells what becomes of it. A stop is lifted at the robot, never here. */
@customElement("by-robot-stop")
export class RobotStop extends PageElement {
  @property({ attribute: false }) robot!: Robot;
  @state() private asking = false;
  @state() private busy = false;
  @state() private error = "";
  @state() private command: Command | null = null;
  #news = 0;
  #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    new FleetController(this);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  override willUpdate(changed: PropertyValues<this>): void {
    const before = changed.get("robot");
    if (before && before.id !== this.robot.id) {
      this.#abort.abort();
      clearTimeout(this.#timer);
      this.command = null;
      this.asking = this.busy = false;
      this.error = "";
    }
    const news = newsOf(fleet.state.events, this.robot.id);
    if (news === this.#news) return;
    this.#news = news;
    if (this.command && isOpen(this.command)) void this.#follow(this.command);
  }

  override render() {
    if (!canBeAsked(this.robot)) return nothing;
    return html`
      ${this.asking ? this.#question() : this.#button()}
      <span class="outcome small" role="status" aria-live="polite" data-testid="stop-outcome">${this.#outcome()}</span>
    `;
  }

  #button(): TemplateResult {
    return html`<button
      type="button"
      class="button danger"
      data-testid="request-stop"
      ?disabled=${this.busy}
      @click=${() => (this.asking = true)}
    >
      ${shapes.stop}Request stop
    </button>`;
  }

  #question(): TemplateResult {
    return html`<span class="question" role="group" aria-label="Request stop">
      <span>${stopQuestion(this.robot)}</span>
      <button type="button" class="button" @click=${() => (this.asking = false)}>No</button>
      <button type="button" class="button danger" data-testid="confirm-stop" ?disabled=${this.busy} @click=${this.stop}>
        ${shapes.stop}Yes, stop
      </button>
    </span>`;
  }

  #outcome(): TemplateResult | typeof nothing {
    if (this.error) return html`<span class="mark tone-bad wrap">${shapes.alert}<span>${this.error}</span></span>`;
    if (!this.command) return nothing;
    return html`Stop: ${commandMark(this.command)} <span class="muted">${progressOf(this.command)}</span>`;
  }

  private async stop(): Promise<void> {
    const { id } = this.robot;
    this.busy = true;
    this.error = "";
    try {
      // Without an id of its own: who asks again wants a stop now, and not to hear what became of an earlier one whose
      // answer was lost.
      const command = await requestCommand(id, { name: STOP, args: {}, expires_in: STOP_EXPIRES });
      if (this.robot.id !== id) return;
      this.command = command;
      this.asking = false;
      void this.#follow(command);
    } catch (error) {
      if (this.robot.id === id) this.error = `The stop was not requested: ${sentence(error)}`;
    } finally {
      if (this.robot.id === id) this.busy = false;
    }
  }

  async #follow(command: Command): Promise<void> {
    this.#abort.abort();
    clearTimeout(this.#timer);
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      this.command = await getCommand(command.robot, command.id, signal);
    } catch (error) {
      if (signal.aborted || isAbort(error)) return; // anything else is tried again
    }
    if (!signal.aborted && isOpen(this.command ?? command))
      this.#timer = setTimeout(() => void this.#follow(command), REFRESH);
  }
}
