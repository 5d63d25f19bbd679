/** A clock that tests turn, with timers. */
export class Clock {
  #timers = new Map();
  #last = 0;
  now = 1_800_000_000_000; // unix time in ms

  setTimeout = (work, delay) => {
    this.#timers.set(++this.#last, { work, due: this.now + Math.max(0, delay) });
    return this.#last;
  };

  clearTimeout = (timer) => void this.#timers.delete(timer);

  /** Let `ms` pass: every timer that is due runs, and what follows from it, before a later one. */
  async pass(ms) {
    const end = this.now + ms;
    for (await settled(); ; await settled()) {
      const [timer, next] = [...this.#timers].reduce(
        (first, other) => (other[1].due < first[1].due ? other : first),
        [0, { due: Infinity }],
      );
      if (next.due > end) break;
      this.#timers.delete(timer);
      this.now = Math.max(this.now, next.due);
      next.work();
    }
    this.now = end;
  }

  /** The computer sleeps: time passes, and nothing happens in it. */
  sleep(ms) {
    this.now += ms;
    for (const timer of this.#timers.values()) timer.due += ms;
  }
}

/** Everything that waits only for promises has happened. */
const settled = () => new Promise((resolve) => setImmediate(resolve));
