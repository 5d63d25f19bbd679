export { createInbox } from "./inbox.js";
export { InboxError } from "./errors.js";
