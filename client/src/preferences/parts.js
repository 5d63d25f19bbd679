import { make } from "../bell/dom.js";

/**
 * @param {string} label
 * @param {() => void} onchange
 */
export function toggle(label, onchange) {
  return make("input", { type: "checkbox", role: "switch", part: "switch", "aria-label": label, onchange });
}

/**
 * @param {string} name
 * @param {string} hint
 * @param {HTMLElement} control
 */
export function line(name, hint, control) {
  const texts = make("span", {}, make("b", {}, name));
  if (hint) texts.append(make("small", {}, hint));
  return make("label", { class: "line" }, texts, control);
}

/**
 * @param {string} name
 * @param {string} more
 * @param {HTMLElement[]} controls
 */
export function item(name, more, ...controls) {
  return make("li", { part: "row" }, make("span", {}, make("bdi", {}, name), make("small", {}, more)), ...controls);
}

/**
 * @param {string} name
 * @param {HTMLElement[]} content
 */
export function group(name, ...content) {
  return make("section", { part: "group" }, make("h3", {}, name), ...content);
}

/**
 * @param {string} value
 * @param {string} text
 * @param {string} [lang]
 */
export function option(value, text, lang) {
  return make("option", { value, lang }, text);
}
