import { describe, expect, it } from "vitest";
import type { CorrectionView, Profile } from "../src/api/calibration";
import { current, differences, figure, formula, newsOf, target } from "../src/calibration/words";

const LINEAR: CorrectionView = { kind: "linear", channel: "f", offset: -0.5, scale: 2 };

function profile(version: number, changes: Partial<Profile> = {}): Profile {
  return {
    name: "force",
    correction: LINEAR,
    raw: false,
    method: "",
    note: "",
    residuals: null,
    valid_until: null,
    drift: null,
    version,
    when: version,
    who: "anna",
    restores: null,
    schema: 1,
    ...changes,
  };
}

describe("what a correction does", () => {
  it.each<[CorrectionView, string, string[]]>([
    [LINEAR, "f", ["2 × raw − 0.5"]],
    [
      { kind: "polynomial", channel: "p", coefficients: [0.1, 1, -0.25], range: [-1, 2] },
      "p",
      ["0.1 + 1 raw − 0.25 raw²", "for raw values from −1 to 2"],
    ],
    [
      { kind: "axes", channels: ["x", "y", "z"], matrix: [[0, -1, 0], [1, 0, 0], [0, 0, 1]], offset: [0, 0.5, 0] }, // prettier-ignore
      "x, y, z",
      ["x = (0, −1, 0) · v", "y = (1, 0, 0) · v", "z = (0, 0, 1) · v", "v = raw − (0, 0.5, 0)"],
    ],
    [
      { kind: "motor", command: "drive", argument: "left", gain: 1.1, gain_reverse: 1.2, dead_band: 0.05, dead_band_reverse: 0.06 }, // prettier-ignore
      "drive.left",
      ["forwards: 1.1 × wanted + 0.05", "backwards: 1.2 × wanted − 0.06"],
    ],
    [
      { kind: "wheels", driver: "base", radius_left: 0.1, radius_right: 0.099, track: 0.4 },
      "base",
      ["radius 0.1 m left, 0.099 m right", "track 0.4 m"],
    ],
  ])("is said in words", (correction, about, lines) => {
    expect(target(correction)).toBe(about);
    expect(formula(correction)).toEqual(lines);
  });

  it("has six digits, and none of noise", () => {
    expect(figure(0.30000000000000004)).toBe("0.3");
    expect(figure(-1234.56789)).toBe("−1234.57");
  });
});

describe("what differs between two versions", () => {
  it("is told field by field, without what belongs to the version itself", () => {
    const after = profile(2, { correction: { ...LINEAR, scale: 3 }, raw: true, who: "bert", note: "new sensor" });
    expect(differences(profile(1), after)).toEqual([
      { path: "correction.scale", before: "2", after: "3" },
      { path: "note", before: null, after: "new sensor" },
      { path: "raw", before: "false", after: "true" },
    ]);
  });

  it("is everything for the first one, and nothing for a rollback to the same", () => {
    expect(differences(null, profile(1)).map(({ path }) => path)).toContain("correction.scale");
    expect(differences(profile(1), profile(3, { restores: 1 }))).toEqual([]);
  });
});

describe("the version that the robot goes by", () => {
  const base = { name: "force", status: null, problem: null, missing: [] };
  it("is the one that its state names, or else the newest", () => {
    const versions = [profile(3), profile(2)];
    expect(current({ ...base, version: 2, versions })?.version).toBe(2);
    expect(current({ ...base, version: null, versions })?.version).toBe(3);
    expect(current({ ...base, version: 9, versions })).toBeUndefined();
  });
});

describe("news", () => {
  const event = (id: number, robot: string, name: string) =>
    ({ id, ts: id, robot, actor: "", name, severity: "info", message: null, data: {}, cause: null }) as const;
  it("comes of an event of this robot, and of its state", () => {
    const before = newsOf(null, [event(1, "r", "docking.failed")], "r");
    expect(newsOf(null, [event(2, "other", "calibration.changed")], "r")).toBe(before);
    expect(newsOf(null, [event(3, "r", "calibration.changed")], "r")).not.toBe(before);
    expect(newsOf({ mode: "auto", health: "ok", calibration: { hash: "a", profiles: {} } }, [], "r")).not.toBe(before);
  });
});
