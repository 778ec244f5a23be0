// What a made-up robot is calibrated by: two profiles, of which one has versions.

const DAY = 86_400e6;

const version = (name, number, when, correction, more = {}) => ({
  name,
  correction,
  raw: false,
  method: "least squares, offset and scale, 6 samples",
  note: "",
  residuals: { rms: 0.031, max: 0.07, count: 6 },
  valid_until: null,
  drift: null,
  version: number,
  when,
  who: "anna",
  restores: null,
  schema: 1,
  ...more,
});

/** The answer for one robot. */
export function calibrationOf(robot, now) {
  const force = (scale) => ({ kind: "linear", channel: "gripper.force", offset: -0.42, scale });
  const motor = { kind: "motor", command: "drive", argument: "left", gain: 1.08, gain_reverse: 1.15, dead_band: 0.06, dead_band_reverse: 0.08 }; // prettier-ignore
  const drift = { band: [-0.5, 0.5], reference: "scale.force", window: 30 };
  return {
    robot,
    hash: "3f1c9a60b2d4e871",
    ts: now,
    profiles: [
      {
        name: "gripper",
        version: 3,
        status: "drifted",
        problem: "the mean difference from scale.force over 30 s is 0.61, outside of -0.5 to 0.5",
        versions: [
          version("gripper", 3, now - DAY, force(1.013), { restores: 1, drift, raw: true }),
          version("gripper", 2, now - 3 * DAY, force(1.2), { note: "after the sensor was replaced" }),
          version("gripper", 1, now - 40 * DAY, force(1.013), { drift, raw: true }),
        ],
        missing: [],
      },
      {
        name: "left-motor",
        version: 2,
        status: "applied",
        problem: null,
        versions: [version("left-motor", 2, now - 2 * DAY, motor, { residuals: null, method: "" })],
        missing: [1],
      },
    ],
  };
}
