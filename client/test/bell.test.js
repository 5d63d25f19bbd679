/** What of the bell needs no page: its texts, and that it can be loaded where there is none. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { languageOf } from "../src/bell/language.js";
import { WORDS as GROUPS, gathered } from "../src/bell/groups.js";
import { snoozes } from "../src/bell/extras.js";
import { Texts, WORDS } from "../src/bell/texts.js";

const NOW = new Date(2026, 10, 21, 12, 0).getTime();
const before = (ms) => new Date(NOW - ms).toISOString();
const [MINUTE, HOUR] = [60_000, 3_600_000];

test("every language has every text", () => {
  for (const all of [WORDS, GROUPS]) {
    assert.deepEqual(Object.keys(all), Object.keys(WORDS));
    for (const words of Object.values(all)) {
      assert.deepEqual(Object.keys(words), Object.keys(all.en));
      for (const word of Object.values(words)) assert.ok(typeof word === "string" ? word : word.other);
    }
  }
});

test("numbers are said in each language's plural forms", () => {
  const said = (language, ...counts) => counts.map((count) => new Texts(language).counted("fresh", count));
  assert.deepEqual(said("en", 1, 2), ["1 new notification", "2 new notifications"]);
  assert.deepEqual(said("vi", 1, 2), ["1 thông báo mới", "2 thông báo mới"]);
  assert.deepEqual(said("ru", 1, 3, 5, 11, 21), [
    "1 новое уведомление",
    "3 новых уведомления",
    "5 новых уведомлений",
    "11 новых уведомлений",
    "21 новое уведомление",
  ]);
  assert.equal(new Texts("ru").counted("unread", 22), "22 непрочитанных");
});

test("a number is as long as its digits in the badge, up to 99", () => {
  const texts = new Texts("en");
  assert.deepEqual([1, 99, 100, 12_345].map((count) => texts.badge(count)), ["1", "99", "99+", "99+"]);
});

test("a page brings texts of any language", () => {
  const given = { lang: "ar", title: "الإشعارات", unread: { two: "{n} اثنان", few: "{n} قليل", other: "{n} كثير" } };
  const texts = new Texts("en", given);
  assert.deepEqual([texts.language, texts.direction, texts.words.title], ["ar", "rtl", "الإشعارات"]);
  assert.equal(texts.words.close, WORDS.en.close, "what is missing is said in English");
  assert.deepEqual([2, 3, 100].map((count) => texts.counted("unread", count).split(" ")[1]), ["اثنان", "قليل", "كثير"]);
  assert.equal(texts.ago(before(2 * HOUR), NOW), "قبل ساعتين");
  assert.deepEqual(["en", "arn", "he-IL", "fa"].map((lang) => new Texts("en", { lang }).direction), ["", "", "rtl", "rtl"]);
});

test("how long ago is said as people do", () => {
  const ago = (language, ms) => new Texts(language).ago(before(ms), NOW);
  assert.equal(ago("en", 0), "now");
  assert.equal(ago("en", -5 * MINUTE), "now", "the hub's clock is ahead");
  assert.equal(ago("en", 59_999), "now");
  assert.equal(ago("en", 61_000), "1 minute ago");
  assert.equal(ago("ru", 5 * MINUTE), "5 минут назад");
  assert.equal(ago("vi", 3 * HOUR), "3 giờ trước");
  assert.equal(ago("en", 23 * HOUR), "23 hours ago");
  assert.equal(ago("en", 25 * HOUR), "yesterday");
  assert.equal(ago("en", 35 * HOUR), "yesterday");
  assert.equal(ago("en", 37 * HOUR), "2 days ago", "by the calendar");
  assert.equal(ago("en", 6 * 24 * HOUR), "6 days ago");
  assert.equal(ago("en", 7 * 24 * HOUR), "November 14");
  assert.match(ago("en", 365 * 24 * HOUR), /2025/);
});

test("days are today, yesterday, or dates by the language", () => {
  const day = (language, ms) => new Texts(language).day(before(ms), NOW);
  assert.deepEqual(["en", "vi", "ru"].map((language) => day(language, 0)), ["Today", "Hôm nay", "Сегодня"]);
  assert.equal(day("en", -HOUR), "Today", "the hub's clock is ahead");
  assert.equal(day("en", 13 * HOUR), "Yesterday");
  assert.equal(day("en", 49 * HOUR), "Thursday, November 19");
  assert.match(day("en", 365 * 24 * HOUR), /2025/);
  assert.equal(new Texts("en", { lang: "ar" }).day(before(0), NOW), "اليوم");
});

/** The ids of each row that a list shows, from top to bottom. */
const shown = (by, ...notifications) => {
  const list = notifications.map((one, place) => ({ notification: { id: place + 1, created_at: before(0), ...one } }));
  return gathered(list, by).map(({ rows }) => rows.map(({ notification: { id } }) => id));
};

