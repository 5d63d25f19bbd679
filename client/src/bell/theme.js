/** What both elements look like: colours and fonts that a page sets by variables, and what all controls share. */
const THEME = `
:host {
  --accent: var(--notification-bell-accent, light-dark(#3b5bdb, #9db0ff));
  --surface: var(--notification-bell-surface, light-dark(#fff, #1c202a));
  --text: var(--notification-bell-text, light-dark(#1a2030, #e9ecf3));
  --soft: var(--notification-bell-soft, light-dark(#586174, #a6afc0));
  --line: var(--notification-bell-line, light-dark(#e3e6ed, #333a49));
  --danger: var(--notification-bell-danger, light-dark(#b4232f, #ff9aa4));
  --radius: var(--notification-bell-radius, 14px);
  --font: var(--notification-bell-font, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif);
  --hover: color-mix(in srgb, var(--text) 7%, var(--surface));
  color-scheme: light dark;
}
:host([theme="light"]) { color-scheme: light; }
:host([theme="dark"]) { color-scheme: dark; }
:host([hidden]), [hidden] { display: none !important; }

* { box-sizing: border-box; margin: 0; padding: 0; }
button { border: 0; background: none; color: inherit; font: inherit; letter-spacing: inherit; text-align: inherit; cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.pill { min-height: 2rem; padding: .25rem .7rem; border-radius: 99px; color: var(--accent); font-size: .8125rem; font-weight: 600; }
h2 { font-size: 1.0625rem; font-weight: 700; line-height: 1.3; letter-spacing: -.01em; overflow-wrap: normal; }
h3 { font-size: inherit; font-weight: inherit; }
.bar { flex: none; padding: .5rem 1.125rem; border-bottom: 1px solid var(--line); background: var(--hover); font-size: .8125rem; }
.bar.failed { color: var(--danger); }
.snack { display: flex; flex: none; align-items: center; justify-content: space-between; gap: .5rem; margin: .5rem; padding-block: .25rem; padding-inline: .9rem .4rem; border-radius: .5rem; background: var(--text); color: var(--surface); font-size: .8125rem; }
.snack .pill { color: inherit; text-decoration: underline; }
.snack .pill:hover { color: inherit; background: color-mix(in srgb, var(--surface) 18%, transparent); }
`;

/**
 * A style sheet for all elements of a kind. Made by script, it needs no permission of a Content-Security-Policy.
 *
 * @param {string} css
 */
export function sheetOf(css) {
  /** @type {CSSStyleSheet | undefined} */
  let made;
  return () => {
    if (!made) {
      made = new CSSStyleSheet();
      made.replaceSync(THEME + css);
    }
    return made;
  };
}
