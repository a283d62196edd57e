import { defineConfig } from "vite";

export default defineConfig({
  // Relative addresses: the page works under any sub-path of a proxy.
  base: "./",
  build: {
    outDir: "../src/heldout/views/web/static",
    emptyOutDir: true,
    // The server's policy allows no data: address, so nothing may be inlined.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 800,
    modulePreload: { polyfill: false },
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
});
