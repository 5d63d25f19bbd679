/**
 * The service worker of web push: it shows what is pushed, and opens the page when that is clicked. Serve this file
 * from your own origin, in the folder of the pages that it is for, or import it into a worker that you have.
 */
const worker = /** @type {any} */ (globalThis);
const CLICKED = "hub-push-clicked";
const ASK = "hub-push-ask";

/** @type {number[]} of notifications that were clicked, until a page has heard of it */
let clicked = [];

worker.addEventListener("push", (/** @type {any} */ event) => {
  event.waitUntil(show(event.data));
});

worker.addEventListener("notificationclick", (/** @type {any} */ event) => {
  event.notification.close();
  event.waitUntil(openPage(event.notification.data ?? {}));
});

worker.addEventListener("message", (/** @type {any} */ { data, source }) => {
  if (data?.type !== ASK) return;
  for (const notification of clicked) source?.postMessage({ type: CLICKED, notification });
  clicked = [];
});

/**
 * Every push has to be shown, or the browser ends the subscription.
 *
 * @param {{ json(): any } | null} data
 */
function show(data) {
  let said = { title: "", text: "", url: undefined, notification: undefined };
  try {
    said = data?.json() ?? said;
  } catch {
    // not the hub's; it is shown all the same
  }
  const { title, text, url, notification } = said;
  // one that is pushed again replaces itself
  const tag = notification === undefined ? undefined : `hub-${notification}`;
  return worker.registration.showNotification(title || "…", { body: text ?? "", tag, data: { url, notification } });
}

/** @param {{ url?: string, notification?: number }} about */
async function openPage({ url, notification }) {
  const address = target(url);
  const pages = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = pages.find((/** @type {any} */ each) => each.url === address) ?? (url ? undefined : pages[0]);
  if (notification !== undefined && page) page.postMessage({ type: CLICKED, notification });
  else if (notification !== undefined) clicked.push(notification);
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
