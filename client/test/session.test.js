import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Browser } from "./browser.js";
import { Clock } from "./clock.js";
import { Hub } from "./hub.js";

let clock, hub, browser;

beforeEach(() => begin());

/** A world with nothing in it; `random` delays what happens there. */
function begin(random) {
  clock = new Clock();
  hub = new Hub(clock, random);
  browser = new Browser(clock, hub);
}

/** A tab that is live. */
async function live(options) {
  const tab = browser.open(options);
  await clock.pass(1000);
  assert.equal(tab.inbox.state.name, "live");
  return tab;
}

const seqs = ({ inbox }) => inbox.list().map(({ seq }) => seq);

test("the history is there, newest first, then what comes live", async () => {
  hub.publish(3);
  hub.read(1);
  const tab = await live();
  assert.deepEqual(seqs(tab), [3, 2, 1]);
  assert.equal(tab.inbox.unreadCount(), 2);
  assert.deepEqual(tab.told, [], "history is no news");
  hub.publish(2);
  await clock.pass(100);
  assert.deepEqual(seqs(tab), [5, 4, 3, 2, 1]);
  assert.deepEqual(tab.told, [4, 5]);
  assert.equal(tab.inbox.unreadCount(), 4);
  assert.deepEqual(tab.states.map(({ name }) => name), ["connecting", "live"]);
});

test("what comes while the history is loaded is notified of, once", async () => {
  hub.publish(2);
  const tab = browser.open();
  for (let n = 0; n < 10; n++) {
    await clock.pass(1);
    hub.publish();
  }
  await clock.pass(1000);
  assert.equal(tab.told.at(-1), 12);
  assert.deepEqual(tab.told, Array.from({ length: tab.told.length }, (_, n) => 13 - tab.told.length + n));
  assert.equal(seqs(tab).length, 12);
});

test("it comes back after its seq, and tells of what it missed once and in order", async () => {
  hub.publish(3);
  const tab = await live();
  hub.close(1006);
  hub.publish(3);
  hub.read(2);
  hub.delete(1);
  await clock.pass(2000);
  assert.match(hub.opened.at(-1), /\?after=3$/);
  assert.deepEqual(tab.told, [4, 5, 6]);
  assert.deepEqual(seqs(tab), [6, 5, 4, 3, 2]);
  assert.equal(tab.inbox.unreadCount(), 4, "the history is loaded again: somebody read and deleted meanwhile");
  assert.deepEqual(tab.states.map(({ name }) => name), ["connecting", "live", "waiting", "connecting", "live"]);
});

test("who was away for more than a resume brings has no gap in the list, and is notified of all", async () => {
  hub.publish(100);
  const tab = await live();
  hub.up = false;
  hub.close(1006);
  hub.publish(700);
  await clock.pass(1000);
  hub.up = true;
  await clock.pass(60_000);
  hub.publish();
  await clock.pass(1000);
  assert.deepEqual(tab.told, Array.from({ length: 701 }, (_, n) => 101 + n));
  assert.deepEqual(seqs(tab).slice(0, 750), Array.from({ length: 750 }, (_, n) => 801 - n));
});

test("what comes live right behind a resume that was too long waits for what is before it", async () => {
  hub.publish(10);
  const tab = await live();
  hub.up = false;
  hub.close(1006);
  hub.publish(600);
  await clock.pass(100);
  hub.up = true;
  while (!hub.live.length) await clock.pass(1);
  hub.publish();
  await clock.pass(1000);
  assert.deepEqual(tab.told, Array.from({ length: 601 }, (_, n) => 11 + n));
});

test("a list is no shorter for what came while it was loaded", async () => {
  hub.publish(60);
  const tab = await live();
  during(tab.inbox.loadMore());
  await clock.pass(100);
  hub.close(1006);
  while (!hub.live.length) await clock.pass(1);
  await clock.pass(1);
  hub.publish(70);
  await clock.pass(1000);
  assert.equal(tab.inbox.list().length, 130);
});

