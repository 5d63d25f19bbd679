/** The elements in JSX, for React 19: `import "notification-hub-client/jsx"`, which also loads the bell. */
import type { DetailedHTMLProps, HTMLAttributes } from "react";
import type {
  GetToken,
  NotificationBell,
  NotificationBellAttributes,
  NotificationBellEventMap,
} from "./bell.js";
import type {
  NotificationPreferences,
  NotificationPreferencesAttributes,
  NotificationPreferencesEventMap,
} from "./preferences.js";

type Props = DetailedHTMLProps<HTMLAttributes<NotificationBell>, NotificationBell> & NotificationBellAttributes;
type PreferencesProps = DetailedHTMLProps<HTMLAttributes<NotificationPreferences>, NotificationPreferences> &
  NotificationPreferencesAttributes;

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "notification-bell": Props & {
        getToken?: GetToken;
        onnotificationopen?: (event: NotificationBellEventMap["notificationopen"]) => void;
        onnotificationaction?: (event: NotificationBellEventMap["notificationaction"]) => void;
        onbelltoggle?: (event: NotificationBellEventMap["belltoggle"]) => void;
        onreconnect?: (event: NotificationBellEventMap["reconnect"]) => void;
      };
      "notification-preferences": PreferencesProps & {
        getToken?: GetToken;
        onpreferenceschange?: (event: NotificationPreferencesEventMap["preferenceschange"]) => void;
      };
    }
  }
}
