// The models in onnxruntime-web's WebAssembly build, held against their test tensors, and the page's own steps around
// the network against a whole image: node denoise.mjs [WEIGHTS]. The page itself is tested in a browser, by `npm test`.
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { env, InferenceSession, Tensor } from "onnxruntime-web";
import { stepsOf } from "./src/core/image.js";
import { noiseLevel } from "./src/core/noise_level.js";
import { predictInWindows } from "./src/core/windows.js";

const weights = process.argv[2] ?? fileURLToPath(new URL("../../weights", import.meta.url));
env.wasm.numThreads = 1;

/** An array of the manifest, read from where its raw float32 values begin. */
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

/** As the other examples write it: two digits in the exponent. */
function scientific(number) {
  return number.toExponential(1).replace(/e([+-])(\d)$/, "e$10$2");
}

/** Infinite where sizes differ or a value is none. */
function largestDifference(found, expected) {
  if (found.length !== expected.length) return Infinity;
  const largest = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - found[i])), 0);
  return Number.isFinite(largest) ? largest : Infinity;
}

/** Options that give every free side of a model's inputs the size that it has in these arrays. */
function fixedShapes(session, inputs) {
  const freeDimensionOverrides = {};
  for (const { name, shape } of session.inputMetadata) {
    shape.forEach((side, axis) => {
      if (typeof side === "string") freeDimensionOverrides[side] = inputs[name].shape[axis];
    });
  }
  return { freeDimensionOverrides };
}

/** The whole test image in windows, as the page does it. */
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

/** How far the noise estimate as an ONNX file is from the level that the manifest has, as a share of it. */
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
    // the same for images of one shape, as programs have it that know theirs
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
