const LEAST = 10; // px until a touch is a swipe
const ENOUGH = 80; // px that do it

/**
 * Do something when an element is swiped by a finger.
 *
 * @param {HTMLElement} element
 * @param {(forwards: boolean) => void} swiped forwards: in the direction of reading
 */
export function swipes(element, swiped) {
  let from = NaN;
  let way = 0;
  /** @param {boolean} [done] */
  const end = (done) => {
    const forwards = way > 0 === (getComputedStyle(element).direction === "ltr");
    element.style.translate = "";
    if (done && Math.abs(way) > ENOUGH) swiped(forwards);
    from = NaN;
    way = 0;
  };
  element.addEventListener("pointerdown", ({ pointerType, clientX }) => {
    if (pointerType === "touch") from = clientX;
  });
  element.addEventListener("pointermove", ({ clientX, pointerId }) => {
    const moved = clientX - from;
    if (!way && !(Math.abs(moved) > LEAST)) return;
    if (!way) element.setPointerCapture(pointerId); // so that no click follows
    way = moved;
    element.style.translate = `${moved}px`;
  });
  element.addEventListener("pointerup", () => end(true));
  element.addEventListener("pointercancel", () => end());
}
