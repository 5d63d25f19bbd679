import { make, say } from "./dom.js";

/**
 * @typedef {import("../../index.d.ts").Notification} Notification
 * @typedef {import("./list.js").Row} Row
 * @typedef {import("./list.js").Deeds} Deeds
 * @typedef {import("./texts.js").Texts} Texts
 * @typedef {import("./texts.js").Forms} Forms
 * @typedef {{things: Forms, andMore: Forms, markedRead: string, markedUnread: string}} Words {name} is the group's
 *
 * @typedef {object} Bell what the bell has, so that it isn't loaded twice
 * @property {typeof import("./list.js").Row} Row
 * @property {typeof import("./list.js").put} put
 * @property {ShadowRoot} root
 * @property {(category: string) => string} name
 * @property {() => void} changed has the list shown again
 *
 * @typedef {object} View how the list is shown
 * @property {Texts} texts
 * @property {Deeds} deeds
 * @property {boolean} archived
 */

/** @type {Record<string, Words>} */
export const WORDS = {
  en: {
    things: { one: "{n} thing in {name}", other: "{n} things in {name}" },
    andMore: { other: "{name} and {n} more" },
    markedRead: "Marked as read",
    markedUnread: "Marked as unread",
  },
  ru: {
    things: { one: "{n} уведомление: {name}", few: "{n} уведомления: {name}", other: "{n} уведомлений: {name}" },
    andMore: { other: "{name} и ещё {n}" },
    markedRead: "Отмечено прочитанным",
    markedUnread: "Отмечено непрочитанным",
  },
  vi: {
    things: { other: "{n} thông báo trong {name}" },
    andMore: { other: "{name} và {n} thông báo khác" },
    markedRead: "Đã đánh dấu đã đọc",
    markedUnread: "Đã đánh dấu chưa đọc",
  },
};

const LEAST = 3; // notifications in a group: two are read as quickly as their heading
const TABS = ["inbox", "unread", "archived"]; // the others are categories
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufefc]/;

const CSS = `
.group > .row:has(+ ol:not([hidden])) { border-bottom-color: transparent; }
.lead .face { margin-top: .25rem; box-shadow: 0 -.32rem 0 -.14rem color-mix(in srgb, var(--mood, var(--accent)) 45%, var(--surface)); }
.lead h3 { display: flex; gap: .5rem; }
.lead h3::after { content: ""; flex: none; width: .45rem; height: .45rem; margin: .3rem .25rem 0; border: solid var(--soft); border-width: 0 2px 2px 0; rotate: 45deg; }
.lead h3:has([aria-expanded="true"])::after { margin-top: .5rem; rotate: 225deg; }
.lead .more { display: none; }
.lead .content { -webkit-line-clamp: 2; }
.amount { margin-inline-start: .5rem; color: var(--accent); font-size: .8125rem; font-weight: 600; }
.amount:empty { display: none; }
.members { margin-inline-start: 2.55rem; border-inline-start: 2px solid var(--line); }
.members .row { padding-inline-start: 1.35rem; }
.members .unread::before { inset-inline-start: .45rem; }
`;
/** @type {CSSStyleSheet | undefined} */
let sheet;
let made = 0; // groups, whose elements have ids

/** Shows notifications of one day that belong together as one row, which expands. */
export class Groups {
  /** @type {Map<string, Group>} */
  #groups = new Map();
  /** @type {Set<string>} the keys of those that are expanded */
  #expanded = new Set();
  /** @type {View | undefined} */
  #view;

  /**
   * @param {string} by `group`, `thread` or `category`; nothing is grouped by others
   * @param {Bell} bell
   */
  constructor(by, bell) {
    this.by = by;
    this.bell = bell;
    const { root } = bell;
    if (!sheet) {
      sheet = new CSSStyleSheet();
      sheet.replaceSync(CSS);
    }
    if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
  }

