/** A notification of one user. Objects are never changed in place: one that is read is another object. */
export interface Notification {
  readonly id: number;
  readonly group_id: string | null;
  readonly group_name: string | null;
  readonly receiver: string;
  /** UTC, ends in Z. */
  readonly created_at: string;
  readonly template_code: string;
  /** The event's own data. */
  readonly raw_data: Readonly<Record<string, unknown>>;
  readonly is_read: boolean;
  readonly title: string;
  readonly content: string;
  /** Counts 1, 2, 3 … in the inbox; what was deleted is missing. */
  readonly seq: number;
  /** The category of its preferences, such as `payments`. */
  readonly category?: string;
  readonly severity?: "info" | "success" | "warning" | "critical";
  /** Where it leads: an http(s) URL, or a path of this page that begins with one `/`. */
  readonly url?: string;
  /** At most two buttons. */
  readonly actions?: readonly Action[];
  /** The name of an icon (`docs/how-to/sending.md`), or the URL of an image. */
  readonly icon?: string;
  readonly image?: string;
  /** Who did it. */
  readonly actor?: { readonly name: string; readonly avatar?: string };
  /** What it is about: the same in all that belong together. */
  readonly thread_key?: string;
  /** When it vanishes. */
  readonly expires_at?: string;
  /** When one that is snoozed comes back, as a new one. */
  readonly snoozed_until?: string;
}

/** What of an inbox a list shows: all, what is unread of it, or what was archived. */
export type View = "inbox" | "unread" | "archived";

export interface Action {
  readonly id: string;
  readonly label: string;
  /** As the notification's; without it the page does what the button says. */
  readonly url?: string;
}

/** How it stands with the connection that all tabs share. */
export type State =
  | { readonly name: "idle" | "connecting" }
  /** What comes shows at once; where neither WebSocket nor event stream gets through, within ten seconds. */
  | { readonly name: "live"; readonly over: "websocket" | "sse" | "polling" }
  /** Lost; it is tried again in `retryIn` ms. `offline`: the browser has no network at all. */
  | { readonly name: "waiting" | "offline"; readonly code: number; readonly reason: string; readonly retryIn: number }
  /** Ended for good: a close code of 4500 to 4999, an HTTP status (401, 403), or 1000 after `close`. */
  | { readonly name: "closed"; readonly code: number; readonly reason: string };

export interface Events {
  /** A new notification: each once, in rising `seq`, in every tab. */
  notification: Notification;
  /** The list, the number of unread, or both are others now. */
  change: Inbox;
  state: State;
  /** What went wrong and is being fixed; a call that fails rejects instead. */
  error: Error;
}

export interface Options {
  /** The hub's address, such as `https://app.example.com`. Its `ALLOWED_ORIGINS` has to name this page's origin. */
  url: string | URL;
  userId: string;
  /** A token that holds now. Asked at the start, before a token expires, and when the hub refuses one. */
  getToken: () => string | Promise<string>;
  /** The language of what is loaded, and of what comes live: `vi`, `en`, `ru`. Without it each comes as it was stored. */
  locale?: string;
  /** For Node before 22, which has none. */
  WebSocket?: typeof WebSocket;
}

/** A person's profile: in which language, where, and when they are notified. */
export interface Profile {
  locale: string | null;
  /** An IANA name, such as `Asia/Ho_Chi_Minh`. */
  time_zone: string | null;
  /** `22:00`, in the time zone. */
  quiet_from: string | null;
  quiet_until: string | null;
  email: string | null;
  phone: string | null;
}

/** Whether messages of a category are sent over a channel. */
export interface Preference {
  /** `food.email` */
  readonly id: string;
  readonly category: string;
  readonly channel: string;
  readonly enabled: boolean;
  /** Who decided it; `always` can't be changed. */
  readonly by: "person" | "default" | "always";
  /** When messages are sent together, if the person has chosen that: `daily at 18:00`. */
  readonly digest?: string;
}

export interface Preferences {
  readonly profile: Readonly<Profile>;
  readonly preferences: readonly Preference[];
  /** All categories and channels, with their names in the language of `locale`. */
  readonly categories: readonly { readonly id: string; readonly name: string }[];
  readonly channels: readonly { readonly id: string; readonly name: string }[];
}

