/** What a store makes of frames, pages and snapshots that come late, twice, or in another order. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Store } from "../src/store.js";

const row = (seq, more) => ({ id: seq, seq, is_read: false, title: `title ${seq}`, ...more });
const rows = (...seqs) => seqs.map((seq) => row(seq));
const count = (rev, last_seq = 9) => ({ unread: 0, last_seq, rev, unseen: 0, seen_up_to: 0 });
const frame = (rev, type, more) => ({ type, ...count(rev), ...more });
const moved = (rev, where, seq, more) => frame(rev, `notification_${where}`, { id: seq, data: row(seq, more) });
const archived = (store) => store.listOf("archived").map(({ seq }) => seq);
const listed = (store) => store.list.map(({ seq }) => seq);

/** A store that has loaded a part of an inbox, as of a `rev`. */
function loaded(items, rev, from = 0) {
  const store = new Store();
  store.merge({ items, from, count: count(rev), asOf: 9 });
  return store;
}

test("one that was deleted before all were archived isn't in the archive, in whatever order that is heard", () => {
  const store = loaded(rows(3, 2, 1), 10);
  store.ask("archived").take({ items: [], from: 0 });
  store.apply(frame(12, "all_archived", { up_to: 3 }));
  store.apply(frame(11, "notification_deleted", { id: 2 }));
  assert.deepEqual(archived(store), [3, 1]);
});

test("what was deleted with others before all were archived isn't in the archive, in whatever order that is heard", () => {
  const store = loaded(rows(3, 2, 1), 10);
  store.ask("archived").take({ items: [], from: 0 });
  store.apply(frame(12, "all_archived", { up_to: 3 }));
  store.apply(frame(11, "all_deleted", { up_to: 2 }));
  assert.deepEqual(archived(store), [3]);
});

test("one that was archived unread before all of the inbox were read is unread", () => {
  const store = loaded(rows(2, 1), 10);
  store.ask("archived").take({ items: [], from: 0 });
  store.apply(frame(12, "all_read", { up_to: 2 }));
  store.apply(moved(11, "archived", 1));
  assert.deepEqual(store.listOf("archived").map(({ is_read }) => is_read), [false]);
  assert.deepEqual(store.list.map(({ is_read }) => is_read), [true]);
});

test("what was archived before a page of the archive came is in it, though the page lacks it", () => {
  const store = loaded(rows(3, 2, 1), 10);
  const { take } = store.ask("archived");
  store.apply(moved(11, "archived", 3));
  assert.ok(take({ items: rows(1), from: 0 }));
  assert.deepEqual(archived(store), [3, 1]);
});

test("what came back into the part of the inbox that is under way is in it, as is what was changed there", () => {
  const store = loaded(rows(9, 8), 10, 8);
  const { before, take } = store.ask("inbox");
  assert.equal(before, 8);
  store.apply(moved(11, "unarchived", 3));
  store.apply(moved(12, "updated", 2, { title: "newer" }));
  assert.ok(take({ items: rows(7, 2), from: 2 }));
  assert.deepEqual(listed(store), [9, 8, 7, 3, 2]);
  assert.equal(store.list.at(-1).title, "newer");
});

test("a page that was asked for before all were archived is asked for again", () => {
  const store = loaded(rows(9, 8), 10, 8);
  const first = store.ask("archived");
  store.apply(frame(11, "all_archived", { up_to: 9 }));
  assert.ok(!first.take({ items: rows(1), from: 0 }));
  assert.deepEqual(archived(store), []);
  assert.ok(store.ask("archived").take({ items: rows(9, 8, 7, 1), from: 0 }));
  assert.deepEqual(archived(store), [9, 8, 7, 1]);
});

test("a page that was asked for before the inbox was loaded again is asked for again", () => {
  const store = loaded(rows(9, 8), 10, 8);
  const pages = ["archived", "inbox"].map((view) => store.ask(view));
  store.merge({ items: rows(9, 8), from: 8, count: count(12), asOf: 9 });
  for (const { take } of pages) assert.ok(!take({ items: rows(3), from: 0 }));
  assert.deepEqual([archived(store), listed(store)], [[], [9, 8]]);
});

test("the archive goes on where it isn't known what was archived with all others", () => {
  const store = loaded(rows(9, 8), 10, 8);
  store.ask("archived").take({ items: rows(7, 3), from: 0 });
  assert.equal(store.end("archived"), 0);
  const swept = frame(11, "all_archived", { up_to: 9 });
  store.apply(swept);
  assert.deepEqual(archived(store), [9, 8]);
  const { before, take } = store.ask("archived");
  assert.equal(before, 8);
  take({ items: rows(7, 6, 3), from: 0 });
  assert.deepEqual(archived(store), [9, 8, 7, 6, 3]);
  store.apply(swept); // the call's answer came before the frame
  assert.deepEqual([archived(store), store.end("archived")], [[9, 8, 7, 6, 3], 0]);
});

