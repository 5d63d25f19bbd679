/** A stand-in for a browser: tabs with a hub's sockets, locks and channels, that can be killed. */
import { createInbox } from "../src/inbox.js";

export class Browser {
  tabs = [];
  #channels = new Set();
  #queues = new Map(); // by lock name: who holds it, and who waits

  /** `shares`: whether it knows Web Locks. */
  constructor(clock, hub, { shares = false, random = () => 0.5 } = {}) {
    Object.assign(this, { clock, hub, shares, random });
  }

  /** A new tab with an inbox that is connected, and all that it received. */
  open(options = {}) {
    const tab = { alive: true, online: true, wakes: new Set(), events: [], told: [], states: [], errors: [], reported: [] };
    const asked = () => this.hub.token();
    const world = this.#world(tab);
    tab.inbox = createInbox({ url: "https://hub.example", userId: "user", getToken: asked, ...options }, world);
    tab.inbox.on("notification", (notification) => tab.told.push(notification.seq));
    tab.inbox.on("state", (state) => tab.states.push(state));
    tab.inbox.on("error", (error) => tab.errors.push(error));
    tab.wake = () => tab.wakes.forEach((wake) => wake());
    tab.locale = options.locale;
    tab.inbox.connect();
    this.tabs.push(tab);
    return tab;
  }

  /** The tab dies as a process does: nothing of it runs any more, and its lock is free. */
  kill(tab) {
    tab.alive = false;
    this.tabs = this.tabs.filter((other) => other !== tab);
    for (const socket of [...this.hub.sockets]) if (socket.owner === tab) socket.close();
    for (const [name, queue] of this.#queues) this.#leave(name, queue.filter((place) => place.tab === tab));
  }

  get leader() {
    return [...this.#queues.values()][0]?.[0]?.tab;
  }

  #world(tab) {
    const { clock, hub } = this;
    return {
      WebSocket: hub.socketsOf(tab),
      fetch: hub.fetch(tab),
      locks: this.shares ? { request: (...request) => this.#request(tab, ...request) } : undefined,
      channel: (name) => this.#channel(tab, name),
      setTimeout: (work, delay) => clock.setTimeout(() => tab.alive && !tab.frozen && work(), delay),
      clearTimeout: clock.clearTimeout,
      now: () => clock.now,
      random: this.random,
      report: (error) => tab.reported.push(error),
      online: () => tab.online,
      onWake: (wake) => {
        tab.wakes.add(wake);
        return () => tab.wakes.delete(wake);
      },
    };
  }

  #channel(tab, name) {
    const channel = { onmessage: null, postMessage: null, close: () => this.#channels.delete(channel) };
    channel.postMessage = (data) => {
      if (!this.#channels.has(channel)) throw new DOMException("closed", "InvalidStateError");
      for (const other of this.#channels) {
        if (other === channel || other.name !== name) continue;
        other.queue.push(structuredClone(data));
        this.clock.setTimeout(() => {
          const event = { data: other.queue.shift() };
          if (other.tab.alive && !other.tab.frozen && this.#channels.has(other)) other.onmessage(event);
        }, this.random() * 5);
      }
    };
    this.#channels.add(Object.assign(channel, { tab, name, queue: [] }));
    return channel;
  }

  #request(tab, name, { signal, steal }, work) {
    if (this.forbidsLocks) return Promise.reject(new DOMException("not here", "SecurityError"));
    return new Promise((resolve, reject) => {
      const place = { tab, work, resolve, reject };
      const queue = this.#queues.get(name) ?? [];
      signal?.addEventListener("abort", () => {
        if (this.#queues.get(name).indexOf(place) > 0) this.#leave(name, [place]);
        reject(new DOMException("left", "AbortError"));
      });
      if (steal) queue.shift()?.reject(new DOMException("stolen", "AbortError"));
      this.#queues.set(name, steal ? [place, ...queue] : [...queue, place]);
      if (this.#queues.get(name)[0] === place) this.#grant(name, place);
    });
  }

  #grant(name, place) {
    this.clock.setTimeout(async () => {
      if (!place.tab.alive) return;
      await place.work();
      if (this.#queues.get(name)[0] === place) this.#leave(name, [place]);
      place.resolve();
    }, this.grantsIn ?? this.random() * 5);
  }

  #leave(name, places) {
    const [holder] = this.#queues.get(name);
    const queue = this.#queues.get(name).filter((place) => !places.includes(place));
    this.#queues.set(name, queue);
    if (queue[0] && queue[0] !== holder) this.#grant(name, queue[0]);
  }
}
