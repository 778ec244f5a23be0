import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { requestCommand } from "../api/commands";
import { sentence } from "../api/http";
import type { Robot } from "../api/robots";
import { canBeAsked, newsOf, progressOf, STOP, STOP_EXPIRES, stopQuestion } from "../commands/words";
import { CommandController } from "../live/command";
import { FleetController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { commandMark } from "./command-status";
import { PageElement } from "./element";
import { shapes } from "./icons";

/** Asks a robot to stop, once confirmed, and tells what becomes of it. A stop is lifted at the robot, never here. */
@customElement("by-robot-stop")
export class RobotStop extends PageElement {
  @property({ attribute: false }) robot!: Robot;
  @state() private asking = false;
  @state() private busy = false;
  @state() private error = "";
  readonly #followed = new CommandController(this);
  #news = 0;

  constructor() {
    super();
    new FleetController(this);
  }

  override willUpdate(changed: PropertyValues<this>): void {
    const before = changed.get("robot");
    if (before && before.id !== this.robot.id) {
      this.#followed.follow(null);
      this.asking = this.busy = false;
      this.error = "";
    }
    const news = newsOf(fleet.state.events, this.robot.id);
    if (news === this.#news) return;
    this.#news = news;
    this.#followed.refresh();
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
    const { command } = this.#followed;
    if (!command) return nothing;
    return html`Stop: ${commandMark(command)} <span class="muted">${progressOf(command)}</span>`;
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
      this.#followed.follow(command);
      this.asking = false;
    } catch (error) {
      if (this.robot.id === id) this.error = `The stop was not requested: ${sentence(error)}`;
    } finally {
      if (this.robot.id === id) this.busy = false;
    }
  }
}
