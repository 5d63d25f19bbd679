import { icon, iconButton, make, say } from "./dom.js";
import { face, linkOrButton, picture, severityOf } from "./look.js";
import { swipes } from "./swipe.js";

/**
 * @typedef {import("../../index.d.ts").Notification} Notification
 * @typedef {import("./texts.js").Texts} Texts
 *
 * @typedef {object} Deeds what can be done with notifications
 * @property {(notification: Notification, event: Event) => void} open
 * @property {(notification: Notification, action: import("../../index.d.ts").Action, event: Event) => void} act
 * @property {(ones: readonly Notification[], said?: string) => void} read marks them read, or unread if the first is read;
 *   can be undone if something is said
 * @property {(row: Row) => void} offer until when it can be snoozed, or no longer
 * @property {(ones: readonly Notification[], until: Date) => void} snooze
 * @property {(ones: readonly Notification[]) => void} archive or puts them back, if they are archived
 * @property {(ones: readonly Notification[]) => void} remove
 */

/** One notification in the list, or a group of them. */
export class Row {
  /** @type {Row[]} those of a group that is expanded */
  members = [];

  /**
   * @param {Notification} notification
   * @param {Texts} texts
   * @param {Deeds} deeds
   * @param {boolean} archived
   * @param {"li" | "div"} [tag]
   */
  constructor(notification, texts, deeds, archived, tag = "li") {
    const { id, title, content, created_at: at, url, image, actions = [] } = notification;
    const { words } = texts;
    const severity = severityOf(notification);
    this.notification = notification;
    this.deeds = deeds;
    this.unread = make("span", { class: "hidden", dir: "auto" }); // with its own direction it decides none around it
    this.main = linkOrButton(url, {
      class: "main",
      part: "item-title",
      dir: "auto",
      "aria-describedby": `c-${id}`,
      onclick: (/** @type {Event} */ event) => deeds.open(this.notification, event),
    }, this.unread, ...(severity ? [make("span", { class: "hidden", dir: "auto" }, `${words[severity]}: `)] : []), title);
    this.time = make("time", { part: "item-time", datetime: at, title: texts.exactly(at) });
    this.check = iconButton("check", { title: words.read, onclick: () => deeds.read([this.notification]) });
    this.check.append(icon("dot"));
    const goal = archived ? "unarchive" : "archive";
    this.move = iconButton(goal, {
      title: words[goal],
      label: `${words[goal]}: ${title}`,
      onclick: () => deeds.archive([this.notification]),
    });
    this.bin = iconButton("bin", {
      title: words.remove,
      label: `${words.remove}: ${title}`,
      part: "action action-delete",
      onclick: () => deeds.remove([this.notification]),
    });
    this.later = iconButton("clock", { title: words.snooze, label: `${words.snooze}: ${title}`, onclick: () => deeds.offer(this) });
    this.later.setAttribute("aria-expanded", "false");
    this.until = make("div", { class: "choices", role: "group", "aria-label": words.snooze, hidden: true });
    this.text = make("p", { id: `c-${id}`, class: "content", part: "item-content", dir: "auto" }, content);
    this.more = make("button", {
      type: "button",
      class: "more",
      part: "item-more",
      hidden: true,
      onclick: () => this.#unfold(words),
    }, words.more);
    const choices = actions.map((action) => linkOrButton(action.url, {
      part: "item-action",
      dir: "auto",
      onclick: (/** @type {Event} */ event) => deeds.act(this.notification, action, event),
    }, action.label));
    const body = make("div", { class: "body" }, make("h3", {}, this.main), this.text, this.more, picture(image, "image", ""));
    if (choices.length) body.append(make("div", { class: "choices" }, ...choices));
    body.append(make("div", { class: "foot" }, this.time, make("div", { class: "deeds" }, ...(archived ? [] : [this.check, this.later]), this.move, this.bin)), this.until);
    this.item = this.root = make(tag, { class: `row ${severity ?? ""}` }, face(notification), body);
    swipes(this.root, (forwards) => deeds[forwards && !archived ? "read" : "archive"]([this.notification]));
    this.update(notification, texts);
  }

  /**
   * @param {Notification} notification with the same texts
   * @param {Texts} texts
   */
  update(notification, { words }) {
    const { is_read: read, template_code: code, title } = notification;
    const mark = words[read ? "unreadAgain" : "read"];
    this.notification = notification;
    this.root.classList.toggle("unread", !read);
    this.root.setAttribute("part", `item ${read ? "" : "item-unread "}${code.toLowerCase().replace(/[^\w-]/g, "-")}`);
    say(this.unread, read ? "" : `${words.isUnread}: `);
    this.check.title = mark;
    this.check.setAttribute("aria-label", `${mark}: ${title}`);
  }

  /** Whether there is more of the text than is shown. Call it when the row is on the page. */
  measure() {
    if (!this.root.classList.contains("unfolded")) this.more.hidden = this.text.scrollHeight <= this.text.clientHeight + 1;
  }

  /** @param {Texts["words"]} words */
  #unfold(words) {
    const whole = this.root.classList.toggle("unfolded");
    say(this.more, whole ? words.less : words.more);
  }
}

/** The list of notifications, which follows what the inbox lists and keeps the focus where it was. */
export class List {
  /** @type {Map<number, Row>} */
  #rows = new Map();
  /** @type {Row[]} from top to bottom */
  #shown = [];
  /** @type {import("./groups.js").Groups | undefined} */
  groups;
  /** @type {Map<string, HTMLElement>} the headings of days */
  #days = new Map();
  #deeds;
  #archived = false;

