import { Base, define, make, say, upgrade } from "./bell/dom.js";
import { directionOf, languageAround } from "./bell/language.js";
import { createInbox } from "./index.js";
import { changed, inverse } from "./preferences/changes.js";
import { Form } from "./preferences/form.js";
import { sheet } from "./preferences/style.js";
import { WORDS } from "./preferences/texts.js";

const OFFERED = 10_000; // ms that the button to undo is there; the key works after that, too

/**
 * @typedef {import("../index.d.ts").Preferences} Preferences
 * @typedef {import("../index.d.ts").PreferenceChanges} Changes
 */

/** `<notification-preferences>`; preferences.d.ts says what it does. */
export class NotificationPreferences extends Base {
  static observedAttributes = ["url", "user-id", "lang", "service-worker"];

  /** @type {import("../preferences.d.ts").GetToken | undefined} */
  #getToken;
  /** @type {import("../preferences.d.ts").PreferencesTexts | undefined} */
  #given;
  /** @type {import("./preferences/form.js").Said} */
  #said = { words: WORDS.en, language: "en", spoken: "en" };
  /** @type {Pick<import("../index.d.ts").Inbox, "preferences" | "addresses"> | undefined} */
  #hub;
  /** @type {Form | undefined} */
  #form;
  /** @type {Preferences | undefined} */
  #known; // as the hub said it last
  /** @type {Preferences | undefined} */
  #shown; // with what is being saved
  /** @type {Promise<unknown>} */
  #saving = Promise.resolve(); // one change after the other
  #pending = 0;
  /** @type {{changes: Changes, control: Element | null}[]} */
  #undoable = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #settling;
  #connected = false;
  #joining = 0; // counts what was begun with other attributes
  #pageLanguage = new MutationObserver(() => this.#join());
  #online = () => void (this.#shown || this.#load());

