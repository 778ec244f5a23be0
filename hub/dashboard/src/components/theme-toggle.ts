import { html } from "lit";
import { customElement, state } from "lit/decorators.js";
import { PageElement } from "./element";
import { signs } from "./icons";

type Theme = "auto" | "light" | "dark";

const KEY = "botyard.theme";
const NEXT: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
const SIGN = { auto: signs.auto, light: signs.sun, dark: signs.moon };
const TEXT = { auto: "as the system", light: "light", dark: "dark" };

/** Told to canvases, which do not notice by themselves. */
export const THEME_CHANGED = "botyard:theme";

@customElement("by-theme-toggle")
export class ThemeToggle extends PageElement {
  @state() private theme: Theme = (document.documentElement.dataset.theme as Theme | undefined) ?? "auto";

  override render() {
    const label = `Colours: ${TEXT[this.theme]}. Change to ${TEXT[NEXT[this.theme]]}`;
    return html`<button
      class="button quiet square"
      type="button"
      aria-label=${label}
      title=${label}
      @click=${this.change}
    >
      ${SIGN[this.theme]}
    </button>`;
  }

  private change(): void {
    this.theme = NEXT[this.theme];
    const root = document.documentElement;
    if (this.theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = this.theme;
    try {
      if (this.theme === "auto") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, this.theme);
    } catch {
      // Storage is switched off: the choice lasts as long as the page.
    }
    window.dispatchEvent(new Event(THEME_CHANGED));
  }
}
