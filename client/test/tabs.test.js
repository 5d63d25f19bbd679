import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Browser } from "./browser.js";
import { Clock } from "./clock.js";
import { Hub } from "./hub.js";

let clock, hub, browser;

beforeEach(() => {
  clock = new Clock();
  hub = new Hub(clock);
  browser = new Browser(clock, hub, { shares: true });
});

async function open(count) {
  const tabs = Array.from({ length: count }, () => browser.open());
  await clock.pass(1000);
  for (const { inbox } of tabs) assert.equal(inbox.state.name, "live");
  return tabs;
}

const follower = () => browser.tabs.find((tab) => tab !== browser.leader);
const seqs = ({ inbox }) => inbox.list().map(({ seq }) => seq);

test("thirty tabs hold one socket, and each is notified of everything once", async () => {
  hub.publish(3);
  const tabs = await open(30);
  assert.equal(hub.sockets.size, 1);
  assert.equal(hub.requests.length, 2, "the count and the list");
  hub.publish(2);
  hub.read(1);
  hub.delete(2);
  await clock.pass(100);
  for (const tab of tabs) {
    assert.deepEqual(tab.told, [4, 5]);
    assert.deepEqual(seqs(tab), [5, 4, 3, 1]);
    assert.equal(tab.inbox.unreadCount(), 3);
  }
});

test("a tab that comes later has what the others have, without asking the hub", async () => {
  hub.publish(3);
  await open(1);
  hub.publish();
  const asked = hub.requests.length;
  const [late] = await open(1);
  assert.deepEqual([seqs(late), late.told, hub.requests.length], [[4, 3, 2, 1], [], asked]);
});

test("without Web Locks each tab connects itself", async () => {
  browser = new Browser(clock, hub);
  const tabs = await open(3);
  assert.equal(hub.sockets.size, 3);
  hub.publish();
  await clock.pass(100);
  for (const tab of tabs) assert.deepEqual(tab.told, [1]);
});

test("where Web Locks are forbidden a tab connects itself", async () => {
  browser.forbidsLocks = true;
  await open(2);
  assert.equal(hub.sockets.size, 2);
});

test("inboxes of other users and other hubs are kept apart", async () => {
  await open(2);
  browser.open({ userId: "other" });
  browser.open({ url: "https://other.example" });
  await clock.pass(1000);
  assert.equal(hub.sockets.size, 3);
});

test("tabs of each language have a connection, which says it, and all that is shown is in it", async () => {
  hub.publish(2);
  for (const locale of ["en", "ru", undefined, "ru"]) browser.open({ locale });
  await clock.pass(1000);
  const titles = () => browser.tabs.map(({ inbox }) => inbox.list()[0].title);
  assert.deepEqual(titles(), ["title 2 in en", "title 2 in ru", "title 2", "title 2 in ru"]);
  assert.equal(hub.sockets.size, 3);
  hub.publish();
  await clock.pass(1000);
  assert.deepEqual(titles(), ["title 3 in en", "title 3 in ru", "title 3", "title 3 in ru"]);
  for (const { told, inbox } of browser.tabs) assert.deepEqual([told, inbox.unreadCount()], [[3], 3]);
});

test("when the leader dies the next goes on after the last seq", async () => {
  const tabs = await open(4);
  hub.publish(2);
  await clock.pass(100);
  const dead = browser.leader;
  browser.kill(dead);
  hub.publish(2);
  await clock.pass(1000);
  assert.equal(hub.sockets.size, 1);
  assert.match(hub.opened.at(-1), /after=2$/);
  for (const tab of tabs.filter((each) => each !== dead)) assert.deepEqual(tab.told, [1, 2, 3, 4]);
});

test("a leader that leaves passes the lead on", async () => {
  await open(2);
  browser.leader.inbox.close();
  hub.publish();
  await clock.pass(1000);
  assert.deepEqual(follower() && browser.leader.told, [1]);
  assert.equal(hub.sockets.size, 1);
});

