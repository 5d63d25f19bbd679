/**
 * The newest part of the inbox, as much as is held and what came since.
 *
 * @param {import("./rest.js").Rest} rest
 * @param {import("./store.js").Store} store
 * @param {{lastSeq: number, unread: number}} counted how many were unread up to which `seq`
 * @returns {Promise<import("./store.js").Snapshot>}
 */
export async function load(rest, store, { lastSeq, unread }) {
  const asOf = Math.max(lastSeq, store.lastSeq);
  const page = await rest.page(store.list.length + (store.loaded ? asOf - store.lastSeq : 0));
  return { ...page, lastSeq, unread, asOf };
}
