import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Browser } from "./browser.js";
import { Clock } from "./clock.js";
import { Hub } from "./hub.js";

let clock, hub, browser;

beforeEach(() => {
  clock = new Clock();
  hub = new Hub(clock);
  browser = new Browser(clock, hub);
});

const seqs = ({ inbox }) => inbox.list().map(({ seq }) => seq);
const over = ({ inbox }) => inbox.state.over ?? inbox.state.name;
const streams = () => hub.live.filter((socket) => socket.streams);
const upTo = (last) => Array.from({ length: last }, (_, n) => n + 1);

/** A tab after so many ms. */
async function open(ms = 1000, options = {}) {
  const tab = browser.open(options);
  await clock.pass(ms);
  return tab;
}

test("the list and the count are there before anything is live", async () => {
  hub.publish(3);
  hub.read(1);
  hub.random = () => 1; // 41 ms for each way
  const tab = await open(41 * 4);
  assert.deepEqual([over(tab), seqs(tab), tab.inbox.unreadCount()], ["connecting", [3, 2, 1], 2]);
  await clock.pass(1000);
  assert.equal(over(tab), "websocket");
  assert.equal(hub.requests.length, 2, "what the socket says is what was loaded");
});

test("what changed between the loading and the socket is loaded again", async () => {
  hub.publish(3);
  const tab = browser.open();
  while (seqs(tab).length < 3) await clock.pass(1);
  hub.read(2);
  hub.publish();
  await clock.pass(1000);
  assert.deepEqual([tab.told, tab.inbox.unreadCount()], [[4], 3]);
  assert.deepEqual(tab.inbox.list().filter((each) => each.is_read).map(({ seq }) => seq), [2]);
});

test("where a proxy passes no upgrade it is live over an event stream within a second", async () => {
  hub.passesUpgrades = false;
  hub.publish(3);
  const tab = await open();
  assert.equal(over(tab), "sse");
  assert.match(hub.opened.at(-1), /\/events\?protocol=hub\.v1&after=3$/);
  hub.publish(2);
  hub.read(1);
  await clock.pass(100);
  assert.deepEqual([seqs(tab), tab.told, tab.inbox.unreadCount()], [[5, 4, 3, 2, 1], [4, 5], 4]);
  assert.deepEqual(tab.errors.map(({ code }) => code), ["no_socket"]);
  assert.deepEqual(tab.states.map(({ name }) => name).filter((name) => name === "waiting"), []);
});

for (const [what, change] of [
  ["refuses", { passesStreams: false }],
  ["buffers", { buffersStreams: true }],
]) {
  test(`where a proxy ${what} event streams too it asks every few seconds`, async () => {
    Object.assign(hub, { passesUpgrades: false, ...change });
    hub.publish(3);
    const tab = await open(15_000);
    assert.equal(over(tab), "polling");
    hub.publish(2);
    hub.read(1);
    hub.delete(2);
    await clock.pass(10_000);
    assert.deepEqual([seqs(tab), tab.told, tab.inbox.unreadCount()], [[5, 4, 3, 1], [4, 5], 3]);
    const loads = () => hub.requests.filter((request) => !/unread-count|events/.test(request)).length;
    const before = loads();
    await clock.pass(60_000);
    assert.equal(loads(), before, "nothing is loaded that didn't change");
  });
}

test("it goes back to the socket as soon as one gets through, without a gap or a double", async () => {
  Object.assign(hub, { passesUpgrades: false, passesStreams: false });
  const tab = await open(2000);
  assert.equal(over(tab), "polling");
  hub.passesStreams = true;
  for (let n = 0; over(tab) !== "sse" && n < 600; n++) {
    hub.publish();
    await clock.pass(100);
  }
  assert.equal(over(tab), "sse");
  hub.passesUpgrades = true;
  for (let n = 0; over(tab) !== "websocket" && n < 600; n++) {
    hub.publish();
    await clock.pass(100);
  }
  await clock.pass(100);
  assert.equal(over(tab), "websocket");
  assert.deepEqual(tab.told, upTo(hub.lastSeq));
  assert.deepEqual([hub.live.length, streams().length], [1, 0], "the stream is closed");
  assert.ok(!tab.states.some(({ name }) => name === "waiting"), "it was live all the time");
});

test("a network that is back is a reason to try the socket", async () => {
  hub.passesUpgrades = false;
  const tab = await open();
  hub.passesUpgrades = true;
  tab.wake();
  await clock.pass(100);
  assert.equal(over(tab), "websocket");
});

test("a stream that broke off comes back after its seq", async () => {
  hub.passesUpgrades = false;
  const tab = await open();
  hub.publish(2);
  await clock.pass(100);
  hub.close(1006);
  hub.publish(2);
  await clock.pass(2000);
  assert.deepEqual([over(tab), tab.told], ["sse", [1, 2, 3, 4]]);
  assert.match(hub.opened.at(-1), /after=2$/);
});

test("a stream ends for good with what the hub says last", async () => {
  hub.passesUpgrades = false;
  const tab = await open();
  hub.close(4500, "logged out");
  await clock.pass(60_000);
  assert.deepEqual(tab.inbox.state, { name: "closed", code: 4500, reason: "logged out" });
  assert.equal(hub.sockets.size, 0);
});

test("a stream whose token is renewed is replaced by another, and none is lost", async () => {
  hub.passesUpgrades = false;
  const tab = await open(1000, { getToken: () => hub.token(180_000) });
  const first = hub.opened.length;
  for (let n = 0; n < 300; n++) {
    hub.publish();
    await clock.pass(1000);
    assert.equal(over(tab), "sse");
  }
  assert.ok(hub.opened.slice(first).some((address) => address.includes("/events")));
  assert.deepEqual([tab.told, streams().length], [upTo(300), 1]);
});

test("a stream that died without a word is found by its silence", async () => {
  hub.passesUpgrades = false;
  const tab = await open();
  hub.freeze();
  hub.publish(3);
  await clock.pass(60_000);
  assert.deepEqual([over(tab), tab.told], ["sse", [1, 2, 3]]);
});

test("an idle stream isn't left, and silence is not asked about", async () => {
  hub.passesUpgrades = false;
  const tab = await open();
  await clock.pass(600_000);
  assert.deepEqual([over(tab), streams().length], ["sse", 1]);
  assert.equal(hub.opened.filter((address) => address.includes("/events")).length, 1);
});

test("a hub that is overloaded is waited for, not asked in more expensive ways", async () => {
  hub.overloaded = true;
  const tab = await open(1000);
  assert.deepEqual([over(tab), tab.inbox.state.code], ["waiting", 1013]);
  await clock.pass(20_000);
  assert.ok(!tab.states.some(({ over }) => over === "polling"));
  hub.overloaded = false;
  await clock.pass(60_000);
  assert.equal(over(tab), "websocket");
});

test("closing a tab on an event stream leaves nothing behind", async () => {
  hub.passesUpgrades = false;
  const tab = await open();
  tab.inbox.close();
  await clock.pass(120_000);
  assert.deepEqual([hub.sockets.size, tab.inbox.state.name], [0, "closed"]);
});

test("tabs that share an event stream receive everything once", async () => {
  browser = new Browser(clock, hub, { shares: true });
  hub.passesUpgrades = false;
  const tabs = [await open(), await open(), await open()];
  hub.publish(3);
  await clock.pass(100);
  hub.passesUpgrades = true;
  await clock.pass(20_000);
  hub.publish(2);
  await clock.pass(100);
  for (const tab of tabs) assert.deepEqual([over(tab), tab.told], ["websocket", upTo(5)]);
  assert.equal(hub.live.length, 1);
});
