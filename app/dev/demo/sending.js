/** A button for each event type, and the choice of the transport. */
import { Outcomes } from "./outcomes.js";
import { REST, call, clone, say, subjectOf } from "./page.js";

const SUBJECTS = {
  group: "Groups",
  food: "Food",
  plan: "Plans",
  daily: "Meals",
  low: "Stock",
  message: "Messages",
  account: "Accounts",
  otp: "Codes by mail",
  booking: "Bookings by mail",
  payment: "Payments by mail",
  notification: "Changes of notifications",
};
const ALL = "all";
const DRY_RUN = "dry-run";

/** A name that may break after each underscore and full stop. */
const breakable = (name) => name.split(/(?<=[._])/).flatMap((part) => [part, document.createElement("wbr")]);

const counted = (count, word) => (count === 1 ? `one ${word}` : `${count} ${word}s`);

export class Sending {
  constructor(session, inboxes) {
    Object.assign(this, { session, inboxes });
    this.outcomes = new Outcomes(session);
    this.places = document.getElementById("places");
    this.showWays();
    this.showButtons();
  }

  showWays() {
    const there = this.session.ways.filter(({ missing }) => !missing);
    for (const { id, name, missing } of this.session.ways) this.showWay(id, name, missing);
    this.showWay(ALL, `All ${there.length} at once`);
    this.showWay(DRY_RUN, "Dry run");
    const missing = this.session.ways.map((way) => way.missing).filter(Boolean);
    document.getElementById("missing").textContent = missing.join(" ");
    this.there = there.map(({ id }) => id);
  }

  showWay(id, name, missing = "") {
    const [label, { choice }] = clone("way", { name });
    Object.assign(choice, { value: id, checked: id === this.session.ways[0].id, disabled: Boolean(missing) });
    label.title = missing;
    if (missing) choice.setAttribute("aria-describedby", "missing");
    document.getElementById("ways").append(label);
  }

  showButtons() {
    const { events } = this.session;
    const eventTypes = Object.keys(events);
    const subjects = new Set([...Object.keys(SUBJECTS), ...eventTypes.map(subjectOf)]);
    for (const subject of subjects) {
      const [group, { name, buttons }] = clone("subject", { name: SUBJECTS[subject] ?? subject });
      group.dataset.subject = subject;
      group.setAttribute("aria-label", name.textContent);
      buttons.append(...eventTypes.filter((one) => subjectOf(one) === subject).map((one) => this.button(one)));
      if (buttons.hasChildNodes()) document.getElementById("subjects").append(group);
    }
  }

  button(eventType) {
    const [button, { name }] = clone("event", { receivers: this.receiversOf(this.session.events[eventType]) });
    name.append(...breakable(eventType));
    button.onclick = ({ timeStamp }) => this.clicked(eventType, timeStamp);
    return button;
  }

  /** Whom a sample event is for, in words. */
  receiversOf(event) {
    const address = event.email ?? event.user_email;
    if (address) return `→ ${address}`;
    if (event.receiver_is_head_chef) return "→ the head chef";
    const ids = event.receivers ?? (event.user_id ? [event.user_id] : null);
    if (!ids) return "→ the whole group";
    const nameOf = (id) => this.session.users.find((user) => user.id === id)?.name ?? "somebody else";
    return `→ ${ids.map(nameOf).join(", ")}`;
  }

  async clicked(eventType, clickedAt) {
    const way = document.querySelector("#ways :checked").value;
    this.sent = null;
    this.outcomes.hide();
    this.places.replaceChildren();
    try {
      if (way === DRY_RUN) say(await this.outcomes.show(eventType, this.session.events[eventType]));
      else await this.send(eventType, way === ALL ? this.allWaysOf(eventType) : [way], clickedAt);
    } catch (failure) {
      say(failure.message, true);
    }
  }

  /** Codes and logouts are accepted from Kafka only: other transports may be open to services that may not send them. */
  allWaysOf(eventType) {
    const only = this.session.only_by[eventType];
    return only ? [only] : this.there;
  }

  async send(eventType, ways, clickedAt) {
    const seqs = new Map(this.inboxes.map((inbox) => [inbox, inbox.lastSeq]));
    for (const inbox of this.inboxes) inbox.expect(eventType, clickedAt);
    const { body } = await call("POST", `/dev/events/${eventType}`, { json: { ways } });
    const words = body.sent.map(({ way, place, error }) => `${this.nameOf(way)}: ${place || error}`);
    if (ways.length === 1) {
      say(`${eventType} → ${words[0]}`, Boolean(body.sent[0].error));
      return;
    }
    this.places.replaceChildren(...words.map((text) => clone("place", { text })[0]));
    const worked = body.sent.filter(({ error }) => !error);
    this.sent = { eventType, seqs, ways: worked.length, mails: 0 };
    this.tell();
    if (worked.some(({ way }) => way === "http")) await this.countMails(this.sent, body.event_id);
  }

  nameOf(way) {
    return this.session.ways.find(({ id }) => id === way).name;
  }

  /** The answer over HTTP came after the commit: the hub knows the event by now. */
  async countMails(sent, eventId) {
    const path = `${REST}/notifications/${eventId}`;
    const { body } = await call("GET", path, { token: this.session.service_token });
    sent.mails = body.deliveries.filter(({ channel, status }) => channel === "email" && status !== "suppressed").length;
    this.tell();
  }

  /** Show what became of the event that was sent over all transports; again whenever an inbox changes. */
  tell() {
    if (!this.sent) return;
    const { eventType, seqs, ways, mails } = this.sent;
    const told = [...seqs].map(([inbox, seq]) => [inbox.user.name, inbox.count(eventType, seq)]).filter(([, count]) => count);
    const parts = told.map(([name, count]) => `${counted(count, "notification")} for ${name}`);
    if (mails) parts.push(counted(mails, "mail"));
    say(`${eventType}, sent over ${ways} transports: ${parts.join(", ") || "no notification"}.`);
  }
}
