import { useState } from "react";
import { createRoot } from "react-dom/client";
import "notification-hub-client/jsx";

const USER = "456e7890-e89b-12d3-a456-426614174001";

/** However your app gets its user's access token. The hub of `make run` gives its demo users theirs. */
async function getToken(): Promise<string> {
  const { users } = await (await fetch("/dev/session")).json();
  return users.find(({ id }: { id: string }) => id === USER).token;
}

function App() {
  const [chosen, setChosen] = useState("");
  return (
    <>
      <header>
        <h1>Kitchen</h1>
        <notification-bell
          user-id={USER}
          getToken={getToken}
          onnotificationopen={({ detail }) => setChosen(detail.title)}
        />
      </header>
      <main role="status">{chosen && `You chose “${chosen}”.`}</main>
    </>
  );
}

createRoot(document.getElementById("root")!).render(<App />);
