import { Button } from "./bell/button.js";
import { Base, define, make, upgrade } from "./bell/dom.js";
import { languageAround } from "./bell/language.js";
import { Row, put } from "./bell/list.js";
import { Panel } from "./bell/panel.js";
import { share, stand } from "./bell/shared.js";
import { askToShow, play } from "./bell/signals.js";
import { sheet } from "./bell/style.js";
import { Texts, WORDS } from "./bell/texts.js";
import { Toasts } from "./bell/toasts.js";

const PHONE = "(max-width: 30rem)"; // where the list covers the page
const AT_ONCE = 50; // changes that are sent before the first is answered
const UNDO = 5000; // ms in which what was deleted or archived can be taken back
const COUNT = /^\(\d+\+?\) /; // before the page's title
const TICK = 30_000; // ms between looks at how long ago things were

/**
 * @typedef {import("../index.d.ts").Inbox} Inbox
 * @typedef {import("../index.d.ts").Notification} Notification
 * @typedef {import("../index.d.ts").State} State
 * @typedef {"markRead" | "markUnread" | "archive" | "unarchive" | "snooze" | "remove"} Call
 */

/** `<notification-bell>`; bell.d.ts says what it does. */
export class NotificationBell extends Base {
  static observedAttributes = ["url", "user-id", "lang", "categories", "group-by"];

  /** @type {import("../bell.d.ts").GetToken | undefined} */
  #getToken;
  /** @type {Inbox | undefined} */
  #given;
  /** @type {import("../bell.d.ts").BellTexts | undefined} */
  #words;
  /** @type {Inbox | undefined} */
  #inbox;
  /** @type {ReturnType<typeof share> | undefined} */
  #seat;
  /** @type {(() => void)[]} */
  #leaving = [];
  #texts = new Texts("en");
  #connected = false;
  #pageLanguage = new MutationObserver(() => this.#join());
  #loaded = false;
  #loadingMore = false;
  #failed = false;
  /** One of the inbox's views, or the id of a category. */
  #view = "inbox";
  /** @type {Record<string, string>} the hub's names of categories */
  #names = {};
  #by = ""; // what is grouped by
  #gathers = true; // or the part that groups is still being loaded
  #seeing = false;
  #swept = 0; // the `seq` up to which all are archived, unless that is undone
  /** @type {Set<number>} */
  #hidden = new Set(); // what is being moved, or will be deleted unless that is undone
  /** @type {{said: string, undo: () => unknown, settle: () => void} | undefined} */
  #undoable;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #settling;
  /** @type {Notification[]} */
  #unshown = []; // what came while nobody looked at the page
  #due = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;

  constructor() {
    super();
    this.button = new Button();
    this.live = make("div", { class: "hidden", role: "status", "aria-live": "polite" });
    this.panel = new Panel(this.button.root, {
      open: (notification, event) => this.#chosen(notification, event),
      act: (notification, action, event) => this.#chosen(notification, event, action),
      read: (ones, said) => this.#read(ones, said),
      archive: (ones) => this.#archive(ones),
      offer: (row) => this.#try(() => extras(({ offer }) => offer(row, this.#texts.words))),
      snooze: (ones, until) => this.#move(this.#texts.words.snoozed, ones, "snooze", "unarchive", until),
      archiveAll: () => this.#archiveAll(),
      remove: (ones) => this.#remove(ones),
      look: (view) => this.#look(view),
      undo: () => this.#undo(),
      readAll: () => this.#try((inbox) => inbox.markAllRead(), this.#texts.words.allRead),
      older: () => this.#older(),
      connect: () => this.#connectAgain(),
      toggled: (open) => this.#toggled(open),
    });
    this.toasts = new Toasts({
      texts: () => this.#texts,
      announce: (text) => this.#announce(text),
      open: (notification, event) => (notification ? this.#chosen(notification, event) : (this.open = true)),
      left: () => this.button.root.focus(),
    });
    this.button.root.popoverTargetElement = this.panel.root;
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet()];
    this.panel.root.addEventListener("keydown", (event) => {
      if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || !this.#undoable) return;
      event.preventDefault();
      this.#undo();
    });
    root.append(this.button.root, this.panel.root, this.toasts.root, this.live);
  }

