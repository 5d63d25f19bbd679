import type { GetToken, NotificationBellAttributes } from "./bell.js";
import type { Preferences } from "./index.js";

export type { GetToken };

/** What `<notification-preferences>` takes as attributes; for JSX and templates. */
export interface NotificationPreferencesAttributes extends Pick<NotificationBellAttributes, "url" | "user-id" | "lang" | "theme"> {
  /** The address of `src/service-worker.js` on your own origin, for web push; `/service-worker.js` when it is missing. */
  "service-worker"?: string;
}

export interface NotificationPreferencesEventMap extends HTMLElementEventMap {
  /** A change was saved. */
  preferenceschange: CustomEvent<Preferences>;
}

/** What the element says, in any language. What is missing is said in English, Russian or Vietnamese. */
export interface PreferencesTexts {
  /** The language (BCP 47): of dates, and of a form that runs from right to left. */
  lang?: string;
  /** Names of categories, by their ids; otherwise the hub's. */
  categories?: Record<string, string>;
  /** Names of channels, by their ids; otherwise the hub's. */
  channels?: Record<string, string>;
  title?: string;
  all?: string;
  allHint?: string;
  alwaysOn?: string;
  often?: string;
  oftenHint?: string;
  immediate?: string;
  hourly?: string;
  daily?: string;
  weekly?: string;
  day?: string;
  time?: string;
  quiet?: string;
  quietHint?: string;
  from?: string;
  until?: string;
  zone?: string;
  language?: string;
  anyLanguage?: string;
  addresses?: string;
  change?: string;
  add?: string;
  cancel?: string;
  /** With `{address}`. */
  codeSent?: string;
  confirm?: string;
  send?: string;
  devices?: string;
  enable?: string;
  blocked?: string;
  here?: string;
  since?: string;
  remove?: string;
  saved?: string;
  undo?: string;
  undone?: string;
  failed?: string;
  retry?: string;
  loading?: string;
}

/** A person's preferences, each saved as soon as it is changed. */
export class NotificationPreferences extends HTMLElement {
  getToken: GetToken | undefined;
  /** Texts of the page's own, such as those of a JSON file. */
  texts: PreferencesTexts | undefined;

  addEventListener<Name extends keyof NotificationPreferencesEventMap>(
    name: Name,
    listener: (this: NotificationPreferences, event: NotificationPreferencesEventMap[Name]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    name: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Name extends keyof NotificationPreferencesEventMap>(
    name: Name,
    listener: (this: NotificationPreferences, event: NotificationPreferencesEventMap[Name]) => unknown,
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
    "notification-preferences": NotificationPreferences;
  }
}
