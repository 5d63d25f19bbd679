/** A page without a browser, whose hub is the stand-in of the library's tests. Import it before a framework. */
import { Window } from "happy-dom";
import { Hub } from "../hub.js";

const LATER = 5; // ms that a test waits between two looks
const LONG = 10_000; // ms
const clock = {
  get now() {
    return Date.now();
  },
  setTimeout: (work, delay) => setTimeout(work, delay).unref(),
  clearTimeout,
};
const window = new Window({ url: "https://hub.example/" });
const NAMES = ["CSSStyleSheet", "CustomEvent", "Element", "Event", "HTMLElement", "MutationObserver", "Node", "SVGElement",
  "addEventListener", "customElements", "document", "getComputedStyle", "location", "matchMedia", "navigator", "removeEventListener"];
for (const name of NAMES) {
  const value = /^[a-z]/.test(name) && typeof window[name] === "function" ? window[name].bind(window) : window[name];
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
Object.assign(globalThis, {
  window,
  IS_REACT_ACT_ENVIRONMENT: true,
  IntersectionObserver: class {
    observe() {}
    unobserve() {}
    disconnect() {}
  },
});

/** A hub that the page's calls go to. */
export function newHub() {
  const hub = new Hub(clock);
  const owner = { alive: true };
  globalThis.fetch = hub.fetch(owner);
  globalThis.WebSocket = hub.socketsOf(owner);
  return hub;
}

/**
 * Wait until something holds.
 *
 * @param {() => unknown} holds
 */
export async function until(holds) {
  for (const end = Date.now() + LONG; !holds(); ) {
    if (Date.now() > end) throw new Error(`never: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, LATER));
  }
}
