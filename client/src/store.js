/**
 * @typedef {import("../index.d.ts").Notification} Notification
 *
 * @typedef {object} Count how many were unread at a moment; a later one has a higher `rev`, or else `last_seq`
 * @property {number} unread
 * @property {number} last_seq what came up to here is in it, nothing that came after
 * @property {number} rev
 *
 * @typedef {import("./rest.js").Page & {count: Count, asOf: number}} Snapshot
 *   whatever has a `seq` up to `asOf` and isn't in it, is gone
 *
 * @typedef {object} Frame what the hub sends, docs/reference/protocol.md
 * @property {string} [type]
 * @property {Notification} [data]
 * @property {number} [id]
 * @property {number} [up_to]
 * @property {number} [unread] with these three, what the hub counted after the change
 * @property {number} [last_seq]
 * @property {number} [rev]
 */

/**
 * An inbox as far as it is known: everything from some `seq` on, and the latest count of the unread.
 *
 * Frames and snapshots may come twice, late and in any order. Notifications only come, become read and go, so
 * remembering who was read and who went is enough to end where a freshly loaded inbox would. What came after the
 * latest count is unread: who reads or deletes it makes a later one.
 */
export class Store {
  /** @type {Map<number, Notification>} */
  #items = new Map();
  /** @type {Set<number>} */
  #read = new Set();
  /** @type {Set<number>} */
  #gone = new Set();
  #readUpTo = 0;
  #from = 0;
  /** @type {Count} */
  #count = { unread: 0, last_seq: 0, rev: 0 };
  /** @type {readonly Notification[] | undefined} */
  #list;
  loaded = false;
  lastSeq = 0; // everything up to here is known, and was reported
  version = 0; // counts changes

  /** Newest first. */
  get list() {
    this.#list ??= Object.freeze([...this.#items.values()].sort((one, other) => other.seq - one.seq));
    return this.#list;
  }

  get unread() {
    return this.#count.unread + Math.max(0, this.lastSeq - this.#count.last_seq);
  }

  /** Everything from this `seq` on is held; 0: all there is. */
  get from() {
    return this.#from;
  }

  /** @returns {Snapshot} what another tab can `merge` */
  get snapshot() {
    return { items: this.list, from: this.#from, count: this.#count, asOf: this.lastSeq };
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
    if (id !== undefined) (frame.type === "notification_deleted" ? this.#gone : this.#read).add(id);
    if (upTo !== undefined) this.#readUpTo = Math.max(this.#readUpTo, upTo);
    this.#counted(frame);
    this.#amend();
    return [];
  }

  /**
   * Take the newest part of the inbox as it stands; those that were not known, oldest first.
   *
   * @param {Snapshot} snapshot
   * @returns {Notification[]}
   */
  merge({ items, from, count, asOf }) {
    if (!this.loaded) this.lastSeq = Math.max(this.lastSeq, asOf); // what is older is no news
    this.loaded = true;
    this.#from = from;
    const there = new Set(items.map(({ id }) => id));
    for (const { id, seq } of this.#items.values()) {
      if (seq <= asOf && seq >= from && !there.has(id)) this.#gone.add(id);
    }
    this.#counted(count);
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
    this.#arrived(items);
  }

  /**
   * Whether it is another inbox than this one: it was erased, and has counted beyond `lastSeq` again.
   *
   * @param {Snapshot} snapshot
   */
  isOtherThan({ items }) {
    const ids = new Map(items.map(({ id, seq }) => [seq, id]));
    return this.list.some(({ id, seq }) => (ids.get(seq) ?? id) !== id);
  }

  /** Forget everything: it was an inbox that is no more. */
  reset() {
    for (const known of [this.#items, this.#read, this.#gone]) known.clear();
    this.#readUpTo = this.#from = this.lastSeq = 0;
    this.#count = { unread: 0, last_seq: 0, rev: 0 };
    this.loaded = false;
    this.#amend();
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
   * Keep the latest count. A hub from before there was `rev` sends them in order.
   *
   * @param {Frame} frame
   */
  #counted({ unread, last_seq = this.lastSeq, rev = this.#count.rev }) {
    const later = rev - this.#count.rev || last_seq - this.#count.last_seq;
    if (unread !== undefined && later >= 0) this.#count = { unread, last_seq, rev };
  }
}
