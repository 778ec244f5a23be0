import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { getCalibration, type CalibrationView } from "../api/calibration";
import { requestCommand } from "../api/commands";
import { isAbort, sentence } from "../api/http";
import type { Robot } from "../api/robots";
import { EXPIRES, HISTORY, newsOf } from "../calibration/words";
import { canBeAsked, newId } from "../commands/words";
import { FleetController } from "../live/controllers";
import { fleet } from "../live/fleet";
import "../styles/calibration.css";
import "./calibration-profile";
import { PageElement } from "./element";

/** What a robot is calibrated by, with the versions of it. Read again when the robot tells of a change. */
@customElement("by-robot-calibration")
export class RobotCalibration extends PageElement {
  @property({ attribute: false }) robot!: Robot;
  @state() private view: CalibrationView | null = null;
  @state() private error = "";
  @state() private asked = "";
  #news = "";
  #abort = new AbortController();

  constructor() {
    super();
    new FleetController(this);
  }

  override willUpdate(changed: PropertyValues<this>): void {
    const before = changed.get("robot");
    if (before && before.id !== this.robot.id) this.view = null;
    const news = `${fleet.session} ${this.robot.id} ${newsOf(this.robot.status.state, fleet.state.events, this.robot.id)}`;
    if (news === this.#news) return;
    this.#news = news;
    void this.#load();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#abort.abort();
    this.#news = "";
  }

  override render() {
    return html`
      ${this.error ? html`<p class="notice tone-bad" role="alert">${this.error}</p>` : nothing}
      ${this.view ? this.#shown(this.view) : this.error ? nothing : html`<p class="muted">Loading …</p>`}
    `;
  }

  #shown(view: CalibrationView): TemplateResult {
    if (view.profiles.length === 0) return this.#empty();
    const missing = view.profiles.some((profile) => profile.missing.length > 0);
    return html`
      <div class="applied">
        <span class="muted">Applied:</span>
        <code class="mono" data-testid="calibration-hash" title="Robots with the same hash are corrected alike"
          >${view.hash ?? "nothing, as far as the robot tells"}</code
        >
        ${missing && canBeAsked(this.robot) ? this.#ask() : nothing}
        <span class="small muted" role="status">${this.asked}</span>
      </div>
      ${repeat(
        view.profiles,
        (profile) => profile.name,
        (profile) => html`<by-calibration-profile .robot=${this.robot} .profile=${profile}></by-calibration-profile>`,
      )}
    `;
  }

  #ask(): TemplateResult {
    return html`<button type="button" class="button small" ?disabled=${this.asked !== ""} @click=${this.history}>
      Ask the robot for older versions
    </button>`;
  }

  #empty(): TemplateResult {
    return html`<div class="empty">
      <h2>This robot was never calibrated</h2>
      <p class="muted">At the robot, fit a profile from samples and apply it:</p>
      <p class="command">
        <code class="mono">botyard-edge calibrate fit robot.yaml scale --channel gripper.force --set</code>
      </p>
    </div>`;
  }

  private async history(): Promise<void> {
    const id = newId("calibration", (bytes) => crypto.getRandomValues(bytes));
    try {
      await requestCommand(this.robot.id, { name: HISTORY, args: {}, expires_in: EXPIRES, id });
      this.asked = "Asked. They appear as they come.";
    } catch (error) {
      this.error = `The robot was not asked: ${sentence(error)}`;
    }
  }

  async #load(): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      const view = await getCalibration(this.robot.id, signal);
      if (signal.aborted) return;
      this.view = view;
      this.error = "";
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      this.error = sentence(error);
    }
  }
}
