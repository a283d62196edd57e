import { defineConfig } from "vite";

// The script and the styles of `heldout report --html`: one file each, which the report holds inline.
export default defineConfig({
  build: {
    outDir: "../src/heldout/views/report/static",
    emptyOutDir: true,
    copyPublicDir: false,
    cssCodeSplit: false,
    chunkSizeWarningLimit: 800,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: "src/embedded.tsx",
      output: {
        format: "iife",
        entryFileNames: "report.js",
        assetFileNames: "report[extname]",
        codeSplitting: false,
      },
    },
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
});
