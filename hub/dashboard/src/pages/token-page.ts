import { html, nothing } from "lit";
import { customElement, state } from "lit/decorators.js";
import { sentence } from "../api/http";
import { openSession } from "../api/session";
import { PageElement } from "../components/element";
import { fleet } from "../live/fleet";

/** Asks for the token when the page is opened from another machine than the hub's. */
@customElement("by-token-page")
export class TokenPage extends PageElement {
  @state() private error = "";
  @state() private waiting = false;

  override render() {
    return html`<div class="page">
      <form class="empty panel" @submit=${this.submit}>
        <h1>This hub asks for its token</h1>
        <p class="muted">
          The hub printed a token when it started for the first time. To see it again, run this on the hub's machine:
        </p>
        <p class="command"><code>botyard token</code></p>
        <label class="field"
          >Token
          <input
            class="input mono"
            name="token"
            type="password"
            autocomplete="current-password"
            required
            autofocus
            aria-invalid=${this.error ? "true" : nothing}
            aria-describedby="token-error"
          />
        </label>
        <p id="token-error" class=${this.error ? "notice tone-bad" : ""} role="alert">${this.error}</p>
        <button class="button primary" ?disabled=${this.waiting}>Continue</button>
      </form>
    </div>`;
  }

  private async submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const token = String(new FormData(event.target as HTMLFormElement).get("token") ?? "").trim();
    this.waiting = true;
    this.error = "";
    try {
      await openSession(token);
      fleet.authorized();
    } catch (error) {
      this.error = sentence(error);
    } finally {
      this.waiting = false;
    }
  }
}
