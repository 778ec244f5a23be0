// A hub that is none: answers the dashboard's API from a made-up fleet, for development and screenshots only.
//   node dev/mock-hub.mjs [--port 8080] [--robots 6] [--token secret] [--empty] [--broker-down]
//     [--store steady|early|soon|urgent|none]
// It serves the built dashboard with the policy that the real hub sends.
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize, resolve } from "node:path";
import { parseArgs } from "node:util";
import { WebSocketServer } from "ws";
import { calibrationOf } from "./mock-calibration.mjs";
import { CHANNELS, SITES, makeRobots, valueOf, view } from "./mock-fleet.mjs";
import { storeReport } from "./mock-store.mjs";

const { values: options } = parseArgs({
  options: {
    port: { type: "string", default: "8080" },
    robots: { type: "string", default: "6" },
    token: { type: "string" },
    empty: { type: "boolean", default: false },
    store: { type: "string", default: "steady" },
    "broker-down": { type: "boolean", default: false },
  },
});

const STATIC = resolve(import.meta.dirname, "../../botyard/static");
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'";
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json" }; // prettier-ignore

const started = Date.now() * 1000;
const now = () => Date.now() * 1000;
const fleet = new Map((options.empty ? [] : makeRobots(Number(options.robots))).map((robot) => [robot.id, robot]));
const active = () => [...fleet.values()].filter(({ retired }) => !retired);
const show = (robot) => view(robot, now(), started);

// --- events and quarantine -------------------------------------------------------------------------------------------

const KINDS = [
  ["mission.step.done", "info", "picked order 4711-3 at pick-b"],
  ["docking.failed", "error", "no contact after 3 attempts"],
  ["battery.low", "warning", "18 % left"],
  ["localization.corrected", "debug", "moved by 0.12 m"],
  ["estop.set", "critical", "emergency stop button pressed at the robot"],
  ["mission.started", "info", null],
];
const events = [];
function addEvent(ts) {
  const robots = [...fleet.values()];
  const i = events.length;
  const robot = i % 7 === 6 ? null : (robots[(i * 5) % Math.max(1, robots.length)] ?? null);
  const [name, severity, message] = robot ? KINDS[(i * 5) % KINDS.length] : ["hub.started", "info", "version 0.1.0"];
  const data = name === "docking.failed" ? { attempts: 3, dock: "dock-2" } : {};
  events.unshift({ id: i + 1, ts, robot: robot?.id ?? null, actor: robot ? `robot:${robot.id}` : "hub", name, severity, message, data, cause: null }); // prettier-ignore
  return events[0];
}
if (!options.empty) for (let i = 240; i > 0; i -= 1) addEvent(started - i * 150e6);

const quarantine = options.empty
  ? []
  : ["malformed_json", "schema", "wrong_version", "absurd_time"].map((reason, i) => ({
      id: 4 - i,
      received: started - i * 300e6,
      robot: i % 2 ? "picker-3" : "picker-1",
      topic: "botyard/v1/picker-1/up/telemetry",
      reason,
      detail: ["not JSON: unexpected end of input (byte 31)", "body.groups[0].channels[0].values[2]: \"hot\" is not of type \"number\"", "v: 7 is not a version that is spoken here, expected 1", "ts: 12 is 55 years before now, at most 10 are allowed"][i], // prettier-ignore
      size: 320 + i * 1400,
      payload: '{"v": 1, "robot": "picker-1", "epoch":',
    }));

const hubView = () => ({
  version: "0.1.0",
  started,
  now: now(),
  roles: ["ingest", "web", "scheduler"],
  auto_accept: false,
  broker: {
    connected: !options["broker-down"],
    address: "mqtt://127.0.0.1:1883",
    embedded: true,
    error: options["broker-down"] ? "connection refused" : null,
  },
  transports: [
    { name: "mqtt", address: "mqtt://127.0.0.1:1883", connected: true, connections: null, error: null },
    { name: "websocket", address: "ws://127.0.0.1:8080/edge/v1", connected: true, connections: 2, error: null },
  ],
  robots: fleet.size,
  counters: { received: 48213 + Math.round((now() - started) / 1e5), committed: 48170, duplicates: 31, quarantined: 4 },
});

// --- REST ------------------------------------------------------------------------------------------------------------

class HttpProblem extends Error {
  constructor(status, title, detail, field) {
    super(detail);
    this.problem = { title, status, detail, ...(field ? { field } : {}) };
  }
}

const find = (id) => {
  const robot = fleet.get(id);
  if (!robot) throw new HttpProblem(404, "Not found", `There is no robot '${id}'.`);
  return robot;
};

const page = (items, query) => {
  const start = Number(query.get("cursor") ?? 0);
  const limit = Number(query.get("limit") ?? 100);
  const end = start + limit;
  return { items: items.slice(start, end), next: end < items.length ? String(end) : null };
};

