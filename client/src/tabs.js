import { load } from "./load.js";

const ANSWER = 10_000; // ms a tab waits for a word of the leader, before it takes its place
const TOGETHER = 20; // ms; those who ask meanwhile get one answer

/**
 * @typedef {import("./session.js").Listener} Listener
 * @typedef {import("./store.js").Snapshot} Snapshot
 * @typedef {import("../index.d.ts").State} State
 *
 * @typedef {object} Word what the leader says to the others
 * @property {string} leader
 * @property {number} number counts 1, 2, 3 … what this leader said
 * @property {keyof Listener} [kind]
 * @property {any} [value]
 * @property {State} state
 * @property {boolean} [answer] a snapshot for who asked; who has heard all words needs it not
 */

/**
 * One of the tabs of a browser that share a connection, all of one language. The one that holds the lock leads: it has the session and
 * passes on what that says. When it dies the browser gives the lock to the next, which resumes from its own `seq`.
 *
 * The others count what they hear. Who missed a word, or hears a new leader, asks for the whole inbox, which is also
 * how a tab begins; until it comes nothing is taken, so that no tab reports a notification before an older one.
 */
export class Tabs {
  #id = crypto.randomUUID();
  #leading = false;
  #stopped = false;
  #leader = "";
  #number = 0; // of the last word, sent or received
  /** @type {State} */
  #state = { name: "connecting" };
  /** @type {Word[] | undefined} */
  #held; // while this tab loads for itself
  /** @type {unknown} */
  #asking;
  /** @type {unknown} */
  #answering;
  #place = new AbortController(); // in the queue for the lock
  #resign = () => {};
  #sleep = () => {};

  /**
   * @param {import("./world.js").World} world
   * @param {LockManager} locks
   * @param {string} name of the lock and the channel
   * @param {import("./rest.js").Rest} rest
   * @param {import("./store.js").Store} store
   * @param {Listener} listener
   * @param {(listener: Listener) => import("./session.js").Session} newSession
   */
  constructor(world, locks, name, rest, store, listener, newSession) {
    this.world = world;
    this.locks = locks;
    this.name = name;
    this.rest = rest;
    this.store = store;
    this.listener = listener;
    this.newSession = newSession;
    this.channel = world.channel(name);
    this.channel.onmessage = ({ data }) => this.#received(data);
  }

  start() {
    this.#sleep = this.world.onWake(() => this.#ask());
    this.#queue({ signal: this.#place.signal });
    this.#ask();
    this.listener.state(this.#state); // on which somebody may stop this
  }

  stop() {
    this.#stopped = true;
    this.#sleep();
    this.#place.abort();
    this.#resign();
    for (const timer of [this.#asking, this.#answering]) this.world.clearTimeout(timer);
    this.channel.close();
  }

  /**
   * Lead as soon and as long as the lock is ours.
   *
   * @param {LockOptions} how
   */
  async #queue(how) {
    const { signal } = this.#place;
    try {
      await this.locks.request(this.name, how, () => this.#lead());
    } catch (error) {
      if (/** @type {Error} */ (error).name !== "AbortError") return this.#lead(); // no locks for this page: it is alone
    }
    if (signal.aborted) return;
    this.#resign(); // the lock was taken from us
    this.#queue({ signal });
  }

  /** Have the session, until `#resign`. */
  async #lead() {
    if (this.#stopped) return;
    this.#leading = true;
    this.#leader = this.#id;
    this.#number = 0;
    this.#clearAsking();
    this.#sayAll();
    const resigned = new Promise((resolve) => (this.#resign = () => resolve(undefined)));
    const session = this.newSession(this.#aloud());
    session.start();
    await resigned;
    this.#leading = false;
    session.stop();
  }

  /** The session's listener, which also passes everything on to all tabs. @returns {Listener} */
  #aloud() {
    const { listener } = this;
    return {
      frame: (frame) => {
        this.#say("frame", frame);
        listener.frame(frame);
      },
      reset: () => {
        this.#say("reset");
        listener.reset();
      },
      snapshot: (snapshot) => {
        listener.snapshot(snapshot);
        this.#sayAll();
      },
      state: (state) => {
        this.#state = state;
        this.#say();
        listener.state(state);
      },
      error: listener.error,
    };
  }

  /** @param {boolean} [answer] whether only who asked needs it */
  #sayAll(answer) {
    this.#say("snapshot", this.store.loaded ? this.store.snapshot : undefined, answer);
  }

  /**
   * @param {keyof Listener} [kind]
   * @param {unknown} [value]
   * @param {boolean} [answer]
   */
  #say(kind, value, answer) {
    if (!this.#leading) return;
    this.channel.postMessage({ leader: this.#id, number: ++this.#number, kind, value, state: this.#state, answer });
  }

  #ask() {
    if (this.#leading || this.#asking) return;
    this.#asking = this.world.setTimeout(() => this.#takeOver(), ANSWER);
    this.channel.postMessage("what is the state?");
  }

  #clearAsking() {
    this.world.clearTimeout(this.#asking);
    this.#asking = undefined;
  }

  /** A leader that doesn't answer is frozen. */
  #takeOver() {
    this.#place.abort();
    this.#place = new AbortController();
    this.#queue({ steal: true });
  }

  /** @param {Word | string} word */
  #received(word) {
    if (typeof word === "string") this.#answer();
    else if (!this.#leading) this.#follow(word);
    else if (word.state.name === "closed") this.listener.state(word.state); // the last word of the one before us
  }

  #answer() {
    if (!this.#leading || this.#answering) return;
    this.#answering = this.world.setTimeout(() => {
      this.#answering = undefined;
      this.#sayAll(true);
    }, TOGETHER);
  }

  /** @param {Word} word */
  #follow(word) {
    this.#clearAsking();
    if (this.#held) return void this.#held.push(word);
    const { leader, number, kind, value, state, answer } = word;
    const inStep = leader === this.#leader && number === this.#number + 1;
    if (inStep || kind === "snapshot") {
      this.#leader = leader;
      this.#number = number;
      if (kind === "snapshot") {
        const heard = inStep && answer && this.store.loaded;
        if (!heard) this.#take(value);
      } else if (kind) /** @type {(value: any) => void} */ (this.listener[kind])(value);
    } else this.#ask();
    this.#state = state;
    this.listener.state(state);
  }

  /**
   * A tab that lists more than the leader does, or missed more, loads for itself.
   *
   * @param {Snapshot | undefined} snapshot none while the leader has none
   */
  async #take(snapshot) {
    const { store } = this;
    if (!snapshot) return;
    if (store.isOtherThan(snapshot)) this.listener.reset(); // it slept when that was said
    if (!store.loaded || snapshot.from <= Math.min(store.from, store.lastSeq + 1)) {
      return this.listener.snapshot(snapshot);
    }
    this.#held = [];
    const own = await load(this.rest, store, snapshot.count, snapshot.asOf).catch(() => snapshot);
    if (this.#stopped) return;
    this.listener.snapshot(own);
    const held = this.#held;
    this.#held = undefined;
    for (const word of held) this.#received(word); // it may lead by now
  }
}
