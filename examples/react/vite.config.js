import { defineConfig } from "vite";

const hub = process.env.HUB ?? "http://localhost:8000"; // the one of `make run`

export default defineConfig({
  resolve: { dedupe: ["react", "react-dom"] }, // the library stands in this repository, not in node_modules
  server: {
    fs: { allow: ["../.."] }, // the library stands in this repository
    // One origin for the page and the hub, as behind a gateway. There ALLOWED_ORIGINS names the page's origin;
    // here the hub gets its own.
    proxy: { "/api": hub, "/dev": hub, "/ws": { target: hub, ws: true, headers: { origin: hub } } },
  },
});
