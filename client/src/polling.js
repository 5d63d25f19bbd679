import { LOST } from "./pause.js";

const EVERY = 10_000; // ms, at most

/**
 * Asks for the count again and again, where nothing live gets through. Each time it is another one it is said as the
 * hub's first frame says it, and the inbox is loaded after that.
 *
 * It looks like a `Connection`, but can't send.
 */
export class Polling {
  #ended = false;
  #last = "";
  /** @type {unknown} */
  #timer;

  /**
   * @param {import("./world.js").World} world
   * @param {import("./rest.js").Rest} rest
   * @param {import("./connection.js").ConnectionEvents} events
   */
  constructor(world, rest, events) {
    this.world = world;
    this.rest = rest;
    this.events = events;
    this.#ask();
  }

  send() {}

  /** Ask now. */
  check() {
    if (!this.#timer) return;
    this.world.clearTimeout(this.#timer);
    this.#ask();
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  end(code, reason) {
    if (this.#ended) return;
    this.#ended = true;
    this.world.clearTimeout(this.#timer);
    this.events.ended(code, reason);
  }

  async #ask() {
    this.#timer = undefined;
    try {
      const count = await this.rest.count();
      if (this.#ended) return;
      this.#timer = this.world.setTimeout(() => this.#ask(), EVERY * (0.5 + this.world.random() / 2));
      const now = JSON.stringify(count);
      const other = now !== this.#last;
      this.#last = now;
      if (other) this.events.frame({ type: "connected", ...count });
    } catch (error) {
      this.end(LOST, String(error));
    }
  }
}
