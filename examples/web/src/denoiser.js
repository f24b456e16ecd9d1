// The network in onnxruntime's WebAssembly build, loaded once for all images.
import * as ort from "onnxruntime-web/wasm";
import { stepsOf } from "./core/image.js";
import { noiseLevel } from "./core/noise_level.js";
import { predictInWindows } from "./core/windows.js";
import { fetchBytes, hasSha256 } from "./fetching.js";
import { Refusal } from "./refusal.js";

const MODEL = "window";
const SIDE = 512; // px that each further window adds; with the overlap, the network takes 90 MB, for phones
const MOST_THREADS = 8; // more are not faster for windows of this size

/** Threads need shared memory. Browsers give it only to pages isolated by COOP and COEP. */
function threads() {
  return globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
}

/** @typedef {(text: string, share: number) => void} OnProgress */

export class Denoiser {
  /** @param {string} base URL of the page's folder */
  constructor(base) {
    this.base = base;
    this.precision = null;
  }

  /** @param {OnProgress} onProgress */
  async #loadRuntime(onProgress) {
    const [mjs, wasm] = __RUNTIME__.files.map((name) => new URL(`ort/${name}`, this.base));
    const megabytes = (__RUNTIME__.wasmBytes / 1e6).toFixed(1);
    const wasmBinary = await fetchBytes(wasm, __RUNTIME__.wasmBytes, (share) =>
      onProgress(`Loading the runtime, ${(share * megabytes).toFixed(1)} of ${megabytes} MB`, share),
    );
    Object.assign(ort.env.wasm, { wasmBinary, wasmPaths: { mjs: mjs.href }, numThreads: threads() });
    const response = await fetchBytes(new URL("weights/manifest.json", this.base), 1, () => {});
    this.model = JSON.parse(new TextDecoder().decode(response)).models[MODEL];
  }

  /**
   * Load the network of a precision, unless it is loaded.
   * @param {"fp32" | "int8"} precision
   * @param {OnProgress} onProgress
   */
  async load(precision, onProgress) {
    if (this.precision === precision) return;
    if (!this.model) await this.#loadRuntime(onProgress);
    const { file, bytes, sha256 } = this.model.files[precision];
    const megabytes = (bytes / 1e6).toFixed(1);
    const url = new URL(`weights/${file}`, this.base);
    const content = await fetchBytes(url, bytes, (share) =>
      onProgress(`Loading the model, ${(share * megabytes).toFixed(1)} of ${megabytes} MB`, share),
    );
    if (!(await hasSha256(content, sha256))) {
      const remedy = "Reload the page; if that does not help, install the page on its server again.";
      throw new Refusal(`${url.pathname} does not match its SHA-256 in the manifest. ${remedy}`);
    }
    await this.session?.release();
    this.precision = null;
    this.session = await ort.InferenceSession.create(content, { executionProviders: ["wasm"], enableMemPattern: false });
    [this.precision, this.sha256] = [precision, sha256];
  }

  /**
   * @param {import("./core/image.js").Gray} image
   * @param {(done: number, all: number) => unknown} onWindow see `predictInWindows`
   * @returns {Promise<{denoised: import("./core/image.js").Gray, level: number}>}
   */
  async denoise(image, onWindow) {
    const steps = stepsOf(this.model);
    const level = noiseLevel(image, steps.noise_level);
    const noise_level = new ort.Tensor("float32", [level], [1]);
    const predict = async (window, height, width) => {
      const noisy = new ort.Tensor("float32", window, [1, 1, height, width]);
      const { denoised } = await this.session.run({ noisy, noise_level });
      return denoised.data;
    };
    const tiling = { side: SIDE, overlap: steps.window.overlap };
    return { denoised: await predictInWindows(image, steps, tiling, predict, onWindow), level };
  }

  get threads() {
    return ort.env.wasm.numThreads;
  }
}