  get getToken() {
    return this.#getToken;
  }

  set getToken(getToken) {
    this.#getToken = getToken;
    if (getToken) this.#seat?.start(getToken);
  }

  get inbox() {
    return this.#given ?? this.#inbox;
  }

  set inbox(inbox) {
    this.#given = inbox;
    this.#join();
  }

  get texts() {
    return this.#words;
  }

  set texts(texts) {
    this.#words = texts;
    this.#join();
  }

  get open() {
    return this.panel.open;
  }

  set open(open) {
    if (this.isConnected) this.panel.root.togglePopover?.(Boolean(open));
  }

  connectedCallback() {
    this.#connected = true;
    upgrade(this, "getToken", "inbox", "texts");
    addEventListener("pagehide", this.#settle);
    document.addEventListener("visibilitychange", this.#looked);
    this.#pageLanguage.observe(document.documentElement, { attributeFilter: ["lang"] });
    this.#join();
  }

  disconnectedCallback() {
    this.#connected = false;
    removeEventListener("pagehide", this.#settle);
    document.removeEventListener("visibilitychange", this.#looked);
    this.#pageLanguage.disconnect();
    this.panel.settle();
    this.#leave();
  }

  attributeChangedCallback() {
    this.#join();
  }

  /** Show the inbox that is given, or named by the attributes, in the language that is spoken here now. */
  #join() {
    if (!this.#connected) return;
    this.#leave();
    this.#texts = new Texts(languageAround(WORDS, this), this.#words);
    const { language, direction } = this.#texts;
    for (const { root } of [this.panel, this.toasts, { root: this.live }]) Object.assign(root, { lang: language, dir: direction });
    const userId = this.getAttribute("user-id");
    if (!this.#given && userId) {
      const { origin } = new URL(this.getAttribute("url") ?? "", location.href);
      this.#seat = share(this, origin, userId, this.#texts.language);
    }
    const inbox = this.#given ?? this.#seat?.inbox;
    if (inbox) this.#listen(inbox);
    if (this.#getToken) this.#seat?.start(this.#getToken);
    this.#group();
    this.#show();
  }

  /** Load the part that groups, where the page wants groups. If that fails, each notification is shown by itself. */
  async #group() {
    const by = this.getAttribute("group-by") ?? "";
    const { list } = this.panel;
    if (by === this.#by) return;
    this.#by = by;
    list.groups = undefined;
    this.#gathers = !by;
    const part = by && (await import("./bell/groups.js").catch(() => undefined));
    if (by !== this.#by) return;
    if (!part) this.#by = ""; // it is tried again when the list is opened again
    else list.groups = new part.Groups(by, { Row, put, root: /** @type {ShadowRoot} */ (this.shadowRoot), name: this.#nameOf, changed: () => this.#update() });
    this.#gathers = true;
    this.#update();
  }

  /** @param {Inbox} inbox */
  #listen(inbox) {
    const standing = stand(inbox, this);
    this.#inbox = inbox;
    this.#leaving = [
      standing.leave,
      inbox.on("change", () => this.#update()),
      inbox.on("state", (state) => {
        if (state.name === "live") this.#failed = false;
        if (state.name === "closed") this.#ended(standing.first ? this.#texts.closed(state.code) : "");
        this.#update();
      }),
      inbox.on("notification", (notification) => {
        if (!standing.first) return;
        this.#signal(notification);
        if (document.hidden) this.#unshown.push(notification);
        else this.#came(notification);
      }),
    ];
  }

  #leave() {
    this.#settle();
    this.#unshown = [];
    for (const leave of this.#leaving.splice(0)) leave();
    this.#seat?.leave();
    this.#seat = this.#inbox = undefined;
    this.#loaded = this.#loadingMore = this.#failed = false;
    this.#view = "inbox";
    this.panel.list.clear();
    this.#ended("");
  }

  /**
   * Nothing of what was shown stays.
   *
   * @param {string} why
   */
  #ended(why) {
    this.toasts.clear();
    this.#announce(why);
  }

  /** @param {Notification} notification */
  #came(notification) {
    if (this.open || this.hasAttribute("quiet")) this.#announce(notification.title);
    else this.toasts.add(notification);
  }

  /** @param {string} text */
  #announce(text) {
    this.live.replaceChildren(make("p", {}, text)); // a new element is read out even if it says the same again
  }

  /** Show what changed, once for all changes of this moment. */
  #update() {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      if (this.#connected) this.#show();
    });
  }

  #show() {
    const inbox = this.#inbox;
    /** @type {State} */
    const state = inbox?.state ?? { name: "idle" };
    const closed = state.name === "closed";
    const shown = inbox && !closed ? inbox : undefined;
    const stays = (/** @type {Notification} */ { id, seq }) => !this.#hidden.has(id) && seq > this.#swept;
    const loaded = shown?.list() ?? [];
    const all = loaded.filter(stays);
    const hidden = loaded.filter((one) => !one.is_read && !stays(one)).length;
    const left = (shown?.unreadCount() ?? 0) - hidden;
    const unread = this.#swept ? all.filter(({ is_read: read }) => !read).length : left;
    const unseen = this.getAttribute("badge") === "unseen";
    const count = unseen ? Math.min(unread, shown?.unseenCount() ?? 0) : unread;
    this.#loaded ||= state.name === "live" || all.length > 0;
    this.button.show(this.#texts, state, count, unseen ? "fresh" : "unread");
    if (this.hasAttribute("title-badge")) this.#entitle(count);
    if (this.hasAttribute("favicon-badge")) extras(({ markIcon }) => markIcon(count > 0)).catch(() => {});
    this.toasts.settle(all);
    if (!this.open) return;
    this.#see();
    const view = this.#view;
    const list = (shown && this.#gathers ? this.#listOf(shown) : []).filter((one) => stays(one) || (view === "archived" && !this.#hidden.has(one.id)));
    const hasMore = Boolean(inbox && this.#hasMore(inbox));
    this.panel.show({
      texts: this.#texts,
      state,
      loaded: this.#loaded && this.#gathers && !(this.#loadingMore && !list.length),
      view,
      tabs: this.#tabs,
      empty: this.#texts.words[view === "unread" ? "emptyUnread" : view === "archived" ? "emptyArchive" : "empty"],
      list,
      unread,
      hasMore,
      end: hasMore ? inbox?.list(this.#source).at(-1)?.created_at : undefined,
      loadingMore: this.#loadingMore,
      failed: this.#failed,
      done: this.#undoable?.said ?? "",
      preferences: this.getAttribute("preferences-url"),
    });
  }

  get #categories() {
    return (this.getAttribute("categories") ?? "").split(",").map((id) => id.trim()).filter(Boolean);
  }

  /** @param {string} id of a category */
  #nameOf = (id) => this.#texts.names[id] ?? this.#names[id] ?? id;

  get #tabs() {
    const { words } = this.#texts;
    const categories = this.#categories.map((view) => ({ view, name: this.#nameOf(view) }));
    return [{ view: "inbox", name: words.tabAll }, { view: "unread", name: words.tabUnread }, ...categories, { view: "archived", name: words.tabArchive }];
  }

  /** The list that the view is of. */
  get #source() {
    return this.#view === "unread" || this.#view === "archived" ? this.#view : "inbox";
  }

  /** @param {Inbox} inbox */
  #listOf(inbox) {
    const list = inbox.list(this.#source);
    return this.#categories.includes(this.#view) ? list.filter(({ category }) => category === this.#view) : list;
  }

  /** @param {Inbox} inbox */
  #hasMore(inbox) {
    const source = this.#source;
    return source === "inbox" ? inbox.hasMore : inbox.canLoadMore(source);
  }