test("a list that overtakes hundreds of frames skips none of them", async () => {
  const tab = await live();
  hub.tell({ type: "connected", node: "n", last_seq: 0, unread: 0 });
  await clock.pass(1);
  hub.random = () => 1; // frames take long, answers don't
  hub.publish(200);
  hub.random = () => 0;
  await clock.pass(1000);
  assert.deepEqual(tab.told, Array.from({ length: 200 }, (_, n) => 1 + n));
});

test("a count that is overtaken by a notification is right, and nobody is asked", async () => {
  hub.publish(120);
  const tab = await live();
  const asked = hub.requests.length;
  hub.random = () => 1;
  hub.read(5);
  hub.random = () => 0;
  hub.publish();
  await clock.pass(3000);
  assert.equal(tab.inbox.unreadCount(), 120);
  assert.equal(hub.requests.length, asked);
});

/** What the archive of a tab is, and whether it goes on. */
const archiveOf = ({ inbox }) => [inbox.list("archived").map(({ seq }) => seq), inbox.canLoadMore("archived")];

test("what is archived at any moment of the archive's loading is in it", async () => {
  for (let ms = 0; ms < 80; ms++) {
    begin(Math.random);
    hub.publish(5);
    hub.move(1, "archive", "notification_archived");
    const tab = await live();
    const loading = tab.inbox.loadMore("archived");
    await clock.pass(ms);
    hub.move(3, "archive", "notification_archived");
    await Promise.all([loading, clock.pass(1000)]);
    assert.deepEqual(archiveOf(tab), [[3, 1], false], `${ms} ms after it was asked for`);
  }
});

test("all that are archived at any moment of the archive's loading are in it", async () => {
  for (let ms = 0; ms < 80; ms++) {
    begin(Math.random);
    hub.publish(70);
    const tab = await live();
    const loading = tab.inbox.loadMore("archived");
    await clock.pass(ms);
    hub.archiveAll();
    await Promise.all([loading, clock.pass(1000)]);
    const [listed, goesOn] = archiveOf(tab);
    assert.deepEqual(listed, Array.from({ length: listed.length }, (_, n) => 70 - n), `${ms} ms after it was asked for`);
    assert.deepEqual([listed.length >= 50, goesOn], [true, true], `${ms} ms after it was asked for`);
  }
});

test("what comes back at any moment while older ones are loaded is among them", async () => {
  for (let ms = 0; ms < 80; ms++) {
    begin(Math.random);
    hub.publish(70);
    hub.move(3, "archive", "notification_archived");
    const tab = await live();
    const loading = tab.inbox.loadMore();
    await clock.pass(ms);
    hub.move(3, "rows", "notification_unarchived");
    await Promise.all([loading, clock.pass(1000)]);
    assert.deepEqual(seqs(tab), Array.from({ length: 70 }, (_, n) => 70 - n), `${ms} ms after it was asked for`);
  }
});

test("all that are archived can be loaded, also those that weren't listed, whatever the archive had before", async () => {
  hub.publish(120);
  const tab = await live();
  await during(tab.inbox.loadMore("archived"));
  assert.deepEqual(archiveOf(tab), [[], false]);
  hub.archiveAll(100);
  await clock.pass(1000);
  assert.deepEqual(archiveOf(tab), [Array.from({ length: 30 }, (_, n) => 100 - n), true]);
  await during(tab.inbox.loadMore("archived"));
  await during(tab.inbox.loadMore("archived"));
  assert.deepEqual(archiveOf(tab), [Array.from({ length: 100 }, (_, n) => 100 - n), false]);
});

test("one that is archived stays in the archive when it can't be marked as unread", async () => {
  hub.publish(2);
  hub.move(1, "archive", "notification_archived");
  const tab = await live();
  await during(tab.inbox.loadMore("archived"));
  await assert.rejects(during(tab.inbox.markUnread(1)), { status: 404 });
  assert.deepEqual(archiveOf(tab), [[1], false]);
});