  constructor() {
    super();
    this.heading = make("h2", { id: "title", part: "title" });
    this.error = make("span", {});
    this.retry = make("button", { type: "button", class: "pill", part: "retry", onclick: () => this.#load() });
    this.bar = make("div", { class: "bar failed", part: "status", hidden: true }, this.error, this.retry);
    this.body = make("div", {});
    this.done = make("span", {});
    this.undo = make("button", { type: "button", class: "pill", part: "undo", onclick: () => this.#undo() });
    this.snack = make("div", { class: "snack", part: "snackbar", hidden: true }, this.done, this.undo);
    this.live = make("div", { class: "hidden", role: "status" });
    this.root = make("section", { class: "root", part: "root", "aria-labelledby": "title" }, this.heading, this.bar, this.body, this.snack, this.live);
    this.root.addEventListener("keydown", (event) => {
      const typing = /** @type {Element} */ (event.target).matches("[role=combobox]");
      if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || typing || !this.#undoable.length) return;
      event.preventDefault();
      this.#undo();
    });
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet()];
    root.append(this.root);
  }

  get getToken() {
    return this.#getToken;
  }

  set getToken(getToken) {
    this.#getToken = getToken;
    if (getToken && !this.#hub) this.#join();
  }

  get texts() {
    return this.#given;
  }

  set texts(texts) {
    this.#given = texts;
    this.#join();
  }

  connectedCallback() {
    this.#connected = true;
    upgrade(this, "getToken", "texts");
    addEventListener("online", this.#online);
    this.#pageLanguage.observe(document.documentElement, { attributeFilter: ["lang"] });
    this.#join();
  }

  disconnectedCallback() {
    this.#connected = false;
    removeEventListener("online", this.#online);
    this.#pageLanguage.disconnect();
  }

  attributeChangedCallback() {
    this.#join();
  }

  get #options() {
    return {
      url: new URL(this.getAttribute("url") ?? "", location.href).origin,
      userId: this.getAttribute("user-id") ?? "",
      getToken: () => this.#getToken?.() ?? "",
      locale: this.#said.language,
      serviceWorker: this.getAttribute("service-worker") ?? undefined,
    };
  }

  /** Show the preferences of the user that the attributes name, in the language that is spoken here now. */
  #join() {
    if (!this.#connected) return;
    const spoken = languageAround(WORDS, this);
    const words = { ...WORDS[spoken], ...this.#given };
    const language = words.lang ?? spoken;
    this.#said = { words, language, spoken };
    Object.assign(this.root, { lang: language, dir: directionOf(language) });
    this.#joining++;
    this.#form = this.#known = this.#shown = this.#hub = undefined;
    this.#undoable = [];
    this.snack.hidden = true;
    say(this.heading, words.title);
    say(this.retry, words.retry);
    say(this.undo, words.undo);
    this.body.replaceChildren(make("p", { class: "soft" }, words.loading));
    const options = this.#options;
    if (!options.userId || !this.#getToken) return;
    this.#hub = createInbox(options);
    this.#load();
  }

  async #load() {
    const joining = this.#joining;
    const hub = this.#hub;
    if (!hub) return;
    this.root.setAttribute("aria-busy", "true");
    this.#fail("");
    try {
      const [known, devices] = await Promise.all([hub.preferences.get(), this.#listDevices().catch(() => undefined)]);
      if (joining !== this.#joining) return;
      this.#known = this.#shown = known;
      this.#build(known, devices, hub);
    } catch (error) {
      if (joining === this.#joining) this.#fail(this.#why(error), true);
    }
    if (joining === this.#joining) this.root.setAttribute("aria-busy", "false");
  }

  /** @returns {Promise<HTMLElement | undefined>} none if the hub sends no web push */
  async #listDevices() {
    const { Devices } = await import("./preferences/devices.js");
    const joining = this.#joining;
    const devices = new Devices(this.#said, this.#options, {
      began: () => this.#fail(""),
      saved: () => joining === this.#joining && this.#announce(this.#said.words.saved),
      failed: (error, blocked) => joining === this.#joining && this.#fail(isDenied(error) ? blocked : this.#why(error)),
    });
    return (await devices.load()) ? devices.root : undefined;
  }

  /**
   * @param {Preferences} known
   * @param {HTMLElement | undefined} devices
   * @param {Pick<import("../index.d.ts").Inbox, "addresses">} hub
   */
  #build(known, devices, hub) {
    this.#form = new Form(this.#said, {
      change: (changes) => this.#change(changes),
      fail: (error) => this.#fail(this.#why(error)),
      why: (error) => this.#why(error),
      reload: () => this.#reload(),
      addresses: hub.addresses,
    }, known, devices);
    this.body.replaceChildren(this.#form.root);
    this.#show();
  }

  /** Show what was changed beside the form. */
  async #reload() {
    const joining = this.#joining;
    const known = await this.#hub?.preferences.get();
    if (!known || joining !== this.#joining) return;
    this.#known = known;
    if (!this.#pending) this.#shown = known;
    this.#show();
    this.#announce(this.#said.words.saved);
    this.#tell(known);
  }

  /** @param {Preferences} known */
  #tell(known) {
    this.dispatchEvent(new CustomEvent("preferenceschange", { detail: known, bubbles: true, composed: true }));
  }

  #show() {
    if (this.#shown) this.#form?.show(this.#shown);
  }

  /**
   * Show it at once, have the hub save it, and offer to take it back.
   *
   * @param {Changes} changes
   * @param {boolean} [undoing]
   */
  #change(changes, undoing = false) {
    const { activeElement: control } = /** @type {ShadowRoot} */ (this.shadowRoot);
    const joining = this.#joining;
    const hub = this.#hub;
    const before = this.#shown;
    if (!hub || !before) return;
    const back = { changes: inverse(before, changes), control };
    this.#shown = changed(before, changes);
    this.#fail("");
    this.#show();
    this.#pending++;
    this.#saving = this.#saving.then(() => hub.preferences.set(changes)).then(
      (known) => joining === this.#joining && this.#saved(known, undoing ? undefined : back),
      (error) => joining === this.#joining && this.#refused(error),
    );
  }

  /**
   * @param {Preferences} known
   * @param {{changes: Changes, control: Element | null}} [back] how to undo it
   */
  #saved(known, back) {
    this.#known = known;
    if (back) this.#undoable.push(back);
    this.#settle();
    const said = this.#said.words[back ? "saved" : "undone"];
    say(this.done, said);
    this.#announce(said);
    this.snack.hidden = false;
    this.undo.hidden = !this.#undoable.length;
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => (this.snack.hidden = !this.undo.matches(":focus")), OFFERED);
    this.#tell(known);
  }

  /** @param {unknown} error */
  #refused(error) {
    this.#settle();
    this.#fail(this.#why(error));
  }

  /** When nothing is being saved any more, what the hub said last is what is shown. */
  #settle() {
    if (!--this.#pending) this.#shown = this.#known;
    this.#show();
  }

  #undo() {
    const last = this.#undoable.pop();
    if (!last) return;
    if (last.control instanceof HTMLElement) last.control.focus();
    this.#change(last.changes, true);
  }

  /** @param {any} error what the hub refuses, it explains in the reader's language */
  #why({ status, message }) {
    return status >= 400 && status < 500 ? message : this.#said.words.failed;
  }

  /**
   * @param {string} said nothing is wrong when it is empty
   * @param {boolean} [whole] whether nothing could be loaded
   */
  #fail(said, whole = false) {
    say(this.error, said);
    this.retry.hidden = !whole;
    this.bar.hidden = !said;
    if (whole) this.body.replaceChildren();
    if (said) this.#announce(said);
  }

  /** @param {string} text */
  #announce(text) {
    this.live.replaceChildren(make("p", {}, text)); // a new element is read out even if it says the same again
  }
}

/** @param {any} error */
function isDenied({ code }) {
  return code === "push_denied";
}

define("notification-preferences", NotificationPreferences);