function readings(query) {
  const robot = find(query.get("robot"));
  const from = Number(query.get("from") ?? now() - 300e6);
  const to = Math.min(now(), Number(query.get("to") ?? now()));
  const items = [];
  for (let ts = Math.ceil(from / 1e6) * 1e6; ts < to; ts += 1e6) {
    for (const channel of query.getAll("channel")) {
      items.push({ robot: robot.id, channel, ts, value: valueOf(robot, channel, ts / 1e6) });
    }
  }
  return page(items, query);
}

function aggregate(query) {
  const robot = find(query.get("robot"));
  const channel = query.get("channel");
  const bucket = Number(query.get("bucket"));
  const to = Math.min(now(), Number(query.get("to")));
  const items = [];
  for (let ts = Math.floor(Number(query.get("from")) / (bucket * 1e6)) * bucket * 1e6; ts < to; ts += bucket * 1e6) {
    const values = [0, 0.25, 0.5, 0.75].map((share) => valueOf(robot, channel, ts / 1e6 + bucket * share));
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    items.push({ ts, count: bucket, min: Math.min(...values), max: Math.max(...values), mean });
  }
  return { robot: robot.id, channel, unit: CHANNELS[channel]?.[1] ?? null, bucket, items };
}

function filteredEvents(query) {
  const severities = query.getAll("severity");
  const name = query.get("name");
  const found = events.filter(
    (event) =>
      (!query.get("robot") || event.robot === query.get("robot")) &&
      (severities.length === 0 || severities.includes(event.severity)) &&
      (!name || event.name === name || event.name.startsWith(`${name}.`)) &&
      (!query.get("from") || event.ts >= Number(query.get("from"))) &&
      (!query.get("to") || event.ts < Number(query.get("to"))),
  );
  return page(found, query);
}

const channelsOf = (robot) =>
  Object.entries(CHANNELS).map(([name, [type, unit]]) => ({ robot: robot.id, name, type, unit }));

const messagesOf = (robot) =>
  [...Array(20).keys()].map((i) => {
    const ts = now() - i * 800e3;
    const body = { groups: [{ dt: [0], channels: [{ name: "gripper.force", unit: "N", values: [valueOf(robot, "gripper.force", ts / 1e6)] }] }] }; // prettier-ignore
    const payload = JSON.stringify({
      v: 1,
      robot: robot.id,
      epoch: "0192",
      seq: 4711 - i,
      ts,
      type: "telemetry",
      body,
    });
    return { received: ts, topic: `botyard/v1/${robot.id}/up/telemetry`, size: payload.length, payload };
  });

const commands = [];

function commandCall(method, robot, id, body) {
  const ofRobot = commands.filter((command) => command.robot === robot);
  if (method === "GET") return id ? { ...ofRobot.find((command) => command.id === id), reports: [] } : { items: ofRobot, next: null }; // prettier-ignore
  const spec = { name: body.name, args: body.args ?? {}, expires: now() + 60e6 };
  const status = { status: "succeeded", since: now(), reason: null, progress: null, sent: now(), answered: now(), late: false }; // prettier-ignore
  commands.unshift({
    id: body.id ?? `cmd-${commands.length}`,
    robot,
    created: now(),
    actor: "user:loopback",
    spec,
    status,
  });
  return commands[0];
}

function robotCall(method, id, part, body, which) {
  const robot = find(id);
  if (part === "commands") return commandCall(method, id, which, body);
  if (part === "calibration") return calibrationOf(id, now());
  if (part === "state") return { robot: id, ts: now(), state: show(robot).status.state };
  if (part === "channels") return { items: channelsOf(robot) };
  if (part === "messages") return { items: messagesOf(robot) };
  if (part === "accept") robot.accepted = true;
  if (part === "retire" || part === "return") {
    robot.retired = part === "retire" ? now() : null;
    const changed = robot.retired ? { removed: [id] } : { robots: [show(robot)] };
    broadcast({ type: "changes", id: nextId(), ...changed });
    return show(robot);
  }
  if (method === "PATCH") {
    if (body.name === "") throw new HttpProblem(422, "Invalid value", "name: '' is too short, expected 1 to 128 characters", "name"); // prettier-ignore
    robot.spec = { ...robot.spec, ...body };
  }
  if (method === "DELETE") {
    fleet.delete(id);
    broadcast({ type: "changes", id: nextId(), removed: [id] });
    return undefined;
  }
  if (method !== "GET") broadcast({ type: "changes", id: nextId(), robots: [show(robot)] });
  return show(robot);
}

