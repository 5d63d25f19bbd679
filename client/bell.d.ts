import type { Action, Inbox, Notification } from "./index.js";

export type GetToken = () => string | Promise<string>;

/** What `<notification-bell>` takes as attributes; for JSX and templates. */
export interface NotificationBellAttributes {
  /** The hub's address; this page's own origin when it is missing. */
  url?: string;
  /** Whose inbox. Bells with the same hub, user and language share one. */
  "user-id"?: string;
  /** `vi`, `en` or `ru`; else the nearest `lang` around it, the document's, the browser's, English. */
  lang?: string;
  /** `light` or `dark`; as the system is set when it is missing. */
  theme?: "light" | "dark";
  /** No toasts: what is new shows in the badge and the list, and is read out. */
  quiet?: boolean | "";
  /** Where the link at the list's foot leads: the page with the person's preferences. No link without it. */
  "preferences-url"?: string;
  /** The number of unread ones stands before the page's title, such as `(3) Kitchen`. */
  "title-badge"?: boolean | "";
  /** What the badges count: `unread`, or `unseen`, what came after the list was last opened on any device. */
  badge?: "unread" | "unseen";
  /** Ids of categories with a tab each, such as `food,payments`. */
  categories?: string;
  /**
   * What belongs together is one row that expands: three or more notifications of one day with the same `group_id`
   * (`group`), `thread_key` (`thread`) or category. Each by itself when it is missing.
   */
  "group-by"?: "group" | "thread" | "category";
  /** A dot on the page's icon while the badge counts something. */
  "favicon-badge"?: boolean | "";
  /** The address of a sound for what is new. */
  sound?: string;
  /** A notification of the browser's for what is new while the page is hidden. A click on the bell asks for the permission. */
  "browser-notifications"?: boolean | "";
}

export interface NotificationBellEventMap extends HTMLElementEventMap {
  /** Somebody chose a notification, in the list or as a toast. Unless it is prevented it becomes read, and its `url` is followed. */
  notificationopen: CustomEvent<Notification>;
  /** Somebody chose an action. Unless it is prevented the notification becomes read, and the action's `url` is followed. */
  notificationaction: CustomEvent<{ readonly notification: Notification; readonly action: Action }>;
  /** The list opened or closed. */
  belltoggle: CustomEvent<boolean>;
  /** Somebody wants to connect again after the end. Unless it is prevented the inbox does, and asks `getToken`. */
  reconnect: CustomEvent<undefined>;
}

/** A text with a number, by the plural category (`Intl.PluralRules`) of the number, which replaces `{n}`. */
export interface PluralForms {
  zero?: string;
  one?: string;
  two?: string;
  few?: string;
  many?: string;
  other: string;
}

/** What the bell says, in any language. What is missing is said in English, Russian or Vietnamese. */
export interface BellTexts {
  /** The language (BCP 47): of numbers and times, and of a list that runs from right to left. */
  lang?: string;
  title?: string;
  unread?: PluralForms;
  fresh?: PluralForms;
  isUnread?: string;
  readAll?: string;
  read?: string;
  remove?: string;
  close?: string;
  more?: string;
  less?: string;
  success?: string;
  warning?: string;
  critical?: string;
  loading?: string;
  older?: string;
  empty?: string;
  emptyHint?: string;
  waiting?: string;
  offline?: string;
  signedOut?: string;
  forbidden?: string;
  ended?: string;
  connect?: string;
  failed?: string;
  removed?: string;
  allRead?: string;
  tabAll?: string;
  tabUnread?: string;
  tabArchive?: string;
  unreadAgain?: string;
  archive?: string;
  archiveAll?: string;
  snooze?: string;
  snoozed?: string;
  anotherTime?: string;
  inAnHour?: string;
  tomorrow?: string;
  nextWeek?: string;
  unarchive?: string;
  archived?: string;
  unarchived?: string;
  undo?: string;
  emptyUnread?: string;
  emptyArchive?: string;
  settings?: string;
  /** The heading of a group: `{n}` are in it, `{name}` is the group's. */
  things?: PluralForms;
  /** The heading of a thread: `{name}` is its newest title, `{n}` is the number of the others. */
  andMore?: PluralForms;
  markedRead?: string;
  markedUnread?: string;
  /** Names of the attribute's `categories`, by their ids; otherwise the hub's. */
  categories?: Record<string, string>;
}

/** A bell with the number of unread ones, the list below it, and a toast for what is new. */
export class NotificationBell extends HTMLElement {
  /** For the inbox that the bell makes from its attributes. One of the bells that share it has to have it. */
  getToken: GetToken | undefined;
  /** The inbox that is shown. One that is given goes before the attributes, and is opened and closed by who gave it. */
  get inbox(): Inbox | undefined;
  set inbox(inbox: Inbox | undefined);
  /** Texts of the page's own, such as those of a JSON file in a language that the bell doesn't speak. */
  texts: BellTexts | undefined;
  /** Whether the list is open. */
  open: boolean;

  addEventListener<Name extends keyof NotificationBellEventMap>(
    name: Name,
    listener: (this: NotificationBell, event: NotificationBellEventMap[Name]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    name: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Name extends keyof NotificationBellEventMap>(
    name: Name,
    listener: (this: NotificationBell, event: NotificationBellEventMap[Name]) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    name: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | EventListenerOptions,
  ): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "notification-bell": NotificationBell;
  }
}
