// Off the page's own thread: decode a file, load what is needed, denoise. One job at a time; a newer one ends an older.
import { Denoiser } from "./denoiser.js";
import { readPicture } from "./files/read.js";
import { Refusal, wordsOf } from "./refusal.js";

/** @typedef {{id: number, file: Blob, precision: "fp32" | "int8", base: string}} Job */

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
  const { image, depth } = await readPicture(file);
  tell("picture", { image, depth });
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
  postMessage(
    { id, kind: "result", denoised, level, windows, precision, seconds, threads: denoiser.threads },
    [denoised.values.buffer],
  );
}

function failure(words) {
  return `Denoising failed${words && `: ${words}`}. Reload the page and try again.`;
}

/** @param {Job} job */
async function workAndTell(job) {
  try {
    await work(job);
  } catch (error) {
    if (error instanceof Superseded) return;
    const text = error instanceof Refusal ? error.message : failure(wordsOf(error));
    postMessage({ id: job.id, kind: "refused", text });
  }
}

addEventListener("message", ({ data: job }) => {
  newest = job.id;
  queue = queue.then(() => workAndTell(job));
});
