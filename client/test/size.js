/** Fails when what a browser loads has grown past 6 KB: the bundle of `npm run build`, gzipped. */
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const MOST = 6 * 1024;
const bytes = gzipSync(readFileSync(new URL("../dist/min.js", import.meta.url)), { level: 9 }).length;
console.log(`${bytes} bytes gzipped, of ${MOST}`);
process.exitCode = bytes > MOST ? 1 : 0;
