import type { Ping, Watch } from "../api/models.gen";
import type { ServerFrame } from "./reducer";

export type ConnectionState = "live" | "reconnecting" | "offline";

export interface Connection {
  readonly state: ConnectionState;
  /** Since when, in milliseconds of this browser's clock. */
  readonly since: number;
}

/** What is used of a WebSocket, so that tests can pass another. */
export interface SocketLike {
  readyState: number;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  send(data: string): void;
  close(): void;
}

export interface SocketOptions {
  open(since: string | null): SocketLike;
  onFrame(frame: ServerFrame): void;
  onConnection(connection: Connection): void;
  /** An attempt failed before the socket opened, which is also how a browser reports a refused one (401). */
  onRefused(): void;
  random(): number;
  now(): number;
}

const OPEN = 1;
const FIRST_DELAY = 500;
const LONGEST_DELAY = 15_000;
/** A silent connection is asked for a sign of life, and given up when there is none. */
const QUIET = 15_000;
const PATIENCE = 10_000;
const CONNECT_TIMEOUT = 10_000;
/** After so long without a connection "reconnecting" would be too hopeful a word. */
const OFFLINE_AFTER = 30_000;

export const MOST_WATCHED = 16;

/** Wait before attempt `attempt` (from 0): doubling, capped, and spread so that many browsers do not come at once. */
export function backoff(attempt: number, random: number): number {
  const ceiling = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** Math.min(attempt, 16));
  return ceiling / 2 + (ceiling / 2) * random;
}

type Timer = ReturnType<typeof setTimeout>;

/** Keeps one socket to the hub open, resumes where it was, and says how the connection is. */
export class LiveSocket {
  #options: SocketOptions;
  #socket: SocketLike | null = null;
  #running = false;
  #attempt = 0;
  #lastId: string | null = null;
  #watched: readonly string[] = [];
  #lostAt = 0;
  #connection: Connection | null = null;
  #retry: Timer | undefined;
  #life: Timer | undefined;
  #offline: Timer | undefined;

  constructor(options: SocketOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#lose();
    this.#connect();
  }

  stop(): void {
    this.#running = false;
    this.#clear();
    this.#drop();
  }

  /** Try now instead of after the back-off (the network came back, a token was given). */
  hurry(): void {
    if (!this.#running || this.#connection?.state === "live") return;
    this.#attempt = 0;
    this.#drop();
    this.#connect();
  }

  /** Say that there is no network; attempts go on. */
  networkLost(): void {
    if (this.#running && this.#connection?.state !== "live") this.#say("offline");
  }

  watch(robots: readonly string[]): void {
    this.#watched = robots.slice(0, MOST_WATCHED);
    this.#send({ type: "watch", robots: [...this.#watched] });
  }

  #connect(): void {
    clearTimeout(this.#retry);
    let opened = false;
    const socket = this.#options.open(this.#lastId);
    this.#socket = socket;
    this.#expect(CONNECT_TIMEOUT);
    socket.onopen = () => {
      opened = true;
      if (this.#watched.length > 0) this.#send({ type: "watch", robots: [...this.#watched] });
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = () => {
      this.#socket = null;
      clearTimeout(this.#life);
      if (this.#connection?.state === "live") this.#lose();
      if (!opened) this.#options.onRefused();
      this.#schedule();
    };
  }

  #receive(data: unknown): void {
    const frame = parsed(data);
    if (frame === null) return;
    this.#attempt = 0;
    if (this.#connection?.state !== "live") {
      clearTimeout(this.#offline);
      this.#lostAt = 0;
      this.#say("live");
    }
    if (frame.type === "snapshot" || frame.type === "changes") this.#lastId = frame.id;
    this.#life = this.#restart(this.#life, QUIET, () => {
      this.#send({ type: "ping" });
      this.#expect(PATIENCE);
    });
    this.#options.onFrame(frame);
  }

  /** Give the connection up when nothing comes in time. */
  #expect(patience: number): void {
    this.#life = this.#restart(this.#life, patience, () => {
      const socket = this.#socket;
      // A half-open connection may take minutes to close; it is not waited for.
      const closed = socket?.onclose;
      this.#drop();
      closed?.();
    });
  }

  #lose(): void {
    this.#lostAt = this.#options.now();
    this.#say("reconnecting");
    this.#offline = this.#restart(this.#offline, OFFLINE_AFTER, () => this.#say("offline"));
  }

  #schedule(): void {
    if (!this.#running) return;
    const delay = backoff(this.#attempt, this.#options.random());
    this.#attempt += 1;
    this.#retry = this.#restart(this.#retry, delay, () => this.#connect());
  }

  #say(state: ConnectionState): void {
    if (this.#connection?.state === state) return;
    this.#connection = { state, since: this.#lostAt || this.#options.now() };
    this.#options.onConnection(this.#connection);
  }

  #send(frame: Watch | Ping): void {
    if (this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #clear(): void {
    for (const timer of [this.#retry, this.#life, this.#offline]) clearTimeout(timer);
  }

  #restart(timer: Timer | undefined, delay: number, action: () => void): Timer {
    clearTimeout(timer);
    return setTimeout(action, delay);
  }
}

function parsed(data: unknown): ServerFrame | null {
  try {
    return JSON.parse(String(data)) as ServerFrame;
  } catch (error) {
    console.warn(`The hub sent something that is no JSON: ${String(error)}`);
    return null;
  }
}
