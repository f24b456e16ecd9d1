// Run the models in onnxruntime-node on their test tensors: node denoise.mjs [WEIGHTS]
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { InferenceSession, Tensor } from "onnxruntime-node";

const weights = process.argv[2] ?? fileURLToPath(new URL("../../weights", import.meta.url));

/** Read an array of the manifest, from the start of its raw float32 values. */
async function load({ raw, raw_offset, shape }) {
  const bytes = (await readFile(path.join(weights, raw))).subarray(raw_offset);
  return new Tensor("float32", new Float32Array(Uint8Array.from(bytes).buffer), shape);
}

async function loadAll(arrays) {
  const entries = Object.entries(arrays).map(async ([name, array]) => [name, await load(array)]);
  return Object.fromEntries(await Promise.all(entries));
}

/** Infinite if shapes differ or a value is not finite. */
function largestDifference(found, expected) {
  if (String(found.dims) !== String(expected.dims)) return Infinity;
  const largest = expected.data.reduce((most, value, i) => Math.max(most, Math.abs(value - found.data[i])), 0);
  return Number.isFinite(largest) ? largest : Infinity;
}

/** Options that fix every free side of a model's inputs to its size in these arrays. */
function fixedShapes(session, inputs) {
  const freeDimensionOverrides = {};
  for (const { name, shape } of session.inputMetadata) {
    shape.forEach((side, axis) => {
      if (typeof side === "string") freeDimensionOverrides[side] = inputs[name].shape[axis];
    });
  }
  return { freeDimensionOverrides };
}

/** Difference of the ONNX noise estimate from the level in the manifest, as a fraction of it. */
async function estimateDifference({ file }, { noisy, noise_level }) {
  const session = await InferenceSession.create(path.join(weights, file));
  const image = (await load(noisy)).reshape([1, 1, ...noisy.shape]);
  const found = (await session.run({ noisy: image })).noise_level.data[0];
  return Math.abs(found / noise_level - 1);
}

const manifest = JSON.parse(await readFile(path.join(weights, "manifest.json"), "utf8"));
for (const [name, { files, test }] of Object.entries(manifest.models)) {
  for (const [precision, { file, tolerance }] of Object.entries(files)) {
    const expected = await load(test.expected[precision].denoised);
    const free = await InferenceSession.create(path.join(weights, file));
    // fixed shapes, as in programs that know their image size
    const fixed = await InferenceSession.create(path.join(weights, file), fixedShapes(free, test.inputs));
    for (const [suffix, session] of Object.entries({ "": free, " fixed": fixed })) {
      const { denoised } = await session.run(await loadAll(test.inputs));
      const difference = largestDifference(denoised, expected);
      console.log(`${name} ${precision}${suffix}: largest difference ${difference.toExponential(1)}, at most ${tolerance}`);
      if (!(difference <= tolerance)) process.exitCode = 1;
    }
  }
}
const difference = await estimateDifference(manifest.noise_estimate, manifest.models.window.test.image);
const { tolerance } = manifest.noise_estimate;
console.log(`noise_level fp32: largest difference ${difference.toExponential(1)}, at most ${tolerance}`);
if (!(difference <= tolerance)) process.exitCode = 1;
