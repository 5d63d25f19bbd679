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
export function changed(known, { choices = {}, digests = {}, profile = {} }) {
  const preferences = known.preferences.map(({ digest: before, ...one }) => {
    const enabled = choices[one.id];
    const digest = digests[one.id] === undefined ? before : digests[one.id];
    if (enabled !== undefined) one = { ...one, enabled: enabled ?? (one.by === "person" || one.enabled), by: enabled === null ? "default" : "person" };
    return digest ? { ...one, digest } : one;
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
export function inverse({ preferences, profile: fields }, { choices = {}, digests = {}, profile = {} }) {
  const before = preferences.filter(({ id }) => id in choices).map(({ id, by, enabled }) => [id, by === "person" ? enabled : null]);
  const windows = preferences.filter(({ id }) => id in digests).map(({ id, digest = null }) => [id, digest]);
  const names = /** @type {(keyof typeof fields)[]} */ (Object.keys(profile));
  return { choices: Object.fromEntries(before), digests: Object.fromEntries(windows), profile: Object.fromEntries(names.map((name) => [name, fields[name]])) };
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
