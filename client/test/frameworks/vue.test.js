/** The Vue components and composables, on a server and in a page. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { newHub, until } from "./page.js";

import { createApp, createSSRApp, h, ref } from "vue";
import { renderToString } from "vue/server-renderer";
import { NotificationBell, NotificationPreferences, provideInbox, useInbox, useUnreadCount } from "../../vue/index.js";

const ME = { userId: "user", url: "https://hub.example", locale: "en" };
const List = {
  props: ["options"],
  setup({ options }) {
    const { notifications, state } = useInbox(options);
    return () => h("ul", { "data-state": state.value.name }, notifications.value.map(({ id, title }) => h("li", { key: id }, title)));
  },
};
const Count = {
  setup() {
    const count = useUnreadCount();
    return () => h("b", count.value);
  },
};
const page = (options, ...children) => ({
  setup() {
    provideInbox(options);
    return () => h("main", children.map((child) => (Array.isArray(child) ? h(...child) : h(child))));
  },
});

function mounted(component) {
  const root = document.createElement("div");
  document.body.append(root);
  const app = createApp(component);
  app.mount(root);
  return { root, app };
}

test("on a server it is an empty list and a bell to be filled", async () => {
  const html = await renderToString(createSSRApp(page({ ...ME, getToken: () => "" }, List, Count, [NotificationBell, { titleBadge: true, groupBy: "thread" }])));
  assert.match(html, /<ul data-state="idle"><\/ul><b>0<\/b><notification-bell group-by="thread" title-badge(="")?/);
});

test("one connection serves all composables, until the last is gone", async () => {
  const hub = newHub();
  hub.publish(2);
  const { root, app } = mounted(page({ ...ME, getToken: () => hub.token() }, List, Count, NotificationBell));
  await until(() => root.querySelector("ul").dataset.state === "live");
  assert.equal(hub.live.length, 1);
  assert.equal(root.querySelectorAll("li").length, 2);
  assert.equal(root.querySelector("notification-bell").inbox.list().length, 2, "the bell shows the same inbox");
  hub.publish();
  await until(() => root.querySelector("b").textContent === "3");
  app.unmount();
  await until(() => hub.live.length === 0);
});

test("another user's inbox takes the place of the first, and none is shown after a sign-out", async () => {
  const hub = newHub();
  hub.publish();
  const user = ref("one");
  const { root, app } = mounted({ setup: () => () => h(List, { options: () => ({ ...ME, userId: user.value, getToken: () => hub.token() }) }) });
  await until(() => root.querySelector("li"));
  user.value = "two";
  await until(() => hub.requests.some((request) => request.includes("/users/two")) && root.querySelector("li"));
  user.value = undefined;
  await until(() => !root.querySelector("li") && hub.live.length === 0);
  app.unmount();
});

test("the elements get properties and events", async () => {
  const heard = [];
  const texts = { title: "Mine" };
  const props = { texts, preferencesUrl: "/settings", theme: "dark", class: "b", onBelltoggle: ({ detail }) => heard.push(detail) };
  const { root, app } = mounted(page({}, [NotificationBell, props], [NotificationPreferences, { texts }]));
  const [bell, preferences] = root.firstChild.children;
  assert.deepEqual([bell.texts, preferences.texts], [texts, texts]);
  assert.deepEqual(bell.getAttributeNames().sort(), ["class", "preferences-url", "theme"]);
  bell.dispatchEvent(new CustomEvent("belltoggle", { detail: true }));
  assert.deepEqual(heard, [true]);
  app.unmount();
});