  /**
   * The rows that the list shows: each a notification's or a group's, at the place of the newest of its group.
   *
   * @param {Row[]} rows newest first
   * @param {Texts} texts
   * @param {Deeds} deeds
   * @param {string} tab
   * @param {string} [end] when the oldest that is loaded was created, if there are older ones
   */
  gather(rows, texts, deeds, tab, end) {
    const archived = tab === "archived";
    if (this.by === "category" && !TABS.includes(tab)) return rows; // it would be the only one
    if (this.#view?.texts !== texts || this.#view.archived !== archived) this.#groups.clear();
    this.#view = { texts, deeds, archived };
    const before = this.#groups;
    this.#groups = new Map();
    return gathered(rows, this.by).map(({ key, rows: set }) => {
      if (!key) return set[0];
      const group = before.get(key) ?? this.#begin(key, set);
      this.#groups.set(key, group);
      return group.show(set, this.#expanded.has(key), Boolean(end && dayOf(end) === dayOf(set[0].notification.created_at)));
    });
  }

  /**
   * @param {string} key
   * @param {Row[]} set
   */
  #begin(key, set) {
    if (set.some(({ root }) => root.matches(":focus-within"))) this.#expanded.add(key); // nothing vanishes under a reader
    return new Group(this.bell, this.by, /** @type {View} */ (this.#view), () => {
      if (!this.#expanded.delete(key)) this.#expanded.add(key);
      this.bell.changed();
    });
  }
}

/** One row for several, with those below it while it is expanded. */
class Group {
  /** @type {readonly Notification[]} newest first */
  #ones = [];
  #known = "";

  /**
   * @param {Bell} bell
   * @param {string} by
   * @param {View} view
   * @param {() => void} toggle
   */
  constructor(bell, by, { texts, deeds, archived }, toggle) {
    this.id = -++made; // those of notifications are positive
    this.by = by;
    this.bell = bell;
    this.texts = texts;
    this.words = /** @type {Words} */ ({ ...WORDS[texts.otherwise], .../** @type {object} */ (texts.words) });
    this.plurals = new Intl.PluralRules(texts.language);
    this.number = new Intl.NumberFormat(texts.language);
    /** @type {Deeds} */
    const ours = {
      ...deeds,
      open: toggle,
      read: () => {
        const unread = this.#ones.filter(({ is_read: read }) => !read);
        if (unread.length) deeds.read(unread, this.words.markedRead);
        else deeds.read(this.#ones, this.words.markedUnread);
      },
      snooze: (_, until) => deeds.snooze(this.#ones, until),
      archive: () => deeds.archive(this.#ones),
      remove: () => deeds.remove(this.#ones),
    };
    /** @param {Notification} heading */
    this.make = (heading) => new bell.Row(heading, texts, ours, archived, "div");
    this.amount = make("span", { id: `u-${this.id}`, class: "amount", part: "item-count" });
    this.list = make("ol", { id: `m-${this.id}`, class: "members", part: "members", role: "list" });
    this.item = make("li", { class: "group", part: "group" });
    /** @type {Row | undefined} */
    this.row = undefined;
  }

  /**
   * @param {Row[]} rows newest first
   * @param {boolean} expanded
   * @param {boolean} more whether some of the group may not be loaded
   */
  show(rows, expanded, more) {
    this.#ones = rows.map(({ notification }) => notification);
    const unread = this.#ones.filter(({ is_read: read }) => !read);
    const heading = this.#heading(unread, more);
    const known = JSON.stringify(heading);
    const row = (this.row ??= this.#begin(heading));
    if (this.#known && this.#known !== known) this.#change(row, heading);
    this.#known = known;
    say(this.amount, unread.length ? this.texts.counted("unread", unread.length) : "");
    row.main.setAttribute("aria-expanded", String(expanded));
    row.members = expanded ? rows : [];
    this.list.hidden = !expanded;
    this.bell.put(this.list, row.members.map(({ item }) => item));
    return row;
  }

  /**
   * What the row shows, as if it were a notification.
   *
   * @param {readonly Notification[]} unread
   * @param {boolean} more
   * @returns {Notification}
   */
  #heading(unread, more) {
    const [newest] = this.#ones;
    const { title, content, group_name: group, category = "", severity } = newest;
    const { things, andMore } = this.words;
    const count = this.#ones.length;
    const whole = this.by === "thread"
      ? { title: this.#say(andMore, count - 1, more, title), content }
      : { title: this.#say(things, count, more, this.by === "group" ? (group ?? "") : this.bell.name(category)), content: title };
    return {
      ...newest,
      ...whole,
      id: this.id,
      is_read: !unread.length,
      severity: unread.some((one) => one.severity === "warning") ? "warning" : severity,
      template_code: "item-group",
      url: undefined,
      image: undefined,
      actions: undefined,
    };
  }

  /**
   * @param {Forms} forms
   * @param {number} count
   * @param {boolean} more
   * @param {string} name
   */
  #say(forms, count, more, name) {
    const isolated = this.texts.direction || RIGHT_TO_LEFT.test(name) ? `\u2068${name}\u2069` : name;
    const form = forms[this.plurals.select(count)] ?? forms.other;
    return form.replace("{n}", this.number.format(count) + (more ? "+" : "")).replace("{name}", () => isolated);
  }

  /** @param {Notification} heading */
  #begin(heading) {
    const row = this.make(heading);
    row.item = this.item;
    row.root.classList.add("lead");
    row.main.setAttribute("aria-controls", this.list.id);
    row.main.setAttribute("aria-describedby", `${row.text.id} ${this.amount.id}`);
    row.time.after(this.amount);
    this.item.append(row.root, this.list);
    return row;
  }

  /**
   * Change what is said, and keep the buttons: one of them may have the focus.
   *
   * @param {Row} row
   * @param {Notification} heading
   */
  #change(row, heading) {
    const fresh = this.make(heading);
    row.root.firstElementChild?.replaceWith(/** @type {Element} */ (fresh.root.firstElementChild));
    row.root.className = `${fresh.root.className} lead`;
    row.main.replaceChildren(...fresh.main.childNodes);
    row.unread = fresh.unread;
    row.time.replaceWith(fresh.time);
    row.time = fresh.time;
    say(row.text, heading.content);
    for (const name of /** @type {const} */ (["move", "bin", "later"])) {
      row[name].setAttribute("aria-label", fresh[name].getAttribute("aria-label") ?? "");
    }
    row.update(heading, this.texts);
  }
}

/**
 * What belongs together: those of one day and one group, if they are enough, at the place of the newest. What is
 * critical stands alone, so that it never hides in a group.
 *
 * @template {{notification: Notification}} Shown
 * @param {readonly Shown[]} rows newest first
 * @param {string} by `group`, `thread` or `category`; by others nothing belongs together
 * @returns {{key: string, rows: Shown[]}[]} without a key: one that stands alone
 */
export function gathered(rows, by) {
  /** @type {Map<string, Shown[]>} */
  const sets = new Map();
  const keys = rows.map(({ notification }) => keyOf(notification, by));
  rows.forEach((row, place) => sets.get(keys[place])?.push(row) ?? sets.set(keys[place], [row]));
  return rows.flatMap((row, place) => {
    const key = keys[place];
    const set = sets.get(key) ?? [];
    if (!key || set.length < LEAST) return [{ key: "", rows: [row] }];
    return row === set[0] ? [{ key, rows: set }] : [];
  });
}

/**
 * @param {Notification} notification
 * @param {string} by
 */
function keyOf({ created_at: at, group_id: id, group_name: name, thread_key: thread, category, severity }, by) {
  const values = { group: name && id, thread, category };
  const value = severity !== "critical" && Object.hasOwn(values, by) && values[/** @type {keyof typeof values} */ (by)];
  return value ? `${dayOf(at)} ${value}` : "";
}

/** @param {string} moment */
function dayOf(moment) {
  return new Date(moment).toDateString(); // here
}
