/** A stand-in for the hub with one inbox: docs/reference/protocol.md, without a network. */
const MOST_RESUMED = 500;
const OPEN = 1;
const CLOSED = 3;

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

export class Hub {
  rows = []; // rising seq
  archive = []; // rising seq, too
  snoozed = [];
  lastSeq = 0;
  seenUpTo = 0;
  rev = 0; // counts changes
  inbox = 0; // counts those that were erased
  sockets = new Set();
  clicks = []; // that were reported
  requests = []; // of REST: "GET /users/…"
  opened = []; // addresses of sockets
  revoked = new Set(); // tokens
  knowsPing = true;
  up = true;
  restUp = true;
  passesUpgrades = true; // whether the proxy before it does
  passesStreams = true; // or answers 502
  buffersStreams = false; // or keeps what it should pass on
  overloaded = false; // whether it lets no connection in
  foreign = false; // whether pages of this origin may not read what it answers
  portal = false; // whether something else answers in its place
  refusal = null; // what REST answers, such as [403, "other_user"]

  /** `random` gives delays; without it everything comes in order, after a millisecond. */
  constructor(clock, random = () => 0) {
    this.clock = clock;
    this.random = random;
  }

  get live() {
    return [...this.sockets].filter((socket) => socket.greeted && !socket.frozen);
  }

  get unread() {
    return this.rows.filter((row) => !row.is_read).length;
  }

  /** What every change and every greeting says. */
  get count() {
    const unseen = this.rows.filter((row) => !row.is_read && row.seq > this.seenUpTo).length;
    return { unread: this.unread, last_seq: this.lastSeq, rev: this.rev, unseen, seen_up_to: this.seenUpTo };
  }

  get greeting() {
    return { type: "connected", node: "n", ...this.count };
  }

  /** The inbox is gone, and starts again. */
  erase() {
    Object.assign(this, { rows: [], archive: [], snoozed: [], lastSeq: 0, seenUpTo: 0, rev: 0, inbox: this.inbox + 1 });
  }

  /** A token that holds so many ms. */
  token(lifetime = 3_600_000) {
    const iat = Math.floor(this.clock.now / 1000);
    const claims = { iat, exp: iat + lifetime / 1000, jti: `${this.clock.now}-${Math.random()}` };
    return `${base64({ alg: "none" })}.${base64(claims)}.signature`;
  }

  holds(token) {
    const { exp } = JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
    return !this.revoked.has(token) && exp * 1000 > this.clock.now;
  }

  publish(count = 1) {
    for (let n = 0; n < count; n++) this.#arrives({ title: `title ${this.lastSeq + 1}`, is_read: false, template_code: "X" });
  }