  /** What the list shows while somebody looks at it is seen. If that fails, the next change tries it again. */
  async #see() {
    const inbox = this.#inbox;
    if (!inbox || this.#seeing || document.hidden || inbox.state.name !== "live" || !inbox.unseenCount()) return;
    this.#seeing = true;
    await inbox.markAllSeen().catch(() => {});
    this.#seeing = false;
  }

  /** @param {Notification} notification */
  #signal(notification) {
    const sound = this.getAttribute("sound");
    if (sound) play(sound);
    if (!document.hidden || !this.hasAttribute("browser-notifications")) return;
    extras(({ showOutside }) => showOutside(notification, () => this.#dispatch("notificationopen", notification) && this.#read([notification]))).catch(() => {});
  }

  /** Ask the hub for the names of categories, once that they are needed. */
  async #learnNames() {
    const inbox = this.#inbox;
    const asked = this.#by === "category" && !Object.keys(this.#names).length;
    const unknown = asked || this.#categories.some((id) => !(id in this.#names) && !(id in this.#texts.names));
    const known = unknown && (await inbox?.preferences.get().catch(() => undefined));
    if (!known || inbox !== this.#inbox) return;
    this.#names = Object.fromEntries(known.categories.map(({ id, name }) => [id, name]));
    this.#update();
  }

  /** @param {number} count */
  #entitle(count) {
    const title = (count ? `(${this.#texts.badge(count)}) ` : "") + document.title.replace(COUNT, "");
    if (title !== document.title) document.title = title;
  }

