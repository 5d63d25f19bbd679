import { sheetOf } from "../bell/theme.js";

/** All of it can be set from outside by the variables in theme.js, and by ::part. */
export const sheet = sheetOf(`
:host { display: block; max-width: 40rem; container-type: inline-size; }
.root { position: relative; padding: 1.25rem; border: 1px solid var(--line); border-radius: var(--radius); background: var(--surface); color: var(--text); font: 400 .9375rem/1.45 var(--font); text-align: start; overflow-wrap: anywhere; }
h2 { margin-bottom: .75rem; font-size: 1.25rem; }
h3, b, th[scope="row"] { font-weight: 600; }
small { display: block; color: var(--soft); font-size: .8125rem; font-weight: 400; }
ul { list-style: none; }
.line, section, details { padding-block: .9rem; border-top: 1px solid var(--line); }
summary { display: grid; grid-template-columns: 1fr auto; align-items: center; column-gap: 1rem; cursor: pointer; list-style: none; }
summary::-webkit-details-marker { display: none; }
summary::after { content: ""; grid-area: 1 / 2 / 3; width: .6rem; height: .6rem; margin-inline-end: .9rem; border: solid var(--soft); border-width: 0 2px 2px 0; transform: rotate(45deg); }
[open] > summary::after { transform: rotate(225deg); }
.line, li, .kept { display: flex; align-items: center; justify-content: space-between; gap: 1rem; }
.kept ul { flex: 1; }
.line > span { min-width: 0; }
table { width: 100%; border-top: 1px solid var(--line); border-collapse: collapse; table-layout: fixed; }
th, td { padding: .55rem .25rem; text-align: center; }
th { text-align: start; }
thead :first-child, th[scope="row"] { width: 32%; padding-inline-start: 0; }
thead th { color: var(--soft); font-size: .8125rem; font-weight: 600; line-height: 1.25; text-align: center; vertical-align: bottom; }
[role="switch"] { position: relative; flex: none; width: 2.5rem; height: 1.5rem; border: 1px solid var(--soft); border-radius: 99px; background: var(--surface); vertical-align: middle; appearance: none; cursor: pointer; }
[role="switch"]::before { content: ""; position: absolute; top: .25rem; inset-inline-start: .25rem; width: .875rem; height: .875rem; border-radius: 50%; background: var(--soft); }
[role="switch"]:checked { border-color: var(--accent); background: var(--accent); }
[role="switch"]:checked::before { inset-inline-start: calc(100% - 1.125rem); background: var(--surface); }
[role="switch"]:disabled { opacity: .55; cursor: not-allowed; }
[part~="input"] { width: 100%; min-height: 2.5rem; padding: .35rem .6rem; border: 1px solid var(--soft); border-radius: .5rem; background: var(--surface); color: var(--text); font: inherit; }
select[part~="input"] { width: auto; max-width: 60%; }
.fields { display: grid; grid-template-columns: 1fr 1fr 2fr; gap: .75rem; padding-bottom: .9rem; }
.fields small { margin-bottom: .2rem; }
.zone { position: relative; }
[role="listbox"] { position: absolute; z-index: 1; inset-inline: 0; top: calc(100% + .25rem); max-height: 16rem; overflow: auto; border: 1px solid var(--line); border-radius: .5rem; background: var(--surface); box-shadow: 0 8px 32px rgb(10 16 40 / 20%); }
[role="option"] { min-height: 2.25rem; padding: .35rem .6rem; cursor: pointer; }
li.active, li[role]:hover { background: var(--hover); }
[aria-selected="true"] { color: var(--accent); font-weight: 600; }
.active { outline: 2px solid var(--accent); outline-offset: -2px; border-radius: .5rem; }
section li { padding-block: .4rem; }
.pill:hover { background: var(--hover); color: var(--text); }
section > .pill { margin-top: .4rem; background: var(--accent); color: var(--surface); }
.bar .pill { border: 1px solid; }
.bar { display: flex; align-items: center; justify-content: space-between; gap: .75rem; margin-bottom: .75rem; border: 1px solid; border-radius: .5rem; }
[part] { scroll-margin-bottom: 4.5rem; }
.snack { position: sticky; bottom: .75rem; margin: .75rem 0 0; }
@container (max-width: 30rem) {
  .root { padding-inline: 1rem; }
  .fields { grid-template-columns: 1fr 1fr; }
  .fields > :last-child { grid-column: 1 / -1; }
  [role="switch"] { width: 2.25rem; }
}
@media (prefers-reduced-motion: no-preference) {
  [role="switch"], [role="switch"]::before { transition: .15s; }
}
@media (forced-colors: active) {
  [role="switch"]:checked { background: Highlight; forced-color-adjust: none; }
  .snack { border: 1px solid; }
}
`);
