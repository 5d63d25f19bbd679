const RIGHT_TO_LEFT = /^(ar|ckb|dv|fa|he|ps|sd|ug|ur|yi)\b/i;

/**
 * The language to say things in: the first that is wished and known; English when there is none.
 *
 * @param {object} known texts by language
 * @param {(string | null | undefined)[]} wished language tags, such as `vi-VN`
 */
export function languageOf(known, ...wished) {
  return wished.map((tag) => tag?.toLowerCase().split(/[-_]/)[0] ?? "").find((language) => Object.hasOwn(known, language)) ?? "en";
}

/**
 * The language that is spoken around an element, of those that are known.
 *
 * @param {object} known texts by language
 * @param {Element} element
 */
export function languageAround(known, element) {
  const here = element.closest("[lang]")?.getAttribute("lang");
  return languageOf(known, here, document.documentElement.lang, navigator.language);
}

/**
 * The direction of a language, if it isn't that of the page anyway.
 *
 * @param {string} language
 */
export function directionOf(language) {
  return RIGHT_TO_LEFT.test(language) ? "rtl" : "";
}