test("three of a group and of a day are one row at the place of the newest", () => {
  const [family, office] = ["Family", "Office"].map((name) => ({ group_id: name, group_name: name }));
  assert.deepEqual(shown("group", office, family, office, family, family, {}, office), [[1, 3, 7], [2, 4, 5], [6]]);
  assert.deepEqual(shown("group", family, office, family), [[1], [2], [3]], "two stay where they are");
  const past = { ...family, created_at: before(24 * HOUR) };
  assert.deepEqual(shown("group", family, family, past, past, past), [[1], [2], [3, 4, 5]], "by days");
  assert.deepEqual(shown("group", family, family, { ...family, group_name: null }), [[1], [2], [3]], "without a name");
  const critical = { ...family, severity: "critical" };
  assert.deepEqual(shown("group", family, critical, family, family, critical), [[1, 3, 4], [2], [5]]);
});

test("threads and categories are groups, too, and nothing else is", () => {
  const one = { thread_key: "7", category: "food", group_id: "1", group_name: "Family" };
  assert.deepEqual(shown("thread", one, { ...one, thread_key: "8" }, one, one), [[1, 3, 4], [2]]);
  assert.deepEqual(shown("category", one, { ...one, category: "plans" }, one, one), [[1, 3, 4], [2]]);
  for (const by of ["", "sender", "toString"]) assert.deepEqual(shown(by, one, one, one), [[1], [2], [3]]);
});

test("whatever comes, each is shown once, and the newest of each row are in the order of the list", () => {
  let seed = 7;
  const random = (most) => (seed = (seed * 48271) % 2147483647) % most;
  for (let round = 0; round < 200; round += 1) {
    const list = Array.from({ length: random(30) }, () => ({
      created_at: before(random(3) * 24 * HOUR),
      category: ["food", "plans", undefined][random(3)],
      severity: ["info", "critical"][random(2)],
    }));
    const rows = shown("category", ...list);
    assert.deepEqual(rows.flat().sort((one, other) => one - other), list.map((_, place) => place + 1));
    const newest = rows.map(([first]) => first);
    assert.deepEqual(newest, newest.toSorted((one, other) => one - other));
    assert.ok(rows.every((row) => row.length === 1 || row.length > 2));
  }
});

test("a snooze ends in an hour, tomorrow at nine, or on Monday at nine", () => {
  const ends = (now) => snoozes(now.getTime()).map(([word, moment]) => [word, moment.toString().slice(0, 21)]);
  assert.deepEqual(ends(new Date(2026, 10, 21, 12, 30)), [
    ["inAnHour", "Sat Nov 21 2026 13:30"],
    ["tomorrow", "Sun Nov 22 2026 09:00"],
    ["nextWeek", "Mon Nov 23 2026 09:00"],
  ]);
  for (const day of [22, 23, 29, 30]) {
    const [, , [, monday]] = snoozes(new Date(2026, 10, day, 1).getTime());
    assert.equal(monday.getDay(), 1);
    assert.ok(monday.getTime() - new Date(2026, 10, day, 1).getTime() <= 8 * 24 * HOUR);
    assert.ok(monday.getTime() > new Date(2026, 10, day, 1).getTime() + 24 * HOUR || day % 7 === 1);
  }
});

test("the first wished language that there is counts, whatever its region", () => {
  assert.equal(languageOf(WORDS, "vi-VN", "en"), "vi");
  assert.equal(languageOf(WORDS, "RU"), "ru");
  assert.equal(languageOf(WORDS, null, "de", "ru-RU"), "ru");
  assert.equal(languageOf(WORDS, "de", undefined, ""), "en");
});

test("why it ended is said by its code", () => {
  const { signedOut, forbidden, ended } = WORDS.en;
  const texts = new Texts("en");
  assert.deepEqual([4500, 4501, 401].map((code) => texts.closed(code)), Array(3).fill(signedOut));
  assert.deepEqual([4503, 403].map((code) => texts.closed(code)), Array(2).fill(forbidden));
  assert.equal(texts.closed(1000), ended);
});

test("the modules can be loaded on a server", async () => {
  const { NotificationBell } = await import("../src/bell.js");
  const { NotificationPreferences } = await import("../src/preferences.js");
  assert.deepEqual([typeof NotificationBell, typeof NotificationPreferences], ["function", "function"]);
});
