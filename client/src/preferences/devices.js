import { make } from "../bell/dom.js";
import { enablePush, isPushSupported, pushDevices, removePushDevice } from "../push.js";
import { LATER_WORDS } from "./later-texts.js";
import { group, item } from "./parts.js";

/**
 * @typedef {import("../../push.d.ts").PushDevice} PushDevice
 * @typedef {import("../../push.d.ts").PushOptions} PushOptions
 *
 * @typedef {object} Heard
 * @property {() => void} began nothing is wrong any more
 * @property {() => void} saved
 * @property {(error: unknown, blocked: string) => void} failed `blocked`: the text for a browser that blocks notifications
 */

/** The browsers that take web push, and the button for this one. Loaded beside the preferences. */
export class Devices {
  /**
   * @param {import("./form.js").Said} said
   * @param {PushOptions} options
   * @param {Heard} heard
   */
  constructor(said, options, heard) {
    this.words = { ...LATER_WORDS[said.spoken], ...said.words };
    this.language = said.language;
    this.options = options;
    this.heard = heard;
    this.list = make("ul", {});
    this.enable = make("button", {
      type: "button",
      class: "pill",
      part: "enable",
      onclick: () => this.#do(() => enablePush(options)),
    }, this.words.enable);
    this.root = group(this.words.devices, this.list, this.enable);
  }

  /** List them; whether the hub sends web push. */
  async load() {
    const devices = await pushDevices(this.options);
    if (devices) this.#show(devices);
    return Boolean(devices);
  }

  /** @param {readonly PushDevice[]} devices */
  #show(devices) {
    this.list.replaceChildren(...devices.map((device) => this.#device(device)));
    this.list.hidden = !devices.length;
    this.enable.hidden = !isPushSupported() || devices.some(({ here }) => here);
  }

  /** @param {PushDevice} device */
  #device(device) {
    const { words } = this;
    const date = new Date(device.created_at).toLocaleDateString(this.language, { dateStyle: "medium" });
    const more = [device.here && words.here, words.since.replace("{date}", date)].filter(Boolean).join(", ");
    return item(device.browser, more, make("button", {
      type: "button",
      class: "pill",
      part: "remove",
      "aria-label": `${words.remove}: ${device.browser}, ${more}`,
      onclick: () => this.#do(() => removePushDevice(this.options, device)),
    }, words.remove));
  }

  /**
   * Change them, then list them again.
   *
   * @param {() => Promise<unknown>} deed
   */
  async #do(deed) {
    this.heard.began();
    try {
      await deed();
      await this.load();
      this.heard.saved();
    } catch (error) {
      this.heard.failed(error, this.words.blocked);
    }
  }
}
