/** @type {CSSStyleSheet | undefined} */
let made;

/**
 * Give the form around `element` the style of what is loaded later.
 *
 * @param {HTMLElement} element
 */
export function adopt(element) {
  const root = element.getRootNode();
  if (root instanceof ShadowRoot && !root.adoptedStyleSheets.includes(sheet())) root.adoptedStyleSheets.push(sheet());
}

function sheet() {
  if (!made) {
    made = new CSSStyleSheet();
    made.replaceSync(`
.often li { align-items: start; padding-block: .6rem; }
.often li > b { flex: none; width: 30%; padding-top: .5rem; }
.often li > div { flex: 1; display: grid; gap: .5rem; }
.often li > div > div { display: grid; grid-template-columns: 4rem 1fr; }
.often li small { padding-top: .65rem; }
.often li > div > div > div { display: flex; flex-wrap: wrap; gap: .5rem; min-width: 0; }
.often [part~="input"]:not([role]) { width: auto; max-width: 100%; }
.often .line { border: 0; }
.often .line .zone { flex: 0 1 20rem; }
.contacts li { flex-wrap: wrap; gap: .25rem 1rem; }
.contacts li > span { flex: 1 1 10rem; }
.contacts form { display: flex; flex: 1; flex-wrap: wrap; align-items: end; gap: .5rem; }
.contacts label { flex: 1 1 100%; }
.contacts label small { margin-bottom: .2rem; }
.contacts input { max-width: 22rem; }
.contacts .main { background: var(--accent); color: var(--surface); }
.contacts :disabled { opacity: .55; }
.contacts .wrong { flex: 1 1 100%; color: var(--danger); }
@container (max-width: 30rem) {
  .often li { display: block; }
  .often li > b { padding: 0; }
  .often .line { display: block; }
}
`);
  }
  return made;
}
