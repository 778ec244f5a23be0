import { LitElement } from "lit";

/** Base of all elements: drawn into the page itself, so that one style sheet, labels and links work across elements. */
export class PageElement extends LitElement {
  protected override createRenderRoot(): HTMLElement {
    return this;
  }
}
