/** The demo page: a button for each event type, and an inbox for each person. */
import { Inbox } from "./inbox.js";
import { Mailbox } from "./mail.js";
import { call, clone, subjectOf } from "./page.js";

const SUBJECTS = {
  group: "Groups",
  food: "Food",
  plan: "Plans",
  daily: "Meals",
  low: "Stock",
  account: "Accounts",
  otp: "Codes by mail",
  booking: "Bookings by mail",
  payment: "Payments by mail",
};

function say(message, isError = false) {
  const published = document.getElementById("published");
  published.textContent = message;
  published.classList.toggle("error", isError);
}

async function publish(eventType, inboxes, clickedAt) {
  for (const inbox of inboxes) inbox.expect(eventType, clickedAt);
  try {
    const { body } = await call("POST", `/dev/events/${eventType}`);
    say(`${eventType} → ${body.published}`);
  } catch (failure) {
    say(failure.message, true);
  }
}

/** A name that may break after each underscore and full stop. */
const breakable = (name) => name.split(/(?<=[._])/).flatMap((part) => [part, document.createElement("wbr")]);

/** Whom a sample event is for, in words. */
function receiversOf(event, users) {
  const address = event.email ?? event.user_email;
  if (address) return `→ ${address}`;
  if (event.receiver_is_head_chef) return "→ the head chef";
  const ids = event.receivers ?? (event.user_id ? [event.user_id] : null);
  if (!ids) return "→ the whole group";
  return `→ ${ids.map((id) => users.find((user) => user.id === id)?.name ?? "somebody else").join(", ")}`;
}

function showButtons({ events, users }, inboxes) {
  const eventTypes = Object.keys(events);
  const subjects = new Set([...Object.keys(SUBJECTS), ...eventTypes.map(subjectOf)]);
  for (const subject of subjects) {
    const [group, { name, buttons }] = clone("subject", { name: SUBJECTS[subject] ?? subject });
    group.dataset.subject = subject;
    group.setAttribute("aria-label", name.textContent);
    for (const eventType of eventTypes.filter((one) => subjectOf(one) === subject)) {
      const [button, slots] = clone("event", { receivers: receiversOf(events[eventType], users) });
      slots.name.append(...breakable(eventType));
      button.onclick = ({ timeStamp }) => publish(eventType, inboxes, timeStamp);
      buttons.append(button);
    }
    if (buttons.hasChildNodes()) document.getElementById("subjects").append(group);
  }
}

try {
  const { body: session } = await call("GET", "/dev/session");
  const inboxes = session.users.map((user) => new Inbox(user, session.group));
  document.getElementById("inboxes").append(...inboxes.map(({ root }) => root));
  showButtons(session, inboxes);
  new Mailbox();
} catch (failure) {
  say(failure.message, true);
}