test("thousands that were missed are all notified of, though one of them was changed before they were loaded", async () => {
  hub.publish(1);
  const tab = await live();
  await during(tab.inbox.remove(1));
  hub.up = false;
  hub.close(1006);
  hub.publish(2500);
  await during(tab.inbox.markUnread(2400));
  hub.up = true;
  await clock.pass(30_000);
  assert.deepEqual(tab.told, Array.from({ length: 2500 }, (_, n) => 2 + n));
});

test("of two counts that come in the other order the later one holds", async () => {
  hub.publish(120);
  const tab = await live();
  hub.random = () => 1;
  hub.read(5);
  hub.random = () => 0;
  hub.read(6);
  await clock.pass(1000);
  assert.equal(tab.inbox.unreadCount(), 118);
});

test("an inbox that was erased starts again", async () => {
  hub.publish(5);
  const tab = await live();
  hub.read(1);
  await clock.pass(100);
  hub.close(1006);
  hub.erase();
  hub.publish(2);
  await clock.pass(3000);
  assert.deepEqual([seqs(tab), tab.inbox.unreadCount()], [[2, 1], 2]);
  hub.publish();
  await clock.pass(100);
  assert.deepEqual([tab.told, seqs(tab), tab.inbox.unreadCount()], [[3], [3, 2, 1], 3]);
});

test("a session ends for good with what the hub says, and can be begun again", async () => {
  const tab = await live();
  hub.close(4500, "logged out");
  await clock.pass(600_000);
  assert.deepEqual(tab.inbox.state, { name: "closed", code: 4500, reason: "logged out" });
  assert.equal(hub.opened.length, 1);
  tab.inbox.connect();
  hub.publish();
  await clock.pass(1000);
  assert.equal(tab.inbox.state.name, "live");
  assert.deepEqual(tab.told, [1]);
});

test("a socket that is refused is explained by REST", async () => {
  hub.refusal = [403, "other_user"];
  const tab = browser.open();
  await clock.pass(600_000);
  assert.deepEqual(tab.inbox.state, { name: "closed", code: 403, reason: "problem other_user" });
});

test("a token that the hub refuses is requested again, once", async () => {
  const tokens = [hub.token(), hub.token()];
  hub.revoked.add(tokens[0]);
  let asked = 0;
  const tab = browser.open({ getToken: () => tokens[asked++] });
  await clock.pass(5000);
  assert.equal(tab.inbox.state.name, "live");
  assert.equal(asked, 2);

  hub.revoked.add(tokens[1]);
  const refused = browser.open({ getToken: () => tokens[0] });
  await clock.pass(600_000);
  assert.deepEqual(refused.inbox.state, { name: "closed", code: 401, reason: "problem expired_token" });
});

test("a token is renewed in place a minute before it expires", async () => {
  let asked = 0;
  const tab = await live({ getToken: async () => (asked++, hub.token(600_000)) });
  await clock.pass(535_000);
  assert.equal(asked, 1);
  await clock.pass(10_000);
  assert.equal(asked, 2);
  await clock.pass(3_600_000);
  assert.equal(hub.opened.length, 1);
  assert.ok(asked <= 9);
  assert.deepEqual(tab.errors, []);
});

test("with a clock that is a day off, tokens are renewed as often", async () => {
  let asked = 0;
  const ahead = { iat: clock.now / 1000 - 86_400, exp: clock.now / 1000 - 85_800 };
  const token = `e30.${Buffer.from(JSON.stringify(ahead)).toString("base64url")}.s`;
  hub.holds = () => true;
  await live({ getToken: () => (asked++, token) });
  await clock.pass(500_000);
  assert.equal(asked, 1);
  await clock.pass(100_000);
  assert.equal(asked, 2);
});

test("4401 brings a fresh token at once", async () => {
  let asked = 0;
  const tab = await live({ getToken: () => (asked++, hub.token()) });
  hub.close(4401, "token expired");
  await clock.pass(20);
  assert.equal(tab.inbox.state.name, "live");
  assert.equal(asked, 2);
});

