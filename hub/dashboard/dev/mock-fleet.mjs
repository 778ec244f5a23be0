// A made-up fleet for developing the dashboard. Everything is a function of time, so history and live values agree.
const rect = (x, y, w, h) => [[x, y], [x + w, y], [x + w, y + h], [x, y + h]]; // prettier-ignore

export const SITES = [
  {
    id: "warehouse",
    name: "Warehouse",
    width: 40,
    height: 24,
    walls: [
      [[0, 0], [40, 0], [40, 24], [0, 24], [0, 0]],
      [[28, 24], [28, 17]],
      [[28, 13], [28, 8]],
    ], // prettier-ignore
    zones: [
      ...[0, 1, 2, 3].map((i) => ({ name: `Rack ${"ABCD"[i]}`, kind: "rack", polygon: rect(5 + i * 5.5, 6, 2, 12) })),
      { name: "Packing", kind: "area", polygon: rect(30, 14, 8, 8) },
      { name: "Keep out", kind: "keepout", polygon: rect(31, 9.5, 6, 2.5) },
      { name: "Charging", kind: "dock", polygon: rect(30, 1, 8, 4) },
    ],
    stations: [
      { name: "dock-1", kind: "dock", x: 31.5, y: 2 },
      { name: "dock-2", kind: "dock", x: 34, y: 2 },
      { name: "dock-3", kind: "dock", x: 36.5, y: 2 },
      { name: "pick-a", kind: "station", x: 8, y: 4 },
      { name: "pick-b", kind: "station", x: 19, y: 20 },
      { name: "pack-1", kind: "station", x: 34, y: 18 },
      { name: "gate", kind: "door", x: 28, y: 15 },
    ],
    roads: [
      ["pick-b", "gate"],
      ["gate", "pack-1"],
    ],
  },
  { id: "lab", name: "Lab", width: 9, height: 6, walls: [[[0, 0], [9, 0], [9, 6], [0, 6], [0, 0]]], zones: [], stations: [], roads: [] }, // prettier-ignore
];

const LOOPS = [
  [[3, 4], [26, 4], [26, 20], [3, 20]],
  [[3.5, 20], [14.2, 20], [14.2, 4], [3.5, 4]],
  [[14.3, 4.5], [26.5, 4.5], [26.5, 19.5], [14.3, 19.5]],
  [[26, 15], [33, 15], [33, 20], [26, 20]],
  [[29.5, 6.5], [38.5, 6.5], [38.5, 13], [29.5, 13]],
]; // prettier-ignore

/** Where a robot with this loop is at `t` seconds. */
function onLoop(loop, t, speed) {
  const legs = loop.map((from, i) => {
    const to = loop[(i + 1) % loop.length];
    return { from, to, length: Math.hypot(to[0] - from[0], to[1] - from[1]) };
  });
  let way = (t * speed) % legs.reduce((sum, leg) => sum + leg.length, 0);
  for (const { from, to, length } of legs) {
    if (way > length) {
      way -= length;
      continue;
    }
    const share = way / length;
    const yaw = Math.atan2(to[1] - from[1], to[0] - from[0]);
    return { x: from[0] + (to[0] - from[0]) * share, y: from[1] + (to[1] - from[1]) * share, yaw };
  }
  return { x: loop[0][0], y: loop[0][1], yaw: 0 };
}

const noise = (t, seed) => Math.sin(t * 12.9898 + seed * 78.233) * 0.5 + Math.sin(t * 4.1414 + seed) * 0.5;
const round = (value, digits = 3) => Number(value.toFixed(digits));
const FROZEN = new Set(["picker-4", "picker-6"]);

export const CHANNELS = {
  "battery.level": ["number", "1"],
  "battery.voltage": ["number", "V"],
  "motor.left.temperature": ["number", "Cel"],
  "motor.right.temperature": ["number", "Cel"],
  "motor.left.speed": ["number", "m/s"],
  "gripper.force": ["number", "N"],
  "gripper.closed": ["boolean", null],
  "wifi.signal": ["integer", "dB[mW]"],
  "camera.frame": ["object", null],
  "mission.step": ["text", null],
  pose: ["pose", null],
};

export function makeRobots(count) {
  const robots = [];
  for (let i = 1; i <= count; i += 1) {
    const group = i % 3 === 0 ? "outbound" : "inbound";
    const spec = { name: `Picker ${i}`, type: "diffdrive", group, tags: ["demo"], notes: "" };
    robots.push({ id: `picker-${i}`, spec, index: i - 1, accepted: true });
  }
  robots.push({ id: "survey-1", spec: { name: "Survey drone", type: "px4", group: "outdoor", tags: [], notes: "" }, index: 90, accepted: true }); // prettier-ignore
  robots.push({ id: "newcomer", spec: { name: "newcomer", type: "diffdrive", group: null, tags: [], notes: "" }, index: 91, accepted: false }); // prettier-ignore
  return robots;
}

export function poseOf(robot, t) {
  const i = robot.index;
  const at = onLoop(LOOPS[i % LOOPS.length], (FROZEN.has(robot.id) ? 1000 : t) + i * 17, 0.6 + (i % 5) * 0.15);
  return { frame: "warehouse", x: round(at.x), y: round(at.y), yaw: round(at.yaw) };
}

