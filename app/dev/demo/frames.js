/** What comes over the sockets of one person's inbox, as it comes. */
import { clone } from "./page.js";

const KEPT = 20;

export class Frames {
  constructor({ frames, count, none }) {
    Object.assign(this, { frames, count, none });
  }

  /** A WebSocket class for the library whose sockets show here what they hear. */
  get WebSocket() {
    const show = (text) => this.show(text);
    return class extends WebSocket {
      constructor(...how) {
        super(...how);
        this.addEventListener("message", ({ data }) => show(data));
      }
    };
  }

  show(text) {
    const caption = `${new Date().toISOString().slice(11, 23)} UTC · ${new Blob([text]).size} bytes`;
    const [root] = clone("frame", { caption, text: JSON.stringify(JSON.parse(text), null, 2) });
    this.frames.prepend(root);
    while (this.frames.children.length > KEPT) this.frames.lastElementChild.remove();
    this.count.textContent = `(last ${this.frames.children.length})`;
    this.none.hidden = true;
  }
}
