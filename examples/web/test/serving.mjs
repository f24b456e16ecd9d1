// The page behind two servers: `cxr-infer web`, which isolates it, and a plain one, which does not.
import { execFileSync, spawn } from "node:child_process";
import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const HERE = path.dirname(fileURLToPath(import.meta.url));
const DIST = path.join(HERE, "../dist");
const RUNTIME = path.join(HERE, "../node_modules/onnxruntime-web/dist");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".wasm": "application/wasm" };

export function cxrInfer(...words) {
  execFileSync("cxr-infer", words, { stdio: ["ignore", "ignore", "inherit"] });
}

/** @returns {Promise<{url: string, close: () => Promise<void>}>} */
export async function serveByCommand() {
  const server = spawn("cxr-infer", ["web", "--no-browser", "--port", "0", "--wasm", RUNTIME], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => server.once("exit", resolve));
  for await (const line of createInterface({ input: server.stdout })) {
    const close = async () => {
      server.kill("SIGINT");
      const status = await ended;
      if (status !== 0) throw new Error(`cxr-infer web ended with ${status}`);
    };
    return { url: line.split(" ")[0], close };
  }
  throw new Error("cxr-infer web does not start");
}

/**
 * The built folder as any static server has it, under a path, as hosted pages lie.
 * @param {(path: string) => boolean} isMissing files that it does not have
 */
export async function servePlainly(isMissing = () => false) {
  const server = createServer((request, response) => {
    const name = request.url.replace("/some/path/", "") || "index.html";
    const file = path.join(DIST, name);
    if (isMissing(name) || !existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream" });
    return createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${server.address().port}/some/path/`, close };
}
