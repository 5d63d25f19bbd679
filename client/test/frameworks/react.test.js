/** The React components and hooks, on a server and in a page. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { newHub, until } from "./page.js";

import { StrictMode, act, createElement as h } from "react";
import { createRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { InboxProvider, NotificationBell, NotificationPreferences, useInbox, useUnreadCount } from "../../react/index.js";

const ME = { userId: "user", url: "https://hub.example", locale: "en" };

function List({ options, view }) {
  const { notifications, state } = useInbox(options, view);
  return h("ul", { "data-state": state.name }, notifications.map(({ id, title }) => h("li", { key: id }, title)));
}

function Count() {
  return h("b", null, useUnreadCount());
}

async function mounted(element) {
  const root = document.createElement("div");
  document.body.append(root);
  const made = createRoot(root);
  await act(() => made.render(element));
  // React 18 renders nothing before `act` ends
  const settle = async (holds) => {
    for (let looks = 0; !holds(); looks++) {
      assert.ok(looks < 500, `never: ${holds}`);
      await act(() => new Promise((resolve) => setTimeout(resolve, 5)));
    }
  };
  return { root, settle, render: (next) => act(() => made.render(next)), unmount: () => act(() => made.unmount()) };
}

test("on a server it is an empty list and a bell to be filled", () => {
  const page = h(InboxProvider, { ...ME, getToken: () => "" }, h(List), h(Count), h(NotificationBell, { titleBadge: true, quiet: false, groupBy: "group", className: "b" }));
  const html = renderToString(page);
  assert.match(html, /<ul data-state="idle"><\/ul><b>0<\/b>/);
  assert.match(html, /<notification-bell title-badge="" group-by="group" class="b"><\/notification-bell>/);
});

test("in StrictMode one connection serves all hooks, until the last is gone", async () => {
  const hub = newHub();
  hub.publish(2);
  const options = { ...ME, getToken: () => hub.token() };
  const page = h(StrictMode, null, h(InboxProvider, options, h(List), h(Count), h(NotificationBell)));
  const { root, settle, unmount } = await mounted(page);
  await settle(() => root.querySelector("ul").dataset.state === "live");
  assert.equal(hub.live.length, 1);
  assert.equal(root.querySelectorAll("li").length, 2);
  assert.equal(root.querySelector("notification-bell").inbox.list().length, 2, "the bell shows the same inbox");
  hub.publish();
  await settle(() => root.querySelector("b").textContent === "3");
  assert.equal(root.querySelector("li").textContent, "title 3 in en");
  await unmount();
  await until(() => hub.live.length === 0);
});

test("another user's inbox takes the place of the first, and none is shown after a sign-out", async () => {
  const hub = newHub();
  hub.publish();
  const options = (userId) => ({ ...ME, userId, getToken: () => hub.token() });
  const { root, settle, render, unmount } = await mounted(h(List, { options: options("one") }));
  await settle(() => root.querySelector("li"));
  await render(h(List, { options: options("two") }));
  await settle(() => hub.requests.some((request) => request.includes("/users/two")) && root.querySelector("li"));
  await render(h(List, { options: {} }));
  await settle(() => !root.querySelector("li"));
  await until(() => hub.live.length === 0);
  await unmount();
});

test("the elements get properties and events, whatever React's version", async () => {
  const heard = [];
  const element = { current: null };
  const texts = { title: "Mine" };
  const props = { texts, preferencesUrl: "/settings", theme: "dark", ref: element, onBellToggle: ({ detail }) => heard.push(detail) };
  const { root, render, unmount } = await mounted(h("main", null, h(NotificationBell, props), h(NotificationPreferences, { texts })));
  const [bell, preferences] = root.firstChild.children;
  assert.deepEqual([element.current === bell, bell.texts, preferences.texts], [true, texts, texts]);
  assert.deepEqual(bell.getAttributeNames().sort(), ["preferences-url", "theme"]);
  await render(h("main", null, h(NotificationBell, { ...props, onBellToggle: () => heard.push("latest") })));
  bell.dispatchEvent(new CustomEvent("belltoggle", { detail: true }));
  await unmount();
  bell.dispatchEvent(new CustomEvent("belltoggle", { detail: true }));
  assert.deepEqual(heard, ["latest"]);
});