  /** @param {string} view */
  #look(view) {
    this.#view = view;
    this.panel.scroll.scrollTop = 0;
    this.#show();
    if (this.#inbox && (view === "archived" || !this.#listOf(this.#inbox).length)) this.#older();
  }

  /** All that the list shows; it isn't done before it can't be undone any more. */
  #archiveAll() {
    const upTo = this.#inbox?.list()[0]?.seq ?? 0;
    this.#swept = upTo;
    const archive = () => this.#try((inbox) => inbox.archiveAll(upTo)).then(() => {
      this.#swept = 0;
      this.#update();
    });
    this.#offer(this.#texts.words.archived, () => (this.#swept = 0), archive);
  }

  /** @param {readonly Notification[]} ones */
  #archive(ones) {
    const { archived, unarchived } = this.#texts.words;
    if (this.#view === "archived") this.#move(unarchived, ones, "unarchive", "archive");
    else this.#move(archived, ones, "archive", "unarchive");
  }

  /**
   * @param {readonly Notification[]} ones
   * @param {string} [said] none: nothing is said, and it can't be undone
   */
  #read(ones, said) {
    const [call, back] = ones[0].is_read ? /** @type {const} */ (["markUnread", "markRead"]) : /** @type {const} */ (["markRead", "markUnread"]);
    const doing = this.#each(ones, call);
    if (said) this.#offer(said, () => doing.then(() => this.#each(ones, back)));
  }

  /** @param {readonly Notification[]} ones */
  #remove(ones) {
    const show = this.#hide(ones);
    this.#offer(this.#texts.words.removed, show, () => this.#each(ones, "remove").then(show));
  }

  /**
   * Move them out of the list that is shown, or back.
   *
   * @param {string} said
   * @param {readonly Notification[]} ones
   * @param {Call} call
   * @param {Call} back undoes it
   * @param {Date} [until]
   */
  #move(said, ones, call, back, until) {
    const doing = this.#each(ones, call, until).then(this.#hide(ones));
    this.#offer(said, () => doing.then(() => this.#each(ones, back)));
  }

  /**
   * Show the list without them; the answer shows them again.
   *
   * @param {readonly Notification[]} ones
   */
  #hide(ones) {
    for (const { id } of ones) this.#hidden.add(id);
    return () => {
      for (const { id } of ones) this.#hidden.delete(id);
      this.#update();
    };
  }

  /**
   * @param {readonly Notification[]} ones
   * @param {Call} call
   * @param {Date} [until]
   */
  #each(ones, call, until = new Date()) {
    return this.#try(async (inbox) => {
      for (let at = 0; at < ones.length; at += AT_ONCE) {
        await Promise.all(ones.slice(at, at + AT_ONCE).map(({ id }) => inbox[call](id, until)));
      }
    });
  }

  /**
   * Say what was done, and that it can be undone for a while.
   *
   * @param {string} said
   * @param {() => unknown} undo
   * @param {() => unknown} [settle] does it, when it isn't undone
   */
  #offer(said, undo, settle = () => {}) {
    this.#settle();
    this.#undoable = { said, undo, settle };
    this.#settling = setTimeout(this.#settle, UNDO);
    this.#announce(said);
    this.#update();
  }

  #settle = () => {
    clearTimeout(this.#settling);
    const undoable = this.#undoable;
    this.#undoable = undefined;
    undoable?.settle();
    if (undoable) this.#update();
  };

  #undo() {
    clearTimeout(this.#settling);
    this.#undoable?.undo();
    this.#undoable = undefined;
    this.#update();
  }

  #looked = () => {
    if (document.hidden) return;
    for (const notification of this.#unshown.splice(0)) this.#came(notification);
    this.#update();
  };

  /** @param {boolean} open */
  #toggled(open) {
    this.button.root.setAttribute("aria-expanded", String(open));
    clearInterval(this.#ticking);
    this.#failed = false;
    if (open) {
      if (this.hasAttribute("browser-notifications")) askToShow();
      this.#group();
      this.#learnNames();
      this.toasts.clear();
      this.#ticking = setInterval(() => this.panel.list.tick(this.#texts), TICK);
      this.#show();
    } else {
      this.#settle();
      this.#view = "inbox";
    }
    this.#dispatch("belltoggle", open);
  }

  /**
   * Somebody chose a notification, or one of its actions. A page that prevents it also keeps the browser from following
   * the link; one that opens a link elsewhere, as with the control key, isn't asked.
   *
   * @param {Notification} notification
   * @param {Event} event
   * @param {import("../index.d.ts").Action} [action]
   */
  #chosen(notification, event, action) {
    const { id, is_read: read } = notification;
    const { ctrlKey, metaKey, shiftKey } = /** @type {MouseEvent} */ (event);
    const link = /** @type {Element} */ (event.currentTarget).matches("a");
    const elsewhere = link && (ctrlKey || metaKey || shiftKey);
    const name = action ? "notificationaction" : "notificationopen";
    const wanted = elsewhere || this.#dispatch(name, action ? { notification, action } : notification);
    if (!wanted) event.preventDefault();
    else if (!read) this.#try((inbox) => inbox.markRead(id));
    if (wanted && (link || action)) this.#inbox?.reportClick(id, action?.id).catch(() => {}); // nothing waits for the report
    if (!elsewhere && (link || matchMedia(PHONE).matches)) this.open = false;
  }

  #connectAgain() {
    if (this.#dispatch("reconnect", undefined)) this.#inbox?.connect();
  }

  async #older() {
    const inbox = this.#inbox;
    const source = this.#source;
    if (!inbox || !this.#hasMore(inbox) || this.#loadingMore) return;
    const { groups, root } = this.panel.list;
    const before = root.childElementCount;
    this.#loadingMore = true;
    this.#update();
    const done = await this.#try(() => inbox.loadMore(source));
    if (inbox !== this.#inbox) return;
    this.#loadingMore = false;
    this.#show();
    const grew = !groups || root.childElementCount > before; // else a group may take all pages
    if (done && this.open && grew) this.panel.lookForEnd();
  }

  /**
   * Have the hub do something; say that it is done, or that it failed. What is done shows by the inbox's own change.
   *
   * @param {(inbox: Inbox) => Promise<void>} deed
   * @param {string} [done]
   * @returns {Promise<boolean>} whether it worked
   */
  async #try(deed, done) {
    const inbox = this.#inbox;
    if (!inbox) return false;
    this.#failed = false;
    const failed = await deed(inbox).then(() => false, () => true);
    if (inbox !== this.#inbox) return false; // what became of it is nothing to say of another
    this.#failed = failed;
    const said = failed ? this.#texts.words.failed : done;
    if (said) this.#announce(said);
    this.#update();
    return !failed;
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   * @returns {boolean} whether nobody prevented what follows
   */
  #dispatch(name, detail) {
    const cancelable = name !== "belltoggle";
    return this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true, cancelable }));
  }
}

/**
 * Do something with the part that is loaded when it is wanted.
 *
 * @param {(part: typeof import("./bell/extras.js")) => void} deed
 */
function extras(deed) {
  return import("./bell/extras.js").then(deed);
}

define("notification-bell", NotificationBell);
