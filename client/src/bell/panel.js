import { iconButton, make, say } from "./dom.js";
import { Instead, List, skeleton } from "./list.js";

const GAP = 8; // px between the bell and the panel
const LEAST_HEIGHT = 280; // px; where there is less room below the bell, the panel opens upwards
const AHEAD = "300px"; // how near the end of the list is when older ones are loaded

/**
 * @typedef {import("../../index.d.ts").Notification} Notification
 * @typedef {import("../../index.d.ts").State} State
 * @typedef {import("./texts.js").Texts} Texts
 * @typedef {object} Tab
 * @property {string} view
 * @property {string} name
 *
 * @typedef {object} View what there is to show
 * @property {Texts} texts
 * @property {State} state
 * @property {boolean} loaded
 * @property {string} view
 * @property {readonly Tab[]} tabs
 * @property {string} empty what is said when the list is empty
 * @property {readonly Notification[]} list
 * @property {number} unread
 * @property {boolean} hasMore
 * @property {string} [end] when the oldest that is loaded was created, if there are older ones
 * @property {boolean} loadingMore
 * @property {boolean} failed the last thing that somebody wanted
 * @property {string} done what can be undone; nothing when it is empty
 * @property {string | null} preferences where the link at the foot leads
 *
 * @typedef {import("./list.js").Deeds & {
 *   look: (view: string) => void, undo: () => void, readAll: () => void, archiveAll: () => void, older: () => void, connect: () => void, toggled: (open: boolean) => void,
 * }} Wishes
 */