test("a getToken that fails is said and tried again", async () => {
  let fails = true;
  const tab = browser.open({
    getToken: () => {
      if (fails) throw new Error("no session");
      return hub.token();
    },
  });
  await clock.pass(100);
  assert.equal(tab.inbox.state.name, "waiting");
  assert.equal(tab.errors[0].message, "no session");
  fails = false;
  await clock.pass(60_000);
  assert.equal(tab.inbox.state.name, "live");
});

test("what getToken gives instead of a token stands in no message", async () => {
  const tab = browser.open({ getToken: () => "secret, and no JWT" });
  await clock.pass(100);
  assert.match(tab.errors[0].message, /getToken gave no JWT/);
  assert.doesNotMatch(JSON.stringify([tab.errors.map(String), tab.states]), /secret/);
});

test("a socket that died without a word is found, and nothing is missed", async () => {
  const tab = await live();
  hub.freeze();
  hub.publish();
  await clock.pass(45_000);
  assert.equal(tab.inbox.state.name, "live");
  assert.deepEqual(tab.told, [1]);
  assert.equal(hub.opened.length, 2);
});

test("a hub that answers is not left, be it that it doesn't know the question", async () => {
  const tab = await live();
  await clock.pass(600_000);
  hub.knowsPing = false;
  await clock.pass(600_000);
  assert.equal(hub.opened.length, 1);
  assert.deepEqual(tab.errors, []);
});

test("after the computer's sleep a dead socket is found within seconds", async () => {
  const tab = await live();
  hub.freeze();
  clock.sleep(3_600_000);
  hub.publish();
  await clock.pass(12_000);
  assert.deepEqual(tab.told, [1]);
});

test("when the network is back it doesn't wait on", async () => {
  const tab = await live();
  Object.assign(hub, { up: false, restUp: false });
  tab.online = false;
  hub.freeze();
  tab.wake();
  await clock.pass(60_000);
  assert.equal(tab.inbox.state.name, "offline");
  await clock.pass(600_000);
  Object.assign(hub, { up: true, restUp: true });
  tab.online = true;
  tab.wake();
  await clock.pass(1100);
  assert.equal(tab.inbox.state.name, "live");
});

test("what an overloaded hub asked to wait for isn't cut short", async () => {
  const tab = await live();
  hub.close(1013, "overloaded");
  const { retryIn } = tab.inbox.state;
  tab.wake();
  await clock.pass(retryIn - 1);
  assert.equal(hub.opened.length, 1);
});

