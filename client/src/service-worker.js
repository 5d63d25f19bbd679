/**
 * The service worker of web push: it shows what is pushed, and opens the page when that is clicked. Serve this file
 * from your own origin, in the folder of the pages that it is for, or import it into a worker that you have.
 */
const worker = /** @type {any} */ (globalThis);
const CLICKED = "hub-push-clicked";
const ASK = "hub-push-ask";

/** @type {object[]} until a page has heard of them */
let clicked = [];

worker.addEventListener("push", (/** @type {any} */ event) => {
  event.waitUntil(show(event.data));
});

worker.addEventListener("notificationclick", (/** @type {any} */ event) => {
  event.notification.close();
  event.waitUntil(openPage(event.notification.data ?? {}, event.action ?? ""));
});

worker.addEventListener("message", (/** @type {any} */ { data, source }) => {
  if (data?.type !== ASK) return;
  for (const click of clicked) source?.postMessage(click);
  clicked = [];
});

/**
 * Every push has to be shown, or the browser ends the subscription.
 *
 * @param {{ json(): any } | null} data
 */
function show(data) {
  /** @type {any} */
  let said = {};
  try {
    said = data?.json() ?? said;
  } catch {
    // not the hub's; it is shown all the same
  }
  const { title, text, url, notification, icon, image, thread, severity, actions = [] } = said;
  // one that is pushed again, or of the same thread, replaces the one before
  const tag = thread ? `hub-thread-${thread}` : notification === undefined ? undefined : `hub-${notification}`;
  return worker.registration.showNotification(title || "…", {
    body: text ?? "",
    tag,
    ...(thread && { renotify: true }),
    ...(icon && { icon }),
    ...(image && { image }),
    ...(severity === "critical" && { requireInteraction: true }),
    ...(actions.length && { actions: actions.map((/** @type {any} */ { id, label }) => ({ action: id, title: label })) }),
    data: { url, notification, ...(actions.length && { actions }) },
  });
}

/**
 * @param {{ url?: string, notification?: number, actions?: { id: string, url?: string }[] }} about
 * @param {string} action the id of the button that was clicked; empty beside the buttons
 */
async function openPage({ url: own, notification, actions = [] }, action) {
  const url = actions.find(({ id }) => id === action)?.url ?? own;
  const address = target(url);
  const pages = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = pages.find((/** @type {any} */ each) => each.url === address) ?? (url ? undefined : pages[0]);
  const click = { type: CLICKED, notification, ...(action && { action }) };
  if (notification !== undefined && page) page.postMessage(click);
  else if (notification !== undefined) clicked.push(click);
  return page ? page.focus() : worker.clients.openWindow(address);
}

/**
 * Where a click leads: within this origin, else to the folder of the worker.
 *
 * @param {string} [url]
 */
function target(url) {
  const { scope } = worker.registration;
  try {
    const found = new URL(url ?? scope, scope);
    return found.origin === new URL(scope).origin ? found.href : scope;
  } catch {
    return scope;
  }
}
