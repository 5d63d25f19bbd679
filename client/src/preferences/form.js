import { make } from "../bell/dom.js";
import { everything } from "./changes.js";
import { group, item, line, option, toggle } from "./parts.js";
import { WORDS } from "./texts.js";
import { zoneHere } from "./zone-here.js";

const NIGHT = { quiet_from: "22:00", quiet_until: "07:00" };
const DIGESTED = ["email", "sms"]; // the channels whose messages can be sent together

/**
 * @typedef {import("../../index.d.ts").Preferences} Preferences
 * @typedef {import("../../index.d.ts").PreferenceChanges} Changes
 * @typedef {import("../../preferences.d.ts").PreferencesTexts} Given
 *
 * @typedef {object} Wishes
 * @property {(changes: Changes) => void} change
 * @property {(error: unknown) => void} fail
 * @property {(error: unknown) => string} why something failed, in words
 * @property {() => Promise<void>} reload the preferences
 * @property {import("../../index.d.ts").Inbox["addresses"]} addresses
 *
 * @typedef {object} Said in what language
 * @property {import("./texts.js").Words & Given} words
 * @property {string} language
 * @property {string} spoken the language of what `words` doesn't say
 */

/** All controls; each change is a wish. What is shown is what `show` was given last. */
export class Form {
  /** @type {Map<string, HTMLInputElement>} */
  #switches = new Map();
  /** @type {Preferences | undefined} */
  #shown;
  /** @type {import("./quiet.js").QuietTimes | undefined} */
  #times;
  #loading = false; // the times
  /** @type {import("./addresses.js").Addresses | undefined} */
  #contacts;
  /** @type {import("./digests.js").Digests | undefined} */
  #digests;

