/** Web push: `import { enablePush } from "notification-hub-client/push"`. */

export interface PushOptions {
  /** The hub's address, such as `https://app.example.com`. */
  url: string | URL;
  /** A token that holds now. */
  getToken: () => string | Promise<string>;
  /** The address of `src/service-worker.js` on your origin (`/service-worker.js`), or a registration of yours. */
  serviceWorker?: string | URL | ServiceWorkerRegistration;
}

/** What of an inbox is needed: `createInbox` makes one. */
export interface PushInbox {
  markRead(id: number): Promise<void>;
  reportClick?(id: number, action?: string): Promise<void>;
}

/** Whether this browser can take web push on this page. On iOS only a page on the home screen can. */
export function isPushSupported(): boolean;

/**
 * Subscribe this browser and register it with the hub; the answer is the id of the device. It asks for the permission:
 * call it when the user clicks. Rejects with `InboxError`, whose `code` may be `push_unsupported`, `push_needs_click`,
 * `push_denied`, or the hub's.
 */
export function enablePush(options: PushOptions): Promise<string>;

/** Unsubscribe this browser, and remove it from the hub. Call it before the user signs out. */
export function disablePush(options: PushOptions): Promise<void>;

/** A browser that takes web push for the user. */
export interface PushDevice {
  readonly id: string;
  /** When it was first registered. UTC, ends in Z. */
  readonly created_at: string;
  /** Whose push service it uses, such as `Firefox`; otherwise the service's host. */
  readonly browser: string;
  /** Whether it is this one. */
  readonly here: boolean;
}

/** The browsers that take web push for the user; undefined if the hub sends none. */
export function pushDevices(options: PushOptions): Promise<PushDevice[] | undefined>;

/** Remove one of them, be it this one. */
export function removePushDevice(options: PushOptions, device: PushDevice): Promise<void>;

/** A click on a web push: `action` is the id of its button, if it was on one. */
export interface PushClick {
  notification: number;
  action?: string;
}

/** Mark a notification read, and report the click, when its web push is clicked. `clicked` is called for each click. The answer stops it. */
export function markReadOnClick(inbox: PushInbox, clicked?: (click: PushClick) => void): () => void;
