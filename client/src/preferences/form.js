import { make } from "../bell/dom.js";
import { everything } from "./changes.js";
import { ZoneField } from "./combobox.js";
import { WORDS } from "./texts.js";
import { zoneHere } from "./zones.js";

const NIGHT = { quiet_from: "22:00", quiet_until: "07:00" };
const TYPED = 600; // ms; a time is typed in two parts

/**
 * @typedef {import("../../index.d.ts").Preferences} Preferences
 * @typedef {import("../../index.d.ts").PreferenceChanges} Changes
 * @typedef {import("../../push.d.ts").PushDevice} PushDevice
 * @typedef {import("../../preferences.d.ts").PreferencesTexts} Given
 *
 * @typedef {object} Wishes
 * @property {(changes: Changes) => void} change
 * @property {() => void} enable web push in this browser
 * @property {(device: PushDevice) => void} remove
 *
 * @typedef {object} Said in what language
 * @property {import("./texts.js").Words & Given} words
 * @property {string} language
 */

/** All controls; each change is a wish. What is shown is what `show` was given last. */
export class Form {
  /** @type {Map<string, HTMLInputElement>} */
  #switches = new Map();
  /** @type {Preferences | undefined} */
  #shown;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #typing;

  /**
   * @param {Said} said
   * @param {Wishes} wishes
   * @param {Preferences} preferences of which the categories and channels are listed
   * @param {boolean} pushes whether the hub sends web push
   */
  constructor(said, wishes, preferences, pushes) {
    const { words } = said;
    this.said = said;
    this.wishes = wishes;
    this.all = toggle(words.all, () => this.#shown && wishes.change(everything(this.#shown, this.all.checked)));
    this.quiet = toggle(words.quiet, () => this.#quiet());
    this.from = this.#time();
    this.until = this.#time();
    this.zone = new ZoneField(words.zone, (id) => wishes.change({ profile: { time_zone: id } }));
    this.times = make("div", { class: "fields" },
      field(words.from, this.from), field(words.until, this.until), field(words.zone, this.zone.root));
    this.language = make("select", {
      part: "input",
      onchange: () => wishes.change({ profile: { locale: this.language.value || null } }),
    }, option("", words.anyLanguage), ...Object.keys(WORDS).map((code) => option(code, nameOf(code), code)));
    this.addresses = make("ul", {});
    this.addressed = group(words.addresses, this.addresses);
    this.devices = make("ul", {});
    this.enable = make("button", { type: "button", class: "pill", part: "enable", onclick: wishes.enable }, words.enable);
    this.pushed = group(words.devices, this.devices, this.enable);
    this.pushed.hidden = !pushes;
    this.root = make("div", {},
      line(words.all, words.allHint, this.all),
      this.#table(preferences, pushes),
      line(words.quiet, words.quietHint, this.quiet), this.times,
      line(words.language, "", this.language),
      this.addressed, this.pushed);
  }

  /**
   * @param {Preferences} preferences
   * @param {readonly PushDevice[]} devices
   * @param {boolean} enabling whether web push can be turned on here
   */
  show(preferences, devices, enabling) {
    const { profile } = preferences;
    this.#shown = preferences;
    for (const { id, enabled } of preferences.preferences) {
      const control = this.#switches.get(id);
      if (control) control.checked = enabled;
    }
    this.all.checked = preferences.preferences.some(({ by, enabled }) => by !== "always" && enabled);
    this.quiet.checked = profile.quiet_from !== null;
    this.times.hidden = !this.quiet.checked;
    this.from.value = profile.quiet_from ?? "";
    this.until.value = profile.quiet_until ?? "";
    this.zone.show(profile.time_zone ?? "");
    this.language.value = profile.locale ?? "";
    this.#showAddresses(preferences);
    this.devices.replaceChildren(...devices.map((device) => this.#device(device)));
    this.devices.hidden = !devices.length;
    this.enable.hidden = !enabling;
  }

  /** @param {Preferences} preferences */
  #showAddresses({ profile: { email, phone }, channels }) {
    const of = /** @type {Record<string, string | null>} */ ({ email, sms: phone });
    const given = channels.filter(({ id }) => of[id]);
    const rows = given.map(({ id, name }) => item(of[id] ?? "", this.#name("channels", id, name)));
    this.addresses.replaceChildren(...rows);
    this.addressed.hidden = !given.length;
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

  #time() {
    return make("input", {
      type: "time",
      required: true,
      part: "input",
      onchange: () => {
        clearTimeout(this.#typing);
        this.#typing = setTimeout(() => this.#typed(), TYPED);
      },
      onblur: () => this.#typed(),
    });
  }

  #typed() {
    clearTimeout(this.#typing);
    const [quiet_from, quiet_until] = [this.from.value, this.until.value];
    const profile = this.#shown?.profile;
    if (!profile?.quiet_from || (quiet_from === profile.quiet_from && quiet_until === profile.quiet_until)) return;
    if (quiet_from && quiet_until) this.wishes.change({ profile: { quiet_from, quiet_until } });
  }

  /** @param {PushDevice} device */
  #device(device) {
    const { words, language } = this.said;
    const date = new Date(device.created_at).toLocaleDateString(language, { dateStyle: "medium" });
    const more = [device.here && words.here, words.since.replace("{date}", date)].filter(Boolean).join(", ");
    return item(device.browser, more, make("button", {
      type: "button",
      class: "pill",
      part: "remove",
      "aria-label": `${words.remove}: ${device.browser}, ${more}`,
      onclick: () => this.wishes.remove(device),
    }, words.remove));
  }
}

/**
 * @param {string} label
 * @param {() => void} onchange
 */
function toggle(label, onchange) {
  return make("input", { type: "checkbox", role: "switch", part: "switch", "aria-label": label, onchange });
}

/**
 * @param {string} name
 * @param {string} hint
 * @param {HTMLElement} control
 */
function line(name, hint, control) {
  const texts = make("span", {}, make("b", {}, name));
  if (hint) texts.append(make("small", {}, hint));
  return make("label", { class: "line" }, texts, control);
}

/**
 * @param {string} name
 * @param {HTMLElement} control
 */
function field(name, control) {
  return make("label", {}, make("small", {}, name), control);
}

/**
 * @param {string} name
 * @param {string} more
 * @param {HTMLElement[]} controls
 */
function item(name, more, ...controls) {
  return make("li", { part: "row" }, make("span", {}, make("bdi", {}, name), make("small", {}, more)), ...controls);
}

/**
 * @param {string} name
 * @param {HTMLElement[]} content
 */
function group(name, ...content) {
  return make("section", { part: "group" }, make("h3", {}, name), ...content);
}

/**
 * @param {string} value
 * @param {string} text
 * @param {string} [lang]
 */
function option(value, text, lang) {
  return make("option", { value, lang }, text);
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
