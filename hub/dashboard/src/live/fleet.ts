import { getHub } from "../api/hub";
import { onUnauthorized } from "../api/http";
import type { Readings } from "../api/models.gen";
import { EMPTY, reduce, type FleetState } from "./reducer";
import { LiveSocket, type Connection, type SocketLike } from "./socket";

type Listener = () => void;
type ReadingsListener = (frame: Readings) => void;

/** The one place that knows the fleet: feeds frames to the reducer and tells the components, once per painted frame. */
export class Fleet {
  state: FleetState = EMPTY;
  connection: Connection = { state: "reconnecting", since: Date.now() };
  unauthorized = false;
  /** Counts connections, so that a chart notices that it may have missed something. */
  session = 0;

  #listeners = new Set<Listener>();
  #readings = new Map<string, Set<ReadingsListener>>();
  #scheduled = false;
  #socket = new LiveSocket({
    open: (since) => openSocket(since),
    random: Math.random,
    now: Date.now,
    onFrame: (frame) => {
      if (frame.type === "readings") {
        for (const listener of this.#readings.get(frame.robot) ?? []) listener(frame);
        return;
      }
      if (frame.type === "error") console.warn(`The hub did not understand this page: ${frame.detail}`);
      this.state = reduce(this.state, frame, Date.now() * 1000);
      this.#notify();
    },
    onConnection: (connection) => {
      if (connection.state === "live") this.session += 1;
      this.connection = connection;
      this.#notify();
    },
    // A browser does not say why a socket was refused; the same question over HTTP does.
    onRefused: () => void getHub().catch(() => undefined),
  });

  start(): void {
    onUnauthorized(() => {
      this.unauthorized = true;
      this.#socket.stop();
      this.#notify();
    });
    window.addEventListener("online", () => this.#socket.hurry());
    window.addEventListener("offline", () => this.#socket.networkLost());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#socket.hurry();
    });
    this.#socket.start();
  }

  /** The hub has accepted the token. */
  authorized(): void {
    this.unauthorized = false;
    this.#socket.start();
    this.#notify();
  }

  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Get a robot's samples as they come. Returns the function that ends it. */
  watch(robot: string, listener: ReadingsListener): () => void {
    const listeners = this.#readings.get(robot) ?? new Set();
    listeners.add(listener);
    this.#readings.set(robot, listeners);
    if (listeners.size === 1) this.#socket.watch([...this.#readings.keys()]);
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#readings.get(robot) !== listeners) return;
      this.#readings.delete(robot);
      this.#socket.watch([...this.#readings.keys()]);
    };
  }

  /** The hub's time, in microseconds. */
  now(): number {
    return Date.now() * 1000 + this.state.clockOffset;
  }

  #notify(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      for (const listener of this.#listeners) listener();
    });
  }
}

function openSocket(since: string | null): SocketLike {
  const url = new URL("/api/v1/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  if (since !== null) url.searchParams.set("since", since);
  return new WebSocket(url) as unknown as SocketLike;
}

export const fleet = new Fleet();
