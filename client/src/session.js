import { Connection } from "./connection.js";
import { InboxError } from "./errors.js";
import { load } from "./load.js";
import { LOST, TOKEN_EXPIRED, pause } from "./pause.js";
import { ORIGINS } from "./rest.js";

const PATH = "/ws/v2/notification-service/notifications/users/";
const STABLE = 5000; // ms; after a connection that held this long the waits begin from the shortest
const HURRY = 1000; // ms; the span for coming back when the network is there again
const NO_SOCKET = `REST answers, but the WebSocket is refused: ${ORIGINS}`;

/**
 * @typedef {import("./store.js").Count} Count
 *
 * @typedef {object} Listener what a session reports; a tab passes it on to others
 * @property {(state: import("../index.d.ts").State) => void} state
 * @property {(frame: import("./store.js").Frame) => void} frame
 * @property {(snapshot: import("./store.js").Snapshot) => void} snapshot
 * @property {() => void} reset the inbox was erased; what is known of it is void
 * @property {(error: Error) => void} error
 */

/** Keeps a connection to the hub, whatever happens, until the hub refuses this user for good. Starts once. */
export class Session {
  /** @type {Connection | undefined} */
  #connection;
  #running = false;
  #losses = 0;
  #loading = false;
  /** @type {Count | undefined} */
  #greeting; // after which the inbox has not been loaded yet
  /** @type {import("./store.js").Frame[] | undefined} */
  #held; // while what is before them is missing
  #liveSince = Infinity;
  #lostCode = 0;
  /** @type {unknown} */
  #retry;
  /** @type {unknown} */
  #renewal;
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
    for (const timer of [this.#retry, this.#renewal]) this.world.clearTimeout(timer);
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
    this.#loading = false;
    this.#greeting = this.#held = undefined;
    this.#connection = new Connection(this.world, address + after, token, {
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
        if (!this.store.loaded) this.#held ??= [];
        this.#greeting = { rev: 0, ...frame }; // a hub from before there was rev
        if (!this.#loading) this.#load(this.#connection);
        break;
      case "resumed":
        if (frame.from > frame.to) return this.#erased();
        if (!frame.complete && this.#loading) this.#held ??= [];
        break;
      case "token_renewed":
      case "pong":
        break;
      case "error":
        if (frame.code.endsWith("_token")) this.tokens.refuse();
        // a hub that doesn't know "ping" says so, and thereby that it is there
        if (frame.code !== "bad_message") this.listener.error(new InboxError(frame.detail, 0, frame.code));
        break;
      default:
        if (this.#held) this.#held.push(frame);
        else this.listener.frame(frame);
    }
  }

  /** The inbox counts from 1 again; so does who comes back without a `seq`. */
  #erased() {
    this.listener.reset();
    this.#connection?.end(LOST, "the inbox was erased");
  }

  /**
   * Load the inbox as often as the hub greets: one load after the other.
   *
   * @param {Connection | undefined} connection
   */
  async #load(connection) {
    this.#loading = true;
    while (this.#greeting) {
      const { unread, last_seq, rev } = this.#greeting;
      this.#greeting = undefined;
      try {
        const snapshot = await load(this.rest, this.store, { unread, last_seq, rev });
        if (connection !== this.#connection) return;
        if (this.store.isOtherThan(snapshot)) return this.#erased();
        this.#loaded(snapshot);
      } catch (error) {
        if (connection === this.#connection) this.#failed(error);
        return;
      }
    }
    this.#loading = false;
  }

  /** @param {import("./store.js").Snapshot} snapshot */
  #loaded(snapshot) {
    this.listener.snapshot(snapshot);
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const frame of held) this.listener.frame(frame);
    this.#liveSince = Math.min(this.#liveSince, this.world.now());
    this.listener.state({ name: "live" });
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
    this.#connection = undefined;
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
    this.#connection = undefined;
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
