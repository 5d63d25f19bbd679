/** One person's inbox: live over a connection, its history and its changes over REST. */
import { Connection } from "./connection.js";
import { Failure, REST, call, clone, subjectOf } from "./page.js";
import { Preferences } from "./preferences.js";

const SOCKET = "/ws/v2/notification-service/notifications";
const STORED_LOCALE = "vi"; // what is stored for who has chosen no language
const FRAMES_KEPT = 20;
const LONGEST_WAY = 10_000; // ms; a frame that comes later doesn't answer the click
const ROLES = { member: "member", head_chef: "head chef" };
const FIRST_LOCALES = { member: "en" };
const LOST = 1006; // browsers' code when no close frame came: the way is broken, or the hub refused the token
const WORDS_OF_CODES = { 1005: "closed", [LOST]: "connection lost" };

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** A time of today without its date. */
function moment(timestamp, locale) {
  const when = new Date(timestamp);
  const today = when.toDateString() === new Date().toDateString();
  return when.toLocaleString(locale, today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" });
}

export class Inbox {
  notifications = new Map(); // by id
  items = new Map(); // the list items that show them, by notification
  latencies = new Map(); // ms from click to frame, by id
  clicks = []; // those whose frame hasn't come yet
  storedLocale = STORED_LOCALE;
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
    this.slots.language.value = FIRST_LOCALES[user.role] ?? STORED_LOCALE;
    this.slots.language.onchange = () => this.connection.ended || this.load();
    this.slots.session.onclick = () => (this.connection.ended ? this.signIn() : this.logOut());
    this.preferences = new Preferences(user, {
      call: (method, path, json) => call(method, path, { token: this.token, json }),
      attempt: (work, say) => this.attempt(work, say),
      onProfile: ({ locale }) => (this.storedLocale = locale ?? STORED_LOCALE),
    });
    this.slots.frames.closest("details").before(this.preferences.root);
    this.connect();
  }

  get locale() {
    return this.slots.language.value;
  }

  /** How many notifications of this type are in it beyond `seq`. */
  count(eventType, seq) {
    const code = eventType.toUpperCase();
    return [...this.notifications.values()].filter((one) => one.template_code === code && one.seq > seq).length;
  }

  get lastSeq() {
    return Math.max(0, ...[...this.notifications.values()].map(({ seq }) => seq));
  }

  connect() {
    const address = `${location.origin.replace("http", "ws")}${SOCKET}/users/${this.user.id}`;
    this.connection = new Connection(address, this.token, {
      onState: (state) => this.stateChanged(state),
      onFrame: (text) => this.frameCame(text),
      renewToken: () => this.renewToken(),
    });
  }

  async renewToken() {
    const { body } = await call("GET", "/dev/session");
    this.token = body.users.find(({ id }) => id === this.user.id).token;
    return this.token;
  }

  signIn() {
    return this.attempt(async () => {
      await this.renewToken();
      this.connect();
    });
  }

  /** Tells the user service's stand-in; to end the connection is the hub's work. */
  logOut() {
    return this.attempt(async () => {
      await call("POST", "/dev/logout", { token: this.token });
      if (!this.connection.live) this.connection.end(4500, "logged out");
    });
  }

  stateChanged({ name, code, reason, wait }) {
    const why = `${code}: ${reason || (WORDS_OF_CODES[code] ?? "no reason given")}`;
    const words = { connecting: "Connecting …", live: "Live", waiting: `Reconnecting (${why})`, ended: `Logged out (${why})` };
    this.root.dataset.state = name;
    this.slots.state.textContent = words[name];
    this.slots.session.textContent = name === "ended" ? "Sign in" : "Log out";
    this.slots.session.setAttribute("aria-label", `${this.slots.session.textContent} ${this.user.name}`);
    this.countDown(wait);
    this.preferences.root.hidden = name === "ended";
    if (name === "live") this.preferences.load();
    if (name === "ended") {
      this.currentLoad = null;
      this.notifications.clear();
    }
    if (name === "live" || code === LOST) this.load(); // after a loss it tells whether the token still holds
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

  /** An event was just published: the next frame of its type answers this click, if it comes here at all. */
  expect(eventType, clickedAt) {
    if (this.connection.live) this.clicks.push({ eventType, clickedAt });
  }

  sinceClick(eventType, now) {
    this.clicks = this.clicks.filter(({ clickedAt }) => now - clickedAt < LONGEST_WAY);
    const answered = this.clicks.find((click) => click.eventType === eventType);
    this.clicks = this.clicks.filter((click) => click !== answered);
    return answered && Math.round(now - answered.clickedAt);
  }

  frameCame(text) {
    const now = performance.now();
    const frame = parse(text);
    this.showFrame(text, frame);
    const notification = frame?.data;
    if (notification?.title === undefined) return; // the session protocol's own frames
    this.latencies.set(notification.id, this.sinceClick(frame.event_type, now));
    this.currentLoad?.live.push(notification);
    this.notifications.set(notification.id, notification);
    this.show();
    this.items.get(notification).classList.add("fresh");
    this.slots.announcement.textContent = `${this.user.name} was told: ${notification.title}`;
    if (this.locale !== this.storedLocale) this.localise(notification);
  }

  /** Frames come in the stored locale; show the same notification as REST has it in the chosen one. */
  localise({ id, seq }) {
    const { locale } = this;
    return this.attempt(async () => {
      const { body } = await this.rest("GET", `users/${this.user.id}?before=${seq + 1}&limit=1`);
      if (body[0]?.id !== id || !this.notifications.has(id) || locale !== this.locale) return;
      this.notifications.set(id, body[0]);
      this.show();
    });
  }

  /** The whole inbox anew. What comes live meanwhile stays; after a change meanwhile a newer load counts. */
  load() {
    const load = { live: [] };
    this.currentLoad = load;
    return this.attempt(async () => {
      const { body, more } = await this.rest("GET", `users/${this.user.id}`);
      if (load !== this.currentLoad) return;
      this.currentLoad = null;
      this.more = more;
      this.notifications = new Map([...load.live, ...body].map((notification) => [notification.id, notification]));
      this.show();
    });
  }

  markRead({ id }) {
    return this.attempt(async () => {
      const { body } = await this.rest("PATCH", `${id}/users/${this.user.id}/read`);
      this.notifications.set(id, body);
      this.changed();
    });
  }

  delete({ id }) {
    return this.attempt(async () => {
      await this.rest("DELETE", `${id}/users/${this.user.id}`);
      this.notifications.delete(id);
      this.changed();
    });
  }

  changed() {
    this.show();
    if (this.currentLoad) this.load();
  }

  rest(method, path) {
    return call(method, `${REST}/notifications/${path}`, { token: this.token, locale: this.locale });
  }

  /** Do what may fail, and say so; a token that holds no longer ends the connection too. */
  async attempt(work, say = (message) => this.sayError(message)) {
    let message = "";
    try {
      await work();
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      if (failure.status === 401) this.connection.end(401, failure.detail);
      else message = failure.message;
    }
    say(message);
  }

  sayError(message) {
    this.slots.error.textContent = message;
    this.slots.error.hidden = !message;
  }

  /** Bring the page in line with `notifications`, newest first, touching only what differs. */
  show() {
    const list = this.slots.notifications;
    const newestFirst = [...this.notifications.values()].sort((one, other) => other.seq - one.seq);
    const focused = [...list.children].findIndex((item) => item.contains(document.activeElement));
    this.items = new Map(newestFirst.map((one) => [one, this.items.get(one) ?? this.item(one)]));
    const items = [...this.items.values()];
    for (const item of [...list.children]) if (!items.includes(item)) item.remove();
    items.forEach((item, place) => list.children[place] === item || list.insertBefore(item, list.children[place] ?? null));
    if (focused >= 0 && !list.contains(document.activeElement)) {
      (items[Math.min(focused, items.length - 1)]?.querySelector(".danger") ?? this.slots.scroll).focus();
    }
    this.summarise(newestFirst.filter(({ is_read }) => !is_read).length);
    this.onChange();
  }

  summarise(unread) {
    const { ended } = this.connection ?? {};
    this.slots.notifications.lang = this.locale;
    this.slots.unread.textContent = ended ? "" : `${unread}${this.more ? "+" : ""} unread`;
    this.slots.unread.classList.toggle("some", unread > 0);
    this.slots.empty.hidden = this.notifications.size > 0;
    this.slots.empty.textContent = ended
      ? `${this.user.name} is logged out. Sign in to see the inbox.`
      : "Nothing here yet. Publish an event above.";
  }

  /** A list item for a notification. */
  item(notification) {
    const eventType = notification.template_code.toLowerCase();
    const latency = this.latencies.get(notification.id);
    const { title, content, seq } = notification;
    const time = moment(notification.created_at, this.locale);
    const texts = { title, content, time, type: eventType, seq: `seq ${seq}`, latency: `${latency} ms after the click` };
    const [root, slots] = clone("notification", texts);
    root.dataset.subject = subjectOf(eventType);
    root.classList.toggle("read", notification.is_read);
    slots.time.dateTime = notification.created_at;
    slots.latency.hidden = latency === undefined;
    slots.read.hidden = notification.is_read;
    slots.read.onclick = () => this.markRead(notification);
    slots.delete.onclick = () => this.delete(notification);
    for (const button of [slots.read, slots.delete]) button.setAttribute("aria-label", `${button.textContent}: ${title}`);
    return root;
  }

  showFrame(text, frame) {
    const caption = `${new Date().toISOString().slice(11, 23)} UTC · ${new Blob([text]).size} bytes`;
    const [root] = clone("frame", { caption, text: frame ? JSON.stringify(frame, null, 2) : text });
    const { frames } = this.slots;
    frames.prepend(root);
    while (frames.children.length > FRAMES_KEPT) frames.lastElementChild.remove();
    this.slots["frame-count"].textContent = `(last ${frames.children.length})`;
    this.slots["no-frames"].hidden = true;
  }
}
