import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { acceptRobot, type Robot } from "../api/robots";
import { sentence } from "../api/http";
import { absence, behind, flapping, syncing } from "../format/link";
import { ago, dateTime } from "../format/time";
import { SecondsController } from "../live/controllers";
import { fleet } from "../live/fleet";
import type { Sort, SortKey } from "../pages/fleet-rows";
import { navigate, robotPath } from "../routing/router";
import "../styles/robot-table.css";
import { PageElement } from "./element";
import { shapes } from "./icons";
import { batteryBar, logicalMark, modeChip, presenceMark } from "./status";
import { visibleRange, type Range } from "./window";

const COLUMNS: { key: SortKey; text: string }[] = [
  { key: "name", text: "Robot" },
  { key: "type", text: "Type" },
  { key: "group", text: "Group" },
  { key: "presence", text: "Presence" },
  { key: "status", text: "Status" },
  { key: "battery", text: "Battery" },
  { key: "seen", text: "Last seen" },
];

const PAGE_ROWS = 10;

/**
 * The robots as a table that draws only the rows in view, so that thousands are no burden.
 * Says `sort` (detail: Sort) and `select` (detail: robot id).
 */
@customElement("by-robot-table")
export class RobotTable extends PageElement {
  @property({ attribute: false }) robots: readonly Robot[] = [];
  @property({ attribute: false }) sort: Sort = { key: "name", descending: false };
  @property({ attribute: false }) selected: string | null = null;
  @state() private range: Range = { first: 0, last: 60 };
  @state() private error = "";
  @state() private accepting: ReadonlySet<string> = new Set();
  #narrow = matchMedia("(max-width: 640px)");
  #resize = new ResizeObserver(() => this.#measure());

  constructor() {
    super();
    new SecondsController(this);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    // Scroll events do not bubble, but they can be captured: the page scrolls on a phone, the table elsewhere.
    window.addEventListener("scroll", this.#measure, { capture: true, passive: true });
    this.#resize.observe(this);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    window.removeEventListener("scroll", this.#measure, { capture: true });
    this.#resize.disconnect();
  }

  private get rowHeight(): number {
    return this.#narrow.matches ? 84 : 52;
  }

  override render() {
    const { first, last } = this.range;
    const shown = this.robots.slice(first, last);
    const height = this.rowHeight;
    const focusable = this.robots.some((robot) => robot.id === this.selected) ? this.selected : this.robots[0]?.id;
    return html`
      ${this.error ? html`<p class="notice tone-bad" role="alert">${shapes.alert}${this.error}</p>` : nothing}
      <div class="viewport">
        <table role="table" aria-label="Robots" aria-rowcount=${this.robots.length + 1}>
          <thead role="rowgroup">
            <tr role="row" aria-rowindex="1">
              ${COLUMNS.map((column) => this.#heading(column.key, column.text))}
            </tr>
          </thead>
          <tbody role="rowgroup" @keydown=${this.#key}>
            <tr role="presentation" class="space" style="height:${first * height}px"></tr>
            ${repeat(
              shown,
              (robot) => robot.id,
              (robot, i) => this.#row(robot, first + i, robot.id === focusable),
            )}
            <tr
              role="presentation"
              class="space"
              style="height:${(this.robots.length - first - shown.length) * height}px"
            ></tr>
          </tbody>
        </table>
      </div>
    `;
  }

  override updated(): void {
    this.#measure();
  }

  /** Bring a robot's row into view, as when it was chosen on the map. */
  reveal(id: string): void {
    const index = this.robots.findIndex((robot) => robot.id === id);
    if (index >= 0 && !this.#narrow.matches) this.#scrollTo(index);
  }

  #heading(key: SortKey, text: string): TemplateResult {
    const active = this.sort.key === key;
    const order = active ? (this.sort.descending ? "descending" : "ascending") : "none";
    return html`<th role="columnheader" scope="col" class="c-${key}" aria-sort=${order}>
      <button type="button" @click=${() => this.#sortBy(key)}>
        ${text}<span class="arrow" aria-hidden="true">${active ? (this.sort.descending ? "↓" : "↑") : ""}</span>
      </button>
    </th>`;
  }

  #row(robot: Robot, index: number, focusable: boolean): TemplateResult {
    const { spec, status } = robot;
    const selected = robot.id === this.selected;
    const alarm = status.state?.mode === "estop" ? "estop" : status.state?.mode === "safe" ? "safe" : "";
    return html`<tr
      role="row"
      class="robot ${alarm}"
      data-testid="robot-row-${robot.id}"
      data-id=${robot.id}
      aria-rowindex=${index + 2}
      aria-current=${selected ? "true" : nothing}
      tabindex=${focusable ? 0 : -1}
      @click=${() => this.#select(robot.id)}
      @dblclick=${() => navigate(robotPath(robot.id))}
    >
      <td role="cell" class="c-name">
        <a href=${robotPath(robot.id)} tabindex="-1">${spec.name || robot.id}</a>
        <span class="id mono">${robot.id}</span>
      </td>
      <td role="cell" class="c-type">${spec.type}</td>
      <td role="cell" class="c-group">${spec.group ?? html`<span class="muted">–</span>`}</td>
      <td role="cell" class="c-presence" data-testid="presence-${robot.id}" data-presence=${status.presence.status}>
        ${presenceMark(status.presence.status)} ${this.#presenceDetail(robot)}
      </td>
      <td role="cell" class="c-status">
        ${status.registration === "pending" ? this.#pending(robot) : this.#status(robot)}
      </td>
      <td role="cell" class="c-battery">${batteryBar(status.state?.battery)}</td>
      <td role="cell" class="c-seen muted">${ago(status.last_seen, fleet.now())}</td>
    </tr>`;
  }

