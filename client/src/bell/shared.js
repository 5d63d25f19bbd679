import { createInbox } from "../index.js";

/**
 * @typedef {import("../../index.d.ts").Inbox} Inbox
 * @typedef {() => string | Promise<string>} GetToken
 *
 * @typedef {object} Shared an inbox, and who shows it
 * @property {Inbox} inbox
 * @property {Set<object>} bells
 * @property {GetToken | undefined} getToken the last that a bell brought
 */

/** @type {Map<string, Shared>} */
const made = new Map();

/**
 * The inbox of a hub's user in one language, the same for all bells of this page. It is closed when the last one left.
 *
 * @param {object} bell
 * @param {string} url
 * @param {string} userId
 * @param {string | undefined} locale
 */
export function share(bell, url, userId, locale) {
  const key = JSON.stringify([url, userId, locale]);
  const shared = made.get(key) ?? make(url, userId, locale);
  made.set(key, shared);
  shared.bells.add(bell);
  return {
    inbox: shared.inbox,

    /** @param {GetToken} getToken one bell has to bring it */
    start(getToken) {
      shared.getToken = getToken;
      if (shared.inbox.state.name === "idle") shared.inbox.connect();
    },

    leave() {
      shared.bells.delete(bell);
      setTimeout(() => { // a bell that is only moved in its page is back by then
        if (shared.bells.size || made.get(key) !== shared) return;
        made.delete(key);
        shared.inbox.close();
      });
    },
  };
}

/**
 * @param {string} url
 * @param {string} userId
 * @param {string | undefined} locale
 * @returns {Shared}
 */
function make(url, userId, locale) {
  /** @type {Shared} */
  const shared = { inbox: createInbox({ url, userId, locale, getToken }), bells: new Set(), getToken: undefined };
  shared.inbox.on("state", (state) => { // the bell shows its reader that something is wrong, and who made the page what
    if ("code" in state && state.code !== 1000) console.warn(`<notification-bell>: ${state.reason} (${state.code})`);
  });
  function getToken() {
    if (!shared.getToken) throw new TypeError("<notification-bell> needs the property getToken");
    return shared.getToken();
  }
  return shared;
}

/** @type {WeakMap<Inbox, Set<object>>} */
const speakers = new WeakMap();

/**
 * Who of the bells that show an inbox announces what is new: the one that came first. The answer takes it out.
 *
 * @param {Inbox} inbox
 * @param {object} bell
 */
export function stand(inbox, bell) {
  const standing = speakers.get(inbox) ?? new Set();
  speakers.set(inbox, standing.add(bell));
  return {
    get first() {
      return standing.values().next().value === bell;
    },
    leave: () => void standing.delete(bell),
  };
}
