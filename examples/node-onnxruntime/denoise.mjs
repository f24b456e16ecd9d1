// The models in onnxruntime-node, held against their test tensors: node denoise.mjs [WEIGHTS]
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { InferenceSession, Tensor } from "onnxruntime-node";

const weights = process.argv[2] ?? fileURLToPath(new URL("../../weights", import.meta.url));

/** An array of the manifest, read from where its raw float32 values begin. */
async function load({ raw, raw_offset, shape }) {
  const bytes = (await readFile(path.join(weights, raw))).subarray(raw_offset);
  return new Tensor("float32", new Float32Array(Uint8Array.from(bytes).buffer), shape);
}

async function loadAll(arrays) {
  const entries = Object.entries(arrays).map(async ([name, array]) => [name, await load(array)]);
  return Object.fromEntries(await Promise.all(entries));
}

/** Infinite where shapes differ or a value is none. */
function largestDifference(found, expected) {
  if (String(found.dims) !== String(expected.dims)) return Infinity;
  const largest = expected.data.reduce((most, value, i) => Math.max(most, Math.abs(value - found.data[i])), 0);
  return Number.isFinite(largest) ? largest : Infinity;
}

const manifest = JSON.parse(await readFile(path.join(weights, "manifest.json"), "utf8"));
for (const [name, { files, test }] of Object.entries(manifest.models)) {
  for (const [precision, { file, tolerance }] of Object.entries(files)) {
    const session = await InferenceSession.create(path.join(weights, file));
    const { denoised } = await session.run(await loadAll(test.inputs));
    const difference = largestDifference(denoised, await load(test.expected[precision].denoised));
    console.log(`${name} ${precision}: largest difference ${difference.toExponential(1)}, at most ${tolerance}`);
    if (!(difference <= tolerance)) process.exitCode = 1;
  }
}
