import { iconButton, make, say } from "./dom.js";
import { face, linkOrButton, severityOf } from "./look.js";

const STAYS = 6000; // ms, without the time that somebody looks at it more closely
const GATHER = 100; // ms; what comes together is shown together
const MOST = 3; // at once; of more only the number is shown

/**
 * @typedef {import("../../index.d.ts").Notification} Notification
 * @typedef {import("./texts.js").Texts} Texts
 *
 * @typedef {object} Toast
 * @property {HTMLElement} root
 * @property {Notification} [notification] none: it shows how many came
 */

/** What has just come, for a moment over the page. */
export class Toasts {
  /** @type {Set<Toast>} */
  #toasts = new Set();
  /** @type {Notification[]} */
  #gathered = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #gathering;
  /** @type {Map<Toast, ReturnType<typeof setTimeout>>} */
  #timers = new Map();

  /**
   * @param {object} hooks
   * @param {() => Texts} hooks.texts
   * @param {(text: string) => void} hooks.announce
   * @param {(notification: Notification | undefined, event: Event) => void} hooks.open a toast was chosen; undefined: the one of many
   * @param {() => void} hooks.left the last one, which had the focus, is gone
   */
  constructor(hooks) {
    this.hooks = hooks;
    this.root = make("div", {
      class: "toasts",
      part: "toasts",
      popover: "manual",
      onpointerenter: () => this.#pause(),
      onpointerleave: () => this.#resume(),
      onfocusin: () => this.#pause(),
      onfocusout: () => this.#resume(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.#dismissFocused(),
    });
  }

  /** @param {Notification} notification */
  add(notification) {
    this.#gathered.push(notification);
    this.#gathering ??= setTimeout(() => this.#show(), GATHER);
  }

  /** @param {readonly Notification[]} list what was read or deleted meanwhile is no news */
  settle(list) {
    const unread = (/** @type {Notification} */ { id }) => list.some((one) => one.id === id && !one.is_read);
    this.#gathered = this.#gathered.filter(unread);
    for (const toast of this.#toasts) if (toast.notification && !unread(toast.notification)) this.#dismiss(toast);
  }

  clear() {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    this.#gathered = [];
    for (const toast of this.#toasts) this.#dismiss(toast);
  }

  #show() {
    const came = this.#gathered;
    this.#gathering = undefined;
    this.#gathered = [];
    const many = this.hooks.texts().counted("fresh", came.length);
    if (!came.length) return;
    this.hooks.announce(came.length > 1 ? many : `${came[0].title} ${came[0].content}`);
    if (came.length > MOST) {
      for (const toast of this.#toasts) this.#dismiss(toast);
      this.#add(many);
    } else for (const one of came) this.#add(one.title, one);
    for (const toast of [...this.#toasts].slice(0, -MOST)) this.#dismiss(toast);
  }

  /**
   * @param {string} title
   * @param {Notification} [notification]
   */
  #add(title, notification) {
    const { words } = this.hooks.texts();
    const chosen = (/** @type {Event} */ event) => {
      this.hooks.open(notification, event);
      this.#dismiss(toast);
    };
    const main = linkOrButton(notification?.url, { class: "main", part: "toast-title", dir: "auto", onclick: chosen }, title);
    const severity = notification && severityOf(notification);
    if (severity) main.prepend(make("span", { class: "hidden", dir: "auto" }, `${words[severity]}: `));
    const content = make("p", { class: "content", part: "toast-content", dir: "auto" });
    say(content, notification?.content ?? "");
    const close = iconButton("close", { title: words.close, label: `${words.close}: ${title}`, onclick: () => this.#dismiss(toast) });
    /** @type {Toast} */
    const toast = {
      root: make("div", { class: `toast ${severity ?? ""}`, part: "toast" }, make("div", { class: "body" }, main, content), close),
      notification,
    };
    if (notification) toast.root.prepend(face(notification));
    this.#toasts.add(toast);
    this.root.append(toast.root);
    this.root.showPopover?.();
    this.#stay(toast);
  }

  /** @param {Toast} toast */
  #stay(toast) {
    if (!this.root.matches(":hover, :focus-within")) this.#timers.set(toast, setTimeout(() => this.#dismiss(toast), STAYS));
  }

  #pause() {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #resume() {
    this.#pause();
    setTimeout(() => { // by then it is known where the focus went
      this.#pause();
      for (const toast of this.#toasts) this.#stay(toast);
    });
  }

  #dismissFocused() {
    for (const toast of this.#toasts) if (toast.root.matches(":focus-within")) this.#dismiss(toast);
  }

  /** @param {Toast} toast */
  #dismiss(toast) {
    const focused = toast.root.matches(":focus-within");
    clearTimeout(this.#timers.get(toast));
    this.#timers.delete(toast);
    this.#toasts.delete(toast);
    toast.root.remove();
    const [next] = this.#toasts;
    if (!next) this.root.hidePopover?.();
    if (focused) next ? /** @type {HTMLElement | null} */ (next.root.querySelector(".main"))?.focus() : this.hooks.left();
  }
}
