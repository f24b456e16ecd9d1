import { createHash } from "node:crypto";
import { cpSync, createReadStream, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const WEIGHTS = path.join(HERE, "../../weights");
const RUNTIME = path.dirname(createRequire(import.meta.url).resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm"));
const RUNTIME_FILES = ["ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"];
const MODEL_FILES = ["manifest.json", "window/model.onnx", "window/model.int8.onnx"];

/** Files that the page loads at run time: URL -> file. */
const LOADED = Object.fromEntries([
  ...RUNTIME_FILES.map((name) => [`ort/${name}`, path.join(RUNTIME, name)]),
  ...MODEL_FILES.map((name) => [`weights/${name}`, path.join(WEIGHTS, name)]),
]);
const VERSION = /__version__ = "(.+)"/.exec(readFileSync(path.join(HERE, "../../cxr_infer/version.py"), "utf8"))[1];
const TYPES = { ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json" };

/** Version and hashes of the runtime, for `cxr-infer web`, which serves it from elsewhere. */
function runtimeFacts() {
  const { version } = JSON.parse(readFileSync(path.join(RUNTIME, "../package.json"), "utf8"));
  const hash = (name) => createHash("sha256").update(readFileSync(path.join(RUNTIME, name))).digest("hex");
  return { package: "onnxruntime-web", version, sha256: Object.fromEntries(RUNTIME_FILES.map((name) => [name, hash(name)])) };
}

/** Copy the runtime and the models beside the built page, or only write the facts of the runtime. */
function loadedFiles(copied) {
  let out;
  return {
    name: "loaded-files",
    configResolved: (config) => (out = path.resolve(config.root, config.build.outDir)),
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const file = LOADED[request.url.split("?")[0].slice(1)];
        if (!file) return next();
        response.setHeader("Content-Type", TYPES[path.extname(file)] ?? "application/octet-stream");
        return createReadStream(file).pipe(response);
      });
    },
    writeBundle() {
      if (!copied) {
        writeFileSync(path.join(out, "runtime.json"), `${JSON.stringify(runtimeFacts(), null, 2)}\n`);
        return;
      }
      for (const [url, file] of Object.entries(LOADED)) {
        mkdirSync(path.dirname(path.join(out, url)), { recursive: true });
        cpSync(file, path.join(out, url));
      }
    },
  };
}

const ISOLATION = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

export default defineConfig(({ mode }) => ({
  base: "./",
  define: {
    __VERSION__: JSON.stringify(VERSION),
    __RUNTIME__: JSON.stringify({ files: RUNTIME_FILES, wasmBytes: statSync(path.join(RUNTIME, RUNTIME_FILES[1])).size }),
  },
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser", "import", "default"] },
  worker: { format: "es" },
  plugins: [loadedFiles(mode !== "wheel")],
  build: {
    target: "es2022",
    outDir: mode === "wheel" ? "../../cxr_infer/web/page" : "dist",
    emptyOutDir: true,
    modulePreload: false,
    assetsInlineLimit: 0,
    rolldownOptions: { input: ["index.html", "help.html"].map((name) => path.join(HERE, name)) },
  },
  server: { headers: ISOLATION },
  preview: { headers: ISOLATION },
}));
