import { html } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { PageElement } from "./element";
import { signs } from "./icons";

/** A command to type, with a button that copies it where the browser allows that. */
@customElement("by-command")
export class CopyCommand extends PageElement {
  @property() text = "";
  @state() private copied = false;

  override render() {
    return html`<p class="command">
      <code>${this.text}</code>
      ${
        navigator.clipboard
          ? html`<button type="button" class="button quiet small" aria-label="Copy ${this.text}" @click=${this.copy}>
              ${signs.copy}<span aria-live="polite">${this.copied ? "Copied" : "Copy"}</span>
            </button>`
          : ""
      }
    </p>`;
  }

  private async copy(): Promise<void> {
    await navigator.clipboard.writeText(this.text);
    this.copied = true;
    setTimeout(() => (this.copied = false), 2000);
  }
}
