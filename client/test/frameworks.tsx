/** The wrappers' types, as a TypeScript project meets them. */
import { useRef } from "react";
import { InboxProvider, NotificationBell, NotificationPreferences, useInbox, useUnreadCount } from "notification-hub-client/react";
import type { NotificationBell as Bell } from "notification-hub-client/bell";
import * as vue from "notification-hub-client/vue";
import { h, ref } from "vue";

export function Page({ userId }: { userId?: string }) {
  const bell = useRef<Bell>(null);
  const { inbox, notifications, state } = useInbox({ userId, getToken: () => "token" }, "archived");
  const count: number = useUnreadCount();
  return (
    <InboxProvider userId={userId} getToken={async () => "token"}>
      <NotificationBell ref={bell} titleBadge groupBy="group" theme="dark" onNotificationOpen={({ detail }) => detail.title.trim()} />
      <NotificationPreferences className="settings" onPreferencesChange={({ detail }) => detail.profile.locale?.trim()} />
      <button onClick={() => inbox?.markAllRead()}>{count.toFixed()}</button>
      {state.name === "closed" && state.reason}
      {notifications.map(({ id, title }) => <p key={id}>{title}</p>)}
    </InboxProvider>
  );
}
// @ts-expect-error no such theme
export const wrong = <NotificationBell theme="black" />;

export const component = {
  setup() {
    const userId = ref("1");
    vue.provideInbox(() => ({ userId: userId.value, getToken: () => "token" }));
    const { notifications, inbox } = vue.useInbox();
    const count = vue.useUnreadCount();
    return () => [
      h(vue.NotificationBell, { titleBadge: true, groupBy: "thread", onNotificationopen: ({ detail }) => detail.title.trim() }),
      h(vue.NotificationPreferences, { theme: "dark" }),
      h("button", { onClick: () => inbox.value?.archive(1) }, count.value.toFixed()),
      notifications.value.map(({ title }) => h("p", title)),
    ];
  },
};
// @ts-expect-error options, not a user's id
vue.useInbox("1");
