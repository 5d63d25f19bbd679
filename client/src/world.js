/**
 * What the library takes from its surroundings. Tests give another.
 *
 * @typedef {object} World
 * @property {typeof globalThis.WebSocket} WebSocket
 * @property {typeof globalThis.fetch} fetch
 * @property {LockManager | undefined} locks
 * @property {(name: string) => BroadcastChannel} channel
 * @property {(work: () => void, delay: number) => unknown} setTimeout `delay` in ms
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now unix time in ms
 * @property {() => number} random
 * @property {(error: unknown) => void} report shows an error that isn't the library's
 * @property {() => boolean} online
 * @property {(wake: () => void) => () => void} onWake calls `wake` when the network or the page's reader may be back,
 *   or the network has gone; the answer stops it
 */
const HIDES = "visibilitychange";
const WAKES = ["online", "offline", "pageshow", HIDES]; // a leader may be hidden

/**
 * @param {typeof globalThis.WebSocket | undefined} WebSocket
 * @returns {World}
 */
export function thisWorld(WebSocket = globalThis.WebSocket) {
  if (!WebSocket) throw new TypeError("There is no WebSocket here: pass one as the option WebSocket, or use Node 22");
  const { navigator } = globalThis;
  return {
    WebSocket,
    fetch: (...request) => globalThis.fetch(...request),
    locks: globalThis.BroadcastChannel && navigator?.locks,
    channel: (name) => new BroadcastChannel(name),
    setTimeout: (work, delay) => globalThis.setTimeout(work, delay),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
    now: Date.now,
    random: Math.random,
    report: (error) => (globalThis.reportError ?? console.error)(error),
    online: () => navigator?.onLine !== false,
    onWake(wake) {
      if (!globalThis.addEventListener) return () => {};
      /** @param {Event} event */
      const awake = ({ type }) => void ((type !== HIDES || document.visibilityState === "visible") && wake());
      for (const name of WAKES) addEventListener(name, awake, true);
      return () => WAKES.forEach((name) => removeEventListener(name, awake, true));
    },
  };
}
