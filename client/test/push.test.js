/** Web push: what is asked of the browser and the hub, and what the service worker does with what is pushed. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { disablePush, enablePush, isPushSupported, markReadOnClick } from "../src/push.js";

const KEY = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const ENDPOINT = "https://push.example.com/send/1";
const HUB = "https://hub.example.com";
const options = { url: `${HUB}/page`, getToken: async () => "token" };

class Registration {
  scope = "https://app.example.com/";
  active = { posted: [], postMessage: (message) => this.active.posted.push(message) };
  pushManager = {
    current: null,
    getSubscription: async () => this.pushManager.current,
    subscribe: async (wanted) => (this.pushManager.current = new Subscription(this.pushManager, wanted)),
  };
}

class Subscription {
  endpoint = ENDPOINT;

  constructor(manager, { applicationServerKey, userVisibleOnly }) {
    this.manager = manager;
    this.options = { applicationServerKey: applicationServerKey.buffer, userVisibleOnly };
  }

  async unsubscribe() {
    this.manager.current = null;
    return true;
  }

  toJSON() {
    return { endpoint: this.endpoint, keys: { p256dh: KEY, auth: "BTBZMqHH6r4Tts7J_aSIgg" } };
  }
}

let registration, scripts, requests, listeners, answers;

/** @param {Partial<{ permission: string, answer: string, active: boolean }>} given */
function browser({ permission = "default", answer = "granted", active = true } = {}) {
  registration = new Registration();
  [scripts, requests, listeners] = [[], [], new Set()];
  answers = { "GET /key": { public_key: KEY }, "POST ": { id: "device" }, "GET ": [], "DELETE /7": {} };
  const serviceWorker = {
    register: async (script) => (scripts.push(script), registration),
    getRegistration: async () => registration,
    ready: Promise.resolve(registration),
    startMessages() {},
    addEventListener: (_, listener) => listeners.add(listener),
    removeEventListener: (_, listener) => listeners.delete(listener),
  };
  const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  define("navigator", { serviceWorker, userActivation: { isActive: active } });
  define("location", { href: "https://app.example.com/page" });
  define("PushManager", class {});
  define("ServiceWorkerRegistration", Registration);
  const asked = { times: 0 };
  define("Notification", { permission, requestPermission: async () => (asked.times++, answer) });
  define("fetch", async (address, { method, headers, body }) => {
    const path = address.replace(`${HUB}/api/v2/notification-service/devices`, "");
    requests.push([method, path, headers.Authorization, body]);
    const said = answers[`${method} ${path}`];
    if (said instanceof Error) throw said;
    return { ok: !said?.code, status: said?.code ? 409 : 200, json: async () => said };
  });
  return asked;
}

beforeEach(() => void browser());

test("a browser subscribes with the hub's key and is registered", async () => {
  assert.equal(await enablePush(options), "device");
  const { options: wanted } = registration.pushManager.current;
  assert.equal(Buffer.from(wanted.applicationServerKey).toString("base64url"), KEY);
  assert.equal(wanted.userVisibleOnly, true);
  assert.deepEqual(scripts, ["/service-worker.js"]);
  const [[, keyPath], [method, path, authorization, body]] = requests;
  assert.deepEqual([keyPath, method, path, authorization], ["/key", "POST", "", "Bearer token"]);
  assert.deepEqual(JSON.parse(body), registration.pushManager.current.toJSON());
});

test("one that is subscribed keeps its subscription, unless the hub has another key", async () => {
  await enablePush(options);
  const first = registration.pushManager.current;
  await enablePush(options);
  assert.equal(registration.pushManager.current, first);
  answers["GET /key"] = { public_key: KEY.replace("BCV", "BCW") };
  await enablePush(options);
  assert.notEqual(registration.pushManager.current, first);
});

test("the permission is asked for in a click only, and a refusal is an error", async () => {
  const asked = browser({ active: false });
  await assert.rejects(enablePush(options), { code: "push_needs_click" });
  assert.equal(asked.times, 0);
  browser({ answer: "denied" });
  await assert.rejects(enablePush(options), { code: "push_denied" });
  assert.deepEqual(requests, []);
  browser({ active: false, permission: "granted" });
  assert.equal(await enablePush(options), "device", "nobody is asked");
});

test("where there is no web push that is said", async () => {
  delete globalThis.PushManager;
  assert.equal(isPushSupported(), false);
  await assert.rejects(enablePush(options), { code: "push_unsupported" });
  await disablePush(options);
});

test("what the hub answers is the error", async () => {
  answers["GET /key"] = { code: "no_web_push", detail: "This hub sends no web push." };
  await assert.rejects(enablePush(options), { code: "no_web_push", status: 409 });
  answers["GET /key"] = new TypeError("failed to fetch");
  await assert.rejects(enablePush(options), { code: "unreachable", status: 0 });
});

test("a worker that is being installed is waited for", async () => {
  const { active } = registration;
  registration.active = null;
  registration.installing = {
    addEventListener(_, changed) {
      registration.active = active;
      changed();
    },
  };
  assert.equal(await enablePush({ ...options, serviceWorker: registration }), "device");
  assert.deepEqual(scripts, []);
});