  /** What there is to say besides the word: how far the robot is behind, or for how long it is away, and why. */
  #presenceDetail(robot: Robot): TemplateResult | typeof nothing {
    const { presence } = robot.status;
    const sync = syncing(robot);
    const away = absence(presence, fleet.now()) || flapping(presence);
    if (sync && presence.status !== "offline") {
      return html`<span class="sub sync" data-testid="sync-${robot.id}" data-behind=${behind(robot)}>${sync}</span>`;
    }
    if (!away) return nothing;
    const title = [presence.since == null ? "" : `since ${dateTime(presence.since)}`, sync].filter(Boolean).join("; ");
    return html`<span class="sub" title=${title}>${away}</span>`;
  }

  #status(robot: Robot): TemplateResult {
    return html`<span class="stack">${modeChip(robot.status.state)}${logicalMark(robot.status.logical)}</span>`;
  }

  #pending(robot: Robot): TemplateResult {
    return html`<span class="stack">
      <button
        type="button"
        class="button primary small"
        data-testid="accept-${robot.id}"
        ?disabled=${this.accepting.has(robot.id)}
        aria-label="Accept ${robot.spec.name || robot.id}"
        @click=${(event: Event) => this.#accept(event, robot.id)}
      >
        Accept
      </button>
      <span class="small muted">Pending</span>
    </span>`;
  }

  async #accept(event: Event, id: string): Promise<void> {
    event.stopPropagation();
    this.accepting = new Set([...this.accepting, id]);
    this.error = "";
    try {
      await acceptRobot(id);
    } catch (error) {
      this.error = `${id} was not accepted: ${sentence(error)}`;
    } finally {
      this.accepting = new Set([...this.accepting].filter((other) => other !== id));
    }
  }

  #sortBy(key: SortKey): void {
    const descending = this.sort.key === key && !this.sort.descending;
    this.dispatchEvent(new CustomEvent<Sort>("sort", { detail: { key, descending } }));
  }

  #select(id: string): void {
    this.dispatchEvent(new CustomEvent<string>("select", { detail: id }));
  }

  #key = (event: KeyboardEvent): void => {
    const row = (event.target as HTMLElement).closest<HTMLElement>("tr.robot");
    if (!row || event.target !== row) return;
    const id = row.dataset.id ?? "";
    const at = this.robots.findIndex((robot) => robot.id === id);
    const last = this.robots.length - 1;
    const targets: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + PAGE_ROWS,
      PageUp: at - PAGE_ROWS,
      Home: 0,
      End: last,
    };
    const target = targets[event.key];
    if (event.key === "Enter") navigate(robotPath(id));
    else if (event.key === " ") this.#select(id);
    else if (target === undefined) return;
    else void this.#focusRow(Math.min(last, Math.max(0, target)));
    event.preventDefault();
  };

  async #focusRow(index: number): Promise<void> {
    const robot = this.robots[index];
    if (!robot) return;
    this.#select(robot.id);
    this.#scrollTo(index);
    this.#measure();
    await this.updateComplete;
    this.querySelector<HTMLElement>(`tr[data-id="${robot.id}"]`)?.focus({ preventScroll: true });
  }

  #scrollTo(index: number): void {
    const body = this.querySelector("tbody");
    const viewport = this.querySelector<HTMLElement>(".viewport");
    if (!body || !viewport) return;
    const scroller = this.#narrow.matches ? (document.scrollingElement as HTMLElement) : viewport;
    const edge = this.#narrow.matches ? 110 : viewport.getBoundingClientRect().top + (body.offsetTop || 36);
    const bottom = this.#narrow.matches ? innerHeight : viewport.getBoundingClientRect().bottom;
    const top = body.getBoundingClientRect().top + index * this.rowHeight;
    if (top < edge) scroller.scrollTop -= edge - top;
    else if (top + this.rowHeight > bottom) scroller.scrollTop += top + this.rowHeight - bottom;
  }

  #measure = (): void => {
    const body = this.querySelector("tbody");
    const viewport = this.querySelector(".viewport");
    if (!body || !viewport) return;
    const top = Math.max(0, viewport.getBoundingClientRect().top);
    const bottom = Math.min(innerHeight, viewport.getBoundingClientRect().bottom);
    const offset = body.getBoundingClientRect().top - top;
    const range = visibleRange(this.robots.length, this.rowHeight, offset, Math.max(0, bottom - top));
    if (range.first !== this.range.first || range.last !== this.range.last) this.range = range;
  };
}
