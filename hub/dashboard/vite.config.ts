import { copyFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { defineConfig, type Plugin } from "vite";

const STATIC = resolve(import.meta.dirname, "../botyard/static");
const SWAGGER = ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"];

/** The hub's page of the API needs Swagger UI as plain files, since nothing may be fetched from elsewhere. */
function swaggerFiles(): Plugin {
  return {
    name: "botyard-swagger-files",
    apply: "build",
    closeBundle() {
      const source = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
      mkdirSync(join(STATIC, "swagger"), { recursive: true });
      for (const file of [...SWAGGER, "LICENSE"]) copyFileSync(join(source, file), join(STATIC, "swagger", file));
    },
  };
}

export default defineConfig({
  base: "/",
  plugins: [swaggerFiles()],
  build: {
    outDir: STATIC,
    emptyOutDir: true,
    target: "es2022",
    // Images in a style sheet may be data URIs (the policy allows them); scripts and fonts never are.
    assetsInlineLimit: 2048,
    chunkSizeWarningLimit: 600,
    // The licences ask that their texts go with what is built from the packages.
    license: { fileName: "licenses.md" },
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: { "/api": { target: process.env.BOTYARD_HUB ?? "http://127.0.0.1:8080", ws: true } },
  },
});