function answer(method, path, query, body) {
  const [root, id, part, which] = path.split("/").filter(Boolean).map(decodeURIComponent);
  if (root === "robots" && id) return robotCall(method, id, part, body, which);
  if (root === "robots" && query.get("registration") === "retired") return page([...fleet.values()].filter(({ retired }) => retired).map(show), query); // prettier-ignore
  if (root === "robots") return page(active().map(show), query);
  if (root === "hub") return hubView();
  if (root === "store" && options.store !== "none") return storeReport(options.store, now());
  if (root === "sites") return { items: options.empty ? [] : SITES };
  if (root === "events") return filteredEvents(query);
  if (root === "quarantine") return page(quarantine.filter((item) => !query.get("robot") || item.robot === query.get("robot")), query); // prettier-ignore
  if (root === "readings" && id === "latest") {
    const robot = find(query.get("robot"));
    const ts = now();
    return { items: channelsOf(robot).map(({ name, ...rest }) => ({ ...rest, channel: name, ts, value: valueOf(robot, name, ts / 1e6) })) }; // prettier-ignore
  }
  if (root === "readings" && id === "aggregate") return aggregate(query);
  if (root === "readings") return readings(query);
  throw new HttpProblem(404, "Not found", `There is no ${path}.`);
}

// --- server ----------------------------------------------------------------------------------------------------------

const hasToken = (request) =>
  !options.token || (request.headers.cookie ?? "").includes(`botyard_token=${options.token}`);

async function readBody(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text ? JSON.parse(text) : undefined;
}

function send(response, status, body, headers = {}) {
  const type = status >= 400 ? "application/problem+json" : "application/json";
  response.writeHead(status, { "Content-Type": type, ...headers });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

async function api(request, response, url) {
  const body = await readBody(request);
  const path = url.pathname.slice("/api/v1".length);
  if (path === "/session") {
    if (body.token !== options.token) throw new HttpProblem(401, "Wrong token", "That is not this hub's token.");
    send(response, 204, undefined, { "Set-Cookie": `botyard_token=${body.token}; HttpOnly; SameSite=Strict; Path=/` });
    return;
  }
  if (!hasToken(request)) throw new HttpProblem(401, "Unauthorized", "This hub asks for its token.");
  const result = answer(request.method, path, url.searchParams, body);
  send(response, result === undefined ? 204 : 200, result);
}

function file(response, pathname) {
  let path = join(STATIC, normalize(pathname));
  if (!path.startsWith(STATIC) || !existsSync(path) || !statSync(path).isFile()) path = join(STATIC, "index.html");
  response.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "text/plain", "Content-Security-Policy": POLICY });
  createReadStream(path).pipe(response);
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://hub");
  try {
    if (url.pathname.startsWith("/api/v1/")) await api(request, response, url);
    else file(response, url.pathname);
  } catch (error) {
    if (!(error instanceof HttpProblem)) console.error(error);
    send(response, error.problem?.status ?? 500, error.problem ?? { title: String(error), status: 500 });
  }
});

let frame = 0;
const nextId = () => `${started}-${(frame += 1)}`;
const sockets = new WebSocketServer({ noServer: true });
const broadcast = (message) => {
  const text = JSON.stringify(message);
  for (const client of sockets.clients) client.send(text);
};

server.on("upgrade", (request, socket, head) => {
  if (!hasToken(request)) return socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
  sockets.handleUpgrade(request, socket, head, (client) => {
    client.watched = [];
    client.on("message", (data) => {
      const message = JSON.parse(data);
      if (message.type === "watch") client.watched = message.robots;
      else if (message.type === "ping") client.send(JSON.stringify({ type: "changes", id: nextId() }));
      else client.send(JSON.stringify({ type: "error", detail: `type: '${message.type}' is none of watch, ping` }));
    });
    client.send(JSON.stringify({ type: "snapshot", id: nextId(), hub: hubView(), robots: active().map(show), events: events.slice(0, 100) })); // prettier-ignore
  });
});

let tick = 0;
setInterval(() => {
  tick += 1;
  const moving = active().filter((_, i) => fleet.size < 100 || i % 10 === tick % 10);
  const fresh = !options.empty && tick % 40 === 0 ? [addEvent(now())] : [];
  const hub = tick % 50 === 0 ? hubView() : null;
  broadcast({ type: "changes", id: nextId(), robots: moving.filter(({ id }) => id !== "picker-6").map(show), events: fresh, hub }); // prettier-ignore
  const ts = now();
  for (const client of sockets.clients) {
    for (const robot of client.watched.map((id) => fleet.get(id)).filter(Boolean)) {
      if (robot.id === "picker-6") continue;
      const channels = channelsOf(robot).map(({ name, type, unit }) => ({ channel: name, type, unit, ts: [ts], values: [valueOf(robot, name, ts / 1e6)] })); // prettier-ignore
      client.send(JSON.stringify({ type: "readings", robot: robot.id, channels }));
    }
  }
}, 200);

server.listen(Number(options.port), "127.0.0.1", () => console.log(`mock hub on http://127.0.0.1:${options.port}`));
