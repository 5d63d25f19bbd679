export const LOST = 1006; // browsers' code when no close frame came
export const TOKEN_EXPIRED = 4401;
const LATER = new Set([1013, 4429]); // the hub has too much to do
const SHORTEST = 500; // ms
const LATER_SHORTEST = 4000;
const LONGEST = 30_000;

/**
 * How many ms to wait before coming back after a close code; undefined: never.
 *
 * A random moment of a span (full jitter, against a thundering herd): of the one the node named, or of one
 * that doubles with each loss.
 *
 * @param {number} code
 * @param {string} reason
 * @param {number} losses that came one after the other, before this one
 * @param {number} random from 0 to 1
 */
export function pause(code, reason, losses, random) {
  if (code >= 4500 && code <= 4999) return undefined;
  const announced = code === 1012 && losses === 0 && /reconnect_within_ms=(\d+)/.exec(reason);
  if (announced) return random * Number(announced[1]);
  if (code === TOKEN_EXPIRED && losses === 0) return 0; // each client's token expires at another time
  return random * Math.min(LONGEST, (LATER.has(code) ? LATER_SHORTEST : SHORTEST) * 2 ** losses);
}
