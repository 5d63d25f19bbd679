import { make } from "../bell/dom.js";
import { ZoneField } from "./combobox.js";
import { LATER_WORDS } from "./later-texts.js";
import { timeInput } from "./time-input.js";

/** When quiet hours begin and end, and on which clocks. Loaded when there are some. */
export class QuietTimes {
  /** @type {import("../../index.d.ts").Profile | undefined} */
  #shown;

  /**
   * @param {import("./form.js").Said} said
   * @param {(changes: import("../../index.d.ts").PreferenceChanges) => void} change
   */
  constructor(said, change) {
    const words = { ...LATER_WORDS[said.spoken], ...said.words };
    this.change = change;
    this.from = timeInput(() => this.#typed());
    this.until = timeInput(() => this.#typed());
    this.zone = new ZoneField(words.zone, (id) => change({ profile: { time_zone: id } }));
    this.root = make("div", { class: "fields" },
      field(words.from, this.from), field(words.until, this.until), field(words.zone, this.zone.root));
  }

  /** @param {import("../../index.d.ts").Preferences} preferences */
  show({ profile }) {
    this.#shown = profile;
    this.root.hidden = profile.quiet_from === null;
    this.from.value = profile.quiet_from ?? "";
    this.until.value = profile.quiet_until ?? "";
    this.zone.show(profile.time_zone ?? "");
  }

  #typed() {
    const [quiet_from, quiet_until] = [this.from.value, this.until.value];
    const profile = this.#shown;
    if (!profile?.quiet_from || (quiet_from === profile.quiet_from && quiet_until === profile.quiet_until)) return;
    if (quiet_from && quiet_until) this.change({ profile: { quiet_from, quiet_until } });
  }
}

/**
 * @param {string} name
 * @param {HTMLElement} control
 */
function field(name, control) {
  return make("label", {}, make("small", {}, name), control);
}
