/** What both the buttons and the inboxes need: calls to the hub, and copies of the page's templates. */
export class Failure extends Error {
  constructor(title, status, detail) {
    super(status ? `${title} (${status}): ${detail}` : title);
    Object.assign(this, { status, detail });
  }
}

/** Call the hub. Throws `Failure` with the words of its problem+json. */
export async function call(method, path, { token, locale } = {}) {
  const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(locale && { "Accept-Language": locale }) };
  const response = await fetch(path, { method, headers, cache: "no-store" }).catch(() => {
    throw new Failure("The hub can't be reached. Does `make run` still run?");
  });
  const body = await response.json().catch(() => ({}));
  if (response.ok) return { body, more: response.headers.has("Link") };
  throw new Failure(body.title ?? response.statusText, response.status, body.detail ?? "no detail");
}

/** A copy of a template, and its parts by data-slot; `texts` go into the parts as text, never as HTML. */
export function clone(template, texts = {}) {
  const root = document.getElementById(template).content.firstElementChild.cloneNode(true);
  const slots = {};
  for (const element of root.querySelectorAll("[data-slot]")) slots[element.dataset.slot] = element;
  for (const [name, text] of Object.entries(texts)) slots[name].textContent = text;
  return [root, slots];
}

/** `group` of `group_user_added`, `booking` of `booking.confirmed`: what an event is about, and the colour it has. */
export const subjectOf = (eventType) => eventType.split(/[._]/)[0];
