/** The types as a TypeScript project meets them: `npm run types` fails where a comment expects an error and none comes. */
import { createInbox, InboxError, type Notification, type State } from "notification-hub-client";
import { disablePush, enablePush, isPushSupported, markReadOnClick } from "notification-hub-client/push";
import { NotificationPreferences, type PreferencesTexts } from "notification-hub-client/preferences";
import { NotificationBell, type NotificationBellAttributes } from "notification-hub-client/bell";

const inbox = createInbox({ url: location.origin, userId: "1", getToken: async () => "token" });
const titles: string[] = inbox.list().map(({ title }: Notification) => title);
const stop: () => void = inbox.on("notification", ({ title }) => titles.push(title));
inbox.on("change", (changed) => changed.unreadCount().toFixed());
inbox.on("state", (state: State) => {
  if (state.name === "waiting") state.retryIn.toFixed();
  if (state.name === "closed") state.reason.trim();
  // @ts-expect-error only a lost connection is tried again
  state.retryIn;
});
inbox.markRead(1).catch((error: unknown) => error instanceof InboxError && error.status.toFixed());
// @ts-expect-error ids are numbers
inbox.remove("1");
stop();

// @ts-expect-error no such event
inbox.on("notifications", () => {});
// @ts-expect-error a token is needed
createInbox({ url: "https://app.example.com", userId: "1" });
// @ts-expect-error lists are not changed in place
inbox.list().pop();

const bell: NotificationBell | null = document.querySelector("notification-bell");
document.createElement("notification-bell").getToken = () => "token";
if (bell) {
  bell.inbox = inbox;
  bell.open = true;
  bell.addEventListener("notificationopen", ({ detail }) => detail.title.trim());
  bell.addEventListener("belltoggle", ({ detail: open }) => open === true);
  bell.addEventListener("click", ({ clientX }) => clientX.toFixed());
  // @ts-expect-error an inbox, not its options
  bell.inbox = { url: "https://app.example.com" };
}
const attributes: NotificationBellAttributes = { "user-id": "1", lang: "vi", theme: "dark", "group-by": "thread" };
// @ts-expect-error no such theme
attributes.theme = "black";
// @ts-expect-error nothing is grouped by it
attributes["group-by"] = "sender";

const push = { url: location.origin, getToken: () => "token" };
const device: Promise<string> = enablePush({ ...push, serviceWorker: "/worker.js" });
disablePush(push).then(() => device.then((id) => id.trim()));
if (isPushSupported()) markReadOnClick(inbox)();
// @ts-expect-error a token is needed
enablePush({ url: location.origin });

inbox.preferences.set({ choices: { "food.email": false }, profile: { locale: "vi", quiet_from: null } }).then(
  ({ preferences, profile }) => [preferences.find(({ by }) => by === "person")?.enabled === true, profile.email?.trim()],
);
inbox.preferences.get().then(({ categories: [first] }) => first?.name.trim());
inbox.preferences.set({ digests: { "food.email": "daily at 18:00", "food.sms": null } });
inbox.addresses.add("email", "mai@example.com").then(({ id }) => inbox.addresses.confirm(id, "482913"));
// @ts-expect-error codes are texts
inbox.addresses.confirm("a", 482913);
// @ts-expect-error on, off or the default
inbox.preferences.set({ choices: { "food.email": "on" } });
const settings: NotificationPreferences = document.createElement("notification-preferences");
const arabic: PreferencesTexts = { lang: "ar", title: "إعدادات الإشعارات", categories: { food: "الطعام" } };
Object.assign(settings, { getToken: () => "token", texts: arabic });
settings.addEventListener("preferenceschange", ({ detail }) => detail.profile.locale?.trim());
