/** @param {string} url */
export function play(url) {
  new Audio(url).play().catch(() => {}); // browsers play nothing before a person has done something on the page
}

/** Ask for the permission to show notifications of the browser's, where nobody has decided yet. */
export function askToShow() {
  if (globalThis.Notification?.permission === "default") Notification.requestPermission();
}
