/**
 * Fails when what a browser loads has grown past its bound: minified and gzipped, bell and preferences without the library.
 * What they import when it is needed has a separate bound, without what was loaded before.
 */
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LOADED = ["../bell/dom.js", "./parts.js", "./zone-here.js"];
const PARTS = [
  { name: "library", source: "src/index.js", most: 8 * 1024 },
  { name: "bell", source: "src/bell.js", external: ["../index.js", "./bell/groups.js", "./bell/extras.js"], most: 16 * 1024 },
  { name: "bell, groups", source: "src/bell/groups.js", external: ["./dom.js"], most: 3 * 1024 },
  { name: "bell, extras", source: "src/bell/extras.js", external: ["./dom.js"], most: 2 * 1024 },
  { name: "preferences", source: "src/preferences.js", external: ["./index.js", "./preferences/devices.js", "./quiet.js", "./digests.js", "./addresses.js"], most: 8 * 1024 },
  { name: "preferences, web push", source: "src/preferences/devices.js", external: LOADED, most: 4 * 1024 },
  { name: "preferences, quiet hours", source: "src/preferences/quiet.js", external: LOADED, most: 4 * 1024 },
  { name: "preferences, addresses", source: "src/preferences/addresses.js", external: LOADED, most: 4 * 1024 },
  { name: "preferences, digests", source: "src/preferences/digests.js", external: LOADED, most: 4 * 1024 },
];

for (const { name, source, external, most } of PARTS) {
  const options = { entryPoints: [source], bundle: true, minify: true, write: false, format: "esm", target: "es2022" };
  const { outputFiles } = await build({ ...options, external });
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  console.log(`${name}: ${bytes} bytes gzipped, of ${most}`);
  if (bytes > most) process.exitCode = 1;
}
