import type { DetailedHTMLProps, HTMLAttributes } from "react";
import type {
  GetToken,
  NotificationBell,
  NotificationBellAttributes,
  NotificationBellEventMap,
} from "notification-hub-client/bell";

type Props = DetailedHTMLProps<HTMLAttributes<NotificationBell>, NotificationBell> & NotificationBellAttributes;

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "notification-bell": Props & {
        getToken?: GetToken;
        onnotificationopen?: (event: NotificationBellEventMap["notificationopen"]) => void;
      };
    }
  }
}
