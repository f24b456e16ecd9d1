// Check the models in onnxruntime-web's WebAssembly build against their test tensors, and the page's steps around the
// network against a whole image: node denoise.mjs [WEIGHTS]. `npm test` tests the page itself in a browser.
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { env, InferenceSession, Tensor } from "onnxruntime-web";
import { stepsOf } from "./src/core/image.js";
import { noiseLevel } from "./src/core/noise_level.js";
import { predictInWindows } from "./src/core/windows.js";

const weights = process.argv[2] ?? fileURLToPath(new URL("../../weights", import.meta.url));
env.wasm.numThreads = 1;

/** Read an array of the manifest, raw float32 from an offset. */
async function load({ raw, raw_offset }) {
  const bytes = (await readFile(path.join(weights, raw))).subarray(raw_offset);
  return new Float32Array(Uint8Array.from(bytes).buffer);
}

async function loadAll(arrays) {
  const entries = Object.entries(arrays).map(async ([name, array]) => {
    return [name, new Tensor("float32", await load(array), array.shape)];
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** Format with two digits in the exponent, like the other examples. */
function scientific(number) {
  return number.toExponential(1).replace(/e([+-])(\d)$/, "e$10$2");
}

/** Infinity if sizes differ or a value is not finite. */
function largestDifference(found, expected) {
  if (found.length !== expected.length) return Infinity;
  const largest = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - found[i])), 0);
  return Number.isFinite(largest) ? largest : Infinity;
}

/** Session options that fix the free dimensions of the inputs to the sizes of these arrays. */
function fixedShapes(session, inputs) {
  const freeDimensionOverrides = {};
  for (const { name, shape } of session.inputMetadata) {
    shape.forEach((side, axis) => {
      if (typeof side === "string") freeDimensionOverrides[side] = inputs[name].shape[axis];
    });
  }
  return { freeDimensionOverrides };
}

/** Denoise the test image in windows, as the page does. */
async function denoiseImage(session, model, { noisy, window, overlap }) {
  const steps = stepsOf(model);
  const [height, width] = noisy.shape;
  const image = { width, height, values: await load(noisy) };
  const noise_level = new Tensor("float32", [noiseLevel(image, steps.noise_level)], [1]);
  const predict = async (piece, rows, columns) => {
    const feeds = { noisy: new Tensor("float32", piece, [1, 1, rows, columns]), noise_level };
    return (await session.run(feeds)).denoised.data;
  };
  return (await predictInWindows(image, steps, { side: window, overlap }, predict)).values;
}

/** Relative difference between the noise estimate of the ONNX file and the level in the manifest. */
async function estimateDifference({ file }, { noisy, noise_level }) {
  const session = await InferenceSession.create(await readFile(path.join(weights, file)));
  const image = new Tensor("float32", await load(noisy), [1, 1, ...noisy.shape]);
  const found = (await session.run({ noisy: image })).noise_level.data[0];
  return Math.abs(found / noise_level - 1);
}

const manifest = JSON.parse(await readFile(path.join(weights, "manifest.json"), "utf8"));
for (const [name, model] of Object.entries(manifest.models)) {
  const { files, test } = model;
  for (const [precision, { file, tolerance }] of Object.entries(files)) {
    const session = await InferenceSession.create(await readFile(path.join(weights, file)));
    const { denoised } = await session.run(await loadAll(test.inputs));
    const cases = { "": [denoised.data, test.expected[precision].denoised] };
    // the same with fixed shapes, as in programs for images of one size
    const options = fixedShapes(session, test.inputs);
    const fixed = await InferenceSession.create(await readFile(path.join(weights, file)), options);
    cases[" fixed"] = [(await fixed.run(await loadAll(test.inputs))).denoised.data, cases[""][1]];
    await fixed.release();
    if (test.image.window) {
      cases[" image"] = [await denoiseImage(session, model, test.image), test.image.expected[precision]];
    }
    for (const [suffix, [found, expected]] of Object.entries(cases)) {
      const difference = largestDifference(found, await load(expected));
      console.log(`${name} ${precision}${suffix}: largest difference ${scientific(difference)}, at most ${tolerance}`);
      if (!(difference <= tolerance)) process.exitCode = 1;
    }
    await session.release();
  }
}
const difference = await estimateDifference(manifest.noise_estimate, manifest.models.window.test.image);
const { tolerance } = manifest.noise_estimate;
console.log(`noise_level fp32: largest difference ${scientific(difference)}, at most ${tolerance}`);
if (!(difference <= tolerance)) process.exitCode = 1;