test("a tab that leaves as soon as it hears that it connects leaves nothing behind", async () => {
  const [dying, leaving, staying] = await open(3);
  leaving.inbox.on("state", ({ name }) => name === "connecting" && leaving.inbox.close());
  browser.kill(dying);
  hub.publish();
  await clock.pass(1000);
  assert.deepEqual([leaving.inbox.state.name, staying.told, hub.sockets.size], ["closed", [1], 1]);
  leaving.inbox.connect();
  await clock.pass(1000);
  assert.deepEqual([leaving.inbox.state.name, browser.leader === staying], ["closed", true]);
});

test("a leader that is frozen is replaced by the tab that notices, and follows it when it thaws", async () => {
  const tabs = await open(3);
  const frozen = browser.leader;
  frozen.frozen = true;
  hub.freeze();
  follower().wake();
  hub.publish();
  await clock.pass(12_000);
  assert.notEqual(browser.leader, frozen);
  frozen.frozen = false;
  hub.publish();
  await clock.pass(1000);
  frozen.wake();
  await clock.pass(1000);
  for (const tab of tabs) assert.deepEqual(tab.told, [1, 2]);
  assert.equal(hub.live.length, 1);
});

test("a logout shows in all tabs, and none comes back", async () => {
  const tabs = await open(5);
  hub.close(4500, "logged out");
  await clock.pass(600_000);
  for (const { inbox } of tabs) assert.deepEqual(inbox.state, { name: "closed", code: 4500, reason: "logged out" });
  assert.equal(hub.sockets.size, 0);
});

test("a tab that learns of the logout too late, and leads already, ends all the same", async () => {
  browser.random = () => 0.99; // words take 5 ms, a lock 0
  browser.grantsIn = 0;
  const tabs = await open(3);
  hub.close(4500, "logged out");
  await clock.pass(600_000);
  for (const { inbox } of tabs) assert.equal(inbox.state.code, 4500);
});

test("what one tab reads, the others show", async () => {
  hub.publish(2);
  const tabs = await open(3);
  follower().inbox.markRead(2);
  await clock.pass(100);
  for (const { inbox } of tabs) assert.equal(inbox.unreadCount(), 1);
});

test("a tab that lists more than the leader keeps it when the leader comes back", async () => {
  hub.publish(120);
  await open(2);
  const tab = follower();
  tab.inbox.loadMore();
  await clock.pass(100);
  assert.equal(tab.inbox.list().length, 100);
  hub.close(1006);
  hub.delete(30);
  hub.publish();
  await clock.pass(3000);
  assert.deepEqual(tab.told, [121]);
  assert.equal(tab.inbox.list().length, 101);
  assert.ok(!seqs(tab).includes(30));
  assert.equal(tab.inbox.unreadCount(), 120);
});

test("an inbox that was erased starts again in every tab", async () => {
  hub.publish(5);
  const tabs = await open(3);
  hub.close(1006);
  hub.erase();
  hub.publish(2);
  await clock.pass(3000);
  hub.publish();
  await clock.pass(100);
  for (const tab of tabs) assert.deepEqual([tab.told, seqs(tab), tab.inbox.unreadCount()], [[3], [3, 2, 1], 3]);
});

test("what a tab reads is counted there at once, also while the connection is away", async () => {
  hub.publish(120);
  const tabs = await open(2);
  hub.up = false;
  hub.close(1006);
  const tab = follower();
  tab.inbox.markRead(3).catch(() => {});
  await clock.pass(200);
  assert.equal(tab.inbox.unreadCount(), 119);
  hub.up = true;
  await clock.pass(60_000);
  for (const { inbox } of tabs) assert.equal(inbox.unreadCount(), 119);
});

test("a tab that slept while the inbox was erased starts again when it wakes", async () => {
  hub.publish(3);
  hub.read(1);
  const [, tab] = await open(2);
  tab.frozen = true;
  hub.close(1006);
  hub.erase();
  hub.publish(4);
  await clock.pass(5000);
  tab.frozen = false;
  tab.wake();
  await clock.pass(1000);
  assert.deepEqual([seqs(tab), tab.inbox.unreadCount()], [[4, 3, 2, 1], 4]);
});
