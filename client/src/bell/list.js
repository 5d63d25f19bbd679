import { icon, iconButton, make, say } from "./dom.js";
import { face, linkOrButton, picture, severityOf } from "./look.js";
import { swipes } from "./swipe.js";
import { snoozable, snoozes } from "./texts.js";

/**
 * @typedef {import("../../index.d.ts").Notification} Notification
 * @typedef {import("./texts.js").Texts} Texts
 *
 * @typedef {object} Deeds what can be done with a notification
 * @property {(notification: Notification, event: Event) => void} open
 * @property {(notification: Notification, action: import("../../index.d.ts").Action, event: Event) => void} act
 * @property {(notification: Notification) => void} read marks it read, or unread if it is read
 * @property {(notification: Notification, until: Date) => void} snooze
 * @property {(notification: Notification) => void} archive or puts it back, if it is archived
 * @property {(notification: Notification) => void} remove
 */

/** One notification in the list. */
class Row {
  /**
   * @param {Notification} notification
   * @param {Texts} texts
   * @param {Deeds} deeds
   * @param {boolean} archived
   */
  constructor(notification, texts, deeds, archived) {
    const { id, title, content, created_at: at, url, image, actions = [] } = notification;
    const { words } = texts;
    const severity = severityOf(notification);
    this.notification = notification;
    this.unread = make("span", { class: "hidden", dir: "auto" }); // with its own direction it decides none around it
    this.main = linkOrButton(url, {
      class: "main",
      part: "item-title",
      dir: "auto",
      "aria-describedby": `c-${id}`,
      onclick: (/** @type {Event} */ event) => deeds.open(this.notification, event),
    }, this.unread, ...(severity ? [make("span", { class: "hidden", dir: "auto" }, `${words[severity]}: `)] : []), title);
    this.time = make("time", { part: "item-time", datetime: at, title: texts.exactly(at) });
    this.check = iconButton("check", { title: words.read, onclick: () => deeds.read(this.notification) });
    this.check.append(icon("dot"));
    const goal = archived ? "unarchive" : "archive";
    this.move = iconButton(goal, {
      title: words[goal],
      label: `${words[goal]}: ${title}`,
      onclick: () => deeds.archive(this.notification),
    });
    this.bin = iconButton("bin", {
      title: words.remove,
      label: `${words.remove}: ${title}`,
      part: "action action-delete",
      onclick: () => deeds.remove(this.notification),
    });
    this.later = iconButton("clock", { title: words.snooze, label: `${words.snooze}: ${title}`, onclick: () => this.#offer(words, deeds) });
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
    this.root = make("li", { class: `row ${severity ?? ""}` }, face(notification), body);
    swipes(this.root, (forwards) => deeds[forwards && !archived ? "read" : "archive"](this.notification));
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

  /**
   * Offer until when it can be snoozed, or no longer.
   *
   * @param {Texts["words"]} words
   * @param {Deeds} deeds
   */
  #offer(words, deeds) {
    const offered = (this.until.hidden = !this.until.hidden);
    this.later.setAttribute("aria-expanded", String(!offered));
    this.until.replaceChildren(...snoozes(Date.now()).map(([word, moment]) => make("button", {
      type: "button",
      part: "snooze",
      onclick: () => deeds.snooze(this.notification, moment),
    }, words[word])), this.#moment(words, deeds));
    this.until.scrollIntoView({ block: "nearest" });
  }

  /**
   * A time of one's own.
   *
   * @param {Texts["words"]} words
   * @param {Deeds} deeds
   */
  #moment(words, deeds) {
    const [min, max] = snoozable(Date.now());
    const moment = make("input", { type: "datetime-local", required: true, min, max, "aria-label": words.anotherTime, title: words.anotherTime });
    const choose = (/** @type {Event} */ event) => {
      event.preventDefault();
      deeds.snooze(this.notification, new Date(moment.value));
    };
    return make("form", { part: "snooze-form", onsubmit: choose }, moment, make("button", { part: "snooze" }, words.snooze));
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
   * @param {boolean} archived
   */
  show(notifications, texts, archived) {
    const { root } = this;
    if (archived !== this.#archived) this.clear();
    this.#archived = archived;
    const old = this.#rows;
    this.#rows = new Map(notifications.map((one) => [one.id, this.#row(old.get(one.id), one, texts)]));
    const items = this.#withDays(texts);
    for (const item of [...root.children]) if (!items.includes(/** @type {HTMLElement} */ (item))) item.remove();
    items.forEach((item, place) => item === root.children[place] || root.insertBefore(item, root.children[place] ?? null));
    this.tick(texts);
    this.measure();
  }

  /**
   * The rows, with a heading before the first of each day.
   *
   * @param {Texts} texts
   */
  #withDays(texts) {
    const now = Date.now();
    const before = this.#days;
    this.#days = new Map();
    return [...this.#rows.values()].flatMap(({ root, notification }) => {
      const day = texts.day(notification.created_at, now);
      if (this.#days.has(day)) return [root];
      const heading = before.get(day) ?? make("li", { class: "day", role: "none", part: "day", dir: "auto" }, day);
      this.#days.set(day, heading);
      return [heading, root];
    });
  }

  /** Offer the rest of the texts that don't fit, at the width that the list has now. */
  measure() {
    for (const row of this.#rows.values()) row.measure();
  }

  /** Nothing stays of it, which another language or another person needs. */
  clear() {
    this.#rows.clear();
    this.#days.clear();
    this.root.replaceChildren();
  }

  /** @param {Texts} texts */
  tick(texts) {
    const now = Date.now();
    for (const { time, notification } of this.#rows.values()) say(time, texts.ago(notification.created_at, now));
  }

  /**
   * Where in the list an element is; -1: not in it.
   *
   * @param {Element | null} element
   */
  placeOf(element) {
    return [...this.#rows.values()].findIndex(({ root }) => root.contains(element));
  }

  /**
   * Focus a button of the row at this place, or of the one before when it was the last.
   *
   * @param {number} place
   * @param {boolean} [bin] the one that deletes, rather than the title
   * @returns {boolean} whether there is any
   */
  focus(place, bin = false) {
    const rows = [...this.#rows.values()];
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
      const { notification } = [...this.#rows.values()][place];
      if (!event.repeat) this.#deeds[event.key === "e" ? "archive" : "remove"](notification); // one for each press
    } else return;
    event.preventDefault();
  }
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