/** What isn't named stays. */
export interface PreferenceChanges {
  /** By `category.channel`, such as `food.email`; null returns to the default. */
  choices?: Record<string, boolean | null>;
  /** `immediate`, `hourly`, `daily at 18:00` or `weekly on monday at 09:00`, for email and sms; null returns to the operator's. */
  digests?: Record<string, string | null>;
  profile?: Partial<Profile>;
}

/** An address of the person: confirmed, and so that of the profile, or one whose code is still expected. */
export interface ContactAddress {
  readonly id: string;
  readonly channel: "email" | "sms";
  readonly address: string;
  readonly status: "pending" | "confirmed";
  readonly created_at: string;
  /** Until when the code can be used. */
  readonly expires_at: string | null;
}

export interface Inbox {
  readonly state: State;
  /** The person's preferences, which need no connection. Both reject with `InboxError`. */
  readonly preferences: {
    get(): Promise<Preferences>;
    /** All of the changes, or none; resolves to the preferences after them. */
    set(changes: PreferenceChanges): Promise<Preferences>;
  };
  /** The person's addresses, which need no connection either. All reject with `InboxError`. */
  readonly addresses: {
    /** The confirmed ones, and those whose code is still expected. */
    list(): Promise<ContactAddress[]>;
    /** Have a code sent to a new address; at most 5 an hour. */
    add(channel: string, address: string): Promise<ContactAddress>;
    /** The address becomes the profile's. A wrong code rejects with `wrong_code`, a late one with `no_valid_code`. */
    confirm(id: string, code: string): Promise<ContactAddress>;
    /** From the profile as well. */
    remove(id: string): Promise<unknown>;
  };
  /** Whether there are older notifications than those listed. */
  readonly hasMore: boolean;
  /** Start, or start again after `closed`. Does nothing when it runs. */
  connect(): void;
  /** Listen; the answer stops it. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void;
  /** The notifications loaded so far, newest first. The same array until something changes. */
  list(view?: View): readonly Notification[];
  /**
   * Whether a list goes on. The archive is empty until it is asked for, and ends earlier when all are archived, older
   * ones that weren't loaded among them.
   */
  canLoadMore(view?: View): boolean;
  /** Load older ones into the list. Rejects with `InboxError`. */
  loadMore(view?: View): Promise<void>;
  unreadCount(): number;
  /** How many of the unread came after the list was last opened, on any device. */
  unseenCount(): number;
  /** This and the next four reject with `InboxError`: 404 when it is gone, which the list knows then. */
  markRead(id: number): Promise<void>;
  /** 404 also for one that is archived or snoozed, which stays where it is. */
  markUnread(id: number): Promise<void>;
  /** Out of the inbox, which neither lists nor counts it any more. */
  archive(id: number): Promise<void>;
  /** Back to its place in the inbox, also from a snooze. */
  unarchive(id: number): Promise<void>;
  /** Out of the inbox until then, within a year; it comes back as a new one. */
  snooze(id: number, until: Date | string): Promise<void>;
  /** Report that the person followed the link, or with `action`, its id, chose that button: the hub's webhooks say so. */
  reportClick(id: number, action?: string): Promise<void>;
  /** What came after this page last heard stays as it is, in this and the next three. */
  markAllRead(): Promise<void>;
  /** The person looks at the list: nothing of it is unseen any more. */
  markAllSeen(): Promise<void>;
  /** Up to this `seq`, or all that this page has heard of. */
  archiveAll(upTo?: number): Promise<void>;
  /** Delete all of the inbox for good; the archive stays. */
  removeAll(): Promise<void>;
  /** Delete for good. One that is gone already is none to complain about. */
  remove(id: number): Promise<void>;
  /** Leave. Other tabs go on; `connect` comes back. */
  close(): void;
}

/** What the hub answered (`status`, and the `code` of its problem), or that no answer came (`status` 0). */
export class InboxError extends Error {
  readonly status: number;
  readonly code: string;
}

export function createInbox(options: Options): Inbox;
