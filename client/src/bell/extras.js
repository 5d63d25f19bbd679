/** What few people need: the bell loads it when it is wanted for the first time. */
import { make } from "./dom.js";

/**
 * @typedef {import("./list.js").Row} Row
 * @typedef {import("./texts.js").Words} Words
 */

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000]; // ms
const MORNING = 9; // o'clock
const LONGEST_SNOOZE = 364 * DAY; // the hub takes a year
const SIZE = 32; // px, of the page's icon
const COLOUR = "#cf2338";

/**
 * The page's icon, with a dot or as it was.
 *
 * @param {boolean} dot
 */
export async function markIcon(dot) {
  const link = /** @type {HTMLLinkElement | null} */ (document.querySelector("link[rel~=icon]"));
  if (!link || Boolean(link.dataset.plain) === dot) return;
  const plain = (link.dataset.plain ??= link.href);
  if (!dot) {
    link.href = plain;
    delete link.dataset.plain;
    return;
  }
  const canvas = Object.assign(document.createElement("canvas"), { width: SIZE, height: SIZE });
  const context = canvas.getContext("2d");
  const image = Object.assign(new Image(), { src: plain, crossOrigin: "anonymous" });
  await image.decode().then(() => context?.drawImage(image, 0, 0, SIZE, SIZE), () => {}); // without it the dot is alone
  if (!context || !link.dataset.plain) return;
  context.fillStyle = COLOUR;
  context.arc(SIZE * 0.7, SIZE * 0.3, SIZE * 0.3, 0, 7);
  context.fill();
  link.href = canvas.toDataURL();
}

/**
 * Show a notification of the browser's, where that is allowed.
 *
 * @param {import("../../index.d.ts").Notification} notification
 * @param {() => void} chosen
 */
export function showOutside({ id, title, content }, chosen) {
  if (globalThis.Notification?.permission !== "granted") return;
  try {
    const shown = new Notification(title, { body: content, tag: `hub-${id}` }); // one for all tabs
    shown.onclick = () => {
      focus();
      shown.close();
      chosen();
    };
  } catch {
    // Android: only service workers may
  }
}

/**
 * Offer until when a row can be snoozed, or no longer.
 *
 * @param {Row} row
 * @param {Words} words
 */
export function offer(row, words) {
  const { later, until } = row;
  const offered = (until.hidden = !until.hidden);
  later.setAttribute("aria-expanded", String(!offered));
  until.replaceChildren(...snoozes(Date.now()).map(([word, moment]) => make("button", {
    type: "button",
    part: "snooze",
    onclick: () => row.deeds.snooze([row.notification], moment),
  }, words[word])), ownMoment(row, words));
  until.scrollIntoView({ block: "nearest" });
}

/**
 * A time of one's own.
 *
 * @param {Row} row
 * @param {Words} words
 */
function ownMoment(row, words) {
  const [min, max] = snoozable(Date.now());
  const moment = make("input", { type: "datetime-local", required: true, min, max, "aria-label": words.anotherTime, title: words.anotherTime });
  const choose = (/** @type {Event} */ event) => {
    event.preventDefault();
    row.deeds.snooze([row.notification], new Date(moment.value));
  };
  return make("form", { part: "snooze-form", onsubmit: choose }, moment, make("button", { part: "snooze" }, words.snooze));
}

/**
 * Until when something can be snoozed.
 *
 * @param {number} now unix time in ms
 * @returns {["inAnHour" | "tomorrow" | "nextWeek", Date][]} by the clock here; a week begins on Monday
 */
export function snoozes(now) {
  const morning = (/** @type {number} */ days) => {
    const day = new Date(now);
    day.setDate(day.getDate() + days);
    day.setHours(MORNING, 0, 0, 0);
    return day;
  };
  return [["inAnHour", new Date(now + HOUR)], ["tomorrow", morning(1)], ["nextWeek", morning((8 - new Date(now).getDay()) % 7 || 7)]];
}

/**
 * The times between which something can be snoozed, as an `<input type="datetime-local">` has them.
 *
 * @param {number} now unix time in ms
 */
function snoozable(now) {
  return [MINUTE, LONGEST_SNOOZE].map((ahead) => {
    const moment = new Date(now + ahead);
    return new Date(+moment - moment.getTimezoneOffset() * MINUTE).toISOString().slice(0, 16);
  });
}
