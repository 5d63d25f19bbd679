import { make } from "../bell/dom.js";
import { allZones, matching, zoneOf } from "./zones.js";

/** @typedef {import("./zones.js").Zone} Zone */

/** A text field with a list of the time zones in which the typed words occur. */
export class ZoneField {
  /** @type {Zone[] | undefined} */
  #zones;
  /** @type {Zone[]} */
  #shown = [];
  #at = -1; // the option that Enter takes
  #id = "";

  /**
   * @param {string} label
   * @param {(id: string) => void} choose
   * @param {string} [id] begins the ids of its elements
   */
  constructor(label, choose, id = "zone") {
    this.choose = choose;
    this.id = id;
    this.list = make("ul", {
      id: `${id}s`,
      role: "listbox",
      "aria-label": label,
      part: "options",
      hidden: true,
      onmousedown: (/** @type {Event} */ event) => event.preventDefault(), // the field keeps the focus
      onclick: (/** @type {Event} */ event) => this.#take([...this.list.children].indexOf(/** @type {Element} */ (event.target).closest("li") ?? this.list)),
    });
    this.input = make("input", {
      type: "text",
      role: "combobox",
      part: "input",
      autocomplete: "off",
      spellcheck: "false",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": `${id}s`,
      onfocus: () => this.input.select(), // what is typed takes the place of the zone
      onclick: () => this.#open(""),
      oninput: () => this.#open(this.input.value),
      onblur: () => this.#close(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#pressed(event),
    });
    this.root = make("div", { class: "zone" }, this.input, this.list);
  }

  /** @param {string} id */
  show(id) {
    this.#id = id;
    if (this.list.hidden) this.#close();
  }

  /** @param {string} words */
  #open(words) {
    this.#zones ??= allZones();
    this.#shown = matching(this.#zones, words);
    const options = this.#shown.map(({ id, name, offset }, place) => make("li", {
      id: `${this.id}-${place}`,
      role: "option",
      "aria-selected": String(id === this.#id),
    }, make("span", {}, name), make("small", {}, offset)));
    this.list.replaceChildren(...options);
    this.#expand(options.length > 0);
    this.#move(words ? 0 : this.#shown.findIndex(({ id }) => id === this.#id));
  }

  #close() {
    this.#expand(false);
    this.list.replaceChildren();
    this.#move(-1);
    const { name, offset } = zoneOf(this.#id);
    this.input.value = this.#id && `${name} (${offset})`;
  }

  /** @param {boolean} open */
  #expand(open) {
    this.list.hidden = !open;
    this.input.setAttribute("aria-expanded", String(open));
  }

  /** @param {number} place */
  #move(place) {
    this.list.children[this.#at]?.classList.remove("active");
    this.#at = Math.min(Math.max(place, -1), this.#shown.length - 1);
    const option = this.list.children[this.#at];
    option?.classList.add("active");
    option?.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", option?.id ?? "");
  }

  /** @param {number} place */
  #take(place) {
    const { id = this.#id } = this.#shown[place] ?? {};
    const other = id !== this.#id;
    this.#id = id;
    this.#close();
    if (other) this.choose(id);
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const open = !this.list.hidden;
    if (event.key === "ArrowDown" && !open) this.#open("");
    else if (event.key === "ArrowDown") this.#move(this.#at + 1);
    else if (event.key === "ArrowUp" && open) this.#move(Math.max(0, this.#at - 1));
    else if (event.key === "Enter" && open) this.#take(this.#at);
    else if (event.key === "Escape" && open) this.#close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
