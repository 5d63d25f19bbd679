/** The mail that was caught: a list of the newest, and the chosen one as its reader sees it. */
import { call, clone } from "./page.js";

const LOOK_EVERY = 2000; // ms

export class Mailbox {
  constructor() {
    this.root = document.getElementById("mailbox");
    this.list = document.getElementById("mails");
    this.frame = document.createElement("iframe");
    this.frame.sandbox = "";
    this.look();
    setInterval(() => this.look(), LOOK_EVERY);
  }

  async look() {
    if (document.hidden) return;
    const mails = await call("GET", "/dev/mails").then(({ body }) => body, () => []);
    this.root.hidden = mails.length === 0;
    if (mails[0]?.name === this.newest) return;
    this.newest = mails[0]?.name;
    this.list.replaceChildren(...mails.map((mail) => this.item(mail)));
    if (mails.length) this.show(mails[0]);
  }

  item(mail) {
    const [root, { open }] = clone("mail-item", { subject: mail.subject, to: mail.to });
    root.dataset.name = mail.name;
    open.onclick = () => this.show(mail);
    return root;
  }

  show({ name, subject }) {
    this.frame.src = `/dev/mails/${name}`;
    this.frame.title = subject;
    if (!this.frame.isConnected) document.getElementById("mail").append(this.frame);
    for (const item of this.list.children) {
      item.firstElementChild.setAttribute("aria-pressed", String(item.dataset.name === name));
    }
  }
}