test("… also if the rest of the inbox was loaded before that was heard, and is empty", () => {
  const store = loaded(rows(9, 8), 10, 8);
  store.ask("archived").take({ items: [], from: 0 });
  store.ask("inbox").take({ items: [], from: 0 });
  store.apply(frame(11, "all_archived", { up_to: 9 }));
  assert.deepEqual([archived(store), store.end("archived")], [[9, 8], 8]);
});

test("… but no further than up to where they were archived", () => {
  const store = loaded(rows(9, 8), 10, 8);
  store.ask("archived").take({ items: rows(7, 6, 3), from: 0 });
  store.apply(frame(11, "all_archived", { up_to: 5 }));
  assert.deepEqual([archived(store), store.end("archived")], [[7, 6], 6]);
});

test("a page that was asked for twice, and comes late, changes nothing", () => {
  const store = loaded(rows(9, 8), 10, 8);
  const page = { items: rows(7, 6), from: 6 };
  const twice = [store.ask("inbox"), store.ask("inbox")];
  assert.ok(twice[0].take(page));
  store.ask("inbox").take({ items: rows(5), from: 0 });
  assert.ok(twice[1].take(page));
  assert.deepEqual([listed(store), store.end("inbox")], [[9, 8, 7, 6, 5], 0]);
});

test("the archive is whole where all of the inbox was known when all were archived", () => {
  const store = loaded(rows(9, 8), 10);
  store.ask("archived").take({ items: rows(3), from: 0 });
  store.apply(frame(11, "all_archived", { up_to: 9 }));
  assert.deepEqual([archived(store), store.end("archived")], [[9, 8, 3], 0]);
});

test("a change that a snapshot has, and that comes after it, is none", () => {
  const store = loaded(rows(2), 15);
  store.ask("archived").take({ items: [], from: 0 });
  store.apply(moved(12, "archived", 1)); // and deleted since, before this connection was there
  assert.deepEqual(archived(store), []);
});

test("what was kept of changes is no more once the inbox was loaded again, as some may have been missed", () => {
  const store = loaded(rows(2, 1), 10);
  store.apply(moved(11, "archived", 1));
  store.merge({ items: rows(2), from: 0, count: count(13), asOf: 9 }); // it was deleted by then
  store.ask("archived").take({ items: [], from: 0 });
  assert.deepEqual(archived(store), []);
});

test("a tab that begins with another's list takes the changes that the other one heard later, and earlier", () => {
  const leader = loaded(rows(3, 2, 1), 10);
  leader.apply(frame(13, "notification_read", { id: 2 }));
  leader.apply(moved(14, "archived", 3));
  const follower = new Store();
  follower.merge(structuredClone(leader.snapshot));
  for (const store of [leader, follower]) {
    store.apply(moved(12, "archived", 1)); // which was overtaken
    store.apply(moved(11, "unarchived", 3)); // nor does this count any more
    assert.deepEqual(listed(store), [2]);
    assert.deepEqual(store.list.map(({ is_read }) => is_read), [true]);
  }
});

test("a tab that did something itself keeps that over another's list, and takes what is newer in that", () => {
  const leader = loaded(rows(3, 2, 1), 10);
  leader.apply(moved(12, "updated", 2, { title: "newer" }));
  const follower = loaded(rows(3, 2, 1), 10);
  follower.apply(moved(13, "archived", 1));
  follower.apply(moved(11, "updated", 2, { title: "older" }));
  follower.merge(structuredClone(leader.snapshot));
  assert.deepEqual(listed(follower), [3, 2]);
  assert.equal(follower.list[1].title, "newer");
});

test("one that was pushed again isn't back", () => {
  const store = loaded(rows(2, 1), 10);
  store.apply(frame(11, "notification_deleted", { id: 2 }));
  store.merge({ items: rows(1), from: 0, count: count(12), asOf: 9 });
  assert.deepEqual(store.apply({ event_type: "x", data: row(2) }), []);
  assert.deepEqual(listed(store), [1]);
});

test("one that is changed before it comes is listed and reported when it comes, in its order, also in a tab that begins then", () => {
  const leader = loaded(rows(9, 8), 10);
  leader.apply(moved(11, "unread", 11, { title: "newer" }));
  assert.deepEqual(listed(leader), [9, 8]);
  const follower = new Store();
  follower.merge(structuredClone(leader.snapshot));
  for (const store of [leader, follower]) {
    const fresh = rows(10, 11).flatMap((data) => store.apply({ event_type: "x", data }));
    assert.deepEqual(fresh.map(({ seq }) => seq), [10, 11]);
    assert.deepEqual(listed(store), [11, 10, 9, 8]);
  }
  assert.equal(leader.list[0].title, "newer");
});
