import { sheetOf } from "./theme.js";

/** All of it can be set from outside by the variables in theme.js, and by ::part. */
export const sheet = sheetOf(`
:host {
  --success: var(--notification-bell-success, light-dark(#1a7446, #74dca2));
  --warning: var(--notification-bell-warning, light-dark(#955800, #ffc061));
  --badge: var(--notification-bell-badge, #cf2338);
  --badge-text: var(--notification-bell-badge-text, #fff);
  --tint: color-mix(in srgb, var(--accent) 7%, var(--surface));
  display: inline-block;
  vertical-align: middle;
}
ol { list-style: none; }
svg { display: block; width: 1.25em; height: 1.25em; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }

.bell { position: relative; display: grid; place-items: center; width: 2.75rem; height: 2.75rem; border-radius: 50%; font-size: 1.2rem; }
.bell:hover, .bell[aria-expanded="true"] { background: color-mix(in srgb, currentColor 10%, transparent); }
.bell:focus-visible { outline-color: currentColor; }
.bell .slash { display: none; }
.bell.away .slash { display: block; }
.badge { position: absolute; top: .2rem; left: 1.35rem; min-width: 1.2rem; padding: 0 .3rem; border: 1px solid transparent; border-radius: 99px; background: var(--badge); color: var(--badge-text); font: 700 .6875rem/1.1rem var(--font); font-variant-numeric: tabular-nums; text-align: center; }

.panel, .toasts { inset: auto; border: 0; background: none; color: var(--text); font: 400 .9375rem/1.45 var(--font); letter-spacing: normal; text-align: start; text-transform: none; white-space: normal; overflow-wrap: anywhere; cursor: auto; }
.panel { position: fixed; width: var(--notification-bell-width, 25rem); max-width: calc(100vw - 1rem); max-height: min(var(--notification-bell-height, 36rem), var(--room)); overflow: hidden; border: 1px solid var(--line); border-radius: var(--radius); background: var(--surface); box-shadow: 0 1px 3px rgb(10 16 40 / 12%), 0 16px 48px rgb(10 16 40 / 20%); }
.panel:popover-open { display: flex; flex-direction: column; }
.panel:focus { outline: none; }
.head { display: flex; flex: none; align-items: center; gap: .25rem; min-height: 3.75rem; padding-block: .6rem; padding-inline: 1.125rem .75rem; border-bottom: 1px solid var(--line); }
.head div { display: flex; flex: 1; flex-direction: column; align-items: flex-start; }
time, .count, h2 { unicode-bidi: plaintext; }
.count { color: var(--soft); font-size: .8125rem; line-height: 1.3; }
.icon { display: grid; flex: none; place-items: center; width: 2rem; height: 2rem; border-radius: 50%; color: var(--soft); font-size: .9375rem; }
.pill:hover, .icon:hover { background: var(--hover); color: var(--text); }
.icon[aria-expanded="true"] { background: var(--hover); color: var(--accent); }
[part~="action-delete"]:hover { background: color-mix(in srgb, var(--danger) 12%, var(--surface)); color: var(--danger); }
.tabs { display: flex; flex: none; gap: .25rem; overflow-x: auto; scrollbar-width: none; padding-inline: .75rem; border-bottom: 1px solid var(--line); }
.tabs button { flex: none; min-height: 2.25rem; padding-inline: .5rem; border-bottom: 2px solid transparent; color: var(--soft); font-size: .8125rem; font-weight: 600; }
.tabs button:hover { color: var(--text); }
.tabs [aria-selected="true"] { border-color: var(--accent); color: var(--accent); }
.tabs :focus-visible { outline-offset: -2px; }
.settings { flex: none; border-top: 1px solid var(--line); font-size: .8125rem; text-align: center; }
.settings a { display: block; padding: .6rem; color: var(--soft); font-weight: 600; text-decoration: none; }
.settings a:hover { background: var(--hover); color: var(--text); }
.settings a:focus-visible { outline-offset: -3px; }
.row .dot { fill: currentColor; }
.row [part="action"] svg + svg, .row:not(.unread) [part="action"] svg:has(+ svg) { display: none; }
.row:not(.unread) [part="action"] svg + svg { display: block; }
.scroll { display: flex; flex: auto; flex-direction: column; min-height: 0; overflow: auto; overscroll-behavior: contain; scrollbar-width: thin; }

.day { padding-block: .7rem .3rem; padding-inline: 1.5rem; color: var(--soft); font-size: .75rem; font-weight: 700; }
.row { position: relative; touch-action: pan-y; display: grid; grid-template-columns: 2.25rem minmax(0, 1fr); column-gap: .75rem; padding-block: .85rem; padding-inline: 1.5rem 1.125rem; border-bottom: 1px solid var(--line); }
.row:hover { background: var(--hover); }
.unread { background: var(--tint); }
.unread::before { content: ""; position: absolute; top: 1.725rem; inset-inline-start: .55rem; width: .5rem; height: .5rem; border-radius: 50%; background: var(--accent); }
.success { --mood: var(--success); }
.warning { --mood: var(--warning); }
.critical { --mood: var(--danger); }
.face { position: relative; display: grid; flex: none; place-items: center; width: 2.25rem; height: 2.25rem; border-radius: 50%; background: color-mix(in srgb, var(--mood, var(--accent)) 13%, var(--surface)); color: var(--mood, var(--accent)); font-size: .8125rem; font-weight: 700; letter-spacing: .02em; }
.face > img { width: 100%; height: 100%; border-radius: 50%; object-fit: cover; }
.face > svg { width: 1.2rem; height: 1.2rem; }
.mark { position: absolute; inset-block-end: -.3rem; inset-inline-end: -.35rem; color: var(--surface); }
.mark svg { width: 1.2rem; height: 1.2rem; fill: var(--mood); stroke-width: 2.2; }
.body { min-width: 0; }
.main { display: block; width: 100%; color: inherit; line-height: 1.35; text-decoration: none; }
.main::after { content: ""; position: absolute; inset: 0; }
.main:focus-visible { outline: none; }
.main:focus-visible::after { outline: 2px solid var(--accent); outline-offset: -3px; border-radius: 6px; }
.unread .main, .toast .main, .strong { font-weight: 650; }
.content { display: -webkit-box; overflow: hidden; margin-top: .1rem; color: var(--soft); font-size: .875rem; white-space: pre-line; -webkit-box-orient: vertical; -webkit-line-clamp: 3; }
.unfolded .content { display: block; }
.content:empty { display: none; }
.more { min-height: 1.5rem; color: var(--accent); font-size: .8125rem; font-weight: 600; }
.more:hover { text-decoration: underline; }
.more, .choices { position: relative; z-index: 1; }
.image { display: block; max-width: 100%; max-height: 10rem; margin-top: .5rem; border-radius: .5rem; object-fit: cover; }
.choices { display: flex; flex-wrap: wrap; gap: .5rem; margin-top: .6rem; scroll-margin: .85rem; }
.choices > :not(form), form > * { display: inline-flex; align-items: center; min-height: 2rem; padding: .25rem .8rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--surface); color: var(--text); font-size: .8125rem; font-weight: 600; text-decoration: none; }
.choices:not([role]) > :first-child { border-color: var(--accent); background: var(--accent); color: var(--surface); }
form { display: flex; flex: 1 1 100%; gap: .5rem; }
form > input { flex: 1; min-width: 0; font: inherit; font-size: .8125rem; }
.choices > :not(form):hover, form > button:hover { filter: brightness(.94); }
.unread .content { color: var(--text); }
time { color: var(--soft); font-size: .8125rem; }
.foot { display: flex; align-items: center; min-height: 1.25rem; margin-top: .3rem; }
.choices + .foot { margin-top: .6rem; }
.deeds { position: relative; z-index: 1; display: flex; margin-block: -.5rem; margin-inline: auto -.5rem; }
@media (hover: hover) {
  .deeds { opacity: 0; }
  .row:hover .deeds, .row:focus-within .deeds { opacity: 1; }
}
.older { flex: none; align-self: center; margin: .75rem; }

.instead { display: flex; flex: auto; flex-direction: column; align-items: center; justify-content: center; gap: .3rem; padding: 2.5rem 1.5rem 3.25rem; text-align: center; }
.picture { display: grid; place-items: center; width: 4rem; height: 4rem; margin-bottom: .6rem; border-radius: 50%; background: var(--tint); color: var(--accent); font-size: 1.4rem; }
.soft { color: var(--soft); font-size: .875rem; }
.instead .pill { margin-top: .8rem; padding-inline: 1.1rem; background: var(--accent); color: var(--surface); }
.bone { height: .8rem; border-radius: 99px; background: var(--hover); }
.skeleton .row { display: flex; flex-direction: column; gap: .6rem; padding-block: 1.1rem; background: none; }
.bone:first-child { width: 55%; }
.bone:last-child { width: 85%; }

.toasts { position: fixed; inset: var(--notification-bell-toast-inset, auto 1rem 1rem auto); width: 23rem; max-width: calc(100vw - 2rem); overflow: visible; }
.toasts:dir(rtl) { inset: var(--notification-bell-toast-inset, auto auto 1rem 1rem); }
.toasts:popover-open { display: grid; gap: .6rem; }
.toast { position: relative; display: flex; gap: .75rem; padding-block: .8rem .9rem; padding-inline: .9rem .6rem; border: 1px solid var(--line); border-radius: var(--radius); background: var(--surface); box-shadow: 0 1px 3px rgb(10 16 40 / 12%), 0 8px 32px rgb(10 16 40 / 20%); }
.toast .body { flex: 1; }
.toast .content { -webkit-line-clamp: 2; }
.toast .icon { position: relative; z-index: 1; margin-top: -.3rem; }

@media (max-width: 30rem) {
  .panel { inset: auto 0 0 !important; width: 100%; max-width: none; min-height: 50dvh; max-height: 82dvh; padding-bottom: env(safe-area-inset-bottom); border-width: 1px 0 0; border-radius: var(--radius) var(--radius) 0 0; }
  .panel::backdrop { background: rgb(10 14 26 / 45%); }
  .toasts { inset: var(--notification-bell-toast-inset, auto .75rem .75rem); width: auto; max-width: none; }
  .tabs button { min-height: 2.75rem; }
  .icon, .pill, .choices > :not(form), form > * { min-width: 2.5rem; min-height: 2.5rem; }
  .deeds { margin-block: -.7rem; }
}
@media (prefers-reduced-motion: no-preference) {
  button, .row { transition: background-color .15s, color .15s; }
  .panel, .toast { transition: opacity .16s, translate .16s; }
  @starting-style { .panel:popover-open, .toast { opacity: 0; translate: 0 .5rem; } }
  .bone { animation: wait 1.4s ease-in-out infinite alternate; }
  @keyframes wait { to { opacity: .45; } }
}
@media (forced-colors: active) {
  .badge, .snack, .instead .pill { border: 1px solid; }
  .unread::before { background: Highlight; forced-color-adjust: none; }
  .face { border: 1px solid; }
}
`);
