import { icon, make, say } from "./dom.js";

/** The bell itself: how many are unread, and whether something is wrong. */
export class Button {
  constructor() {
    this.badge = make("span", { class: "badge", part: "badge", "aria-hidden": "true" });
    this.root = make("button", {
      type: "button",
      class: "bell",
      part: "button",
      "aria-haspopup": "dialog",
      "aria-expanded": "false",
      "aria-controls": "panel",
    }, icon("bell", "slash"), this.badge);
  }

  /**
   * @param {import("./texts.js").Texts} texts
   * @param {import("../../index.d.ts").State} state
   * @param {number} count
   * @param {"unread" | "fresh"} counts what is counted
   */
  show(texts, state, count, counts) {
    const { title, waiting, offline } = texts.words;
    const trouble = state.name === "closed" ? texts.closed(state.code) : Reflect.get({ waiting, offline }, state.name);
    const said = [title, count && texts.counted(counts, count), trouble];
    this.root.setAttribute("aria-label", said.filter(Boolean).join(", "));
    this.root.classList.toggle("away", Boolean(trouble));
    this.badge.hidden = !count;
    say(this.badge, texts.badge(count));
  }
}
