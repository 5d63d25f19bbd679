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
 * @typedef {{rev: number, place?: string, read?: boolean, upTo?: number}} Fact what was said of one notification, or of all up to a `seq`
 *
 * @typedef {import("./rest.js").Page & {count: Count, asOf: number, base?: number, facts?: Map<number | string, Fact>[]}} Snapshot
 *   whatever has a `seq` up to `asOf` and isn't in it, is gone. It has all changes up to `base` (none: up to that of its
 *   count), and `facts` are the later ones that it has as well
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
const ARCHIVED = "archived";
const GONE = "gone";
/** @type {Record<string, string>} where a notification is after a frame */
const PLACES = {
  notification_deleted: GONE,
  notification_retracted: GONE,
  notification_snoozed: "snoozed", // until it comes as a new one
  notification_archived: ARCHIVED,
  notification_unarchived: INBOX,
};
/** @type {Record<string, string | undefined>} where everything up to a `seq` is after a frame; undefined: where it was, read */
const SWEEPS = { all_archived: ARCHIVED, all_deleted: GONE, all_read: undefined };
/** @type {Fact} */
const UNKNOWN = { rev: -1 };
const NONE = { unread: 0, last_seq: 0, rev: 0, unseen: 0, seen_up_to: 0 };

/**
 * An inbox as far as it is known: everything from some `seq` on, the latest count of the unread, and a part of the
 * archive.
 *
 * Frames, pages and snapshots may come twice, late and in any order. What each says of a notification is kept with its
 * `rev`: of all that is said the latest holds, and then what was said of all since. So this ends where a freshly loaded
 * inbox would. A page or a snapshot is at least as new as what was known when it was asked for. What came after the
 * latest count is unread: who reads or deletes it makes a later one.
 *
 * What is neither gone nor snoozed is kept until the next snapshot, even if no view lists it: a page that is under way
 * may lack it.
 */
export class Store {
  /** @type {Map<number, Notification>} */
  #items = new Map();
  /** @type {Map<number, string | undefined>} where each of the items is */
  #where = new Map();
  /** @type {Map<number | string, Fact>} */
  #places = new Map();
  /** @type {Map<number | string, Fact>} */
  #reads = new Map();
  /** @type {Map<number | string, Fact>} as of when each of the items is */
  #updates = new Map();
  /** @type {Map<number | string, Fact>} what was said of all, by `rev` and type */
  #sweeps = new Map();
  #facts = [this.#places, this.#reads, this.#updates, this.#sweeps];
  #base = -1; // all changes up to this `rev` are in the latest snapshot
  #edge = 0; // the inbox was known from this `seq` on, when the archive was asked for
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
    const base = this.#base;
    const facts = this.#facts.map((known) => new Map([...known].filter(([, { rev }]) => rev > base)));
    return { items: this.list, from: this.from, count: this.#count, asOf: this.lastSeq, base, facts };
  }

