/** What the hub answered, or that no answer came (`status` 0). `code` is for programs, the message for people. */
export class InboxError extends Error {
  /**
   * @param {string} message
   * @param {number} status
   * @param {string} code
   */
  constructor(message, status = 0, code = "unreachable") {
    super(message);
    this.name = "InboxError";
    this.status = status;
    this.code = code;
  }

  /** Whether the hub doesn't let this user in, so that retrying can't succeed. */
  get final() {
    return this.status === 401 || this.status === 403;
  }
}