export function geoOf(t) {
  const angle = t / 20;
  const lat = 47.397742 + 0.0012 * Math.sin(angle);
  const lon = 8.545594 + 0.0017 * Math.cos(angle);
  const heading = (((-angle * 180) / Math.PI) % 360) + 360;
  return {
    lat: round(lat, 7),
    lon: round(lon, 7),
    alt: round(488 + 12 * Math.sin(t / 9), 1),
    heading: round(heading, 1),
  };
}

const levelOf = (robot, t) => 0.18 + 0.8 * Math.abs(((t / 7200 + robot.index * 0.37) % 2) - 1);

/** The value of a channel at `t` seconds. */
export function valueOf(robot, channel, t) {
  const i = robot.index;
  const load = 0.5 + 0.5 * Math.sin(t / 40 + i);
  const values = {
    "battery.level": () => round(levelOf(robot, t)),
    "battery.voltage": () => round(22.4 + 3.6 * levelOf(robot, t) + 0.05 * noise(t, i)),
    "motor.left.temperature": () => round(41 + 9 * load + 3 * Math.sin(t / 900) + 0.4 * noise(t, i), 2),
    "motor.right.temperature": () => round(39 + 8 * load + 3 * Math.sin(t / 900) + 0.4 * noise(t, i + 3), 2),
    "motor.left.speed": () => round(Math.max(0, 0.9 + 0.2 * load + 0.08 * noise(t, i + 7)), 3),
    "gripper.force": () => round(Math.max(0, 14 * Math.max(0, Math.sin(t / 6 + i)) + 0.6 * noise(t, i + 1)), 2),
    "gripper.closed": () => Math.sin(t / 6 + i) > 0,
    "wifi.signal": () => Math.round(-58 + 8 * Math.sin(t / 55 + i) + 2 * noise(t, i + 5)),
    "camera.frame": () => ({ id: Math.round(t), width: 1280, height: 720, exposure_ms: 8 }),
    "mission.step": () => ["driving", "picking", "driving", "placing"][Math.floor(t / 20 + i) % 4],
    pose: () => poseOf(robot, t),
  };
  return values[channel]?.() ?? null;
}

/** picker-5 drains what gathered while it was away, survey-1 has a clock that is far off and has given messages up. */
function linkOf({ id }, now, created) {
  const drained = Math.round((now - created) / 1e4);
  const backlog = { "picker-5": Math.max(0, 12_400 - drained), "picker-6": 214 }[id] ?? 3;
  const far = id === "survey-1";
  return { backlog, dropped: far ? 37 : 0, clock_offset: far ? -3_200_000 : 1200, round_trip: 3400 };
}

/** A robot as the API shows it at `now` (microseconds). */
export function view(robot, now, created) {
  const t = now / 1e6;
  const offline = robot.id === "picker-6";
  const stale = robot.id === "picker-2";
  const estop = robot.id === "picker-4";
  const drone = robot.id === "survey-1";
  const state = {
    mode: estop ? "estop" : robot.index % 11 === 8 ? "manual" : robot.index % 23 === 10 ? "safe" : "auto",
    health: estop ? "error" : robot.id === "picker-3" ? "warning" : "ok",
    health_reasons: robot.id === "picker-3" ? ["motor.left is hot: 82 Cel"] : [],
    busy: !estop && !offline && robot.index % 4 !== 1,
    doing: estop || robot.index % 4 === 1 ? undefined : drone ? "surveying field 2" : "driving to pick-b",
    about: {
      name: robot.spec.name,
      type: robot.spec.type,
      vendor: "Botyard",
      model: "sim-1",
      software: "botyard-edge 0.1.0",
    },
    battery: { level: round(levelOf(robot, t)), voltage: 25.1, current: 1.8, charging: robot.id === "picker-2" },
    nodes: {
      driver: { status: "running", restarts: 0, error: null },
      link: { status: "running", restarts: 2, error: "connection reset by peer" },
      safety: { status: estop ? "failed" : "running", restarts: 0, error: estop ? "bumper pressed" : null },
    },
    link: linkOf(robot, now, created),
  };
  if (estop) state.mode_reason = "emergency stop button pressed at the robot";
  if (state.mode === "safe") state.mode_reason = "link lost for 5 s, policy is stop";
  if (drone) state.geo = geoOf(t);
  else state.pose = poseOf(robot, t);
  const seen = offline ? created + 60e6 - 240e6 : now - 200_000;
  const online = {
    status: "online",
    since: created,
    reason: "connected",
    flapping: robot.id === "picker-1",
    changes: 12,
  };
  const silent = { status: "stale", since: now - 25e6, reason: "silence", flapping: false, changes: 0 };
  return {
    id: robot.id,
    created: created - 86_400e6 * 3,
    spec: robot.spec,
    status: {
      registration: robot.retired ? "retired" : robot.accepted ? "accepted" : "pending",
      logical: offline ? "offline" : estop ? "error" : state.busy ? "busy" : "idle",
      presence: offline
        ? { status: "offline", since: seen, reason: "last_will", flapping: false, changes: 0 }
        : stale
          ? silent
          : online,
      last_seen: seen,
      state,
      state_ts: seen,
      retired: robot.retired ?? null,
      clock: { offset: state.link.clock_offset, round_trip: state.link.round_trip, at: seen },
      sync: { behind: state.link.backlog, dropped: state.link.dropped, at: seen },
    },
  };
}
