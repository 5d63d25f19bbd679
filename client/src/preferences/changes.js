/**
 * @typedef {import("../../index.d.ts").Preferences} Preferences
 * @typedef {import("../../index.d.ts").PreferenceChanges} Changes
 */

/**
 * The preferences as they are after changes, as far as that can be known here: most are on by default.
 *
 * @param {Preferences} known
 * @param {Changes} changes
 * @returns {Preferences}
 */
export function changed(known, { choices = {}, profile = {} }) {
  const preferences = known.preferences.map((one) => {
    const enabled = choices[one.id];
    if (enabled === undefined) return one;
    return { ...one, enabled: enabled ?? (one.by === "person" || one.enabled), by: enabled === null ? "default" : "person" };
  });
  return { ...known, preferences: /** @type {Preferences["preferences"]} */ (preferences), profile: { ...known.profile, ...profile } };
}

/**
 * The changes that take changes back.
 *
 * @param {Preferences} known before them
 * @param {Changes} changes
 * @returns {Changes}
 */
export function inverse({ preferences, profile: fields }, { choices = {}, profile = {} }) {
  const before = preferences.filter(({ id }) => id in choices).map(({ id, by, enabled }) => [id, by === "person" ? enabled : null]);
  const names = /** @type {(keyof typeof fields)[]} */ (Object.keys(profile));
  return { choices: Object.fromEntries(before), profile: Object.fromEntries(names.map((name) => [name, fields[name]])) };
}

/**
 * The changes of the switch for everything: all off, or all as by default.
 *
 * @param {Preferences} known
 * @param {boolean} on
 * @returns {Changes}
 */
export function everything({ preferences }, on) {
  const choices = preferences.filter(({ by }) => by !== "always").map(({ id }) => [id, on ? null : false]);
  return { choices: Object.fromEntries(choices) };
}
