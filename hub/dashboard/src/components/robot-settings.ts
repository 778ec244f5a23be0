import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { ApiError, sentence } from "../api/http";
import { deleteRobot, patchRobot, retireRobot, type Robot, type RobotPatch } from "../api/robots";
import { navigate } from "../routing/router";
import { PageElement } from "./element";
import { shapes } from "./icons";

/** What people say about a robot, to be changed. Only changed fields are sent, so that two people do not undo each other. */
@customElement("by-robot-settings")
export class RobotSettings extends PageElement {
  @property({ attribute: false }) robot!: Robot;
  @state() private busy = false;
  @state() private saved = false;
  @state() private error = "";
  @state() private field = "";
  /** What waits for a second click. */
  @state() private asking: "retire" | "remove" | null = null;

  override render() {
    const { spec } = this.robot;
    return html`
      <form class="panel settings" @submit=${this.save} @input=${() => (this.saved = false)}>
        <div class="body">
          ${this.#input("name", "Name", spec.name, "", true)}
          <div class="two">
            ${this.#input("type", "Type", spec.type, "", true)}
            ${this.#input("group", "Group", spec.group ?? "", "Robots that belong together")}
          </div>
          ${this.#input("tags", "Tags", (spec.tags ?? []).join(", "), "Separated by commas")}
          <label class="field"
            >Notes<textarea class="input" name="notes" rows="4" .defaultValue=${spec.notes ?? ""}></textarea>
          </label>
          <div class="actions">
            <button class="button primary" ?disabled=${this.busy}>Save</button>
            <span role="status" aria-live="polite" data-testid="settings-result">
              ${this.saved ? html`<span class="mark tone-ok">${shapes.disc}Saved</span>` : nothing}
              ${this.error ? html`<span class="mark tone-bad wrap">${shapes.alert}<span>${this.error}</span></span>` : nothing}
            </span>
          </div>
        </div>
      </form>
      ${
        this.robot.status.registration === "accepted"
          ? this.#last(
              "retire",
              "Retire",
              "Lets the robot leave the fleet and keeps everything that it sent. What it still sends is refused and stays on the robot until it returns.",
            )
          : nothing
      }
      ${this.#last("remove", "Remove", "Forgets the robot and everything that it sent. If it is still running, it registers anew.")}
    `;
  }

  #input(name: string, label: string, value: string, hint: string, required = false): TemplateResult {
    const wrong = this.field === name;
    return html`<label class="field"
      >${label}
      <input
        class="input"
        name=${name}
        .defaultValue=${value}
        ?required=${required}
        aria-invalid=${wrong ? "true" : nothing}
      />
      ${hint ? html`<span class="hint small">${hint}</span>` : nothing}
    </label>`;
  }

  /** Something that is asked twice. */
  #last(what: "retire" | "remove", word: string, text: string): TemplateResult {
    const go = what === "retire" ? this.leave : this.forget;
    return html`<section class="panel settings">
      <div class="body remove">
        <div>
          <h2>${word} this robot</h2>
          <p class="muted small">${text}</p>
        </div>
        ${
          this.asking === what
            ? html`<span class="actions">
                <button type="button" class="button" @click=${() => (this.asking = null)}>Keep</button>
                <button type="button" class="button danger" ?disabled=${this.busy} @click=${go}>
                  ${word} ${this.robot.spec.name || this.robot.id}
                </button>
              </span>`
            : html`<button type="button" class="button danger" @click=${() => (this.asking = what)}>${word} …</button>`
        }
      </div>
    </section>`;
  }

  private async save(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const patch = changes(this.robot, new FormData(event.target as HTMLFormElement));
    await this.#try(async () => {
      if (Object.keys(patch).length > 0) await patchRobot(this.robot.id, patch);
      this.saved = true;
    });
  }

  private async forget(): Promise<void> {
    await this.#try(async () => {
      await deleteRobot(this.robot.id);
      navigate("/");
    });
  }

  private async leave(): Promise<void> {
    await this.#try(async () => {
      await retireRobot(this.robot.id);
      this.asking = null;
    });
  }

  async #try(action: () => Promise<void>): Promise<void> {
    this.busy = true;
    this.saved = false;
    this.error = this.field = "";
    try {
      await action();
    } catch (error) {
      this.error = sentence(error);
      this.field = (error instanceof ApiError && error.problem.field) || "";
    } finally {
      this.busy = false;
    }
  }
}

/** What the form says differently from what is known. */
export function changes({ spec }: Robot, form: FormData): RobotPatch {
  const text = (name: string): string => String(form.get(name) ?? "").trim();
  const patch: RobotPatch = {};
  if (text("name") !== spec.name) patch.name = text("name");
  if (text("type") !== spec.type) patch.type = text("type");
  if (text("group") !== (spec.group ?? "")) patch.group = text("group") || null;
  if (text("notes") !== (spec.notes ?? "").trim()) patch.notes = text("notes");
  const tags = text("tags").split(",").map((tag) => tag.trim()).filter(Boolean); // prettier-ignore
  if (tags.join("\n") !== (spec.tags ?? []).join("\n")) patch.tags = tags;
  return patch;
}
