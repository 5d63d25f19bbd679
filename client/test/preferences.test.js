/** What of the preferences needs no page: their changes and time zones, and the calls. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { changed, everything, inverse } from "../src/preferences/changes.js";
import { read, write } from "../src/preferences/digests.js";
import { LATER_WORDS } from "../src/preferences/later-texts.js";
import { WORDS } from "../src/preferences/texts.js";
import { allZones, matching, zoneOf } from "../src/preferences/zones.js";
import { Browser } from "./browser.js";
import { Clock } from "./clock.js";
import { Hub } from "./hub.js";

const PROFILE = { locale: null, time_zone: null, quiet_from: null, quiet_until: null, email: "a@b.example", phone: null };
const one = (id, enabled, by) => ({ id, category: id.split(".")[0], channel: id.split(".")[1], enabled, by });
const KNOWN = {
  profile: PROFILE,
  preferences: [
    one("food.email", true, "default"),
    { ...one("food.sms", false, "person"), digest: "hourly" },
    one("security.email", true, "always"),
  ],
  categories: [],
  channels: [],
};

test("every language has every text", () => {
  assert.deepEqual(Object.keys(LATER_WORDS), Object.keys(WORDS));
  for (const known of [WORDS, LATER_WORDS])
    for (const words of Object.values(known)) assert.deepEqual(Object.keys(words), Object.keys(known.en));
});

test("a change and its inverse leave all as it was", () => {
  for (const changes of [
    { choices: { "food.email": false, "food.sms": true } },
    { choices: { "food.sms": null }, profile: { locale: "vi" } },
    { profile: { email: null, quiet_from: "22:00" } },
    { digests: { "food.email": "daily at 18:00", "food.sms": null }, profile: { time_zone: "Asia/Tokyo" } },
    { choices: { "food.sms": true }, digests: { "food.sms": "immediate" } },
    everything(KNOWN, false),
  ]) {
    const after = changed(KNOWN, changes);
    assert.notDeepEqual(after, KNOWN);
    assert.deepEqual(changed(after, inverse(KNOWN, changes)), KNOWN);
  }
});

test("everything is off or as by default, and what is always on is left alone", () => {
  assert.deepEqual(everything(KNOWN, false), { choices: { "food.email": false, "food.sms": false } });
  assert.deepEqual(everything(KNOWN, true), { choices: { "food.email": null, "food.sms": null } });
});

test("a digest is read and written as the hub has it", () => {
  for (const digest of ["immediate", "hourly", "daily at 18:00", "weekly on sunday at 07:05"]) assert.equal(write(read(digest)), digest);
  assert.equal(write(read(undefined)), null);
  assert.deepEqual(read("weekly on monday at 09:00"), { how: "weekly", day: "monday", time: "09:00" });
});

test("time zones are found by city, region, offset and without accents", () => {
  const zones = allZones();
  const found = (words) => matching(zones, words).map(({ id }) => id);
  assert.ok(zones.length > 300);
  assert.deepEqual(found("hồ chí minh"), ["Asia/Ho_Chi_Minh"]);
  assert.deepEqual(found("Asia/Ho_Chi"), ["Asia/Ho_Chi_Minh"]);
  assert.ok(found("europe berl").includes("Europe/Berlin"));
  assert.ok(found("gmt+7").includes("Asia/Bangkok"));
  assert.deepEqual(found("atlantis"), []);
  assert.equal(matching(zones, "").length, zones.length);
  assert.deepEqual(zoneOf("Atlantis/Poseidonis"), { id: "Atlantis/Poseidonis", name: "Atlantis / Poseidonis", offset: "" });
});

test("preferences are asked for and set without a connection", async () => {
  const clock = new Clock();
  const hub = new Hub(clock);
  const tab = new Browser(clock, hub).open({ locale: "vi" });
  tab.inbox.close();
  const asked = [];
  hub.preferences = (method, body, language) => asked.push([method, body, language]) && KNOWN;
  const changes = { choices: { "food.email": null } };
  const answered = Promise.all([tab.inbox.preferences.get(), tab.inbox.preferences.set(changes)]);
  await clock.pass(1000);
  assert.deepEqual(await answered, [KNOWN, KNOWN]);
  assert.deepEqual(asked, [["GET", undefined, "vi"], ["PATCH", changes, "vi"]]);
});

test("addresses are listed, added, confirmed and removed", async () => {
  const clock = new Clock();
  const hub = new Hub(clock);
  const tab = new Browser(clock, hub).open({ locale: "vi" });
  tab.inbox.close();
  const asked = [];
  hub.addresses = (...call) => asked.push(call) && [{ id: "a" }];
  const { addresses } = tab.inbox;
  const answered = Promise.all([addresses.list(), addresses.add("email", "a@b.example"), addresses.confirm("a", "1"), addresses.remove("a")]);
  await clock.pass(1000);
  assert.deepEqual((await answered)[0], [{ id: "a" }]);
  assert.deepEqual(asked, [
    ["GET", "", undefined],
    ["POST", "", { channel: "email", address: "a@b.example" }],
    ["POST", "/a/confirm", { code: "1" }],
    ["DELETE", "/a", undefined],
  ]);
});
