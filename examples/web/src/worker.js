// The worker: decodes files, loads runtime and network, denoises. One job at a time; a newer job stops an older one.
import { phantom, withMottle } from "./core/phantom.js";
import { Denoiser } from "./denoiser.js";
import { readPicture } from "./files/read.js";
import { Refusal, wordsOf } from "./refusal.js";

/** @typedef {{kind: "denoise", id: number, file: Blob, precision: "fp32" | "int8", base: string}} Job */
/** @typedef {{kind: "read", id: number, file: Blob}} Reading  pixels only, never superseded */
/** @typedef {{kind: "draw", id: number, side: number, seed: number, dose: number}} Drawing  of an example */

class Superseded extends Error {}

let newest = 0;
let queue = Promise.resolve();
let denoiser;

/** Stop if there is a newer job. Messages arrive only between tasks, so end this task first. */
async function checkNewest(id) {
  await new Promise((resolve) => setTimeout(resolve));
  if (id !== newest) throw new Superseded();
}

/** @param {Job} job */
async function denoise({ id, file, precision, base }) {
  const send = (kind, facts) => postMessage({ id, kind, ...facts });
  const progress = (text, share) => send("progress", { text, share });
  await checkNewest(id);
  progress("Reading the file", 0);
  const { image, depth, kind: source } = await readPicture(file);
  send("picture", { image, depth, source });
  denoiser ??= new Denoiser(base);
  await denoiser.load(precision, progress);
  const started = performance.now();
  let windows = 1;
  const { denoised, level } = await denoiser.denoise(image, async (done, all) => {
    windows = all;
    progress(all > 1 ? `Denoising, ${done} of ${all} windows done` : "Denoising", done / all);
    await checkNewest(id);
  });
  const seconds = (performance.now() - started) / 1000;
  const { threads, sha256 } = denoiser;
  send("result", { denoised, level, windows, precision, seconds, threads, sha256 });
}

/** @param {Reading} reading */
async function read({ id, file }) {
  const { image, depth, kind: source } = await readPicture(file);
  postMessage({ id, kind: "picture", image, depth, source }, [image.values.buffer]);
}

/** @param {Drawing} drawing */
async function draw({ id, side, seed, dose }) {
  const clean = phantom(side, seed);
  postMessage({ id, kind: "drawn", clean, noisy: withMottle(clean, dose, seed) });
}

function failure(words) {
  return `Denoising failed${words && `: ${words}`}. Reload the page and try again.`;
}

const ACTIONS = { denoise, read, draw };

/** @param {Job | Reading | Drawing} job */
async function run(job) {
  try {
    await ACTIONS[job.kind](job);
  } catch (error) {
    if (error instanceof Superseded) return;
    const text = error instanceof Refusal ? error.message : failure(wordsOf(error));
    postMessage({ id: job.id, kind: "refused", text });
  }
}

addEventListener("message", ({ data: job }) => {
  if (job.kind === "denoise") newest = job.id;
  queue = queue.then(() => run(job));
});
