import { defineComponent, h, inject, onBeforeUnmount, onMounted, provide, ref, shallowRef, toValue, watch } from "vue";
import { share } from "../src/bell/shared.js";
import "../src/bell.js";
import "../src/preferences.js";

/**
 * @typedef {import("./index.d.ts").InboxOptions} Options
 * @typedef {import("vue").MaybeRefOrGetter<Options>} Given
 */

/** @type {import("vue").InjectionKey<Given>} */
const KEY = Symbol("notification-hub-client");
const IDLE = /** @type {import("../index.d.ts").State} */ ({ name: "idle" });

/** @param {Given} options for all composables and elements inside this component */
export function provideInbox(options) {
  provide(KEY, options);
}

/**
 * @param {Given} [options] those that are provided when they are missing
 * @param {import("vue").MaybeRefOrGetter<import("../index.d.ts").View>} [view]
 */
export function useInbox(options = inject(KEY, {}), view = "inbox") {
  const inbox = shallowRef(/** @type {import("../index.d.ts").Inbox | undefined} */ (undefined));
  const notifications = shallowRef(/** @type {readonly import("../index.d.ts").Notification[]} */ ([]));
  const unreadCount = ref(0);
  const state = shallowRef(IDLE);
  let leave = () => {};

  function show() {
    notifications.value = inbox.value?.list(toValue(view)) ?? [];
    unreadCount.value = inbox.value?.unreadCount() ?? 0;
    state.value = inbox.value?.state ?? IDLE;
  }

  function join() {
    leave();
    leave = () => {};
    inbox.value = undefined;
    const { url, userId, locale, getToken } = toValue(options);
    if (userId && getToken) {
      const seat = share({}, new URL(url ?? "", location.href).origin, userId, locale);
      const leaving = [seat.inbox.on("change", show), seat.inbox.on("state", show), seat.leave];
      seat.start(() => toValue(options).getToken?.() ?? "");
      inbox.value = seat.inbox;
      leave = () => leaving.forEach((each) => each());
    }
    show();
  }

  onMounted(() => { // never on a server
    watch(() => {
      const { url, userId, locale, getToken } = toValue(options);
      return [String(url), userId, locale, Boolean(getToken)].join("\n");
    }, join, { immediate: true });
    watch(() => toValue(view), show);
  });
  onBeforeUnmount(() => leave());
  return { inbox, notifications, unreadCount, state };
}

/** @param {Given} [options] */
export function useUnreadCount(options) {
  return useInbox(options).unreadCount;
}

const COMMON = { url: String, userId: String, lang: String, theme: String, getToken: Function, texts: Object };

export const NotificationBell = /** @type {any} */ (defineComponent({
  name: "NotificationBell",
  props: {
    ...COMMON,
    quiet: Boolean,
    preferencesUrl: String,
    titleBadge: Boolean,
    categories: String,
    badge: String,
    groupBy: String,
    faviconBadge: Boolean,
    sound: String,
    browserNotifications: Boolean,
    inbox: Object,
    open: Boolean,
  },
  setup(props) {
    const provided = inject(KEY, {});
    const { inbox } = useInbox(() => (props.userId || props.inbox ? {} : toValue(provided)));
    return () => h("notification-bell", {
      ...attributes(props),
      "preferences-url": props.preferencesUrl,
      categories: props.categories,
      badge: props.badge,
      "group-by": props.groupBy,
      sound: props.sound,
      quiet: given(props.quiet),
      "title-badge": given(props.titleBadge),
      "favicon-badge": given(props.faviconBadge),
      "browser-notifications": given(props.browserNotifications),
      ".inbox": props.inbox ?? inbox.value,
      ".open": props.open,
    });
  },
}));

export const NotificationPreferences = /** @type {any} */ (defineComponent({
  name: "NotificationPreferences",
  props: { ...COMMON, serviceWorker: String },
  setup(props) {
    const provided = inject(KEY, {});
    return () => h("notification-preferences", {
      ...attributes(props.userId ? props : { ...props, ...toValue(provided) }),
      "service-worker": props.serviceWorker,
    });
  },
}));

/** @param {boolean | undefined} on */
function given(on) {
  return on ? "" : undefined;
}

/**
 * What both elements take. A name that begins with a dot is a property's.
 *
 * @param {Record<string, any>} props
 */
function attributes({ url, userId, lang, theme, getToken, texts }) {
  return { url, "user-id": userId, lang, theme, ".getToken": getToken, ".texts": texts };
}
