import { InboxError } from "./errors.js";

const API = "/api/v2/notification-service";
const INBOXES = "/notifications";
export const ORIGINS = "does ALLOWED_ORIGINS name this page's origin?";
const PROBE = 5000; // ms
const PATIENCE = 15_000; // ms for an answer
const PAGE = 50;
const MOST = 1000; // that the hub gives at once
/** What a call says to all devices. */
const FRAMES = {
  "": "notification_deleted",
  read: "notification_read",
  unread: "notification_unread",
  archive: "notification_archived",
  unarchive: "notification_unarchived",
  snooze: "notification_snoozed",
};
const SWEEPS = {
  "": ["DELETE", "all_deleted"],
  read: ["PATCH", "all_read"],
  archive: ["PATCH", "all_archived"],
  seen: ["POST", "all_seen"],
};

/**
 * @typedef {import("../index.d.ts").Notification} Notification
 * @typedef {import("./store.js").Frame} Frame
 *
 * @typedef {object} Page a newest-first part of the inbox
 * @property {readonly Notification[]} items
 * @property {number} from every notification from this `seq` on is in it, up to the newest; 0: nothing is older
 */

/** The inbox over REST. Every call rejects with `InboxError`, after a new token was tried where one was refused. */
export class Rest {
  /**
   * @param {import("./world.js").World} world
   * @param {import("./tokens.js").Tokens} tokens
   * @param {string} origin
   * @param {string} userId
   * @param {string | undefined} locale
   */
  constructor(world, tokens, origin, userId, locale) {
    this.world = world;
    this.tokens = tokens;
    this.origin = origin;
    this.user = encodeURIComponent(userId);
    this.locale = locale;
  }

  /**
   * The newest `limit`, or those before a `seq`.
   *
   * @param {number} limit
   * @param {number} [before]
   * @param {import("../index.d.ts").View} [view]
   * @returns {Promise<Page>}
   */
  async page(limit = PAGE, before, view = "inbox") {
    const many = Math.min(MOST, Math.max(PAGE, limit));
    const some = (before ? `&before=${before}` : "") + (view === "inbox" ? "" : `&${view}=true`);
    const answer = await this.#call("GET", `${INBOXES}/users/${this.user}?protocol=hub.v1&limit=${many}${some}`);
    const items = await body(answer);
    return { items, from: answer.headers.has("Link") ? items.at(-1).seq : 0 };
  }

  /** @returns {Promise<Frame>} as the hub's first frame says it */
  async count() {
    const answer = await this.#call("GET", `${INBOXES}/users/${this.user}/unread-count`);
    return { ...(await body(answer)), ...counted(answer) };
  }

  /**
   * Change a notification.
   *
   * @param {number} id
   * @param {"read" | "unread" | "archive" | "unarchive" | "snooze" | ""} call none deletes it
   * @param {string} [until]
   * @returns {Promise<Frame>} as the hub sends it
   */
  async change(id, call, until) {
    const asked = `?protocol=hub.v1${until ? `&until=${encodeURIComponent(until)}` : ""}`;
    const answer = await this.#call(call ? "PATCH" : "DELETE", `${INBOXES}/${id}/users/${this.user}` + (call && `/${call}${asked}`));
    const frame = { type: FRAMES[call], id, ...counted(answer) };
    const data = call && call !== "read" && (await body(answer));
    if (!data) return frame;
    return data.id === id ? { ...frame, data } : { ...frame, type: FRAMES[""] }; // it comes as a new one
  }

  /**
   * @param {number} id
   * @param {string} [action]
   */
  async clicked(id, action) {
    await this.#call("PATCH", `${INBOXES}/${id}/users/${this.user}/clicked${action ? `?action=${encodeURIComponent(action)}` : ""}`);
  }

  /**
   * Change everything up to a `seq`.
   *
   * @param {keyof typeof SWEEPS} call
   * @param {number} upTo
   * @returns {Promise<Frame>}
   */
  async all(call, upTo) {
    const [method, type] = SWEEPS[call];
    const answer = await this.#call(method, `${INBOXES}/users/${this.user}${call && `/${call}`}?up_to=${upTo}`);
    return { ...(await body(answer)), type, ...counted(answer) };
  }

  /**
   * @param {import("../index.d.ts").PreferenceChanges} [changes] none: ask only
   * @returns {Promise<import("../index.d.ts").Preferences>} as they are then
   */
  async preferences(changes) {
    return body(await this.#call(changes ? "PATCH" : "GET", `/preferences/users/${this.user}`, JSON.stringify(changes)));
  }

  /**
   * @param {string} method
   * @param {string} [path] below that of the addresses
   * @param {object} [given] the body
   */
  async addresses(method, path = "", given) {
    return body(await this.#call(method, `/addresses${path}`, JSON.stringify(given)));
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {string} [json] the body
   */
  async #call(method, path, json) {
    const token = await this.tokens.get();
    const answer = await this.#send(token, method, path, json);
    if (answer.status !== 401) return accepted(answer);
    this.tokens.refuse(token);
    return accepted(await this.#send(await this.tokens.get(), method, path, json));
  }

  /**
   * @param {string} token
   * @param {string} method
   * @param {string} path
   * @param {string} [json]
   */
  async #send(token, method, path, json) {
    /** @type {Record<string, string>} */
    const headers = { Authorization: `Bearer ${token}` };
    if (json) headers["Content-Type"] = "application/json";
    if (this.locale) headers["Accept-Language"] = this.locale;
    try {
      const signal = AbortSignal.timeout(PATIENCE);
      return await this.world.fetch(this.origin + API + path, {
        method,
        headers,
        ...(json && { body: json }),
        signal,
        cache: "no-store",
        keepalive: method !== "GET", // a change is made even if the page goes where the notification leads
      });
    } catch (error) {
      // browsers hide from a page why a call failed; a call that timed out was not refused
      if (error instanceof TypeError && (await this.#isUp()))
        throw new InboxError(`${this.origin} answers, but not to this page: ${ORIGINS}`, 0, "foreign_origin");
      throw new InboxError(`${this.origin} can't be reached`);
    }
  }

  /** Whether something answers, be it an answer that this page may not read. */
  async #isUp() {
    try {
      const signal = AbortSignal.timeout(PROBE);
      await this.world.fetch(`${this.origin}${API}/health`, { method: "GET", mode: "no-cors", signal, cache: "no-store" });
      return true;
    } catch {
      return false;
    }
  }
}

/**
 * What an answer says, or `InboxError` when it broke off, or isn't the hub's.
 *
 * @param {Response} answer
 */
async function body(answer) {
  try {
    return await answer.json();
  } catch {
    throw new InboxError("the answer is no JSON, or broke off: does a proxy answer in the hub's place?");
  }
}

/**
 * @param {Response} answer
 * @returns {Frame} how many were unread after what it did
 */
function counted({ headers }) {
  const values = (headers.get("Inbox-Count") ?? "").matchAll(/(\w+)=(\d+)/g);
  return Object.fromEntries([...values].map(([, name, value]) => [name, Number(value)]));
}

/** @param {Response} answer */
async function accepted(answer) {
  if (answer.ok) return answer;
  const { detail, code } = await answer.json().catch(() => ({}));
  throw new InboxError(detail ?? `the hub answered ${answer.status}`, answer.status, code ?? "refused");
}
