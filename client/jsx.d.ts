/** The element in JSX, for React 19: `import "notification-hub-client/jsx"`, which also loads the bell. */
import type { DetailedHTMLProps, HTMLAttributes } from "react";
import type {
  GetToken,
  NotificationBell,
  NotificationBellAttributes,
  NotificationBellEventMap,
} from "./bell.js";

type Props = DetailedHTMLProps<HTMLAttributes<NotificationBell>, NotificationBell> & NotificationBellAttributes;

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "notification-bell": Props & {
        getToken?: GetToken;
        onnotificationopen?: (event: NotificationBellEventMap["notificationopen"]) => void;
        onbelltoggle?: (event: NotificationBellEventMap["belltoggle"]) => void;
        onreconnect?: (event: NotificationBellEventMap["reconnect"]) => void;
      };
    }
  }
}
