/**
 * @typedef {import("../index.d.ts").Notification} Notification
 * @typedef {import("../index.d.ts").View} View
 *
 * @typedef {object} Count how many were unread at a moment; a later one has a higher `rev`, or else `last_seq`
 * @property {number} unread
 * @property {number} last_seq what came up to here is in it, nothing that came after
 * @property {number} rev
 * @property {number} unseen of the unread, those that came after `seen_up_to`
 * @property {number} seen_up_to
 *
 * @typedef {import("./rest.js").Page & {count: Count, asOf: number}} Snapshot
 *   whatever has a `seq` up to `asOf` and isn't in it, is gone
 *
 * @typedef {object} Frame what the hub sends, docs/reference/protocol.md
 * @property {string} [type]
 * @property {Notification} [data]
 * @property {number} [id]
 * @property {number} [up_to]
 * @property {string} [place] where an updated one is
 * @property {number} [unread] with these, what the hub counted after the change
 * @property {number} [last_seq]
 * @property {number} [rev]
 * @property {number} [unseen]
 * @property {number} [seen_up_to]
 */

const INBOX = "inbox";
const GONE = "gone";
/** @type {Record<string, string>} where a notification is after a frame */
const PLACES = {
  notification_deleted: GONE,
  notification_retracted: GONE,
  notification_snoozed: "snoozed", // until it comes as a new one
  notification_archived: "archived",
  notification_unarchived: INBOX,
};
/** @type {Record<string, string | undefined>} where everything up to a `seq` is after a frame; undefined: where it was, read */
const SWEEPS = { all_archived: "archived", all_deleted: GONE, all_read: undefined };
const UNKNOWN = { rev: -1 };
const NONE = { unread: 0, last_seq: 0, rev: 0, unseen: 0, seen_up_to: 0 };

/**
 * An inbox as far as it is known: everything from some `seq` on, the latest count of the unread, and a part of the
 * archive.
 *
 * Frames and snapshots may come twice, late and in any order. Of all that is said of a notification what has the
 * highest `rev` holds, so this ends where a freshly loaded inbox would. A snapshot is at least as new as its count. What
 * came after the latest count is unread: who reads or deletes it makes a later one.
 */
export class Store {
  /** @type {Map<number, Notification>} */
  #items = new Map();
  /** @type {Map<number, {place: string, rev: number}>} */
  #places = new Map();
  /** @type {Map<number, {read: boolean, rev: number}>} */
  #reads = new Map();
  /** @type {Map<number, {rev: number}>} the publishers' updates */
  #updates = new Map();
  /** @type {{upTo: number, rev: number, place?: string}[]} */
  #sweeps = [];
  /** @type {Record<View, number>} everything from this `seq` on is held; 0: all there is */
  #from = { inbox: 0, unread: Infinity, archived: Infinity };
  /** @type {Count} */
  #count = NONE;
  /** @type {Partial<Record<View, readonly Notification[]>>} */
  #lists = {};
  loaded = false;
  lastSeq = 0; // everything up to here is known, and was reported
  version = 0; // counts changes

  /** Newest first. */
  get list() {
    return this.listOf(INBOX);
  }

  /** @param {View} view */
  listOf(view) {
    return (this.#lists[view] ??= Object.freeze(
      [...this.#items.values()].filter((one) => this.#isIn(view, one)).sort((one, other) => other.seq - one.seq),
    ));
  }

  get unread() {
    return this.#count.unread + this.#uncounted;
  }

  get unseen() {
    return this.#count.unseen + this.#uncounted;
  }

  get #uncounted() {
    return Math.max(0, this.lastSeq - this.#count.last_seq);
  }

  get rev() {
    return this.#count.rev;
  }

  get from() {
    return this.#from.inbox;
  }

  /**
   * Where to go on with a view; 0: there is no more of it.
   *
   * @param {View} view
   */
  end(view) {
    const { inbox, unread } = this.#from;
    if (view !== "unread") return this.#from[view];
    return this.listOf(view).length < this.unread ? Math.min(inbox, unread) : 0;
  }

