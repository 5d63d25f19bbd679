const SVG = "http://www.w3.org/2000/svg";

/** Paths on a square of 24, drawn in the colour of the text. */
export const ICONS = {
  bell: "M6 9.5a6 6 0 0 1 12 0c0 6 2.5 7.5 2.5 7.5h-17S6 15.5 6 9.5M9.8 20.5a2.5 2.5 0 0 0 4.4 0",
  check: "m5 12.5 4.5 4.5L19 7.5",
  bin: "M4.5 7h15M9.5 7V4.5h5V7M6.5 7l.8 12.5h9.4L17.5 7M10.3 11v5M13.7 11v5",
  archive: "M4 4.5h16v4H4zm1.5 4V19.5h13V8.5M10 12h4",
  unarchive: "M4 4.5h16v4H4zm1.5 4V19.5h13V8.5M12 17v-5.5m-2.5 2 2.5-2.5 2.5 2.5",
  dot: "M12 8.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7",
  close: "m6 6 12 12M18 6 6 18",
  slash: "m4 4 16 16",
  alert: "M12 3.5 2.5 20.5h19zM12 10v4.5M12 17.4v.1",
  critical: "M8 3h8l5 5v8l-5 5H8l-5-5V8zM12 7.5V13M12 16.4v.1",
  success: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18m-4 9.2 2.8 2.8L16 9.5",
  info: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18m0 8v5.5m0-8.9v.1",
  box: "m4 8 8-4.5L20 8v8l-8 4.5L4 16zm0 0 8 4.5L20 8m-8 4.5v8",
  calendar: "M4 6h16v14H4zm0 4.5h16m-11.5-7V8m7-4.5V8",
  card: "M3 6h18v12.5H3zm0 4h18M6.5 15h4",
  clock: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17m0 4V12l3 2",
  file: "M6 3.5h8l4 4v13H6zm8 0v4h4m-9 5h6M9 16h6",
  food: "M7 3v18M4 3v5a3 3 0 0 0 6 0V3m7 18v-7m0 0c-2.5 0-3-3-3-5.5S15.5 3 17 3z",
  gift: "M4 9h16v4H4zm2 4h12v7.5H6zm6-4v11.5M12 9C8 9 7.5 4 10 4s2 5 2 5 0-5 2-5 2 5-2 5",
  lock: "M5.5 11h13v9h-13zm3 0V7.5a3.5 3.5 0 0 1 7 0V11",
  message: "M4 5h16v11.5h-8L7.5 20v-3.5H4z",
  star: "m12 3.5 2.6 5.4 5.9.8-4.3 4.1 1 5.9-5.2-2.8-5.2 2.8 1-5.9-4.3-4.1 5.9-.8z",
  ticket: "M3.5 6.5h17V10a2 2 0 0 0 0 4v3.5h-17V14a2 2 0 0 0 0-4zm10.5 0v11",
  user: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8M4.5 20.5c.5-4 3.5-5.5 7.5-5.5s7 1.5 7.5 5.5",
  users: "M9 5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M2.5 19.5c.4-3.5 3-5 6.5-5s6.1 1.5 6.5 5m0-14.2a3.5 3.5 0 0 1 0 6.4m2.5 3.2c2 .6 3.3 2.1 3.5 4.6",
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

/** Where there are no pages, as on a server, the modules of elements can be loaded all the same. */
export const Base = /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? class {});

/**
 * Define an element, unless another copy of its module has.
 *
 * @param {string} name
 * @param {typeof HTMLElement} element
 */
export function define(name, element) {
  const elements = globalThis.customElements;
  if (!elements?.get(name)) elements?.define(name, element);
}

/**
 * Set properties again that were set before the element was defined: they hide its accessors.
 *
 * @param {Record<string, any> & HTMLElement} element
 * @param {string[]} names
 */
export function upgrade(element, ...names) {
  for (const name of names) {
    if (!Object.hasOwn(element, name)) continue;
    const value = element[name];
    delete element[name];
    element[name] = value;
  }
}
