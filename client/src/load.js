/**
 * The newest part of the inbox: as much as is held, and all that came since.
 *
 * @param {import("./rest.js").Rest} rest
 * @param {import("./store.js").Store} store
 * @param {{lastSeq: number, unread: number}} counted how many were unread up to which `seq`
 * @returns {Promise<import("./store.js").Snapshot>}
 */
export async function load(rest, store, { lastSeq, unread }) {
  const asOf = Math.max(lastSeq, store.lastSeq);
  const wanted = store.list.length + (store.loaded ? asOf - store.lastSeq : 0);
  let { items, from } = await rest.page(wanted);
  while (from && (items.length < wanted || (store.loaded && from > store.lastSeq + 1))) {
    const older = await rest.page(wanted - items.length, from);
    items = [...items, ...older.items];
    from = older.from;
  }
  return { items, from, lastSeq, unread, asOf };
}