  /** @param {Deeds} deeds */
  constructor(deeds) {
    this.#deeds = deeds;
    this.root = make("ol", { part: "list", role: "list", onkeydown: (/** @type {KeyboardEvent} */ event) => this.#pressed(event) });
  }

  /**
   * @param {readonly Notification[]} notifications newest first
   * @param {Texts} texts
   * @param {string} view the tab
   * @param {string} [end] when the oldest that is loaded was created, if there are older ones
   */
  show(notifications, texts, view, end) {
    const archived = view === "archived";
    if (archived !== this.#archived) this.clear();
    this.#archived = archived;
    const old = this.#rows;
    this.#rows = new Map(notifications.map((one) => [one.id, this.#row(old.get(one.id), one, texts)]));
    const rows = [...this.#rows.values()];
    const tops = this.groups?.gather(rows, texts, this.#deeds, view, end) ?? rows;
    this.#shown = tops.flatMap((row) => [row, ...row.members]);
    put(this.root, this.#withDays(tops, texts));
    this.tick(texts);
    this.measure();
  }

  /**
   * The rows, with a heading before the first of each day.
   *
   * @param {Row[]} rows
   * @param {Texts} texts
   */
  #withDays(rows, texts) {
    const now = Date.now();
    const before = this.#days;
    this.#days = new Map();
    return rows.flatMap(({ item, notification }) => {
      const day = texts.day(notification.created_at, now);
      if (this.#days.has(day)) return [item];
      const heading = before.get(day) ?? make("li", { class: "day", role: "none", part: "day", dir: "auto" }, day);
      this.#days.set(day, heading);
      return [heading, item];
    });
  }

  /** Offer the rest of the texts that don't fit, at the width that the list has now. */
  measure() {
    for (const row of this.#shown) row.measure();
  }

  /** Nothing stays of it, which another language or another person needs. */
  clear() {
    this.#rows.clear();
    this.#shown = [];
    this.#days.clear();
    this.root.replaceChildren();
  }

  /** @param {Texts} texts */
  tick(texts) {
    const now = Date.now();
    for (const { time, notification } of this.#shown) say(time, texts.ago(notification.created_at, now));
  }

  /**
   * Where in the list an element is; -1: not in it.
   *
   * @param {Element | null} element
   */
  placeOf(element) {
    return this.#shown.findIndex(({ root }) => root.contains(element));
  }

  /**
   * Focus a button of the row at this place, or of the one before when it was the last.
   *
   * @param {number} place
   * @param {boolean} [bin] the one that deletes, rather than the title
   * @returns {boolean} whether there is any
   */
  focus(place, bin = false) {
    const rows = this.#shown;
    const row = rows[Math.min(Math.max(place, 0), rows.length - 1)];
    (bin ? row?.bin : row?.main)?.focus();
    return Boolean(row);
  }

  /**
   * @param {Row | undefined} row
   * @param {Notification} notification
   * @param {Texts} texts
   */
  #row(row, notification, texts) {
    if (row?.notification === notification) return row;
    if (!row || besides(row.notification) !== besides(notification)) return new Row(notification, texts, this.#deeds, this.#archived);
    row.update(notification, texts);
    return row;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const target = /** @type {Element} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input")) return;
    const place = this.placeOf(target);
    /** @type {Record<string, number>} */
    const goals = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: Infinity };
    if (event.key in goals) this.focus(goals[event.key]);
    else if (event.key === "Delete" || event.key === "e") {
      const { deeds, notification } = this.#shown[place];
      if (!event.repeat) deeds[event.key === "e" ? "archive" : "remove"]([notification]); // one for each press
    } else return;
    event.preventDefault();
  }
}

/**
 * Make these an element's children. Those that are in their place already keep the focus.
 *
 * @param {Element} parent
 * @param {Element[]} items
 */
export function put(parent, items) {
  const { children } = parent;
  for (const item of [...children]) if (!items.includes(item)) item.remove();
  items.forEach((item, place) => item === children[place] || parent.insertBefore(item, children[place] ?? null));
}

/**
 * All that a row doesn't update.
 *
 * @param {Notification} notification
 */
function besides(notification) {
  return JSON.stringify({ ...notification, is_read: undefined });
}

/** What stands in place of the list when there is nothing to list. */
export class Instead {
  /** @param {() => void} connect */
  constructor(connect) {
    this.heading = make("p", { class: "strong" });
    this.hint = make("p", { class: "soft" });
    this.button = make("button", { type: "button", class: "pill", part: "connect", onclick: connect });
    this.picture = make("span", { class: "picture" });
    this.root = make("div", { class: "instead", part: "empty" }, this.picture, this.heading, this.hint, this.button);
  }

  /**
   * @param {string} heading nothing is shown when it is empty
   * @param {{hint?: string, button?: string}} [options]
   */
  show(heading, { hint = "", button = "" } = {}) {
    this.root.hidden = !heading;
    if (heading) this.picture.replaceChildren(icon("bell", ...(button ? /** @type {const} */ (["slash"]) : [])));
    say(this.heading, heading);
    say(this.hint, hint);
    say(this.button, button);
    this.button.hidden = !button;
  }
}

/** Three rows that aren't there yet. */
export function skeleton() {
  const row = () => make("div", { class: "row" }, make("span", { class: "bone" }), make("span", { class: "bone" }));
  return make("div", { class: "skeleton", "aria-hidden": "true" }, row(), row(), row());
}
