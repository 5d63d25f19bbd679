/** @type {CSSStyleSheet | undefined} */
let made;

/** The style of what is loaded when it is opened, beside that of the form. */
export function sheet() {
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
@container (max-width: 30rem) {
  .often li { display: block; }
  .often li > b { padding: 0; }
  .often .line { display: block; }
}
`);
  }
  return made;
}
