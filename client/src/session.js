import { Connection } from "./connection.js";
import { InboxError } from "./errors.js";
import { load } from "./load.js";
import { LOST, TOKEN_EXPIRED, pause } from "./pause.js";
import { Polling } from "./polling.js";
import { ORIGINS } from "./rest.js";
import { Stream } from "./stream.js";

const SOCKETS = "/ws/v2/notification-service/notifications/users/";
const STREAMS = "/api/v2/notification-service/notifications/users/";
/** How it is live, the best first. Each is tried when the one before it doesn't get through, but REST does. */
const WAYS = /** @type {const} */ (["websocket", "sse", "polling"]);
const CLIMB = 10_000; // ms until a better way is tried again; twice as long after each time
const CLIMB_MOST = 60_000;
const STABLE = 5000; // ms; after a connection that held this long the waits begin from the shortest
const HURRY = 1000; // ms; the span for coming back when the network is there again
const NO_SOCKET = `REST answers, but the WebSocket is refused. Does a proxy not pass it on, or: ${ORIGINS}`;

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
  /** @type {Connection | Stream | Polling | undefined} */
  #connection;
  #way = 0; // of `WAYS`
  /** @type {Connection | Stream | Polling | undefined} */
  #candidate; // for a better way, or with a new token; until it is greeted
  #climbs = 0;
  /** @type {unknown} */
  #climbing;
  /** @type {Count | undefined} */
  #primed; // as of which the inbox was loaded just before connecting
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
    for (const timer of [this.#retry, this.#renewal, this.#climbing]) this.world.clearTimeout(timer);
    this.#candidate?.end(1000, "");
    this.#connection?.end(1000, "");
  }

  async #open() {
    this.#retry = undefined;
    this.#liveSince = Infinity;
    this.listener.state({ name: "connecting" });
    try {
      if (!this.store.loaded) await this.#prime();
      const token = await this.tokens.get();
      if (!this.#running) return;
      this.#begin(this.#dial(this.#way, token), this.#way);
      this.#scheduleRenewal();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Load the inbox before anything is live: it shows, whatever gets through besides. */
  async #prime() {
    const count = await this.rest.count();
    if (count.last_seq === undefined || count.rev === undefined) return; // a hub that says so only over the socket
    const snapshot = await load(this.rest, this.store, /** @type {Count} */ (count));
    if (!this.#running) return;
    this.listener.snapshot(snapshot);
    this.#primed = snapshot.count;
  }

  /**
   * Open a connection, which becomes the session's own when it is greeted, if it isn't by then.
   *
   * @param {number} way
   * @param {string} token
   */
  #dial(way, token) {
    const { rest, store, world } = this;
    const asked = new URLSearchParams();
    if (store.loaded) asked.set("after", String(store.lastSeq));
    if (rest.locale) asked.set("lang", rest.locale); // what comes is in it, as what is loaded
    let greeted = false;
    /** @type {import("./connection.js").ConnectionEvents} */
    const events = {
      frame: (frame) => {
        if (!greeted) this.#greeted(connection, way);
        greeted = true;
        if (connection === this.#connection) this.#frame(frame);
      },
      ended: (code, reason) => {
        if (connection === this.#connection) this.#ended(code, reason, greeted);
        else if (connection === this.#candidate) this.#notBetter(way);
      },
    };
    const sockets = rest.origin.replace(/^http/, "ws") + SOCKETS + rest.user;
    const streams = `${rest.origin}${STREAMS}${rest.user}/events?protocol=hub.v1&`;
    /** @type {Connection | Stream | Polling} */
    const connection =
      way === 0
        ? new Connection(world, `${sockets}?${asked}`, token, events)
        : way === 1
          ? new Stream(world, streams + asked, token, events)
          : new Polling(world, rest, events);
    return connection;
  }

  /**
   * @param {Connection | Stream | Polling} connection
   * @param {number} way
   */
  #begin(connection, way) {
    this.#way = way;
    this.#connection = connection;
    this.#loading = false;
    this.#greeting = this.#held = undefined;
  }

  /**
   * @param {Connection | Stream | Polling} connection
   * @param {number} way
   */
  #greeted(connection, way) {
    if (connection === this.#candidate) {
      const before = this.#connection;
      this.#candidate = undefined;
      this.#begin(connection, way); // it resumes from before what the other one may still have under way
      before?.end(1000, "");
    }
    this.world.clearTimeout(this.#climbing);
    if (way) this.#climbLater();
    else this.#climbs = 0;
  }

  #climbLater() {
    const delay = Math.min(CLIMB_MOST, CLIMB * 2 ** this.#climbs++) * (0.5 + this.world.random() / 2);
    this.#climbing = this.world.setTimeout(() => this.#climb(0), delay);
  }

  /**
   * Try a better transport now; the current one stays in use until that one connects.
   *
   * @param {number} way
   */
  async #climb(way) {
    this.world.clearTimeout(this.#climbing);
    if (this.#candidate) return;
    try {
      const token = await this.tokens.get();
      if (this.#running && this.#connection && !this.#candidate) this.#candidate = this.#dial(way, token);
    } catch {
      this.#climbLater();
    }
  }

  /** @param {number} way which didn't get through */
  #notBetter(way) {
    this.#candidate = undefined;
    if (!this.#running || !this.#connection) return;
    if (way + 1 < this.#way) this.#climb(way + 1);
    else this.#climbLater();
  }

  /** @param {any} frame */
  #frame(frame) {
    switch (frame.type) {
      case "connected":
        if (this.#isAsLoaded(frame)) {
          this.#live();
          break;
        }
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

  /**
   * Whether the hub's first frame says no more than what was loaded just before: then it isn't loaded again.
   *
   * @param {Count} frame
   */
  #isAsLoaded({ unread, last_seq, rev }) {
    const primed = this.#primed;
    this.#primed = undefined;
    return primed?.unread === unread && primed.last_seq === last_seq && primed.rev === rev;
  }

  /** The inbox counts from 1 again; so does a client that reconnects without a `seq`. */
  #erased() {
    this.listener.reset();
    this.#connection?.end(LOST, "the inbox was erased");
  }

  /**
   * Load the inbox as often as the hub greets: one load after the other.
   *
   * @param {Connection | Stream | Polling | undefined} connection
   */
  async #load(connection) {
    this.#loading = true;
    while (this.#greeting) {
      const count = { ...this.#greeting, last_seq: this.#greeting.last_seq ?? this.store.lastSeq };
      this.#greeting = undefined;
      try {
        const snapshot = await load(this.rest, this.store, count);
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
    this.#live();
  }

  #live() {
    this.#liveSince = Math.min(this.#liveSince, this.world.now());
    this.listener.state({ name: "live", over: WAYS[this.#way] });
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
      if (this.#way === 1) this.#climb(1); // a stream takes no new token, but another one takes over
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
    this.#leave();
    if (!this.#running) return;
    if (code === TOKEN_EXPIRED) this.tokens.refuse();
    if (this.world.now() - this.#liveSince >= STABLE) this.#losses = 0;
    if (greeted || code !== LOST) {
      if (!greeted) this.#way = 0; // the hub has too much to do, which may be why the socket was refused
      return this.#lost(code, reason);
    }
    try {
      await this.rest.count(); // what was refused doesn't say why
      if (!this.#running || this.#connection || this.#retry) return;
      if (this.#way === 0) this.listener.error(new InboxError(NO_SOCKET, 0, "no_socket"));
      if (this.#way === WAYS.length - 1) return this.#lost(code, reason);
      this.#way++;
      this.#open();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Nothing is live any more. */
  #leave() {
    const candidate = this.#candidate;
    this.#connection = this.#candidate = this.#primed = undefined;
    candidate?.end(1000, "");
    for (const timer of [this.#renewal, this.#climbing]) this.world.clearTimeout(timer);
  }

  /** @param {unknown} reason */
  #failed(reason) {
    if (!this.#running) return;
    const error = asError(reason);
    const connection = this.#connection;
    this.#leave();
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
    if (this.#way && this.#connection && this.world.online()) this.#climb(0);
    if (this.#retry && this.#lostCode === LOST && this.world.online()) this.#openIn(this.world.random() * HURRY);
  }
}

/** @param {unknown} reason */
function asError(reason) {
  return reason instanceof Error ? reason : new InboxError(String(reason), 0, "no_token");
}