  /** @returns {Snapshot} what another tab can `merge` */
  get snapshot() {
    return { items: this.list, from: this.from, count: this.#count, asOf: this.lastSeq };
  }

  /**
   * Take a frame; the new notification, if it brought one.
   *
   * @param {Frame} frame
   * @returns {Notification[]}
   */
  apply(frame) {
    const { type = "", data, id, up_to: upTo, rev = this.rev } = frame;
    if (data && !type) return this.#arrived([data], 0);
    if (id !== undefined) this.#said(frame, id, rev);
    if (upTo !== undefined && type in SWEEPS) this.#sweeps.push({ upTo, rev, place: SWEEPS[type] });
    this.#counted(frame);
    this.#amend();
    return [];
  }

  /**
   * @param {Frame} frame
   * @param {number} id
   * @param {number} rev
   */
  #said({ type = "", data, place = PLACES[type] }, id, rev) {
    const updated = type === "notification_updated" && later(this.#updates, id, { rev });
    if (data && (updated || !this.#items.has(id))) this.#items.set(id, data);
    if (place) later(this.#places, id, { place, rev });
    const read = type === "notification_read" || data?.is_read;
    if (read !== undefined) later(this.#reads, id, { read, rev });
  }

  /**
   * Take the newest part of the inbox as it stands; those that were not known, oldest first.
   *
   * @param {Snapshot} snapshot
   * @returns {Notification[]}
   */
  merge({ items, from, count, asOf }) {
    if (!this.loaded) this.lastSeq = Math.max(this.lastSeq, asOf); // what is older is no news
    this.#forgetViews(); // who knows what of them was missed
    this.loaded = true;
    this.#from.inbox = from;
    const there = new Set(items.map(({ id }) => id));
    for (const { id, seq } of this.list) {
      if (seq <= asOf && seq >= from && !there.has(id)) later(this.#places, id, { place: GONE, rev: count.rev });
    }
    this.#counted(count);
    const fresh = this.#arrived([...items].reverse(), count.rev, INBOX);
    this.lastSeq = Math.max(this.lastSeq, asOf);
    return fresh;
  }

  /**
   * Take the page that was asked for as what stands before `end(view)`. Nothing happens if that isn't the end any more.
   *
   * @param {import("./rest.js").Page} page
   * @param {number} before
   * @param {number} rev as of which it was asked for
   * @param {View} view
   */
  extend({ items, from }, before, rev, view) {
    if (before !== this.end(view)) return;
    this.#from[view] = from;
    this.#arrived(items, rev, view === "archived" ? view : INBOX);
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
    for (const known of [this.#items, this.#places, this.#reads, this.#updates]) known.clear();
    this.#sweeps = [];
    this.#forgetViews();
    this.lastSeq = 0;
    this.#count = NONE;
    this.loaded = false;
    this.#amend();
  }

  #forgetViews() {
    this.#from = { inbox: 0, unread: Infinity, archived: Infinity };
    this.#lists = {};
  }

  /**
   * @param {readonly Notification[]} notifications
   * @param {number} rev as of which they are so, or of later
   * @param {string} [place] where they are listed; none: they were pushed
   */
  #arrived(notifications, rev, place) {
    const fresh = notifications.filter(({ id, seq }) => seq > this.lastSeq && this.#placeOf(id) === INBOX);
    for (const notification of notifications) {
      const { id, seq, is_read: read } = notification;
      if (place !== "archived") this.lastSeq = Math.max(this.lastSeq, seq);
      if (!(this.#items.has(id) && (this.#updates.get(id) ?? UNKNOWN).rev > rev)) this.#items.set(id, notification);
      if (place || !this.#reads.has(id)) later(this.#reads, id, { read, rev }); // else something was said before it came
      if (place) later(this.#places, id, { place, rev });
    }
    this.#amend();
    return fresh.map((notification) => this.#items.get(notification.id) ?? notification);
  }

  /** @param {number} id */
  #placeOf(id) {
    return this.#places.get(id)?.place ?? INBOX;
  }

  /**
   * @param {View} view
   * @param {Notification} notification
   */
  #isIn(view, { id, seq, is_read: read }) {
    const { inbox, unread, archived } = this.#from;
    const place = this.#placeOf(id);
    if (view === "archived") return place === view && seq >= archived;
    return place === INBOX && seq >= (view === INBOX ? inbox : Math.min(inbox, unread)) && !(read && view !== INBOX);
  }

  /** Bring what is held in line with what was said of it, and drop what no view shows. */
  #amend() {
    for (const [id, notification] of this.#items) {
      const { seq } = notification;
      const known = this.#reads.get(id) ?? UNKNOWN;
      let { read = notification.is_read } = /** @type {{read?: boolean}} */ (known);
      for (const { upTo, rev, place } of this.#sweeps) {
        if (seq > upTo || this.#placeOf(id) !== INBOX) continue;
        if (place) later(this.#places, id, { place, rev });
        else if (rev >= known.rev) read = true;
      }
      const now = read === notification.is_read ? notification : { ...notification, is_read: read };
      if (now !== notification) this.#items.set(id, now);
      if (!this.#isIn(INBOX, now) && !this.#isIn("unread", now) && !this.#isIn("archived", now)) this.#items.delete(id);
    }
    this.#lists = {};
    this.version++;
  }

  /**
   * Keep the latest count. A hub from before there was `rev` sends them in order.
   *
   * @param {Frame} frame
   */
  #counted({ unread, last_seq = this.lastSeq, rev = this.rev, unseen = unread, seen_up_to = 0 }) {
    const newer = rev - this.rev || last_seq - this.#count.last_seq;
    if (unread !== undefined && newer >= 0) this.#count = { unread, last_seq, rev, unseen: unseen ?? unread, seen_up_to };
  }
}

/**
 * Note what was said of a notification, unless something later is known; whether it was noted.
 *
 * @template {{rev: number}} Said
 * @param {Map<number, Said>} known
 * @param {number} id
 * @param {Said} said
 */
function later(known, id, said) {
  const newest = said.rev >= (known.get(id) ?? UNKNOWN).rev;
  if (newest) known.set(id, said);
  return newest;
}
