/**
 * @typedef {import("../index.d.ts").Notification} Notification
 *
 * @typedef {import("./rest.js").Page & {lastSeq: number, unread: number, asOf: number}} Snapshot
 *   `unread` of all up to and with `lastSeq`; whatever has a `seq` up to `asOf` and isn't in it, is gone
 *
 * @typedef {object} Frame what the hub sends, docs/protocol.md
 * @property {string} [type]
 * @property {Notification} [data]
 * @property {string} [id]
 * @property {number} [up_to]
 * @property {number} [unread] what the hub counted after the change
 */

/**
 * An inbox as far as it is known: everything from some `seq` on, and how many older ones are unread.
 *
 * Frames and snapshots may come twice, late and in any order. Notifications only come, become read and go, so
 * remembering who was read and who went is enough to end where a freshly loaded inbox would.
 */
export class Store {
  /** @type {Map<string, Notification>} */
  #items = new Map();
  /** @type {Set<string>} */
  #read = new Set();
  /** @type {Set<string>} */
  #gone = new Set();
  #readUpTo = 0;
  #from = 0;
  #olderUnread = 0;
  /** @type {readonly Notification[] | undefined} */
  #list;
  loaded = false;
  guessed = false; // whether the number of unread may be off
  lastSeq = 0; // everything up to here is known, and was told of
  version = 0; // counts changes

  /** Newest first. */
  get list() {
    this.#list ??= Object.freeze([...this.#items.values()].sort((one, other) => other.seq - one.seq));
    return this.#list;
  }

  get unread() {
    return unreadIn(this.#items.values()) + this.#olderUnread;
  }

  /** Everything from this `seq` on is held; 0: all there is. */
  get from() {
    return this.#from;
  }

  /** @returns {Snapshot} what another tab can `merge` */
  get snapshot() {
    const { list: items, from, lastSeq, unread } = this;
    return { items, from, lastSeq, unread, asOf: lastSeq };
  }

  /**
   * Take a frame; the new notification, if it brought one.
   *
   * @param {Frame} frame
   * @returns {Notification[]}
   */
  apply(frame) {
    const { data, id, up_to: upTo } = frame;
    if (data) return this.#arrived([data]);
    const held = id !== undefined && this.#items.has(id);
    if (id !== undefined) (frame.type === "notification_deleted" ? this.#gone : this.#read).add(id);
    if (upTo !== undefined) this.#readUpTo = Math.max(this.#readUpTo, upTo);
    this.#amend();
    if (!held && frame.unread !== undefined) this.#countOlder(frame);
    return [];
  }

  /**
   * Take the newest part of the inbox as it stands; those that were not known, oldest first.
   *
   * @param {Snapshot} snapshot
   * @returns {Notification[]}
   */
  merge({ items, from, lastSeq, unread, asOf }) {
    if (!this.loaded) this.lastSeq = Math.max(this.lastSeq, lastSeq); // what is older is no news
    this.loaded = true;
    this.#from = from;
    const there = new Set(items.map(({ id }) => id));
    for (const { id, seq } of this.#items.values()) {
      if (seq <= asOf && seq >= from && !there.has(id)) this.#gone.add(id);
    }
    this.guessed = false;
    const counted = items.filter(({ seq }) => seq <= lastSeq);
    this.#olderUnread = from ? Math.max(0, unread - unreadIn(counted)) : 0;
    const fresh = this.#arrived([...items].reverse());
    this.lastSeq = Math.max(this.lastSeq, asOf);
    return fresh;
  }

  /**
   * Take the page that was asked for as what stands before `seq`. Nothing happens if that isn't the end any more.
   *
   * @param {import("./rest.js").Page} page
   * @param {number} before
   */
  extend({ items, from }, before) {
    if (before !== this.#from) return;
    this.#from = from;
    this.#olderUnread = from ? Math.max(0, this.#olderUnread - unreadIn(items)) : 0;
    this.#arrived(items);
  }

  /**
   * The hub counted this many unread, at a moment when nothing was on its way.
   *
   * @param {number} unread
   */
  recount(unread) {
    this.#olderUnread = this.#from ? Math.max(0, unread - unreadIn(this.#items.values())) : 0;
    this.guessed = false;
    this.version++;
  }

  /** @param {readonly Notification[]} notifications */
  #arrived(notifications) {
    const fresh = notifications.filter(({ id, seq }) => seq > this.lastSeq && !this.#gone.has(id));
    for (const notification of notifications) {
      this.lastSeq = Math.max(this.lastSeq, notification.seq);
      const { is_read } = this.#items.get(notification.id) ?? notification;
      this.#items.set(notification.id, is_read && !notification.is_read ? { ...notification, is_read } : notification);
    }
    this.#amend();
    return fresh.map((notification) => this.#items.get(notification.id) ?? notification);
  }

  /** Bring what is held in line with who went and who was read. */
  #amend() {
    for (const [id, notification] of this.#items) {
      const { seq } = notification;
      if (this.#gone.has(id) || seq < this.#from) this.#items.delete(id);
      else if (!notification.is_read && (seq <= this.#readUpTo || this.#read.has(id))) {
        this.#items.set(id, { ...notification, is_read: true });
      }
    }
    this.#list = undefined;
    this.version++;
  }

  /**
   * Somebody changed what isn't held here. What the hub counted may hold what is still on its way, or lack what came
   * already; sure is only that older ones never become more.
   *
   * @param {Frame} frame
   */
  #countOlder({ unread = 0, up_to: upTo = 0 }) {
    const all = upTo >= this.#from - 1;
    const left = all ? 0 : unread - unreadIn(this.#items.values());
    this.#olderUnread = Math.max(0, Math.min(this.#olderUnread, left));
    this.guessed ||= !all;
  }
}

/** @param {Iterable<Notification>} notifications */
function unreadIn(notifications) {
  let count = 0;
  for (const { is_read } of notifications) if (!is_read) count++;
  return count;
}
