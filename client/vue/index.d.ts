/** Vue 3: `import { NotificationBell, useInbox } from "notification-hub-client/vue"`. */
import type { DefineComponent, MaybeRefOrGetter, Ref, ShallowRef } from "vue";
import type { BellTexts, GetToken, NotificationBellEventMap } from "../bell.js";
import type { Inbox, Notification, State, View } from "../index.js";
import type { NotificationPreferencesEventMap, PreferencesTexts } from "../preferences.js";

export interface InboxOptions {
  /** The hub's address; this page's own origin when it is missing. */
  url?: string | URL;
  /** Whose inbox. Nothing is connected without it, as before a sign-in. */
  userId?: string;
  getToken?: GetToken;
  locale?: string;
}

/** Options for the composables and elements inside this component, which then share one inbox. */
export function provideInbox(options: MaybeRefOrGetter<InboxOptions>): void;

export interface InboxOfComposable {
  /** To mark, archive, load older ones; undefined until the component is mounted, and without a user. */
  inbox: ShallowRef<Inbox | undefined>;
  notifications: ShallowRef<readonly Notification[]>;
  unreadCount: Ref<number>;
  state: ShallowRef<State>;
}

/** Connected while a component is mounted that uses it. Without options those of `provideInbox`. */
export function useInbox(options?: MaybeRefOrGetter<InboxOptions>, view?: MaybeRefOrGetter<View>): InboxOfComposable;
export function useUnreadCount(options?: MaybeRefOrGetter<InboxOptions>): Ref<number>;

interface CommonProps {
  url?: string;
  userId?: string;
  lang?: string;
  theme?: "light" | "dark";
  getToken?: GetToken;
}

export interface NotificationBellProps extends CommonProps {
  quiet?: boolean;
  preferencesUrl?: string;
  titleBadge?: boolean;
  /** Ids with a tab each, such as `food,payments`. */
  categories?: string;
  /** What the badges count. */
  badge?: "unread" | "unseen";
  /** Three or more notifications of one day that belong together are one row, which expands. */
  groupBy?: "group" | "thread" | "category";
  faviconBadge?: boolean;
  /** The address of a sound for what is new. */
  sound?: string;
  browserNotifications?: boolean;
  inbox?: Inbox;
  texts?: BellTexts;
  open?: boolean;
  onNotificationopen?: (event: NotificationBellEventMap["notificationopen"]) => void;
  onNotificationaction?: (event: NotificationBellEventMap["notificationaction"]) => void;
  onBelltoggle?: (event: NotificationBellEventMap["belltoggle"]) => void;
  onReconnect?: (event: NotificationBellEventMap["reconnect"]) => void;
}

/** Without `userId` and `inbox` it shows the inbox of `provideInbox`. */
export const NotificationBell: DefineComponent<NotificationBellProps>;

export interface NotificationPreferencesProps extends CommonProps {
  serviceWorker?: string;
  texts?: PreferencesTexts;
  onPreferenceschange?: (event: NotificationPreferencesEventMap["preferenceschange"]) => void;
}

export const NotificationPreferences: DefineComponent<NotificationPreferencesProps>;
