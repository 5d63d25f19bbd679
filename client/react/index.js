import { createContext, createElement, forwardRef, useCallback, useContext, useEffect, useImperativeHandle, useRef, useState, useSyncExternalStore } from "react";
import { share } from "../src/bell/shared.js";
import "../src/bell.js";
import "../src/preferences.js";

/**
 * @typedef {import("./index.d.ts").InboxOptions} Options
 * @typedef {import("../index.d.ts").Inbox} Inbox
 */

const IDLE = /** @type {import("../index.d.ts").State} */ ({ name: "idle" });
/** @type {readonly never[]} */
const NOTHING = [];
const Context = createContext(/** @type {Options | undefined} */ (undefined));

/** @param {Options & {children?: import("react").ReactNode}} options for all hooks and elements inside */
export function InboxProvider({ children, ...options }) {
  return createElement(Context.Provider, { value: options }, children);
}

/**
 * The inbox that all with the same options share; undefined on a server, before the first effect, and without a user.
 *
 * @param {Options | undefined} own
 * @returns {Inbox | undefined}
 */
function useShared(own) {
  const given = useContext(Context);
  const { url, userId, locale, getToken } = own ?? given ?? {};
  const asked = useRef(getToken);
  const [inbox, setInbox] = useState(/** @type {Inbox | undefined} */ (undefined));
  useEffect(() => {
    asked.current = getToken;
  });
  const ready = Boolean(userId && getToken);
  useEffect(() => {
    if (!ready || !userId) return undefined;
    const seat = share({}, new URL(url ?? "", location.href).origin, userId, locale);
    seat.start(() => asked.current?.() ?? "");
    setInbox(seat.inbox);
    return () => {
      setInbox(undefined);
      seat.leave(); // StrictMode is back before it is closed
    };
  }, [ready, String(url), userId, locale]);
  return inbox;
}

/**
 * @template Value
 * @param {Inbox | undefined} inbox
 * @param {(inbox: Inbox) => Value} read gives the same while nothing changed
 * @param {Value} otherwise
 * @returns {Value}
 */
function useValue(inbox, read, otherwise) {
  const listen = useCallback((/** @type {() => void} */ changed) => {
    const leaving = [inbox?.on("change", changed), inbox?.on("state", changed)];
    return () => leaving.forEach((leave) => leave?.());
  }, [inbox]);
  return useSyncExternalStore(listen, () => (inbox ? read(inbox) : otherwise), () => otherwise);
}

/**
 * @param {Options} [options] those of the provider when they are missing
 * @param {import("../index.d.ts").View} [view]
 */
export function useInbox(options, view = "inbox") {
  const inbox = useShared(options);
  return {
    inbox,
    notifications: useValue(inbox, (shown) => shown.list(view), NOTHING),
    unreadCount: useValue(inbox, (shown) => shown.unreadCount(), 0),
    state: useValue(inbox, (shown) => shown.state, IDLE),
  };
}

/** @param {Options} [options] */
export function useUnreadCount(options) {
  return useValue(useShared(options), (shown) => shown.unreadCount(), 0);
}

/**
 * A component for an element: React 18 sets neither its properties nor listens to its events.
 *
 * @param {string} tag
 * @param {string[]} properties
 * @param {Record<string, string>} events by the name of the prop
 * @param {boolean} [takesInbox] whether it shows an inbox that it is given
 */
function component(tag, properties, events, takesInbox) {
  const Element = forwardRef((/** @type {Record<string, any>} */ props, ref) => {
    const element = useRef(/** @type {Record<string, any> & HTMLElement | null} */ (null));
    const given = useContext(Context);
    const provided = props.userId ? undefined : given;
    const inbox = useShared(takesInbox && provided ? provided : {});
    /** @type {Record<string, any>} */
    const all = { ...(takesInbox ? inbox && { inbox } : provided), ...props };
    const latest = useRef(all);
    useImperativeHandle(ref, () => element.current);
    useEffect(() => {
      latest.current = all;
    });
    for (const name of properties) {
      useEffect(() => {
        if (element.current && (name in all || element.current[name] !== undefined)) element.current[name] = all[name];
      }, [all[name]]);
    }
    useEffect(() => {
      const stop = new AbortController();
      for (const [prop, event] of Object.entries(events))
        element.current?.addEventListener(event, (happened) => latest.current[prop]?.(happened), { signal: stop.signal });
      return () => stop.abort();
    }, []);
    return createElement(tag, { ...attributes(all, [...properties, ...Object.keys(events)]), ref: element });
  });
  Element.displayName = tag;
  return Element;
}

/**
 * What is to stand in the element's tag.
 *
 * @param {Record<string, any>} props
 * @param {string[]} others which don't
 */
function attributes(props, others) {
  const entries = Object.entries(props).filter(([name, value]) => !others.includes(name) && value !== undefined && value !== false);
  return Object.fromEntries(entries.map(([name, value]) => [nameOf(name), value === true ? "" : value]));
}

/** @param {string} prop */
function nameOf(prop) {
  if (prop === "className") return "class";
  return /^(on[A-Z]|data|aria|style|children|key|locale)/.test(prop) ? prop : prop.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export const NotificationBell = component("notification-bell", ["getToken", "inbox", "texts", "open"], {
  onNotificationOpen: "notificationopen",
  onNotificationAction: "notificationaction",
  onBellToggle: "belltoggle",
  onReconnect: "reconnect",
}, true);

export const NotificationPreferences = component("notification-preferences", ["getToken", "texts"], {
  onPreferencesChange: "preferenceschange",
});
