import { InboxError } from "./errors.js";
import { Rest } from "./rest.js";
import { Session } from "./session.js";
import { Store } from "./store.js";
import { Tabs } from "./tabs.js";
import { Tokens } from "./tokens.js";
import { thisWorld } from "./world.js";

/**
 * @typedef {import("../index.d.ts").Events} Events
 * @typedef {import("../index.d.ts").Notification} Notification
 * @typedef {import("../index.d.ts").State} State
 * @typedef {import("../index.d.ts").View} View
 */

/**
 * The inbox of one user; index.d.ts says what it does.
 *
 * @param {import("../index.d.ts").Options} options
 * @param {import("./world.js").World} [world]
 * @returns {import("../index.d.ts").Inbox}
 */
export function createInbox({ url, userId, getToken, locale, WebSocket }, world = thisWorld(WebSocket)) {
  const { origin } = new URL(url);
  return new Inbox(world, new Rest(world, new Tokens(world, getToken), origin, userId, locale));
}

class Inbox {
  #store = new Store();
  /** @type {Map<string, Set<(event: any) => void>>} */
  #listeners = new Map();
  /** @type {{start: () => void, stop: () => void} | undefined} */
  #link;
  /** @type {State} */
  #state = { name: "idle" };

  /**
   * @param {import("./world.js").World} world
   * @param {Rest} rest
   */
  constructor(world, rest) {
    this.world = world;
    this.rest = rest;
    this.preferences = {
      get: () => rest.preferences(),
      /** @param {import("../index.d.ts").PreferenceChanges} changes */
      set: (changes) => rest.preferences(changes),
    };
    /** @type {import("../index.d.ts").Inbox["addresses"]} */
    this.addresses = {
      list: () => rest.addresses("GET"),
      add: (channel, address) => rest.addresses("POST", "", { channel, address }),
      confirm: (id, code) => rest.addresses("POST", `/${id}/confirm`, { code }),
      remove: (id) => rest.addresses("DELETE", `/${id}`),
    };
  }

  get state() {
    return this.#state;
  }

  get hasMore() {
    return this.#store.from > 0;
  }

  connect() {
    if (this.#link) return;
    const { rest, world } = this;
    const store = this.#store;
    /** @type {import("./session.js").Listener} */
    const listener = {
      state: (state) => this.#stateIs(state),
      frame: (frame) => this.#update(() => store.apply(frame)),
      snapshot: (snapshot) => this.#update(() => store.merge(snapshot)),
      reset: () => this.#update(() => store.reset()),
      error: (error) => this.#emit("error", error),
    };
    /** @param {import("./session.js").Listener} target */
    const session = (target) => new Session(world, rest, store, target);
    const name = `notification-hub ${rest.origin} ${rest.user} ${rest.locale ?? ""}`;
    this.#link = world.locks ? new Tabs(world, world.locks, name, rest, store, listener, session) : session(listener);
    this.#link.start();
  }

  close() {
    if (this.#link) this.#stateIs({ name: "closed", code: 1000, reason: "closed by this page" });
  }

  /**
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(event: Events[Name]) => void} listener
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** @param {View} [view] */
  list(view = "inbox") {
    return this.#store.listOf(view);
  }

  unreadCount() {
    return this.#store.unread;
  }

  /** @param {View} [view] */
  canLoadMore(view = "inbox") {
    return this.#store.end(view) > 0;
  }

  /** @param {View} [view] */
  async loadMore(view = "inbox") {
    for (let asked, done = false; !done && (asked = this.#store.ask(view)); ) {
      const { before, take } = asked;
      const page = await this.rest.page(undefined, before, view);
      this.#update(() => void (done = take(page)));
    }
  }

  /** @param {number} id */
  markRead(id) {
    return this.#change(id, "read");
  }

  /** @param {number} id */
  markUnread(id) {
    return this.#change(id, "unread");
  }

  /** @param {number} id */
  archive(id) {
    return this.#change(id, "archive");
  }

  /** @param {number} id */
  unarchive(id) {
    return this.#change(id, "unarchive");
  }

  /**
   * @param {number} id
   * @param {Date | string} until
   */
  snooze(id, until) {
    return this.#change(id, "snooze", new Date(until).toISOString());
  }

  /**
   * @param {number} id
   * @param {string} [action]
   */
  reportClick(id, action) {
    return this.rest.clicked(id, action);
  }

  unseenCount() {
    return this.#store.unseen;
  }

  markAllSeen() {
    return this.#all("seen");
  }

  markAllRead() {
    return this.#all("read");
  }

  /** @param {number} [upTo] */
  archiveAll(upTo) {
    return this.#all("archive", upTo);
  }

  removeAll() {
    return this.#all("");
  }

  /**
   * @param {Parameters<Rest["all"]>[0]} call
   * @param {number} [upTo] otherwise everything that this page has heard of
   */
  async #all(call, upTo = this.#store.lastSeq) {
    this.#did(await this.rest.all(call, upTo));
  }

  /** @param {number} id */
  async remove(id) {
    await this.#change(id, "").catch((error) => {
      if (error.status !== 404) throw error;
    });
  }

  /**
   * @param {number} id
   * @param {Parameters<Rest["change"]>[1]} call
   * @param {string} [until]
   */
  async #change(id, call, until) {
    try {
      this.#did(await this.rest.change(id, call, until));
    } catch (error) {
      // one that isn't in the inbox can't be unread, but may be archived
      if (call !== "unread" && error instanceof InboxError && error.status === 404) this.#did({ type: "notification_deleted", id });
      throw error;
    }
  }

  /** @param {import("./store.js").Frame} frame */
  #did(frame) {
    this.#update(() => this.#store.apply(frame));
  }

  /** @param {State} state */
  #stateIs(state) {
    if (JSON.stringify(state) === JSON.stringify(this.#state)) return;
    this.#state = state;
    if (state.name === "closed") {
      const link = this.#link;
      this.#link = undefined;
      link?.stop();
    }
    this.#emit("state", state);
  }

  /** @param {() => readonly Notification[] | void} change */
  #update(change) {
    const { version } = this.#store;
    const fresh = change() ?? [];
    for (const notification of fresh) this.#emit("notification", notification);
    if (version !== this.#store.version) this.#emit("change", this);
  }

  /**
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {Events[Name]} event
   */
  #emit(name, event) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(event);
      } catch (error) {
        this.world.report(error); // without harm to the other listeners
      }
    }
  }
}
