/** Fails when what a browser loads has grown past its bound: minified and gzipped, bell and preferences without the library, and without web push. */
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const PARTS = [
  { name: "library", source: "src/index.js", most: 8 * 1024 },
  { name: "bell", source: "src/bell.js", external: ["../index.js"], most: 16 * 1024 },
  { name: "preferences", source: "src/preferences.js", external: ["./index.js", "./push.js"], most: 8 * 1024 },
];

for (const { name, source, external, most } of PARTS) {
  const options = { entryPoints: [source], bundle: true, minify: true, write: false, format: "esm", target: "es2022" };
  const { outputFiles } = await build({ ...options, external });
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  console.log(`${name}: ${bytes} bytes gzipped, of ${most}`);
  if (bytes > most) process.exitCode = 1;
}
