/** React 18 and 19: `import { NotificationBell, useInbox } from "notification-hub-client/react"`. */
import type { ForwardRefExoticComponent, HTMLAttributes, ReactElement, ReactNode, RefAttributes } from "react";
import type { BellTexts, GetToken, NotificationBell as BellElement, NotificationBellEventMap } from "../bell.js";
import type { Inbox, Notification, State, View } from "../index.js";
import type {
  NotificationPreferences as PreferencesElement,
  NotificationPreferencesEventMap,
  PreferencesTexts,
} from "../preferences.js";

export interface InboxOptions {
  /** The hub's address; this page's own origin when it is missing. */
  url?: string | URL;
  /** Whose inbox. Nothing is connected without it, as before a sign-in. */
  userId?: string;
  /** A token that holds now. The one of the latest render is asked. */
  getToken?: GetToken;
  locale?: string;
}

/** Options for the hooks and elements inside, which then share one inbox. */
export function InboxProvider(props: InboxOptions & { children?: ReactNode }): ReactElement;

export interface InboxOfHook {
  /** To mark, archive, load older ones; undefined on a server, in the first render, and without a user. */
  inbox: Inbox | undefined;
  notifications: readonly Notification[];
  unreadCount: number;
  state: State;
}

/** Connected while a component is there that uses it. Without options those of the nearest `InboxProvider`. */
export function useInbox(options?: InboxOptions, view?: View): InboxOfHook;
export function useUnreadCount(options?: InboxOptions): number;

type Attributes<Element> = Omit<HTMLAttributes<Element>, "children">;

export interface NotificationBellProps extends Attributes<BellElement> {
  /** Without it the bell shows the inbox of the nearest `InboxProvider`. */
  userId?: string;
  url?: string;
  lang?: string;
  theme?: "light" | "dark";
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
  getToken?: GetToken;
  inbox?: Inbox;
  texts?: BellTexts;
  open?: boolean;
  onNotificationOpen?: (event: NotificationBellEventMap["notificationopen"]) => void;
  onNotificationAction?: (event: NotificationBellEventMap["notificationaction"]) => void;
  onBellToggle?: (event: NotificationBellEventMap["belltoggle"]) => void;
  onReconnect?: (event: NotificationBellEventMap["reconnect"]) => void;
}

export const NotificationBell: ForwardRefExoticComponent<NotificationBellProps & RefAttributes<BellElement>>;

export interface NotificationPreferencesProps extends Attributes<PreferencesElement> {
  /** Without it the user of the nearest `InboxProvider`. */
  userId?: string;
  url?: string;
  lang?: string;
  theme?: "light" | "dark";
  serviceWorker?: string;
  getToken?: GetToken;
  texts?: PreferencesTexts;
  onPreferencesChange?: (event: NotificationPreferencesEventMap["preferenceschange"]) => void;
}

export const NotificationPreferences: ForwardRefExoticComponent<
  NotificationPreferencesProps & RefAttributes<PreferencesElement>
>;
