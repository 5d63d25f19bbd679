import { ICONS, icon, make } from "./dom.js";

/**
 * @typedef {import("../../index.d.ts").Notification} Notification
 * @typedef {import("../../index.d.ts").Action} Action
 */

const SEVERITIES = /** @type {const} */ ({ success: "success", warning: "alert", critical: "critical" });

/**
 * Where a link may lead: to the web, or to a path of this page's origin. The hub has checked it, but another may
 * stand in its place.
 *
 * @param {string | undefined} url
 */
export function safe(url) {
  return url && /^(https?:\/\/|\/(?!\/))[^\s\\]*$/i.test(url) ? url : undefined;
}

/**
 * How grave it is, if that is to be shown.
 *
 * @param {Notification} notification
 * @returns {keyof typeof SEVERITIES | undefined}
 */
export function severityOf({ severity = "info" }) {
  return severity in SEVERITIES ? /** @type {keyof typeof SEVERITIES} */ (severity) : undefined;
}

/**
 * The face of a notification: who did it, or what it is about. Each severity has a mark with its own shape.
 *
 * @param {Notification} notification
 */
export function face(notification) {
  const { actor, icon: name = "" } = notification;
  const known = Object.hasOwn(ICONS, name) ? /** @type {keyof typeof ICONS} */ (name) : "bell";
  const initials = (actor?.name ?? "").split(/\s+/).map(([first = ""]) => first).join("");
  const plain = initials ? [...initials].filter((_, at, all) => !at || at === all.length - 1).join("").toUpperCase() : icon(known);
  const severity = severityOf(notification);
  const root = make("span", { class: "face", part: "item-face", "aria-hidden": "true" }, picture(actor?.avatar ?? name, "", plain));
  if (severity) root.append(make("span", { class: "mark" }, icon(SEVERITIES[severity])));
  return root;
}

/**
 * An image; `instead` where there is none, or it can't be loaded.
 *
 * @param {string | undefined} url
 * @param {string} style
 * @param {Node | string} instead
 */
export function picture(url, style, instead) {
  const src = safe(url);
  if (!src) return instead;
  const image = make("img", {
    src,
    class: style,
    alt: "",
    loading: "lazy",
    decoding: "async",
    referrerpolicy: "no-referrer",
    onerror: () => image.replaceWith(instead),
  });
  return image;
}

/**
 * A link where there is somewhere to go, else a button.
 *
 * @param {string | undefined} url
 * @param {Record<string, any>} properties
 * @param {(Node | string)[]} children
 * @returns {HTMLElement}
 */
export function linkOrButton(url, properties, ...children) {
  const href = safe(url);
  return href ? make("a", { href, ...properties }, ...children) : make("button", { type: "button", ...properties }, ...children);
}
