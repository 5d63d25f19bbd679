import { InboxError } from "./errors.js";

const TOO_LATE = 5000; // ms before its expiry a token is no longer worth sending
const PATIENCE = 30_000; // ms for getToken
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;
const LONGEST = 2 ** 31 - 1; // ms; what a timer can hold

/** The user's token, asked for when there is none that holds. */
export class Tokens {
  /** @type {string | undefined} */
  #token;
  #expiresAt = Infinity; // by this page's clock
  /** @type {Promise<string> | undefined} */
  #asking;

  /**
   * @param {import("./world.js").World} world
   * @param {() => string | Promise<string>} getToken
   */
  constructor(world, getToken) {
    this.world = world;
    this.getToken = getToken;
  }

  /** A token that is valid, as far as this page can tell. Rejects when getToken does, or gives none. */
  async get() {
    return this.#token && this.#expiresAt - this.world.now() > TOO_LATE ? this.#token : this.renew();
  }

  /** A token fresh from getToken; a caller that asks meanwhile gets the same. */
  renew() {
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  /**
   * The hub refused this token: it is not used again.
   *
   * @param {string | undefined} token
   */
  refuse(token = this.#token) {
    if (token === this.#token) this.#token = undefined;
  }

  /** In how many ms to renew: a minute before the expiry, or half-way there; undefined: no need ever. */
  get renewIn() {
    const left = this.#expiresAt - this.world.now();
    if (left === Infinity) return undefined;
    return Math.min(LONGEST, Math.max(1000, left > 120_000 ? left - 60_000 : left / 2));
  }

  async #ask() {
    /** @type {unknown} */
    let timer;
    const late = new Promise((_, reject) => {
      const error = new InboxError("getToken gave no answer in 30 s: look why, or let it reject", 0, "no_token");
      timer = this.world.setTimeout(() => reject(error), PATIENCE);
    });
    try {
      const token = await Promise.race([this.getToken(), late]);
      if (typeof token !== "string" || !JWT.test(token)) {
        throw new InboxError("getToken gave no JWT: it must resolve to the user's access token", 0, "no_token");
      }
      this.#token = token;
      this.#expiresAt = this.world.now() + lifetime(token, this.world.now());
      return token;
    } finally {
      this.world.clearTimeout(timer);
    }
  }
}

/**
 * How many ms a token is still valid. Where the clocks disagree it is taken for a fresh one.
 *
 * @param {string} token
 * @param {number} now
 */
function lifetime(token, now) {
  try {
    const { exp, iat } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    const whole = (exp - iat) * 1000;
    const left = exp * 1000 - now;
    return (left > 0 && left <= whole ? left : whole) || Infinity;
  } catch {
    return Infinity; // not one that this page can read
  }
}
