const SVG = "http://www.w3.org/2000/svg";

/** Paths on a square of 24, drawn in the colour of the text. */
const ICONS = {
  bell: "M6 9.5a6 6 0 0 1 12 0c0 6 2.5 7.5 2.5 7.5h-17S6 15.5 6 9.5M9.8 20.5a2.5 2.5 0 0 0 4.4 0",
  check: "m5 12.5 4.5 4.5L19 7.5",
  bin: "M4.5 7h15M9.5 7V4.5h5V7M6.5 7l.8 12.5h9.4L17.5 7M10.3 11v5M13.7 11v5",
  close: "m6 6 12 12M18 6 6 18",
  slash: "m4 4 16 16",
};

/**
 * An element. Properties that start with `on` are listeners, the others attributes (`true`: an empty one; `false` and
 * undefined: none). Texts become text, never markup.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} properties
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/**
 * @param {(keyof typeof ICONS)[]} names drawn over each other
 */
export function icon(...names) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  for (const name of names) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", ICONS[name]);
    path.setAttribute("class", name);
    svg.append(path);
  }
  return svg;
}

/**
 * A button that is an icon; `label` says all to a screen reader, `title` in short to a mouse.
 *
 * @param {keyof typeof ICONS} name
 * @param {{label?: string, title?: string, part?: string, onclick: (event: Event) => void}} options
 */
export function iconButton(name, { label, title, part = "action", onclick }) {
  return make("button", { type: "button", class: "icon", part, title, "aria-label": label ?? title, onclick }, icon(name));
}

/**
 * Set what differs: a text set again would be read out again.
 *
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
