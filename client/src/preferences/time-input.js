import { make } from "../bell/dom.js";

const TYPED = 600; // ms; a time is typed in two parts

/**
 * A time of day; `typed` is called once it has been typed.
 *
 * @param {() => void} typed
 * @param {string} [label] without it the label around it says what it is
 */
export function timeInput(typed, label) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let typing;
  /** @param {number} after */
  const wait = (after) => {
    clearTimeout(typing);
    typing = setTimeout(typed, after);
  };
  return make("input", {
    type: "time",
    required: true,
    part: "input",
    "aria-label": label,
    onchange: () => wait(TYPED),
    onblur: () => wait(0),
  });
}