  /**
   * Take a frame; the new notification, if it brought one.
   *
   * @param {Frame} frame
   * @returns {readonly Notification[]}
   */
  apply(frame) {
    const { type = "", data, id, up_to: upTo, rev = this.rev } = frame;
    if (data && !type) return this.loaded && data.seq <= this.lastSeq ? [] : this.#arrived([data], 0);
    if (rev < this.#base) return [];
    if (id !== undefined) this.#said(frame, id, rev);
    if (upTo !== undefined && type in SWEEPS) this.#swept(type, upTo, rev);
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
    if (data && (later(this.#updates, id, { rev }) || !this.#items.has(id))) this.#items.set(id, data);
    if (place) later(this.#places, id, { place, rev });
    const read = type === "notification_read" || data?.is_read;
    if (read !== undefined) later(this.#reads, id, { read, rev });
  }

  /**
   * @param {string} type
   * @param {number} upTo
   * @param {number} rev
   */
  #swept(type, upTo, rev) {
    const place = SWEEPS[type];
    const key = rev + type;
    if (place === ARCHIVED && !this.#sweeps.has(key)) {
      this.#from.archived = Math.max(this.#from.archived, Math.min(this.#edge, upTo + 1)); // what isn't known went there
    }
    later(this.#sweeps, key, { upTo, rev, place });
  }

  /**
   * Take the newest part of the inbox as it stands; those that were not known, oldest first.
   *
   * @param {Snapshot} snapshot
   * @returns {readonly Notification[]}
   */
  merge({ items, from, count, asOf, base = count.rev, facts = [] }) {
    if (!this.loaded) this.lastSeq = Math.max(this.lastSeq, asOf); // what is older is no news
    this.#forgetViews(); // who knows what of them was missed
    this.loaded = true;
    this.#from.inbox = from;
    this.#base = base;
    const there = new Set(items.map(({ id }) => id));
    for (const { id, seq } of this.#items.values()) {
      if (seq <= asOf && !there.has(id) && (this.#places.get(id) ?? UNKNOWN).rev <= base) this.#items.delete(id);
    }
    this.#facts.forEach((known, n) => {
      for (const [key, { rev }] of known) if (rev <= base && !this.#items.has(Number(key))) known.delete(key);
      for (const [key, fact] of facts[n] ?? []) later(known, key, fact);
    });
    this.#counted(count);
    const fresh = this.#arrived([...items].reverse(), base, INBOX, facts[2]);
    this.lastSeq = Math.max(this.lastSeq, asOf);
    return fresh;
  }

  /**
   * What to ask for to go on with a view; nothing if there is no more of it.
   *
   * `take` takes the page. It answers whether that is all: otherwise the page may lack something, and has to be asked for
   * again.
   *
   * @param {View} view
   */
  ask(view) {
    const before = this.end(view);
    const { rev } = this;
    const range = this.#from;
    const edge = range.inbox;
    /** @param {import("./rest.js").Page} page */
    const take = ({ items, from }) => {
      const sweeps = [...this.#sweeps.values()];
      if (range !== this.#from || sweeps.some((sweep) => sweep.place === ARCHIVED && sweep.rev > rev)) return false;
      if (before !== this.end(view)) return true; // it was asked for twice
      if (before === Infinity) this.#edge = edge;
      range[view] = from;
      this.#arrived(items, rev, view === ARCHIVED ? view : INBOX);
      return true;
    };
    return before ? { before: before === Infinity ? undefined : before, take } : undefined;
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
    for (const known of [this.#items, ...this.#facts]) known.clear();
    this.#forgetViews();
    this.#base = -1;
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
   * @param {Map<number | string, Fact>} [updates] as of which some of them are instead
   */
  #arrived(notifications, rev, place, updates) {
    const fresh = notifications.filter((one) => one.seq > this.lastSeq && this.#known(one).place === INBOX);
    for (const notification of notifications) {
      const { id, seq, is_read: read } = notification;
      if (place !== ARCHIVED) this.lastSeq = Math.max(this.lastSeq, seq);
      if (later(this.#updates, id, updates?.get(id) ?? { rev }) || !this.#items.has(id)) this.#items.set(id, notification);
      if (place || !this.#reads.has(id)) later(this.#reads, id, { read, rev }); // else something was said before it came
      if (place) later(this.#places, id, { place, rev });
    }
    this.#amend();
    return fresh.map((notification) => this.#items.get(notification.id) ?? notification);
  }

  /**
   * Where it is, and whether it is read, after all that was said.
   *
   * @param {Notification} notification
   */
  #known({ id, seq, is_read }) {
    let { place = INBOX, rev: placed } = this.#places.get(id) ?? UNKNOWN;
    let { read = is_read, rev: known } = this.#reads.get(id) ?? UNKNOWN;
    for (const sweep of this.#sweeps.values()) {
      if (seq > /** @type {number} */ (sweep.upTo) || place !== INBOX) continue;
      if (!sweep.place) read ||= sweep.rev >= known;
      else if (sweep.rev >= placed) place = sweep.place;
    }
    return { place, read };
  }

  /**
   * @param {View} view
   * @param {Notification} notification
   */
  #isIn(view, { id, seq, is_read: read }) {
    const { inbox, unread, archived } = this.#from;
    const place = this.#where.get(id);
    if (view === ARCHIVED) return place === view && seq >= archived;
    if (place !== INBOX || seq > this.lastSeq) return false; // what was changed before it came isn't listed until it comes
    return seq >= (view === INBOX ? inbox : Math.min(inbox, unread)) && !(read && view !== INBOX);
  }

  /** Bring what is held in line with what was said of it, and drop what is in no view's place. */
  #amend() {
    const sweeps = [...this.#sweeps].sort(([, one], [, other]) => one.rev - other.rev);
    this.#sweeps.clear();
    for (const [key, sweep] of sweeps) this.#sweeps.set(key, sweep);
    this.#where.clear();
    for (const [id, notification] of this.#items) {
      const { place, read } = this.#known(notification);
      this.#where.set(id, place);
      if (place !== INBOX && place !== ARCHIVED) this.#items.delete(id);
      else if (read !== notification.is_read) this.#items.set(id, { ...notification, is_read: read });
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
 * Note what was said, unless something later is known; whether it was noted.
 *
 * @param {Map<number | string, Fact>} known
 * @param {number | string} key
 * @param {Fact} fact
 */
function later(known, key, fact) {
  const newest = fact.rev >= (known.get(key) ?? UNKNOWN).rev;
  if (newest) known.set(key, fact);
  return newest;
}
