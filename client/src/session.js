import { Connection } from "./connection.js";
import { InboxError } from "./errors.js";
import { load } from "./load.js";
import { LOST, TOKEN_EXPIRED, pause } from "./pause.js";

const PATH = "/ws/v2/notification-service/notifications/users/";
const STABLE = 5000; // ms; after a connection that held this long the waits begin from the shortest
const QUIET = 1000; // ms without news after which a count holds
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
  #loading = false;
  /** @type {{last_seq: number, unread: number} | undefined} */
  #greeting; // after which the inbox has not been loaded yet
  /** @type {import("./store.js").Frame[] | undefined} */
  #held; // while what is before them is missing
  #liveSince = Infinity;
  #lostCode = 0;
  /** @type {unknown} */
  #retry;
  /** @type {unknown} */
  #renewal;
  /** @type {unknown} */
  #counting = false;
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
    this.#loading = false;
    this.#greeting = this.#held = undefined;
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
        if (!this.store.loaded) this.#held ??= [];
        this.#greeting = frame;
        if (!this.#loading) this.#load(this.#connection);
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
    if (this.store.guessed || frame.unread !== this.store.unread) this.#recount();
  }

  /**
   * Load the inbox as often as the hub greets: one load after the other.
   *
   * @param {Connection | undefined} connection
   */
  async #load(connection) {
    this.#loading = true;
    while (this.#greeting) {
      const { last_seq: lastSeq, unread } = this.#greeting;
      const changes = this.#changes;
      this.#greeting = undefined;
      try {
        const snapshot = await load(this.rest, this.store, { lastSeq, unread });
        if (connection !== this.#connection) return;
        this.#loaded(snapshot, changes);
      } catch (error) {
        if (connection === this.#connection) this.#failed(error);
        return;
      }
    }
    this.#loading = false;
  }

  /**
   * @param {import("./store.js").Snapshot} snapshot
   * @param {number} changes as many as there were before it was loaded
   */
  #loaded(snapshot, changes) {
    this.listener.snapshot(snapshot);
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const frame of held) this.#tell(frame);
    if (changes !== this.#changes) this.#recount();
    this.#liveSince = Math.min(this.#liveSince, this.world.now());
    this.listener.state({ name: "live" });
  }

  /**
   * Have the hub count the unread, which is needed only where not all are held. What it says counts if nothing came
   * for a moment after: then nothing was on its way when it did.
   */
  async #recount() {
    if (!this.store.from || this.#counting) return;
    this.#counting = true;
    const { version } = this.store;
    const unread = await this.rest.unread().catch(() => undefined);
    const wait = unread === undefined ? HURRY * (5 + 5 * this.world.random()) : QUIET;
    this.#counting = this.#running && this.world.setTimeout(() => {
      this.#counting = false;
      if (unread !== undefined && version === this.store.version) this.listener.recount(unread);
      else this.#recount();
    }, wait);
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
