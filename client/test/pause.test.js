import assert from "node:assert/strict";
import { test } from "node:test";
import { pause } from "../src/pause.js";

test("a code from 4500 to 4999 ends it for good, and no other does", () => {
  for (const code of [4500, 4501, 4503, 4999]) assert.equal(pause(code, "", 0, 0.5), undefined);
  for (const code of [1006, 1007, 1009, 1012, 1013, 4001, 4401, 4429, 4499]) assert.ok(pause(code, "", 0, 0.5) >= 0);
});

test("a node that restarts names the window", () => {
  const reason = "restarting; reconnect_within_ms=8000";
  assert.deepEqual([0, 0.25, 1].map((random) => pause(1012, reason, 0, random)), [0, 2000, 8000]);
  assert.ok(pause(1012, reason, 1, 1) < 2000, "nobody announced how long a second loss takes");
});

test("the span doubles with each loss, up to 30 s, and all of it is random", () => {
  const spans = [0, 1, 2, 3, 20].map((losses) => pause(1006, "", losses, 1));
  assert.deepEqual(spans, [500, 1000, 2000, 4000, 30_000]);
  assert.equal(pause(1006, "", 20, 0), 0);
});

test("a hub that has too much to do is given more time", () => {
  for (const code of [1013, 4429]) assert.equal(pause(code, "", 0, 1), 4000);
});

test("a token that expired is replaced at once, but not in a loop", () => {
  assert.equal(pause(4401, "", 0, 1), 0);
  assert.equal(pause(4401, "", 3, 1), 4000);
});
