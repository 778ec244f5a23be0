import { html, nothing, type PropertyValues, type SVGTemplateResult, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { CalibrationProfile, Profile } from "../api/calibration";
import { requestCommand } from "../api/commands";
import { sentence } from "../api/http";
import type { CalibrationStatus } from "../api/models.gen";
import type { Robot } from "../api/robots";
import { current, differences, EXPIRES, figure, formula, KIND, ROLLBACK, STATUS, target } from "../calibration/words";
import { canBeAsked, newId, progressOf } from "../commands/words";
import { ago, dateTime } from "../format/time";
import { CommandController } from "../live/command";
import { SecondsController } from "../live/controllers";
import { fleet } from "../live/fleet";
import { commandMark } from "./command-status";
import { PageElement } from "./element";
import { shapes } from "./icons";

const SHAPES: Record<CalibrationStatus, SVGTemplateResult> = {
  applied: shapes.disc,
  off: shapes.ring,
  unused: shapes.alert,
  expired: shapes.half,
  drifted: shapes.diamond,
};

/** One profile: what it does, how well it was measured, its versions, what differs between two of them. */
@customElement("by-calibration-profile")
export class CalibrationProfileCard extends PageElement {
  @property({ attribute: false }) robot!: Robot;
  @property({ attribute: false }) profile!: CalibrationProfile;
  @state() private older: number | null = null;
  @state() private newer: number | null = null;
  @state() private asking: number | null = null;
  @state() private error = "";
  readonly #followed = new CommandController(this);

  constructor() {
    super();
    new SecondsController(this);
  }

  override willUpdate(changed: PropertyValues<this>): void {
    const known = changed.get("profile");
    // A new version is compared with the one before it, until somebody chooses.
    if (known && known.version !== this.profile.version) this.older = this.newer = this.asking = null;
  }

  override render() {
    const { name, status, problem, versions } = this.profile;
    const now = current(this.profile);
    return html`<section class="panel" data-testid="profile-${name}" data-status=${status ?? "unknown"}>
      <header>
        <h2>${name}</h2>
        ${
          status
            ? html`<span class="mark tone-${STATUS[status].tone}">${SHAPES[status]}${STATUS[status].text}</span>`
            : nothing
        }
        <span class="muted small">version ${this.profile.version ?? now?.version ?? "?"}</span>
      </header>
      ${problem ? html`<p class="notice tone-warn">${problem}</p>` : nothing}
      <div class="body">
        <div class="what">
          ${now ? this.#what(now) : html`<p class="muted">The hub has not heard what is in this version.</p>`}
        </div>
        <div class="past">
          <p class="outcome small" role="status" aria-live="polite">${this.#outcome()}</p>
          ${versions.length > 0 ? this.#versions(versions) : nothing}
          ${versions.length > 1 ? this.#compared(versions) : nothing}
        </div>
      </div>
    </section>`;
  }

  #what(now: Profile): TemplateResult {
    const { correction, residuals, valid_until: until, drift } = now;
    if (!correction) return html`<p class="muted">Switched off: nothing is corrected by it.</p>`;
    return html`<dl class="pairs">
      ${pair(KIND[correction.kind], html`<span class="mono">${target(correction)}</span>`)}
      ${pair(
        "Correction",
        formula(correction).map((line) => html`<div class="mono">${line}</div>`),
      )}
      ${pair("Measured", [now.method || "not said how", now.note].filter(Boolean).join("; "))}
      ${
        residuals
          ? pair(
              "Left over",
              `${figure(residuals.rms)} rms, ${figure(residuals.max)} at most, over ${residuals.count} samples`,
            )
          : nothing
      }
      ${until == null ? nothing : pair("Valid until", dateTime(until))}
      ${
        drift
          ? pair(
              "Drift alert",
              `mean over ${figure(drift.window ?? 10)} s ${drift.reference ? `against ${drift.reference} ` : ""}outside of ${figure(drift.band[0])} to ${figure(drift.band[1])}`,
            )
          : nothing
      }
      ${now.raw ? pair("Raw values", "are sent as well") : nothing}
    </dl>`;
  }

  #versions(versions: readonly Profile[]): TemplateResult {
    return html`<div class="scrolled">
      <table class="plain-table" data-testid="versions-${this.profile.name}">
        <thead>
          <tr>
            <th scope="col" class="number">Version</th>
            <th scope="col">When</th>
            <th scope="col">Who</th>
            <th scope="col">What</th>
            <th scope="col" class="number">Left over</th>
            <th scope="col"><span class="visually-hidden">Roll back</span></th>
          </tr>
        </thead>
        <tbody>
          ${versions.map((version) => this.#version(version))}
        </tbody>
      </table>
    </div>`;
  }

  #version(one: Profile): TemplateResult {
    const goes = one.version === (this.profile.version ?? this.profile.versions[0]?.version);
    const restored = one.restores ? ` (as in ${one.restores})` : "";
    return html`<tr class=${goes ? "now" : ""}>
      <td class="number">${one.version}</td>
      <td title=${dateTime(one.when)}>${ago(one.when, fleet.now())}</td>
      <td>${one.who}</td>
      <td>
        ${one.correction ? (formula(one.correction)[0] ?? "") : "Off"}<span class="muted">${restored}</span>
        ${one.note ? html`<div class="small muted">${one.note}</div>` : nothing}
      </td>
      <td class="number">${one.residuals ? figure(one.residuals.rms) : "–"}</td>
      <td class="number">${goes ? html`<span class="muted small">now</span>` : this.#rollback(one.version)}</td>
    </tr>`;
  }

  #rollback(version: number): TemplateResult | typeof nothing {
    if (!canBeAsked(this.robot)) return nothing;
    if (this.asking !== version)
      return html`<button
        type="button"
        class="button small"
        aria-label="Roll back to version ${version}"
        data-testid="rollback-${this.profile.name}-${version}"
        @click=${() => (this.asking = version)}
      >
        Roll back
      </button>`;
    return html`<span class="question" role="group" aria-label="Roll back to version ${version}">
      <button type="button" class="button small" @click=${() => (this.asking = null)}>No</button>
      <button
        type="button"
        class="button small primary"
        data-testid="confirm-rollback"
        @click=${() => this.#ask(version)}
      >
        Apply ${version} again
      </button>
    </span>`;
  }

  #compared(versions: readonly Profile[]): TemplateResult {
    const newest = current(this.profile)?.version ?? versions[0]?.version ?? 0;
    const after = this.newer ?? newest;
    const before = this.older ?? versions.find(({ version }) => version < after)?.version ?? 0;
    const find = (number: number) => versions.find(({ version }) => version === number) ?? null;
    const rows = differences(find(before), find(after));
    return html`<div class="compared" data-testid="diff-${this.profile.name}">
      <div class="choose">
        <h3>What differs</h3>
        ${this.#choice("from version", before, versions, (version) => (this.older = version))}
        ${this.#choice("to version", after, versions, (version) => (this.newer = version))}
      </div>
      ${
        rows.length === 0
          ? html`<p class="muted">Nothing.</p>`
          : html`<div class="scrolled">
              <table class="plain-table diff">
                <thead>
                  <tr>
                    <th scope="col">Field</th>
                    <th scope="col">Version ${before}</th>
                    <th scope="col">Version ${after}</th>
                  </tr>
                </thead>
                <tbody>
                  ${rows.map(
                    (row) =>
                      html`<tr>
                        <td class="mono">${row.path}</td>
                        <td class="mono gone">${row.before ?? "–"}</td>
                        <td class="mono come">${row.after ?? "–"}</td>
                      </tr>`,
                  )}
                </tbody>
              </table>
            </div>`
      }
    </div>`;
  }

  #choice(
    label: string,
    chosen: number,
    versions: readonly Profile[],
    choose: (version: number) => void,
  ): TemplateResult {
    const pick = (event: Event) => choose(Number((event.target as HTMLSelectElement).value));
    return html`<label
      >${label}
      <select class="input" @change=${pick}>
        ${versions.map(
          ({ version }) => html`<option value=${version} ?selected=${version === chosen}>${version}</option>`,
        )}
        <option value="0" ?selected=${chosen === 0}>0 (none)</option>
      </select></label
    >`;
  }

  #outcome(): TemplateResult | typeof nothing {
    if (this.error) return html`<span class="mark tone-bad">${shapes.alert}<span>${this.error}</span></span>`;
    const { command } = this.#followed;
    if (!command) return nothing;
    return html`Roll back: ${commandMark(command)} <span class="muted">${progressOf(command)}</span>`;
  }

  async #ask(version: number): Promise<void> {
    const id = newId("rollback", (bytes) => crypto.getRandomValues(bytes));
    const args = { name: this.profile.name, version };
    this.asking = null;
    this.error = "";
    try {
      this.#followed.follow(await requestCommand(this.robot.id, { name: ROLLBACK, args, expires_in: EXPIRES, id }));
    } catch (error) {
      this.error = `It was not asked for: ${sentence(error)}`;
    }
  }
}

function pair(name: string, value: unknown): TemplateResult {
  return html`<div>
    <dt>${name}</dt>
    <dd>${value}</dd>
  </div>`;
}
