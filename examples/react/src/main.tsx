import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { InboxProvider, NotificationBell, NotificationPreferences, useUnreadCount } from "notification-hub-client/react";

const USER = "456e7890-e89b-12d3-a456-426614174001";

/** However your app gets its user's access token. The hub of `make run` gives its demo users theirs. */
async function getToken(): Promise<string> {
  const { users } = await (await fetch("/dev/session")).json();
  return users.find(({ id }: { id: string }) => id === USER).token;
}

function Page() {
  const [chosen, setChosen] = useState("");
  const unread = useUnreadCount();
  return (
    <>
      <header>
        <h1>Kitchen: {unread} unread</h1>
        <NotificationBell titleBadge categories="food,plans" onNotificationOpen={({ detail }) => setChosen(detail.title)} />
      </header>
      <main role="status">{chosen && `You chose “${chosen}”.`}</main>
      <NotificationPreferences />
    </>
  );
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <InboxProvider userId={USER} getToken={getToken} locale="en">
      <Page />
    </InboxProvider>
  </StrictMode>,
);
