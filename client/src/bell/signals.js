const SIZE = 32; // px, of the page's icon
const COLOUR = "#cf2338";

/**
 * The page's icon, with a dot or as it was.
 *
 * @param {boolean} dot
 */
export async function markIcon(dot) {
  const link = /** @type {HTMLLinkElement | null} */ (document.querySelector("link[rel~=icon]"));
  if (!link || Boolean(link.dataset.plain) === dot) return;
  const plain = (link.dataset.plain ??= link.href);
  if (!dot) {
    link.href = plain;
    delete link.dataset.plain;
    return;
  }
  const canvas = Object.assign(document.createElement("canvas"), { width: SIZE, height: SIZE });
  const context = canvas.getContext("2d");
  const image = Object.assign(new Image(), { src: plain, crossOrigin: "anonymous" });
  await image.decode().then(() => context?.drawImage(image, 0, 0, SIZE, SIZE), () => {}); // without it the dot is alone
  if (!context || !link.dataset.plain) return;
  context.fillStyle = COLOUR;
  context.arc(SIZE * 0.7, SIZE * 0.3, SIZE * 0.3, 0, 7);
  context.fill();
  link.href = canvas.toDataURL();
}

/** @param {string} url */
export function play(url) {
  new Audio(url).play().catch(() => {}); // browsers play nothing before a person has done something on the page
}

/** Ask for the permission to show notifications of the browser's, where nobody has decided yet. */
export function askToShow() {
  if (globalThis.Notification?.permission === "default") Notification.requestPermission();
}

/**
 * Show a notification of the browser's, where that is allowed.
 *
 * @param {import("../../index.d.ts").Notification} notification
 * @param {() => void} chosen
 */
export function showOutside({ id, title, content }, chosen) {
  if (globalThis.Notification?.permission !== "granted") return;
  try {
    const shown = new Notification(title, { body: content, tag: `hub-${id}` }); // one for all tabs
    shown.onclick = () => {
      focus();
      shown.close();
      chosen();
    };
  } catch {
    // Android: only service workers may
  }
}