test("a hub that is away and one that doesn't allow the page's origin are distinguished", async () => {
  for (const [how, code, message] of [
    [{ up: false, restUp: false }, "unreachable", /can't be reached/],
    [{ up: false, foreign: true }, "foreign_origin", /ALLOWED_ORIGINS/],
  ]) {
    Object.assign(hub, { up: true, restUp: true, foreign: false }, how);
    const tab = browser.open();
    await clock.pass(5000);
    assert.equal(tab.errors[0].code, code);
    assert.match(tab.inbox.state.reason, message);
    tab.inbox.close();
  }
});

test("a history that can't be loaded is loaded later", async () => {
  hub.publish(2);
  hub.restUp = false;
  const tab = browser.open();
  await clock.pass(5000);
  assert.equal(tab.errors[0].message, "https://hub.example can't be reached");
  hub.publish(2);
  hub.restUp = true;
  await clock.pass(40_000);
  assert.deepEqual(seqs(tab), [4, 3, 2, 1]);
  assert.equal(hub.sockets.size, 1);
});

test("marking read, all read, removing: here at once, and on the hub", async () => {
  hub.publish(4);
  const tab = await live();
  const [first] = tab.inbox.list();
  await during(tab.inbox.markRead(4));
  assert.equal(tab.inbox.list()[0].is_read, true);
  assert.equal(first.is_read, false, "what was given away stays as it was");
  await during(tab.inbox.remove(3));
  assert.deepEqual(seqs(tab), [4, 2, 1]);
  assert.equal(tab.inbox.unreadCount(), 2);
  await during(tab.inbox.markAllRead());
  assert.equal(tab.inbox.unreadCount(), 0);
  assert.equal(hub.unread, 0);
  await during(tab.inbox.remove(3));
  await during(tab.inbox.reportClick(2, "pay"));
  assert.deepEqual(hub.clicks, [[2, "pay"]]);
  assert.equal(hub.requests.at(-1), "PATCH /2/users/user/clicked");
  await assert.rejects(during(tab.inbox.markRead(3)), { name: "InboxError", status: 404, code: "no_such_notification" });
});

/** What a call gives, when the clock has let it. */
async function during(call) {
  const [result] = await Promise.all([call.then(() => {}, (error) => error), clock.pass(500)]);
  if (result) throw result;
}

test("older ones are loaded page by page, and the count is right all the way", async () => {
  hub.publish(120);
  hub.read(1);
  const tab = await live();
  assert.deepEqual([tab.inbox.list().length, tab.inbox.hasMore, tab.inbox.unreadCount()], [50, true, 119]);
  hub.read(2);
  await clock.pass(100);
  assert.equal(tab.inbox.unreadCount(), 118);
  await during(tab.inbox.loadMore());
  await during(tab.inbox.loadMore());
  await during(tab.inbox.loadMore());
  assert.deepEqual([tab.inbox.list().length, tab.inbox.hasMore, tab.inbox.unreadCount()], [120, false, 118]);
  hub.close(1006);
  await clock.pass(2000);
  assert.equal(tab.inbox.list().length, 120, "a client that reconnects has loaded as much as before");
});

test("a listener that throws harms no other", async () => {
  const tab = browser.open();
  const told = [];
  tab.inbox.on("notification", () => {
    throw new Error("a listener's own");
  });
  const stop = tab.inbox.on("notification", ({ seq }) => told.push(seq));
  await clock.pass(1000);
  hub.publish();
  await clock.pass(100);
  assert.deepEqual(tab.reported.map(({ message }) => message), ["a listener's own"]);
  stop();
  hub.publish();
  await clock.pass(100);
  assert.deepEqual(told, [1]);
});

test("closing leaves nothing behind", async () => {
  const tab = await live();
  tab.inbox.close();
  await clock.pass(600_000);
  assert.deepEqual(tab.inbox.state, { name: "closed", code: 1000, reason: "closed by this page" });
  assert.equal(hub.sockets.size, 0);
  assert.equal(hub.opened.length, 1);
  assert.equal(tab.wakes.size, 0);
});

test("an inbox that was erased and has grown beyond the old seq starts again all the same", async () => {
  hub.publish(3);
  for (const id of [1, 2, 3]) hub.read(id);
  const tab = await live();
  hub.close(1006);
  hub.erase();
  hub.publish(5);
  await clock.pass(5000);
  assert.deepEqual(seqs(tab), [5, 4, 3, 2, 1]);
  assert.equal(tab.inbox.unreadCount(), 5);
  hub.read(1002);
  hub.publish();
  await clock.pass(1000);
  assert.deepEqual([tab.told.at(-1), tab.inbox.unreadCount()], [6, 5]);
});

test("what isn't the hub's answer is an InboxError, and tried again", async () => {
  hub.publish(60);
  const tab = await live();
  hub.portal = true;
  await assert.rejects(Promise.all([tab.inbox.loadMore(), clock.pass(100)]), { name: "InboxError", status: 0 });
  await assert.rejects(Promise.all([tab.inbox.markAllRead(), clock.pass(100)]), { name: "InboxError", status: 0 });
  hub.close(1006);
  await clock.pass(2000);
  assert.match(tab.inbox.state.reason, /proxy/);
  hub.portal = false;
  await clock.pass(30_000);
  assert.equal(tab.inbox.state.name, "live");
});
