/** The demo page: a button for each event type, an inbox for each person, the mail that was caught. */
import { Inbox } from "./inbox.js";
import { Mailbox } from "./mail.js";
import { call, say } from "./page.js";
import { Sending } from "./sending.js";

try {
  const { body: session } = await call("GET", "/dev/session");
  const zones = Intl.supportedValuesOf("timeZone");
  document.getElementById("time-zones").append(...zones.map((zone) => new Option(zone)));
  const inboxes = session.users.map((user) => new Inbox(user, session.group));
  document.getElementById("inboxes").append(...inboxes.map(({ root }) => root));
  const sending = new Sending(session, inboxes);
  for (const inbox of inboxes) inbox.onChange = () => sending.tell();
  new Mailbox();
} catch (failure) {
  say(failure.message, true);
}