  #arrives(row) {
    const seq = ++this.lastSeq;
    this.rows.push({ ...row, id: this.inbox * 1000 + seq, seq });
    this.tell({ event_type: "x", data: { ...this.rows.at(-1) } });
  }

  read(id) {
    const row = [...this.rows, ...this.archive, ...this.snoozed].find((each) => each.id === id);
    if (!row) return false;
    row.is_read = true;
    this.rev++;
    this.tell({ type: "notification_read", id, ...this.count });
    return row;
  }

  unread_(id) {
    const row = this.rows.find((each) => each.id === id);
    if (row) row.is_read = false;
    return this.#moved("notification_unread", row);
  }

  /** Move it from where it is to `place`; `frame` says so. */
  move(id, place, frame) {
    const places = ["rows", "archive", "snoozed"];
    const row = places.flatMap((name) => this[name]).find((each) => each.id === id);
    if (!row) return false;
    row.wasAway = true;
    for (const name of places) this[name] = this[name].filter((each) => each !== row);
    this[place] = [...this[place], row].sort((one, other) => one.seq - other.seq);
    return this.#moved(frame, row);
  }

  #moved(type, row, more = {}) {
    if (!row) return false;
    this.rev++;
    this.tell({ type, id: row.id, ...this.count, ...more, data: { ...row } });
    return row;
  }

  /** What is snoozed comes back. */
  wakeUp() {
    const due = this.snoozed;
    this.snoozed = [];
    for (const row of due) this.#arrives({ ...row, is_read: false });
  }

  /** A publisher has something better to say of it. */
  update(id) {
    for (const [place, rows] of Object.entries({ inbox: this.rows, archived: this.archive, snoozed: this.snoozed })) {
      const row = rows.find((each) => each.id === id);
      if (!row) continue;
      row.title = `${row.title.split("+")[0]}+${this.rev}`;
      this.#moved("notification_updated", row, { place });
    }
  }

  /** … or takes it back. */
  retract(id) {
    this.delete(id, "notification_retracted");
  }

  readAll(upTo = this.lastSeq) {
    for (const row of this.rows) if (row.seq <= upTo) row.is_read = true;
    return this.#swept("all_read", upTo);
  }

  seenAll(upTo = this.lastSeq) {
    this.seenUpTo = Math.max(this.seenUpTo, upTo);
    return this.#swept("all_seen", upTo);
  }

  archiveAll(upTo = this.lastSeq) {
    const moved = this.#takeOut(upTo);
    for (const row of moved) row.wasAway = true;
    this.archive = [...this.archive, ...moved].sort((one, other) => one.seq - other.seq);
    return this.#swept("all_archived", upTo);
  }

  deleteAll(upTo = this.lastSeq) {
    this.#takeOut(upTo);
    return this.#swept("all_deleted", upTo);
  }

  #takeOut(upTo) {
    const out = this.rows.filter(({ seq }) => seq <= upTo);
    this.rows = this.rows.filter(({ seq }) => seq > upTo);
    return out;
  }

  #swept(type, upTo) {
    this.rev++;
    this.tell({ type, up_to: upTo, ...this.count });
    return { up_to: upTo, unread: this.unread };
  }

  delete(id, type = "notification_deleted") {
    const places = ["rows", "archive", "snoozed"];
    if (!places.some((name) => this[name].some((row) => row.id === id))) return false;
    for (const name of places) this[name] = this[name].filter((row) => row.id !== id);
    this.rev++;
    this.tell({ type, id, ...this.count });
    return true;
  }

  tell(frame) {
    for (const socket of this.sockets) if (socket.greeted) socket.tell(frame);
  }

  /** End all connections. */
  close(code, reason = "") {
    for (const socket of [...this.sockets]) socket.finish(code, reason);
  }

  /** All connections die without a word. */
  freeze() {
    for (const socket of this.sockets) socket.frozen = true;
  }

  delay() {
    return 1 + this.random() * 40;
  }

  fetch = (owner) => async (address, { method, headers, body, mode, signal }) => {
    const { pathname, searchParams } = new URL(address);
    const path = pathname.replace("/api/v2/notification-service/notifications", "");
    this.requests.push(`${method} ${path}`);
    await this.#wait(owner);
    if (!this.restUp) throw new TypeError("fetch failed");
    if (mode === "no-cors") return Response.error(); // opaque to the page
    if (this.foreign) throw new TypeError("Failed to fetch");
    if (pathname.endsWith("/events")) return this.#stream(owner, address, headers, signal);
    if (pathname.includes("/preferences/")) return json(this.preferences(method, body && JSON.parse(body), headers["Accept-Language"]));
    const [, below] = /\/addresses(.*)$/.exec(pathname) ?? [];
    if (below !== undefined) return json(this.addresses(method, below, body && JSON.parse(body)));
    const answer = this.#answer(method, path, searchParams, headers);
    await this.#wait(owner);
    return answer;
  };

  #wait(owner) {
    return new Promise((resolve) => this.clock.setTimeout(() => owner.alive && resolve(), this.delay()));
  }

  #answer(method, path, query, { Authorization: bearer, "Accept-Language": locale }) {
    if (!this.holds(bearer.replace("Bearer ", ""))) return problem(401, "expired_token");
    if (this.refusal) return problem(...this.refusal);
    if (this.portal) return new Response("<!doctype html><title>Sign in to this network</title>");
    const [, id] = /^\/(\d+)\//.exec(path) ?? [];
    if (id) {
      if (path.endsWith("/clicked")) this.clicks.push([Number(id), query.get("action")]);
      const done = this.#change(method === "DELETE" ? "" : path.split("/").pop(), Number(id));
      return done ? this.#changed(done === true ? {} : spoken(done, locale)) : problem(404, "no_such_notification");
    }
    if (path.endsWith("/unread-count")) return this.#changed({ unread: this.unread });
    if (method !== "GET") return this.#changed(this.#sweep(path.split("/").pop(), Number(query.get("up_to"))));
    const [limit, before] = [Number(query.get("limit")), Number(query.get("before") ?? Infinity)];
    const listed = query.get("archived") ? this.archive : this.rows.filter((row) => !(query.get("unread") && row.is_read));
    const found = listed.filter((row) => row.seq < before).reverse();
    return json(found.slice(0, limit).map((row) => spoken(row, locale)), found.length > limit ? { Link: '</older>; rel="next"' } : {});
  }

  #sweep(call, upTo) {
    if (call === "read") return this.readAll(upTo);
    if (call === "seen") return this.seenAll(upTo);
    return call === "archive" ? this.archiveAll(upTo) : this.deleteAll(upTo);
  }

  #change(call, id) {
    if (call === "read") return this.read(id);
    if (call === "unread") return this.unread_(id);
    if (call === "clicked") return this.rows.some((row) => row.id === id);
    if (call === "archive") return this.move(id, "archive", "notification_archived");
    if (call === "unarchive") return this.move(id, "rows", "notification_unarchived");
    if (call === "snooze") return this.move(id, "snoozed", "notification_snoozed");
    return this.delete(id);
  }

  /** An event stream, which is a socket to the hub and bytes to the client. */
  #stream(owner, address, { Authorization: bearer }, signal) {
    const token = bearer.replace("Bearer ", "");
    if (!this.passesStreams) return new Response("Bad gateway", { status: 502 });
    if (!this.holds(token)) return problem(401, "expired_token");
    if (this.refusal) return problem(...this.refusal);
    if (this.overloaded) return problem(503, "dependency_down");
    const socket = new (this.socketsOf(owner, false))(address, ["hub.v1", `bearer.${token}`]);
    const bytes = new TextEncoder();
    const cut = (text) => (this.random() < 0.5 ? [text] : [text.slice(0, text.length / 2), text.slice(text.length / 2)]);
    const body = new ReadableStream({
      start: (controller) => {
        let kept = "";
        const write = (text) => {
          kept += text;
          if (this.buffersStreams) return;
          for (const part of cut(kept)) controller.enqueue(bytes.encode(part));
          kept = "";
        };
        const beat = () => {
          if (socket.readyState === CLOSED) return;
          if (!socket.frozen) write(":\n\n");
          this.clock.setTimeout(beat, 20_000);
        };
        beat();
        socket.onmessage = ({ data }) => write(`id: 1\nevent: ${JSON.parse(data).type ?? "message"}\ndata: ${data}\n\n`);
        socket.onclose = ({ code, reason }) => {
          if (code === 1006) return controller.error(new TypeError("it broke off"));
          write(`event: close\ndata: ${JSON.stringify({ type: "close", code, reason })}\n\n`);
          controller.close();
        };
        signal.addEventListener("abort", () => {
          socket.close();
          controller.error(new DOMException("aborted", "AbortError"));
        });
      },
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  }

  #changed(body) {
    const counts = Object.entries(this.count).map(([name, value]) => `${name}=${value}`);
    return json(body, { "Inbox-Count": counts.join(", ") });
  }

  /** The class of this hub's sockets, for a tab. */
  socketsOf(owner, upgrades = true) {
    const hub = this;
    return class {
      readyState = 0;
      greeted = false;
      frozen = false;
      #notifications = []; // in order; changes, which any node may tell, overtake them and each other

      constructor(address, [protocol, bearer]) {
        if (protocol !== "hub.v1") throw new Error("no hub.v1");
        hub.opened.push(address);
        this.owner = owner;
        this.streams = !upgrades;
        this.token = bearer.replace("bearer.", "");
        const asked = new URL(address).searchParams;
        this.after = asked.get("after");
        this.locale = asked.get("lang");
        hub.clock.setTimeout(() => this.#open(), hub.delay());
      }

      #open() {
        if (this.readyState === CLOSED || !owner.alive) return;
        const refused = hub.overloaded || (upgrades && !hub.passesUpgrades);
        if (!hub.up || refused || !hub.holds(this.token) || hub.refusal) return this.finish(1006, "");
        hub.sockets.add(this);
        this.readyState = OPEN;
        this.greeted = true;
        this.tell(hub.greeting);
        if (this.after !== null) this.#resume(Number(this.after));
      }

      #resume(after) {
        const complete = hub.lastSeq - after <= MOST_RESUMED;
        const missed = complete ? hub.rows.filter((row) => row.seq > after) : [];
        for (const row of missed) this.tell({ event_type: "x", data: { ...row } });
        this.tell({ type: "resumed", from: after, to: hub.lastSeq, complete });
      }

      tell(frame) {
        const queue = frame.type?.match(/^(notification_|all_)/) ? [] : this.#notifications;
        queue.push(frame.data ? { ...frame, data: spoken(frame.data, this.locale) } : frame);
        hub.clock.setTimeout(() => {
          const data = JSON.stringify(queue.shift());
          if (this.readyState === OPEN && !this.frozen && owner.alive) this.onmessage?.({ data });
        }, hub.delay());
      }

      send(text) {
        const message = JSON.parse(text);
        if (this.frozen) return;
        if (message.type === "ping") this.tell(hub.knowsPing ? { type: "pong" } : { type: "error", code: "bad_message", detail: "?" });
        if (message.type === "token") {
          const holds = hub.holds(message.jwt);
          if (holds) this.token = message.jwt;
          this.tell(holds ? { type: "token_renewed", expires_at: 0 } : { type: "error", code: "invalid_token", detail: "no" });
        }
      }

      close() {
        hub.sockets.delete(this);
        this.readyState = CLOSED;
      }

      finish(code, reason) {
        const frozen = this.frozen;
        this.close();
        if (owner.alive && !frozen) this.onclose?.({ code, reason });
      }
    };
  }
}

const spoken = (row, locale) => ({ ...row, title: locale ? `${row.title} in ${locale}` : row.title });
const json = (body, headers = {}) => new Response(JSON.stringify(body), { headers });
const problem = (status, code) => new Response(JSON.stringify({ code, detail: `problem ${code}` }), { status });
