import { Connection } from "./connection.js";
import { InboxError } from "./errors.js";
import { load } from "./load.js";
import { LOST, TOKEN_EXPIRED, pause } from "./pause.js";

const PATH = "/ws/v2/notification-service/notifications/users/";
const STABLE = 5000; // ms; after a connection that held this long the waits begin from the shortest
const QUIET = 1000; // ms until a count that may be off is asked for again
const HURRY = 1000; // ms; the span for coming back when the network is there again
const NO_SOCKET = "REST answers, but the WebSocket is refused: does ALLOWED_ORIGINS name this page's origin?";

/**
 * @typedef {object} Listener what a session tells; a tab passes it on to others
 * @property {(state: import("../index.d.ts").State) => void} state
 * @property {(frame: import("./store.js").Frame) => void} frame
 * @property {(snapshot: import("./store.js").Snapshot) => void} snapshot
 * @property {(unread: number) => void} recount
 * @property {(error: Error) => void} error
 */

/** Keeps a connection to the hub, whatever happens, until the hub says that it is in vain. Starts once. */
export class Session {
  /** @type {Connection | undefined} */
  #connection;
  #running = false;
  #losses = 0;
  #changes = 0; // what other devices did, since the start
  #loading = 0;
  /** @type {import("./store.js").Frame[] | undefined} */
  #held; // while what is before them is missing
  #liveSince = Infinity;
  #lostCode = 0;
  /** @type {unknown} */
  #retry;
  /** @type {unknown} */
  #renewal;
  /** @type {unknown} */
  #counting;
  #sleep = () => {};

  /**
   * @param {import("./world.js").World} world
   * @param {import("./rest.js").Rest} rest
   * @param {import("./store.js").Store} store
   * @param {Listener} listener
   */
  constructor(world, rest, store, listener) {
    this.world = world;
    this.rest = rest;
    this.store = store;
    this.listener = listener;
    this.tokens = rest.tokens;
  }

  start() {
    this.#running = true;
    this.#sleep = this.world.onWake(() => this.#wake());
    this.#open();
  }

