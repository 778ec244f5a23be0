import type { ReactiveController, ReactiveControllerHost } from "lit";
import { getCommand, type Command } from "../api/commands";
import { isAbort } from "../api/http";
import { isOpen } from "../commands/words";

const REFRESH = 2000;

/** What becomes of one command: asked for now and then until it has ended, as long as the element is on the page. */
export class CommandController implements ReactiveController {
  command: Command | null = null;
  readonly #host: ReactiveControllerHost;
  #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(host: ReactiveControllerHost) {
    this.#host = host;
    host.addController(this);
  }

  hostDisconnected(): void {
    this.#stop();
  }

  /** Show this command from now on; null: none. */
  follow(command: Command | null): void {
    this.#stop();
    this.command = command;
    this.#host.requestUpdate();
    if (command) void this.#look(command);
  }

  /** Ask at once, since there is news. */
  refresh(): void {
    if (this.command && isOpen(this.command)) void this.#look(this.command);
  }

  async #look(command: Command): Promise<void> {
    this.#stop();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      this.command = await getCommand(command.robot, command.id, signal);
    } catch (error) {
      if (signal.aborted || isAbort(error)) return; // anything else is tried again
    }
    if (signal.aborted) return;
    this.#host.requestUpdate();
    if (isOpen(this.command ?? command)) this.#timer = setTimeout(() => void this.#look(command), REFRESH);
  }

  #stop(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }
}
