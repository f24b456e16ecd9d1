// Off the page's own thread: decode a file, load what is needed, denoise. One job at a time; a newer one ends an older.
import { phantom, withMottle } from "./core/phantom.js";
import { Denoiser } from "./denoiser.js";
import { readPicture } from "./files/read.js";
import { Refusal, wordsOf } from "./refusal.js";

/** @typedef {{kind: "denoise", id: number, file: Blob, precision: "fp32" | "int8", base: string}} Job */
/** @typedef {{kind: "read", id: number, file: Blob}} Reading  the pixels alone, each that is asked for */
/** @typedef {{kind: "draw", id: number, side: number, seed: number, dose: number}} Drawing  of an example */

class Superseded extends Error {}

let newest = 0;
let queue = Promise.resolve();
let denoiser;

/** Messages are only received between tasks: give them the chance, then see whether there is a newer job. */
async function checkNewest(id) {
  await new Promise((resolve) => setTimeout(resolve));
  if (id !== newest) throw new Superseded();
}

/** @param {Job} job */
async function work({ id, file, precision, base }) {
  const tell = (kind, facts) => postMessage({ id, kind, ...facts });
  const progress = (text, share) => tell("progress", { text, share });
  await checkNewest(id);
  progress("Reading the file", 0);
  const { image, depth, kind: source } = await readPicture(file);
  tell("picture", { image, depth, source });
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
  tell("result", { denoised, level, windows, precision, seconds, threads, sha256 });
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

const KINDS = { denoise: work, read, draw };

/** @param {Job | Reading | Drawing} job */
async function workAndTell(job) {
  try {
    await KINDS[job.kind](job);
  } catch (error) {
    if (error instanceof Superseded) return;
    const text = error instanceof Refusal ? error.message : failure(wordsOf(error));
    postMessage({ id: job.id, kind: "refused", text });
  }
}

addEventListener("message", ({ data: job }) => {
  if (job.kind === "denoise") newest = job.id;
  queue = queue.then(() => workAndTell(job));
});
