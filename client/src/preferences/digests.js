import { make } from "../bell/dom.js";
import { ZoneField } from "./combobox.js";
import { adopt } from "./later-style.js";
import { LATER_WORDS } from "./later-texts.js";
import { line, option } from "./parts.js";
import { timeInput } from "./time-input.js";
import { zoneHere } from "./zone-here.js";

const DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const SUGGESTED = { day: "monday", time: "18:00" };
const MONDAY = Date.UTC(2024, 0, 1);
const DAY = 86_400_000; // ms

/**
 * @typedef {import("../../index.d.ts").Preferences} Preferences
 *
 * @typedef {object} Often how often messages are sent
 * @property {string} how the first word of a digest; empty: as the operator set it
 * @property {string} [day]
 * @property {string} [time]
 *
 * @typedef {object} Choice the controls of a preference
 * @property {HTMLElement} root
 * @property {HTMLSelectElement} how
 * @property {HTMLSelectElement} day
 * @property {HTMLInputElement} time
 */

/**
 * @param {string | undefined} digest such as `weekly on monday at 09:00`
 * @returns {Often}
 */
export function read(digest) {
  const [how = "", ...rest] = digest?.split(" ") ?? [];
  return { how, day: how === "weekly" ? rest[1] : undefined, time: rest.at(-1) };
}

/**
 * @param {Often} often
 * @returns {string | null} as the hub takes it
 */
export function write({ how, day, time }) {
  if (how === "daily") return `daily at ${time}`;
  if (how === "weekly") return `weekly on ${day} at ${time}`;
  return how || null;
}

/** How often messages are sent, for each preference that is on and can be sent together. Loaded when it is opened. */
export class Digests {
  /** @type {Map<string, Choice>} */
  #choices = new Map();
  /** @type {Preferences | undefined} */
  #shown;

  /**
   * @param {import("./form.js").Said} said
   * @param {(changes: import("../../index.d.ts").PreferenceChanges) => void} change
   * @param {{name: string, cells: {id: string, name: string}[]}[]} rows of the categories
   */
  constructor(said, change, rows) {
    this.words = { ...LATER_WORDS[said.spoken], ...said.words };
    this.language = said.language;
    this.change = change;
    this.zone = new ZoneField(this.words.zone, (id) => change({ profile: { time_zone: id } }), "digest-zone");
    this.zoned = line(this.words.zone, "", this.zone.root);
    this.rows = rows.map(({ name, cells }) => make("li", { part: "row" },
      make("b", {}, name), make("div", {}, ...cells.map((cell) => this.#choice(name, cell)))));
    this.root = make("div", { class: "often" }, make("ul", {}, ...this.rows), this.zoned);
  }

  /**
   * Put it there, with its style.
   *
   * @param {HTMLElement} place
   */
  appendTo(place) {
    place.append(this.root);
    adopt(this.root);
  }

  /** @param {Preferences} preferences */
  show(preferences) {
    this.#shown = preferences;
    let timed = false;
    for (const { id, enabled, digest } of preferences.preferences) {
      const choice = this.#choices.get(id);
      if (!choice) continue;
      const { how, day, time } = read(digest);
      choice.root.hidden = !enabled;
      choice.how.value = how;
      choice.day.hidden = !day;
      choice.day.value = day ?? SUGGESTED.day;
      choice.time.hidden = !time;
      choice.time.value = time ?? "";
      timed ||= enabled && Boolean(time);
    }
    for (const row of this.rows) row.hidden = !row.querySelector(":scope > div > :not([hidden])");
    const { time_zone, quiet_from } = preferences.profile;
    this.zoned.hidden = !timed || quiet_from !== null; // those of quiet hours are on the same clocks
    this.zone.show(time_zone ?? "");
  }

  /**
   * @param {string} category
   * @param {{id: string, name: string}} cell
   */
  #choice(category, { id, name }) {
    const { words } = this;
    const label = `${category}: ${name}`;
    const how = make("select", { part: "input", "aria-label": label, onchange: () => this.#chosen(id) },
      option("", words.anyLanguage), option("immediate", words.immediate), option("hourly", words.hourly),
      option("daily", words.daily), option("weekly", words.weekly));
    const day = make("select", { part: "input", "aria-label": `${label}, ${words.day}`, onchange: () => this.#chosen(id) },
      ...DAYS.map((each, number) => option(each, this.#nameOf(number))));
    const time = timeInput(() => this.#chosen(id), `${label}, ${words.time}`);
    const root = make("div", {}, make("small", { "aria-hidden": "true" }, name), make("div", {}, how, day, time));
    this.#choices.set(id, { root, how, day, time });
    return root;
  }

  /** @param {number} day of the week */
  #nameOf(day) {
    return new Date(MONDAY + day * DAY).toLocaleDateString(this.language, { weekday: "long", timeZone: "UTC" });
  }

  /** @param {string} id of the preference whose controls say something else */
  #chosen(id) {
    const choice = this.#choices.get(id);
    const before = this.#shown?.preferences.find((one) => one.id === id)?.digest ?? null;
    if (!choice || !this.#shown) return;
    const { how, day, time } = choice;
    if (!time.hidden && !time.value) return; // is being typed
    const digest = write({ how: how.value, day: day.value, time: time.value || SUGGESTED.time });
    if (digest === before) return;
    const zone = /^(daily|weekly)/.test(digest ?? "") && !this.#shown.profile.time_zone;
    this.change({ digests: { [id]: digest }, ...(zone && { profile: { time_zone: zoneHere() } }) });
  }
}
