/**
 * The newest part of the inbox: as far back as it is held, however much came since.
 *
 * @param {import("./rest.js").Rest} rest
 * @param {import("./store.js").Store} store
 * @param {import("./store.js").Count} count
 * @param {number} [known] that there is something up to this `seq` at least
 * @returns {Promise<import("./store.js").Snapshot>}
 */
export async function load(rest, store, count, known = count.last_seq) {
  const asOf = Math.max(known, store.lastSeq);
  const until = store.loaded ? (store.list.at(-1)?.seq ?? store.lastSeq + 1) : Infinity;
  const wanted = store.list.length + (store.loaded ? asOf - store.lastSeq : 0);
  let { items, from } = await rest.page(wanted);
  while (from > until) {
    const older = await rest.page(from - until, from);
    items = [...items, ...older.items];
    from = older.from;
  }
  return { items, from, count, asOf };
}