/** The dialog below the bell. It is no modal one: the browser closes it on Escape or a click elsewhere. */
export class Panel {
  #frame = 0;
  #settledOpen = false;
  #place = () => {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      this.#stand();
      this.list.measure();
    });
  };

  /**
   * @param {HTMLElement} bell what it stands by
   * @param {Wishes} wishes
   */
  constructor(bell, wishes) {
    this.bell = bell;
    this.wishes = wishes;
    this.heading = make("h2", { id: "title", part: "title" });
    this.count = make("p", { class: "count", part: "count" });
    this.readAll = make("button", { type: "button", class: "pill", part: "read-all", onclick: wishes.readAll });
    this.archiveAll = iconButton("archive", { part: "archive-all", onclick: wishes.archiveAll });
    this.close = iconButton("close", { onclick: () => this.root.hidePopover?.() });
    this.bar = make("p", { class: "bar", part: "status" });
    this.list = new List(wishes);
    this.instead = new Instead(wishes.connect);
    this.skeleton = skeleton();
    this.older = make("button", { type: "button", class: "pill older", part: "older", onclick: wishes.older });
    this.tabs = make("div", {
      class: "tabs",
      part: "tabs",
      role: "tablist",
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#pressed(event),
    });
    this.done = make("span", {});
    this.undo = make("button", { type: "button", class: "pill", part: "undo", onclick: wishes.undo });
    this.snack = make("div", { class: "snack", part: "snackbar" }, this.done, this.undo);
    this.settings = make("a", { part: "preferences" });
    this.foot = make("div", { class: "settings" }, this.settings);
    this.scroll = make("div", { class: "scroll", part: "scroll", id: "view", role: "tabpanel" }, this.skeleton, this.list.root, this.instead.root, this.older);
    const titles = make("div", {}, this.heading, this.count);
    const header = make("div", { class: "head", part: "header" }, titles, this.readAll, this.archiveAll, this.close);
    this.root = make("div", {
      id: "panel",
      class: "panel",
      part: "panel",
      popover: "auto",
      role: "dialog",
      tabindex: "-1",
      "aria-labelledby": "title",
      onbeforetoggle: (/** @type {ToggleEvent} */ { newState }) => {
        if (newState === "closed" && this.root.matches(":focus-within")) this.bell.focus();
      },
      ontoggle: () => this.settle(),
    }, header, this.tabs, this.bar, this.scroll, this.snack, this.foot);
    this.observer = new IntersectionObserver((entries) => entries.at(-1)?.isIntersecting && wishes.older(), {
      root: this.scroll,
      rootMargin: AHEAD,
    });
  }

  get open() {
    return this.root.matches(":popover-open");
  }

  /** @param {View} view */
  show(view) {
    const root = /** @type {ShadowRoot} */ (this.root.getRootNode());
    const activeElement = /** @type {HTMLElement | null} */ (root.activeElement);
    const preventScroll = !activeElement?.matches(":focus-visible"); // who scrolled away by hand stays there
    const place = this.list.placeOf(activeElement);
    const onBin = Boolean(activeElement?.matches("[part~=action-delete]"));
    this.#show(view);
    if (activeElement?.isConnected && activeElement !== root.activeElement) activeElement.focus({ preventScroll }); // it was moved
    const lost = activeElement && (!activeElement.isConnected || activeElement.closest("[hidden]"));
    if (lost && this.open && !(place >= 0 && this.list.focus(place, onBin))) this.root.focus();
  }

  /** See again whether the end of the list is near. */
  lookForEnd() {
    this.observer.unobserve(this.older);
    this.observer.observe(this.older);
  }

  /** @param {View} view */
  #show({ texts, state, loaded, view, tabs, empty, list, unread, hasMore, end, loadingMore, failed, done, preferences }) {
    const { words } = texts;
    const closed = state.name === "closed";
    const away = state.name === "offline" || state.name === "waiting" ? words[state.name] : "";
    say(this.heading, words.title);
    say(this.count, unread && !closed ? texts.counted("unread", unread) : "");
    say(this.readAll, words.readAll);
    this.readAll.hidden = !unread || closed;
    this.close.setAttribute("aria-label", (this.close.title = words.close));
    say(this.bar, failed ? words.failed : away);
    this.bar.hidden = !this.bar.textContent;
    this.bar.classList.toggle("failed", failed);
    this.archiveAll.setAttribute("aria-label", (this.archiveAll.title = words.archiveAll));
    this.archiveAll.hidden = closed || view !== "inbox" || !list.length;
    this.#showTabs(tabs, view);
    say(this.done, done);
    say(this.undo, words.undo);
    this.snack.hidden = !done;
    say(this.settings, words.settings);
    if (preferences) this.settings.href = preferences;
    this.foot.hidden = !preferences;
    this.root.setAttribute("aria-busy", String(!loaded && !closed));
    this.skeleton.hidden = loaded || closed;
    this.list.root.hidden = closed || !list.length;
    if (closed) this.list.clear();
    else this.list.show(list, texts, view, end);
    if (closed) this.instead.show(texts.closed(state.code), { button: words.connect });
    else {
      this.instead.show(loaded && !list.length && !hasMore ? empty : "", view === "inbox" ? { hint: words.emptyHint } : {});
    }
    say(this.older, loadingMore ? words.loading : words.older);
    this.older.hidden = closed || !loaded || !hasMore;
  }

  /**
   * @param {readonly Tab[]} tabs
   * @param {string} view
   */
  #showTabs(tabs, view) {
    const { children } = this.tabs;
    while (children.length > tabs.length) children[children.length - 1].remove();
    tabs.forEach((tab, place) => {
      const button = children[place] ?? this.tabs.appendChild(make("button", {
        type: "button",
        role: "tab",
        id: `tab-${place}`,
        part: "tab",
        "aria-controls": "view",
        onclick: (/** @type {Event} */ { currentTarget }) => this.wishes.look(/** @type {HTMLElement} */ (currentTarget).dataset.view ?? ""),
      }));
      const selected = tab.view === view;
      /** @type {HTMLElement} */ (button).dataset.view = tab.view;
      say(button, tab.name);
      button.setAttribute("aria-selected", String(selected));
      button.setAttribute("tabindex", selected ? "0" : "-1");
      if (selected) this.scroll.setAttribute("aria-labelledby", button.id);
    });
  }

  /** @param {KeyboardEvent} event on a tab */
  #pressed(event) {
    const back = getComputedStyle(this.root).direction === "rtl" ? "ArrowRight" : "ArrowLeft";
    if (!/^Arrow(Left|Right)$/.test(event.key)) return;
    const tabs = /** @type {HTMLElement[]} */ ([...this.tabs.children]);
    const place = tabs.findIndex((tab) => tab === event.target) + (event.key === back ? -1 : 1);
    const next = tabs[(place + tabs.length) % tabs.length];
    event.preventDefault();
    this.wishes.look(next.dataset.view ?? "");
    next.focus();
  }

  /** Do what opening and closing bring. The browser closes what leaves the page, without an event. */
  settle() {
    const { open } = this;
    if (open === this.#settledOpen) return;
    this.#settledOpen = open;
    for (const name of ["resize", "scroll"]) {
      if (open) addEventListener(name, this.#place, { capture: true, passive: true });
      else removeEventListener(name, this.#place, { capture: true });
    }
    if (open) {
      this.#stand();
      this.scroll.scrollTop = 0;
      this.lookForEnd();
    } else this.observer.disconnect();
    const byKeyboard = this.bell.matches(":focus-visible");
    this.wishes.toggled(open);
    if (open && !this.root.matches(":focus-within") && !(byKeyboard && this.list.focus(0))) this.root.focus({ preventScroll: true });
  }

  /** Below the bell or above it, towards the middle of the page; a phone's style sheet knows better. */
  #stand() {
    const { left, right, top, bottom } = this.bell.getBoundingClientRect();
    const { clientWidth: width, clientHeight: height } = document.documentElement;
    const below = height - bottom >= LEAST_HEIGHT || height - bottom >= top;
    const toTheLeft = left + right > width;
    const room = (below ? height - bottom : top) - 2 * GAP;
    const px = (/** @type {number} */ number) => `${Math.max(GAP, number)}px`;
    Object.assign(this.root.style, {
      top: below ? px(bottom + GAP) : "auto",
      bottom: below ? "auto" : px(height - top + GAP),
      left: toTheLeft ? "auto" : px(left),
      right: toTheLeft ? px(width - right) : "auto",
    });
    this.root.style.setProperty("--room", px(room));
  }
}
