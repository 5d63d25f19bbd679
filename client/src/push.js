import { InboxError } from "./errors.js";

const DEVICES = "/api/v2/notification-service/devices";
const PATIENCE = 15_000; // ms for an answer
/** What page and service worker say to each other. */
const CLICKED = "hub-push-clicked";
const ASK = "hub-push-ask";
/** @type {[RegExp, string][]} whose push service it is */
const BROWSERS = [
  [/^https:\/\/[^/]*\bgoogleapis\.com\//, "Chrome"],
  [/^https:\/\/[^/]*\bmozilla\.com\//, "Firefox"],
  [/^https:\/\/[^/]*\bapple\.com\//, "Safari"],
  [/^https:\/\/[^/]*\bwindows\.com\//, "Edge"],
];

/**
 * @typedef {import("../push.d.ts").PushOptions} PushOptions
 * @typedef {import("../push.d.ts").PushInbox} PushInbox
 */

/** Whether this browser can take web push on this page. On iOS only a page on the home screen can. */
export function isPushSupported() {
  return "serviceWorker" in navigator && "PushManager" in globalThis && "Notification" in globalThis;
}

/**
 * Subscribe this browser and register it with the hub. Asks for the permission, so call it when the user clicks.
 * A browser that is subscribed already is registered again, which costs little: call it after each sign-in, too.
 *
 * @param {PushOptions} options
 * @returns {Promise<string>} the id of the device
 */
export async function enablePush(options) {
  if (!isPushSupported()) throw new InboxError("this browser has no web push", 0, "push_unsupported");
  if (Notification.permission === "default" && navigator.userActivation?.isActive === false)
    throw new InboxError("call enablePush when the user clicks: it asks for a permission", 0, "push_needs_click");
  // The first call to wait for: Safari wants it in the click itself.
  if ((await Notification.requestPermission()) !== "granted")
    throw new InboxError("the user allows no notifications", 0, "push_denied");
  const { public_key } = await call(options, "GET", "/key");
  const registration = await registered(options.serviceWorker);
  const subscription = await subscribed(registration, bytes(public_key));
  const device = await call(options, "POST", "", JSON.stringify(subscription));
  return device.id;
}

/**
 * Unsubscribe this browser, and remove it from the hub. Call it before the user signs out.
 *
 * @param {PushOptions} options
 */
export async function disablePush(options) {
  const subscription = await subscriptionHere(options);
  if (!subscription) return;
  const devices = await call(options, "GET", "");
  const device = devices.find((/** @type {any} */ { endpoint }) => endpoint === subscription.endpoint);
  if (device) await call(options, "DELETE", `/${device.id}`);
  await subscription.unsubscribe();
}

/**
 * The browsers that take web push for the user; undefined if the hub sends none.
 *
 * @param {PushOptions} options
 * @returns {Promise<import("../push.d.ts").PushDevice[] | undefined>}
 */
export async function pushDevices(options) {
  try {
    await call(options, "GET", "/key");
  } catch (error) {
    if (/** @type {InboxError} */ (error).code === "no_web_push") return undefined;
    throw error;
  }
  const [devices, subscription] = await Promise.all([call(options, "GET", ""), subscriptionHere(options)]);
  return devices.map((/** @type {any} */ { id, created_at, endpoint }) => ({
    id,
    created_at,
    browser: BROWSERS.find(([pattern]) => pattern.test(endpoint))?.[1] ?? new URL(endpoint).hostname,
    here: endpoint === subscription?.endpoint,
  }));
}

/**
 * Remove a browser of `pushDevices`, be it this one.
 *
 * @param {PushOptions} options
 * @param {import("../push.d.ts").PushDevice} device
 */
export async function removePushDevice(options, { id, here }) {
  if (here) await disablePush(options);
  else await call(options, "DELETE", `/${id}`);
}

/** @param {PushOptions} options */
async function subscriptionHere({ serviceWorker }) {
  if (!isPushSupported()) return undefined;
  const registration = await navigator.serviceWorker.getRegistration(scope(serviceWorker));
  return registration?.pushManager.getSubscription();
}

/**
 * Mark a notification read, and report the click, when its web push is clicked; the service worker says so, to a page that it opened, too.
 *
 * @param {PushInbox} inbox
 * @param {(click: { notification: number, action?: string }) => void} [clicked] called for each click
 * @returns {() => void} stops it
 */
export function markReadOnClick(inbox, clicked = () => {}) {
  if (!("serviceWorker" in navigator)) return () => {};
  /** @param {MessageEvent} message */
  const heard = ({ data }) => {
    if (data?.type !== CLICKED) return;
    const { notification, action } = data;
    inbox.markRead(notification).catch(() => {}); // it may be gone
    inbox.reportClick?.(notification, action).catch(() => {});
    clicked({ notification, action });
  };
  navigator.serviceWorker.addEventListener("message", heard);
  navigator.serviceWorker.startMessages();
  navigator.serviceWorker.ready.then(({ active }) => active?.postMessage({ type: ASK }));
  return () => navigator.serviceWorker.removeEventListener("message", heard);
}

/** @param {PushOptions["serviceWorker"]} worker */
async function registered(worker = "/service-worker.js") {
  const registration = worker instanceof ServiceWorkerRegistration ? worker : await navigator.serviceWorker.register(worker);
  // a worker that is just being installed can't subscribe yet
  while (!registration.active) {
    const coming = registration.installing ?? registration.waiting;
    if (!coming) throw new InboxError("the service worker was not installed", 0, "push_no_worker");
    await new Promise((changed) => coming.addEventListener("statechange", changed, { once: true }));
  }
  return registration;
}

/** @param {PushOptions["serviceWorker"]} worker */
function scope(worker = "/service-worker.js") {
  return worker instanceof ServiceWorkerRegistration ? worker.scope : new URL(".", new URL(worker, location.href));
}

/**
 * The subscription with this key; one with another key, of a hub of before, is given up.
 *
 * @param {ServiceWorkerRegistration} registration
 * @param {Uint8Array<ArrayBuffer>} key
 * @returns {Promise<PushSubscription>}
 */
async function subscribed({ pushManager }, key) {
  const before = await pushManager.getSubscription();
  const known = before?.options.applicationServerKey;
  if (before && known && same(new Uint8Array(known), key)) return before;
  await before?.unsubscribe();
  return pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
}

/**
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
function same(one, other) {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

/**
 * @param {string} text base64url
 * @returns {Uint8Array<ArrayBuffer>}
 */
function bytes(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
}

/**
 * @param {PushOptions} options
 * @param {string} method
 * @param {string} path
 * @param {string} [body]
 */
async function call({ url, getToken }, method, path, body) {
  const headers = { Authorization: `Bearer ${await getToken()}`, "Content-Type": "application/json" };
  const address = new URL(url).origin + DEVICES + path;
  const signal = AbortSignal.timeout(PATIENCE);
  /** @type {Response} */
  let answer;
  try {
    answer = await fetch(address, { method, headers, body, signal, cache: "no-store" });
  } catch {
    throw new InboxError(`${new URL(url).origin} can't be reached`);
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  throw new InboxError(said.detail ?? `the hub answered ${answer.status}`, answer.status, said.code ?? "refused");
}