test("a browser that is signed out is removed from the hub and unsubscribes", async () => {
  await disablePush(options);
  assert.deepEqual(requests, [], "it wasn't subscribed");
  await enablePush(options);
  answers["GET "] = [{ id: "6", endpoint: "https://push.example.com/send/0" }, { id: "7", endpoint: ENDPOINT }];
  await disablePush(options);
  assert.deepEqual(requests.at(-1).slice(0, 2), ["DELETE", "/7"]);
  assert.equal(registration.pushManager.current, null);
});

test("a click marks the notification read, and is reported", async () => {
  const read = [];
  const reported = [];
  const clicks = [];
  const inbox = { markRead: async (id) => void read.push(id), reportClick: async (...click) => void reported.push(click) };
  const stop = markReadOnClick(inbox, (click) => clicks.push(click));
  await Promise.resolve();
  assert.deepEqual(registration.active.posted, [{ type: "hub-push-ask" }]);
  for (const listener of listeners) {
    listener({ data: { type: "hub-push-clicked", notification: 3, action: "retry" } });
    listener({ data: "something else" });
  }
  assert.deepEqual(read, [3]);
  assert.deepEqual(reported, [[3, "retry"]]);
  assert.deepEqual(clicks, [{ notification: 3, action: "retry" }]);
  stop();
  assert.equal(listeners.size, 0);
});

/** What the service worker does: it is loaded once, with these around it. */
const handlers = {};
let shown, pages, opened;

test("the service worker shows what is pushed, and leads to the page", async (t) => {
  globalThis.addEventListener = (name, handler) => (handlers[name] = handler);
  globalThis.registration = {
    scope: "https://app.example.com/shop/",
    showNotification: async (title, rest) => void shown.push({ title, ...rest }),
  };
  globalThis.clients = { matchAll: async () => pages, openWindow: async (address) => void opened.push(address) };
  await import("../src/service-worker.js");
  const during = async (name, event) => {
    [shown, opened] = [[], []];
    const waited = [];
    handlers[name]({ ...event, waitUntil: (work) => waited.push(work) });
    await Promise.all(waited);
  };
  const page = (url) => ({ url, said: [], postMessage: (m) => page.said.push(m), focus: () => opened.push(`focus ${url}`) });
  page.said = [];

  await t.test("a message of the hub", async () => {
    const data = { json: () => ({ title: "T", text: "C", notification: 7 }) };
    await during("push", { data });
    assert.deepEqual(shown, [{ title: "T", body: "C", tag: "hub-7", data: { url: undefined, notification: 7 } }]);
  });

  await t.test("one with buttons and pictures; the next of its thread replaces it", async () => {
    const actions = [{ id: "retry", label: "Pay again", url: "/pay/7" }, { id: "later", label: "Later" }];
    const said = { title: "T", notification: 7, url: "/a", icon: "/i.png", image: "/p.png", thread: "order-7", severity: "critical" };
    await during("push", { data: { json: () => ({ ...said, actions }) } });
    const [{ data, ...rest }] = shown;
    assert.deepEqual(data, { url: "/a", notification: 7, actions });
    assert.deepEqual(rest, {
      title: "T",
      body: "",
      tag: "hub-thread-order-7",
      renotify: true,
      icon: "/i.png",
      image: "/p.png",
      requireInteraction: true,
      actions: [{ action: "retry", title: "Pay again" }, { action: "later", title: "Later" }],
    });
    pages = [];
    const event = { notification: { data, close() {} } };
    await during("notificationclick", { ...event, action: "retry" });
    assert.deepEqual(opened, ["https://app.example.com/pay/7"]);
    await during("notificationclick", { ...event, action: "later" });
    assert.deepEqual(opened, ["https://app.example.com/a"]);
    const heard = [];
    handlers.message({ data: { type: "hub-push-ask" }, source: { postMessage: (message) => heard.push(message) } });
    const click = { type: "hub-push-clicked", notification: 7 };
    assert.deepEqual(heard, [{ ...click, action: "retry" }, { ...click, action: "later" }]);
  });

  await t.test("what it can't read, as each push has to be shown", async () => {
    const data = { json: () => assert.fail("no JSON") };
    for (const each of [null, { data: null }, { data }]) await during("push", { data: each?.data ?? each });
    assert.equal(shown.length, 1);
  });

  const notification = (data) => ({ notification: { data, close() {} } });

  await t.test("a click goes to the page that is open, which hears of it", async () => {
    pages = [page("https://app.example.com/shop/a")];
    await during("notificationclick", notification({ notification: 7 }));
    assert.deepEqual(opened, ["focus https://app.example.com/shop/a"]);
    assert.deepEqual(page.said, [{ type: "hub-push-clicked", notification: 7 }]);
  });

  await t.test("without one a page is opened, which asks what was clicked", async () => {
    pages = [];
    await during("notificationclick", notification({ notification: 8, url: "/orders/8" }));
    assert.deepEqual(opened, ["https://app.example.com/orders/8"]);
    const heard = [];
    const source = { postMessage: (message) => heard.push(message) };
    handlers.message({ data: { type: "hub-push-ask" }, source });
    handlers.message({ data: { type: "hub-push-ask" }, source });
    assert.deepEqual(heard, [{ type: "hub-push-clicked", notification: 8 }]);
  });

  await t.test("no click leads to another origin", async () => {
    for (const url of ["https://evil.example.com/", "javascript:alert(1)", "//evil.example.com", "http://["]) {
      await during("notificationclick", notification({ url }));
      assert.deepEqual(opened, ["https://app.example.com/shop/"]);
    }
  });
});
