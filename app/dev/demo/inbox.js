/** One person's inbox, as the browser library has it: in the bell, and in a list of the page's own. */
import "/notification-hub-client/src/bell.js";
import { InboxError, createInbox } from "/notification-hub-client/src/index.js";
import { Frames } from "./frames.js";
import { Failure, call, clone, subjectOf } from "./page.js";
import { Preferences } from "./preferences.js";

const STORED_LOCALE = "vi"; // what is stored for who has chosen no language
const LONGEST_WAY = 10_000; // ms; what comes later doesn't answer the click
const ROLES = { member: "member", head_chef: "head chef" };
const FIRST_LOCALES = { member: "en" };
const WORDS_OF_CODES = { 1006: "connection lost" }; // browsers' code when no close frame came

/** A time of today without its date. */
function moment(timestamp, locale) {
  const when = new Date(timestamp);
  const today = when.toDateString() === new Date().toDateString();
  return when.toLocaleString(locale, today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" });
}

export class Inbox {
  items = new Map(); // the list items that show them, by notification
  latencies = new Map(); // ms from click to here, by id; undefined: nobody clicked for it
  clicks = []; // those whose notification hasn't come yet
  leaving = []; // what stops listening to the library
  onChange = () => {}; // called whenever other notifications may be here than before

  constructor(user, group) {
    this.user = user;
    this.token = user.token;
    const role = `${ROLES[user.role] ?? user.role} of ${group.name}`;
    [this.root, this.slots] = clone("inbox", { initial: user.name[0], name: user.name, role });
    this.root.dataset.role = user.role;
    this.root.setAttribute("aria-label", `Inbox of ${user.name}`);
    this.slots.scroll.setAttribute("aria-label", `Notifications of ${user.name}`);
    this.slots["frames-scroll"].setAttribute("aria-label", `Raw frames of ${user.name}`);
    this.slots.language.onchange = () => this.choose(this.locale);
    this.slots.session.onclick = () => (this.ended ? this.start() : this.logOut());
    this.slots.older.onclick = () => this.attempt(() => this.inbox.loadMore());
    this.slots.bell.addEventListener("reconnect", (wish) => {
      wish.preventDefault();
      this.start();
    });
    this.frames = new Frames({
      frames: this.slots.frames,
      count: this.slots["frame-count"],
      none: this.slots["no-frames"],
    });
    this.preferences = new Preferences(user, {
      call: (method, path, json) => call(method, path, { token: this.token, json }),
      attempt: (work, say) => this.attempt(work, say),
      onProfile: ({ locale }) => this.speak(locale ?? STORED_LOCALE),
    });
    this.slots.frames.closest("details").before(this.preferences.root);
    this.start();
  }

  get locale() {
    return this.slots.language.value;
  }

  get notifications() {
    return this.ended ? [] : this.inbox.list();
  }

  get ended() {
    return this.inbox.state.name === "closed";
  }

  /** How many notifications of this type are in it beyond `seq`. */
  count(eventType, seq) {
    const code = eventType.toUpperCase();
    return this.notifications.filter((one) => one.template_code === code && one.seq > seq).length;
  }

  get lastSeq() {
    return this.notifications[0]?.seq ?? 0;
  }

  /** Sign in: with a fresh token, and in the language that the hub shall speak. */
  async start() {
    this.open();
    const first = FIRST_LOCALES[this.user.role];
    await this.attempt(() => this.getToken());
    await this.preferences.load();
    if (first && !this.preferences.profile?.locale) await this.preferences.speak(first);
    this.inbox.connect();
  }

  /** The library's inbox in this language, not connected yet. */
  open() {
    for (const leave of this.leaving.splice(0)) leave();
    this.inbox?.close();
    this.inbox = createInbox({
      url: location.origin,
      userId: this.user.id,
      getToken: () => this.getToken(),
      locale: this.locale,
      WebSocket: this.frames.WebSocket,
    });
    this.leaving = [
      this.inbox.on("state", () => this.showState()),
      this.inbox.on("change", () => this.show()),
      this.inbox.on("notification", ({ id, template_code: code }) => this.latencies.set(id, this.sinceClick(code))),
    ];
    this.slots.bell.lang = this.locale;
    this.slots.bell.inbox = this.inbox;
    this.showState();
  }

  /** Have the hub store in this language; if that fails the old one stays. */
  async choose(locale) {
    await this.preferences.speak(locale);
    this.slots.language.value = this.slots.bell.lang;
  }

  /** The hub stores in this language from now on: show the history in it, too. */
  speak(locale) {
    if (locale === this.slots.bell.lang) return;
    const connected = this.inbox.state.name !== "idle";
    this.slots.language.value = locale;
    this.open();
    if (connected) this.inbox.connect();
  }

  async getToken() {
    const { body } = await call("GET", "/dev/session");
    this.token = body.users.find(({ id }) => id === this.user.id).token;
    return this.token;
  }

  /** Informs the stand-in of the user service; the hub ends the connection. */
  logOut() {
    return this.attempt(async () => {
      await call("POST", "/dev/logout", { token: this.token });
      if (this.inbox.state.name !== "live") this.inbox.close();
    });
  }

  showState() {
    const { name, code, reason, retryIn } = this.inbox.state;
    const why = `${code}: ${reason || (WORDS_OF_CODES[code] ?? "no reason given")}`;
    const words = {
      idle: "Signing in …",
      connecting: "Connecting …",
      live: "Live",
      waiting: `Reconnecting (${why})`,
      offline: "Offline",
      closed: `Logged out (${why})`,
    };
    this.root.dataset.state = name;
    this.slots.state.textContent = words[name];
    this.slots.session.textContent = this.ended ? "Sign in" : "Log out";
    this.slots.session.setAttribute("aria-label", `${this.slots.session.textContent} ${this.user.name}`);
    this.slots.language.disabled = this.preferences.root.hidden = this.ended;
    this.countDown(retryIn);
    this.show();
  }

  countDown(wait) {
    clearInterval(this.countdown);
    const end = performance.now() + wait;
    const show = () => {
      const seconds = Math.max(0, Math.ceil((end - performance.now()) / 1000));
      this.slots.countdown.textContent = wait ? `in ${seconds} s` : "";
    };
    show();
    if (wait) this.countdown = setInterval(show, 250);
  }

  /** An event was just published: the next notification of its type answers this click, if it comes here at all. */
  expect(eventType, clickedAt) {
    if (this.inbox.state.name === "live") this.clicks.push({ code: eventType.toUpperCase(), clickedAt });
  }

  sinceClick(code) {
    const now = performance.now();
    this.clicks = this.clicks.filter(({ clickedAt }) => now - clickedAt < LONGEST_WAY);
    const answered = this.clicks.find((click) => click.code === code);
    this.clicks = this.clicks.filter((click) => click !== answered);
    return answered && Math.round(now - answered.clickedAt);
  }

  /** Do what may fail, and say so. */
  async attempt(work, say = (message) => this.sayError(message)) {
    let message = "";
    try {
      await work();
    } catch (failure) {
      if (!(failure instanceof Failure || failure instanceof InboxError)) throw failure;
      ({ message } = failure);
    }
    say(message);
  }

  sayError(message) {
    this.slots.error.textContent = message;
    this.slots.error.hidden = !message;
  }

  /** Bring the page in line with the inbox, touching only what differs. */
  show() {
    const list = this.slots.notifications;
    const focused = [...list.children].findIndex((item) => item.contains(document.activeElement));
    this.items = new Map(this.notifications.map((one) => [one, this.items.get(one) ?? this.item(one)]));
    const items = [...this.items.values()];
    for (const item of [...list.children]) if (!items.includes(item)) item.remove();
    items.forEach((item, place) => list.children[place] === item || list.insertBefore(item, list.children[place] ?? null));
    if (focused >= 0 && !list.contains(document.activeElement)) {
      (items[Math.min(focused, items.length - 1)]?.querySelector(".danger") ?? this.slots.scroll).focus();
    }
    this.summarise(this.ended ? 0 : this.inbox.unreadCount());
    this.onChange();
  }

  summarise(unread) {
    this.slots.notifications.lang = this.locale;
    this.slots.unread.textContent = this.ended ? "" : `${unread} unread`;
    this.slots.unread.classList.toggle("some", unread > 0);
    this.slots.older.hidden = this.ended || !this.inbox.hasMore;
    this.slots.empty.hidden = this.items.size > 0;
    this.slots.empty.textContent = this.ended
      ? `${this.user.name} is logged out. Sign in to see the inbox.`
      : "Nothing here yet. Publish an event above.";
  }

  /** A list item for a notification. */
  item(notification) {
    const { id, title, content, seq } = notification;
    const type = notification.template_code.toLowerCase();
    const latency = this.latencies.get(id);
    const time = moment(notification.created_at, this.locale);
    const texts = { title, content, time, type, seq: `seq ${seq}`, latency: `${latency} ms after the click` };
    const [root, slots] = clone("notification", texts);
    root.dataset.subject = subjectOf(type);
    root.classList.toggle("read", notification.is_read);
    root.classList.toggle("fresh", this.latencies.has(id) && !notification.is_read);
    slots.time.dateTime = notification.created_at;
    slots.latency.hidden = latency === undefined;
    slots.read.hidden = notification.is_read;
    slots.read.onclick = () => this.attempt(() => this.inbox.markRead(id));
    slots.delete.onclick = () => this.attempt(() => this.inbox.remove(id));
    for (const button of [slots.read, slots.delete]) button.setAttribute("aria-label", `${button.textContent}: ${title}`);
    return root;
  }
}
