/**
 * One person's live connection to the hub: opens it, and comes back after a loss.
 *
 * `onState` is told { name, code, reason, wait }: name is connecting, live, waiting or ended, `wait` is in ms.
 * `onFrame` is told each frame's text. `renewToken` resolves to a fresh token when the old one has expired.
 * After code 4500 or higher, or `end`, the connection stays ended.
 */
const TOKEN_EXPIRED = 4401;
const FIRST_FINAL_CODE = 4500;
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30_000;
const STABLE = 5000; // ms; a connection that held this long starts its next wait from the shortest

export class Connection {
  constructor(address, token, { onState, onFrame, renewToken }) {
    Object.assign(this, { address, token, onState, onFrame, renewToken, losses: 0, ended: false });
    this.open();
  }

  get live() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  open() {
    this.onState({ name: "connecting" });
    const socket = new WebSocket(this.address, ["hub.v1", `bearer.${this.token}`]);
    this.socket = socket;
    let openedAt = Infinity;
    socket.onopen = () => {
      openedAt = performance.now();
      this.onState({ name: "live" });
    };
    socket.onmessage = ({ data }) => this.onFrame(data);
    socket.onclose = ({ code, reason }) => {
      if (performance.now() - openedAt > STABLE) this.losses = 0;
      this.lost(code, reason);
    };
  }

  lost(code, reason) {
    if (this.ended) return;
    if (code >= FIRST_FINAL_CODE) {
      this.end(code, reason);
      return;
    }
    const wait = pause(this.losses++);
    this.onState({ name: "waiting", code, reason, wait });
    this.timer = setTimeout(() => this.comeBack(code), wait);
  }

  async comeBack(code) {
    try {
      if (code === TOKEN_EXPIRED) this.token = await this.renewToken();
    } catch {
      this.lost(code, "no fresh token to be had");
      return;
    }
    if (!this.ended) this.open();
  }

  /** End it for good. */
  end(code, reason) {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.timer);
    this.socket.close();
    this.onState({ name: "ended", code, reason });
  }
}

/** Doubles with each loss, up to a bound; the random half keeps a thousand clients from coming back at once. */
function pause(losses) {
  const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** losses);
  return longest / 2 + (Math.random() * longest) / 2;
}