  /**
   * @param {Said} said
   * @param {Wishes} wishes
   * @param {Preferences} preferences of which the categories and channels are listed
   * @param {HTMLElement | undefined} devices that take web push; undefined if the hub sends none
   */
  constructor(said, wishes, preferences, devices) {
    const { words } = said;
    this.said = said;
    this.wishes = wishes;
    this.all = toggle(words.all, () => this.#shown && wishes.change(everything(this.#shown, this.all.checked)));
    this.quiet = toggle(words.quiet, () => this.#quiet());
    this.times = make("div", {});
    this.language = make("select", {
      part: "input",
      onchange: () => wishes.change({ profile: { locale: this.language.value || null } }),
    }, option("", words.anyLanguage), ...Object.keys(WORDS).map((code) => option(code, nameOf(code), code)));
    this.addresses = make("ul", {});
    this.contacts = make("div", { class: "kept" }, this.addresses,
      make("button", { type: "button", class: "pill", part: "change", "aria-label": `${words.change}: ${words.addresses}`, onclick: () => this.#openAddresses(preferences) }, words.change));
    this.often = make("details", { part: "group", ontoggle: () => this.#openDigests(preferences) },
      make("summary", {}, make("h3", {}, words.often), make("small", {}, words.oftenHint)));
    this.root = make("div", {},
      line(words.all, words.allHint, this.all),
      this.#table(preferences, Boolean(devices)), this.often,
      line(words.quiet, words.quietHint, this.quiet), this.times,
      line(words.language, "", this.language),
      group(words.addresses, this.contacts), ...(devices ? [devices] : []));
  }

  /** @param {Preferences} preferences */
  show(preferences) {
    const { profile } = preferences;
    this.#shown = preferences;
    for (const { id, enabled } of preferences.preferences) {
      const control = this.#switches.get(id);
      if (control) control.checked = enabled;
    }
    this.all.checked = preferences.preferences.some(({ by, enabled }) => by !== "always" && enabled);
    this.quiet.checked = profile.quiet_from !== null;
    if (this.quiet.checked) void this.#loadTimes();
    this.#times?.show(preferences);
    this.language.value = profile.locale ?? "";
    if (this.#contacts) this.#contacts.show(preferences);
    else this.#showAddresses(preferences);
    this.often.hidden = !preferences.preferences.some((one) => one.enabled && isDigested(one));
    this.#digests?.show(preferences);
  }

  /** @param {Preferences} preferences of which the categories and channels are listed */
  async #openDigests({ categories, channels, preferences }) {
    if (!this.often.open || this.#digests) return;
    try {
      const { Digests } = await import("./digests.js");
      if (this.#digests) return; // opened twice meanwhile
      const digested = preferences.filter(isDigested);
      const rows = categories.map(({ id: category, name }) => ({
        name: this.#name("categories", category, name),
        cells: channels.flatMap(({ id: channel, name }) => {
          const one = digested.find((one) => one.category === category && one.channel === channel);
          return one ? [{ id: one.id, name: this.#name("channels", channel, name) }] : [];
        }),
      }));
      this.#digests = new Digests(this.said, this.wishes.change, rows.filter(({ cells }) => cells.length));
      this.#digests.appendTo(this.often);
      if (this.#shown) this.#digests.show(this.#shown);
    } catch (error) {
      this.often.open = false;
      this.wishes.fail(error);
    }
  }

  /** @param {Preferences} preferences of which the channels are listed */
  async #openAddresses({ channels }) {
    try {
      const { Addresses } = await import("./addresses.js");
      const { change, reload: changed, why, addresses } = this.wishes;
      const named = channels.map(({ id, name }) => ({ id, name: this.#name("channels", id, name) }));
      const contacts = new Addresses(this.said, addresses, { change, changed, why }, named);
      if (this.#shown) contacts.show(this.#shown);
      await contacts.load();
      this.#contacts = contacts;
      contacts.putInto(this.contacts);
    } catch (error) {
      this.wishes.fail(error);
    }
  }

  /** @param {Preferences} preferences */
  #showAddresses({ profile: { email, phone }, channels }) {
    const of = /** @type {Record<string, string | null>} */ ({ email, sms: phone });
    const given = channels.filter(({ id }) => of[id]);
    const rows = given.map(({ id, name }) => item(of[id] ?? "", this.#name("channels", id, name)));
    this.addresses.replaceChildren(...rows);
  }

  /**
   * The name of a category or channel, in the page's words if it has one.
   *
   * @param {"categories" | "channels"} kind
   * @param {string} id
   * @param {string} name as the hub says it
   */
  #name(kind, id, name) {
    return this.said.words[kind]?.[id] ?? name;
  }

  /**
   * @param {Preferences} preferences
   * @param {boolean} pushes
   */
  #table({ categories, channels, preferences }, pushes) {
    const { words } = this.said;
    const columns = channels.filter(({ id }) => id !== "webpush" || pushes);
    const always = new Set(preferences.filter(({ by }) => by === "always").map(({ category }) => category));
    const heads = columns.map(({ id, name }) => make("th", { scope: "col" }, this.#name("channels", id, name)));
    const rows = categories.map(({ id: category, name: given }) => {
      const name = this.#name("categories", category, given);
      const row = make("th", { scope: "row" }, name);
      if (always.has(category)) row.append(make("small", {}, words.alwaysOn));
      const cells = columns.map(({ id: channel, name: medium }) => {
        const id = `${category}.${channel}`;
        const control = toggle(`${name}: ${this.#name("channels", channel, medium)}`, () => this.wishes.change({ choices: { [id]: control.checked } }));
        control.disabled = always.has(category);
        this.#switches.set(id, control);
        return make("td", {}, control);
      });
      return make("tr", { part: "category" }, row, ...cells);
    });
    return make("table", { part: "table" },
      make("caption", { class: "hidden" }, words.title),
      make("thead", {}, make("tr", {}, make("td", {}), ...heads)),
      make("tbody", {}, ...rows));
  }

  #quiet() {
    const zone = this.#shown?.profile.time_zone ?? zoneHere();
    const none = { quiet_from: null, quiet_until: null };
    this.wishes.change({ profile: this.quiet.checked ? { ...NIGHT, time_zone: zone } : none });
  }

  async #loadTimes() {
    if (this.#loading) return;
    this.#loading = true;
    try {
      const { QuietTimes } = await import("./quiet.js");
      this.#times = new QuietTimes(this.said, this.wishes.change);
      this.times.replaceChildren(this.#times.root);
      if (this.#shown) this.#times.show(this.#shown);
    } catch (error) {
      this.#loading = false;
      this.wishes.fail(error);
    }
  }
}

/** @param {Preferences["preferences"][number]} preference */
function isDigested({ by, channel }) {
  return by !== "always" && DIGESTED.includes(channel);
}

/**
 * A language's name in itself.
 *
 * @param {string} code
 */
function nameOf(code) {
  const name = new Intl.DisplayNames([code], { type: "language" }).of(code) ?? code;
  return name.charAt(0).toLocaleUpperCase(code) + name.slice(1);
}
