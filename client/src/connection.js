import { LOST } from "./pause.js";

const GREETED_WITHIN = 10_000; // ms until the hub's first frame
const SILENCE = 30_000; // ms without a frame until the hub is asked whether it is there
const ANSWER = 5000; // ms for the answer
const LOOK = 2500; // ms; timers make no progress while the computer sleeps, so the clock is looked at
const OPEN = 1;

/**
 * @typedef {object} ConnectionEvents
 * @property {(frame: any) => void} frame
 * @property {(code: number, reason: string) => void} ended once, and nothing after it
 *
 * One WebSocket, from its opening to its end. One that died without a word, be it in the computer's sleep, is found
 * by asking: browsers answer the hub's pings, but let no page see them, nor send its own.
 */
export class Connection {
  #asked = false;
  #ended = false;
  #due = 0;
  /** @type {unknown} */
  #timer;

  /**
   * @param {import("./world.js").World} world
   * @param {string} address
   * @param {string} token
   * @param {ConnectionEvents} events
   */
  constructor(world, address, token, events) {
    this.world = world;
    this.events = events;
    this.socket = new world.WebSocket(address, ["hub.v1", `bearer.${token}`]);
    this.socket.onmessage = ({ data }) => this.#received(data);
    this.socket.onclose = ({ code, reason }) => this.end(code, reason);
    this.#within(GREETED_WITHIN);
    this.#look();
  }

  /** @param {object} message */
  send(message) {
    if (this.socket.readyState === OPEN) this.socket.send(JSON.stringify(message));
  }

  /** See whether the hub still answers; if it doesn't, the connection ends. */
  check() {
    if (this.#asked || this.socket.readyState !== OPEN) return;
    this.#asked = true;
    this.send({ type: "ping" });
    this.#within(ANSWER);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  end(code, reason) {
    if (this.#ended) return;
    this.#ended = true;
    this.world.clearTimeout(this.#timer);
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    this.events.ended(code, reason);
  }

  /** @param {string} text */
  #received(text) {
    this.#asked = false;
    this.#within(SILENCE);
    this.events.frame(JSON.parse(text));
  }

  /** @param {number} delay until when something must have been received */
  #within(delay) {
    this.#due = this.world.now() + delay;
  }

  #look() {
    this.#timer = this.world.setTimeout(() => {
      this.#look();
      if (this.world.now() < this.#due) return;
      if (this.#asked || this.socket.readyState !== OPEN) this.end(LOST, "the hub doesn't answer");
      else this.check();
    }, LOOK);
  }
}
