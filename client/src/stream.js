import { LOST } from "./pause.js";

const ANSWERED_WITHIN = 10_000; // ms until the first bytes; a proxy that holds them back counts as a failure
const SILENCE = 50_000; // ms; the hub sends a comment every 20 s
const LOOK = 2500; // ms
/** @type {Record<number, number>} */
const CODES = { 429: 4429, 503: 1013 }; // a hub that has too much to do is not asked in other ways

/**
 * One event stream (Server-Sent Events), read by `fetch`, so that the token stands in a header.
 *
 * It looks like a `Connection`, but can't send.
 */
export class Stream {
  #ended = false;
  #stop = new AbortController();
  #due = 0;
  /** @type {unknown} */
  #timer;

  /**
   * @param {import("./world.js").World} world
   * @param {string} address
   * @param {string} token
   * @param {import("./connection.js").ConnectionEvents} events
   */
  constructor(world, address, token, events) {
    this.world = world;
    this.events = events;
    this.#within(ANSWERED_WITHIN);
    this.#look();
    this.#read(address, token);
  }

  send() {}

  /** See whether the hub was silent for too long, as after the computer's sleep. */
  check() {
    if (this.world.now() >= this.#due) this.end(LOST, "the hub doesn't answer");
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  end(code, reason) {
    if (this.#ended) return;
    this.#ended = true;
    this.world.clearTimeout(this.#timer);
    this.#stop.abort();
    this.events.ended(code, reason);
  }

  /**
   * @param {string} address
   * @param {string} token
   */
  async #read(address, token) {
    const headers = { Authorization: `Bearer ${token}`, Accept: "text/event-stream" };
    try {
      const { signal } = this.#stop;
      const answer = await this.world.fetch(address, { method: "GET", headers, signal, cache: "no-store" });
      if (!answer.ok) return this.end(CODES[answer.status] ?? LOST, `the event stream was answered with ${answer.status}`);
      const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
      const decoder = new TextDecoder();
      let text = "";
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        this.#within(SILENCE);
        const events = (text + decoder.decode(part.value, { stream: true })).split("\n\n");
        text = events.pop() ?? "";
        for (const event of events) this.#received(event);
      }
    } catch {
      // it broke off, or isn't the hub's
    }
    this.end(LOST, "the event stream ended");
  }

  /** @param {string} event */
  #received(event) {
    const data = /^data: (.*)$/m.exec(event)?.[1];
    if (!data || this.#ended) return;
    const frame = JSON.parse(data);
    if (frame.type === "close") this.end(frame.code, frame.reason);
    else this.events.frame(frame);
  }

  /** @param {number} delay until when something must have been received */
  #within(delay) {
    this.#due = this.world.now() + delay;
  }

  #look() {
    this.#timer = this.world.setTimeout(() => {
      this.#look();
      this.check();
    }, LOOK);
  }
}
