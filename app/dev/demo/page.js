/** What all parts of the page need: calls to the hub, and copies of the page's templates. */
export const REST = "/api/v2/notification-service";

export class Failure extends Error {
  constructor(title, status, detail) {
    super(status ? `${title} (${status}): ${detail}` : title);
    Object.assign(this, { status, detail });
  }
}

/** Call the hub; `json` is the body. Throws `Failure` with the words of its problem+json. */
export async function call(method, path, { token, locale, json } = {}) {
  const headers = {
    ...(token && { Authorization: `Bearer ${token}` }),
    ...(locale && { "Accept-Language": locale }),
    ...(json && { "Content-Type": "application/json" }),
  };
  const body = json && JSON.stringify(json);
  const response = await fetch(path, { method, headers, body, cache: "no-store" }).catch(() => {
    throw new Failure("The hub can't be reached. Does `make run` still run?");
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return { body: answer, more: response.headers.has("Link") };
  throw new Failure(answer.title ?? response.statusText, response.status, answer.detail ?? "no detail");
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

/** Say what became of a click, below the buttons. */
export function say(message, isError = false) {
  const published = document.getElementById("published");
  published.textContent = message;
  published.classList.toggle("error", isError);
}
