/** What an event would come to: for each receiver and channel a verdict and its reason. Nothing is sent. */
import { REST, call, clone } from "./page.js";

export class Outcomes {
  constructor({ users, service_token: token }) {
    Object.assign(this, { users, token });
    this.root = document.getElementById("outcomes");
    this.rows = document.getElementById("outcome-rows");
  }

  /** Ask and show; returns what to say of it. Throws `Failure`. */
  async show(eventType, event) {
    const { body } = await call("POST", `${REST}/notifications/dry-run`, { token: this.token, json: event });
    this.rows.replaceChildren(...body.outcomes.map((outcome) => this.row(outcome)));
    this.root.hidden = body.outcomes.length === 0;
    return this.root.hidden
      ? `${eventType}: nobody would be notified, nothing was sent.`
      : `${eventType}: this would happen; nothing was sent.`;
  }

  hide() {
    this.root.hidden = true;
  }

  row({ user_id: id, address, channel, verdict, reason }) {
    const name = id && (this.users.find((user) => user.id === id)?.name ?? "somebody else");
    const receiver = [name, address].filter(Boolean).join(", ");
    const [row] = clone("outcome", { receiver, channel, verdict, reason });
    row.dataset.verdict = verdict;
    return row;
  }
}
