import { make } from "../bell/dom.js";
import { LATER_WORDS } from "./later-texts.js";
import { adopt } from "./later-style.js";

/**
 * @typedef {import("../../index.d.ts").Preferences} Preferences
 * @typedef {import("../../index.d.ts").Inbox["addresses"]} Hub
 * @typedef {import("../../index.d.ts").ContactAddress} ContactAddress
 * @typedef {ReturnType<typeof wordsOf>} Words
 *
 * @typedef {object} Heard
 * @property {() => Promise<void>} changed the profile has another address
 * @property {(changes: import("../../index.d.ts").PreferenceChanges) => void} change
 * @property {(error: any) => string} why something failed, in words
 */

/**
 * The fields of addresses, by channel.
 *
 * @type {Record<string, {field: "email" | "phone", type: string}>}
 */
const CHANNELS = { email: { field: "email", type: "email" }, sms: { field: "phone", type: "tel" } };

/** The addresses of the profile; each is changed by a code that is sent to the new one. Loaded when it is asked for. */
export class Addresses {
  /**
   * @param {import("./form.js").Said} said
   * @param {Hub} hub
   * @param {Heard} heard
   * @param {{id: string, name: string}[]} channels
   */
  constructor(said, hub, heard, channels) {
    this.hub = hub;
    const words = wordsOf(said);
    this.rows = channels.filter(({ id }) => id in CHANNELS).map((channel) => new Row(words, channel, hub, heard));
    this.root = make("ul", { class: "contacts" }, ...this.rows.map(({ root }) => root));
  }

  /** Find out which codes are still expected. */
  async load() {
    const known = await this.hub.list();
    for (const row of this.rows) row.know(known);
  }

  /**
   * Put them there, in place of what it has.
   *
   * @param {HTMLElement} place
   */
  putInto(place) {
    place.replaceChildren(this.root);
    adopt(this.root);
    this.root.querySelector("button")?.focus();
  }

  /** @param {Preferences} preferences */
  show({ profile }) {
    for (const row of this.rows) row.show(profile);
  }
}

/** The address of one channel: shown, typed, or waiting for its code. */
class Row {
  #address = "";
  #resting = true;
  /** @type {ContactAddress[]} */
  #known = [];

  /**
   * @param {Words} words
   * @param {{id: string, name: string}} channel
   * @param {Hub} hub
   * @param {Heard} heard
   */
  constructor(words, { id, name }, hub, heard) {
    this.words = words;
    this.channel = id;
    this.name = name;
    this.hub = hub;
    this.heard = heard;
    this.wrong = make("small", { class: "wrong", role: "alert" });
    this.root = make("li", { part: "row" });
  }

  /** @param {ContactAddress[]} addresses */
  know(addresses) {
    this.#known = addresses.filter(({ channel }) => channel === this.channel);
    const pending = this.#known.find(({ status }) => status === "pending");
    if (pending) this.#confirm(pending);
    else this.#rest();
  }

  /** @param {import("../../index.d.ts").Profile} profile */
  show(profile) {
    this.#address = profile[CHANNELS[this.channel].field] ?? "";
    if (this.#resting) this.#rest();
  }

  /** @param {boolean} [focus] */
  #rest(focus) {
    const { words } = this;
    const change = this.#button(this.#address ? words.change : words.add, () => this.#type());
    const remove = this.#button(words.remove, () => this.#do(() => this.#remove()));
    remove.hidden = !this.#address;
    this.#put(true, make("span", {}, make("bdi", {}, this.#address || "–"), make("small", {}, this.name)), remove, change);
    if (focus) change.focus();
  }

  #type() {
    const input = make("input", { type: CHANNELS[this.channel].type, required: true, part: "input", autocomplete: CHANNELS[this.channel].type });
    this.#form(this.name, input, this.words.send, async () => {
      const added = await this.hub.add(this.channel, input.value.trim());
      if (added.status === "pending") this.#confirm(added, true);
      else this.#rest(true);
    });
    input.focus();
  }

  /**
   * @param {ContactAddress} pending
   * @param {boolean} [focus]
   */
  #confirm(pending, focus) {
    const { words } = this;
    const input = make("input", { required: true, part: "input", inputmode: "numeric", autocomplete: "one-time-code", maxlength: "10" });
    this.#form(words.codeSent.replace("{address}", pending.address), input, words.confirm, async () => {
      const confirmed = await this.hub.confirm(pending.id, input.value.trim());
      this.#known = [confirmed];
      await this.heard.changed();
      this.#rest(true);
    }, () => this.hub.remove(pending.id));
    if (focus) input.focus();
  }

  async #remove() {
    const confirmed = this.#known.find(({ address }) => address === this.#address);
    if (confirmed) await this.hub.remove(confirmed.id);
    if (confirmed) await this.heard.changed();
    else this.heard.change({ profile: { [CHANNELS[this.channel].field]: null } });
    this.#rest(true);
  }

  /**
   * @param {string} label
   * @param {HTMLInputElement} input
   * @param {string} submit
   * @param {() => Promise<unknown>} deed
   * @param {() => Promise<unknown>} [undo] what Cancel does beside
   */
  #form(label, input, submit, deed, undo) {
    const cancel = this.#button(this.words.cancel, () => {
      undo?.().catch(() => {}); // its code ends by itself
      this.#rest(true);
    });
    this.#put(false, make("form", {
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        this.#do(deed);
      },
    }, make("label", {}, make("small", {}, label), input), make("button", { class: "pill main", part: "confirm" }, submit), cancel));
  }

  /**
   * @param {boolean} resting
   * @param {HTMLElement[]} content
   */
  #put(resting, ...content) {
    this.#resting = resting;
    this.wrong.textContent = "";
    this.root.replaceChildren(...content, this.wrong);
  }

  /** @param {() => Promise<unknown>} deed one at a time */
  async #do(deed) {
    const buttons = [...this.root.querySelectorAll("button")];
    this.wrong.textContent = "";
    for (const button of buttons) button.disabled = true;
    try {
      await deed();
    } catch (error) {
      this.wrong.textContent = this.heard.why(error);
    }
    for (const button of buttons) button.disabled = false;
  }

  /**
   * @param {string} text
   * @param {() => void} onclick
   */
  #button(text, onclick) {
    return make("button", { type: "button", class: "pill", part: "address-action", "aria-label": `${text}: ${this.name}`, onclick }, text);
  }
}

/** @param {import("./form.js").Said} said */
function wordsOf({ spoken, words }) {
  return { ...LATER_WORDS[spoken], ...words };
}