  stop() {
    this.#running = false;
    this.#sleep();
    for (const timer of [this.#retry, this.#renewal, this.#counting]) this.world.clearTimeout(timer);
    this.#connection?.end(1000, "");
  }

  async #open() {
    this.#retry = undefined;
    this.#liveSince = Infinity;
    this.listener.state({ name: "connecting" });
    try {
      const token = await this.tokens.get();
      if (this.#running) this.#connect(token);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @param {string} token */
  #connect(token) {
    const { store } = this;
    const address = this.rest.origin.replace(/^http/, "ws") + PATH + this.rest.user;
    const after = store.loaded ? `?after=${store.lastSeq}` : "";
    let greeted = false;
    this.#connection = new Connection(this.world, address + after, token, () => store.lastSeq, {
      frame: (frame) => {
        greeted = true;
        this.#frame(frame);
      },
      ended: (code, reason) => this.#ended(code, reason, greeted),
    });
    this.#scheduleRenewal();
  }

  /** @param {any} frame */
  #frame(frame) {
    switch (frame.type) {
      case "connected":
        this.#load(frame, this.#connection);
        break;
      case "resumed":
        if (!frame.complete && this.#loading) this.#held ??= [];
        break;
      case "token_renewed":
        break;
      case "error":
        if (frame.code.endsWith("_token")) this.tokens.refuse();
        if (frame.code !== "busy") this.listener.error(new InboxError(frame.detail, 0, frame.code));
        break;
      default:
        if (this.#held) this.#held.push(frame);
        else this.#tell(frame);
    }
  }

  /** @param {import("./store.js").Frame} frame */
  #tell(frame) {
    this.listener.frame(frame);
    if (frame.data) return;
    this.#changes++;
    if (frame.unread !== this.store.unread) this.#recountSoon();
  }

  /**
   * @param {{last_seq: number, unread: number}} greeting
   * @param {Connection | undefined} connection
   */
  async #load({ last_seq: lastSeq, unread }, connection) {
    const changes = this.#changes;
    if (!this.store.loaded) this.#held = [];
    this.#loading++;
    try {
      const snapshot = await load(this.rest, this.store, { lastSeq, unread });
      if (connection !== this.#connection) return;
      this.listener.snapshot(snapshot);
      const held = this.#held ?? [];
      this.#held = undefined;
      for (const frame of held) this.#tell(frame);
      if (changes !== this.#changes) this.#recountSoon();
      this.#liveSince = Math.min(this.#liveSince, this.world.now());
      this.listener.state({ name: "live" });
    } catch (error) {
      if (connection === this.#connection) this.#failed(error);
    } finally {
      this.#loading--;
    }
  }

  /**
   * What the hub counted may hold notifications that are still on their way here, or miss what was done while the
   * inbox was loaded. Where all is held nothing needs to be counted.
   */
  #recountSoon() {
    if (!this.store.from) return;
    this.world.clearTimeout(this.#counting);
    this.#counting = this.world.setTimeout(async () => {
      const { version } = this.store;
      try {
        const unread = await this.rest.unread();
        if (!this.#running) return;
        if (version === this.store.version) this.listener.recount(unread);
        else this.#recountSoon();
      } catch {
        // the next connection counts anew
      }
    }, QUIET);
  }

  #scheduleRenewal() {
    const { renewIn } = this.tokens;
    this.world.clearTimeout(this.#renewal);
    if (renewIn !== undefined) this.#renewal = this.world.setTimeout(() => this.#renew(), renewIn);
  }

  async #renew() {
    try {
      const jwt = await this.tokens.renew();
      this.#connection?.send({ type: "token", jwt });
    } catch (error) {
      if (this.#running) this.listener.error(asError(error));
    }
    if (this.#running) this.#scheduleRenewal();
  }

  /**
   * @param {number} code
   * @param {string} reason
   * @param {boolean} greeted
   */
  async #ended(code, reason, greeted) {
    this.#connection = this.#held = undefined;
    this.world.clearTimeout(this.#renewal);
    if (!this.#running) return;
    if (code === TOKEN_EXPIRED) this.tokens.refuse();
    if (this.world.now() - this.#liveSince >= STABLE) this.#losses = 0;
    if (greeted || code !== LOST) return this.#lost(code, reason);
    try {
      await this.rest.unread(); // a socket that was refused doesn't say why
      this.#lost(code, reason || NO_SOCKET);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @param {unknown} reason */
  #failed(reason) {
    if (!this.#running) return;
    const error = asError(reason);
    const connection = this.#connection;
    this.#connection = this.#held = undefined;
    if (error instanceof InboxError && error.final) this.#close(error.status, error.message);
    else {
      this.listener.error(error);
      this.#lost(LOST, error.message);
    }
    connection?.end(LOST, error.message);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    if (!this.#running || this.#retry) return;
    this.#lostCode = code;
    const retryIn = pause(code, reason, this.#losses++, this.world.random());
    if (retryIn === undefined) return this.#close(code, reason);
    this.listener.state({ name: this.world.online() ? "waiting" : "offline", code, reason, retryIn });
    this.#openIn(retryIn);
  }

  /** @param {number} delay */
  #openIn(delay) {
    this.world.clearTimeout(this.#retry);
    this.#retry = this.world.setTimeout(() => this.#open(), delay);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #close(code, reason) {
    this.stop();
    this.listener.state({ name: "closed", code, reason });
  }

  /** What the hub asked to wait for stays as long as it is. */
  #wake() {
    this.#connection?.check();
    if (this.#retry && this.#lostCode === LOST && this.world.online()) this.#openIn(this.world.random() * HURRY);
  }
}

/** @param {unknown} reason */
function asError(reason) {
  return reason instanceof Error ? reason : new InboxError(String(reason), 0, "no_token");
}
