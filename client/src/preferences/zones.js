import { RENAMED } from "./zone-here.js";

/**
 * @typedef {object} Zone
 * @property {string} id of the IANA
 * @property {string} name as people read it
 * @property {string} offset such as GMT+7
 */

/**
 * All zones that the browser knows, by name.
 *
 * @returns {Zone[]}
 */
export function allZones() {
  const ids = Intl.supportedValuesOf("timeZone").map((id) => RENAMED[id] ?? id);
  return [...new Set([...ids, "UTC"])].map(zoneOf).sort((one, other) => (one.name < other.name ? -1 : 1));
}

/**
 * @param {string} id
 * @returns {Zone}
 */
export function zoneOf(id) {
  return { id, name: id.replaceAll("_", " ").replaceAll("/", " / "), offset: offsetOf(id) };
}

/**
 * The zones in which all words occur, of city, region or offset; accents don't count.
 *
 * @param {readonly Zone[]} zones
 * @param {string} words
 */
export function matching(zones, words) {
  const parts = plain(words).split(/[\s/_]+/);
  return zones.filter(({ name, offset }) => parts.every((part) => plain(`${name} ${offset}`).includes(part)));
}

/** @param {string} id */
function offsetOf(id) {
  try {
    const parts = new Intl.DateTimeFormat("en", { timeZone: id, timeZoneName: "shortOffset" }).formatToParts();
    return parts.find(({ type }) => type === "timeZoneName")?.value ?? "";
  } catch {
    return ""; // one that this browser doesn't know
  }
}

/** @param {string} text */
function plain(text) {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}
