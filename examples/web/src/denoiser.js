// The network in onnxruntime's WebAssembly build: loaded once, then any number of images.
import * as ort from "onnxruntime-web/wasm";
import { stepsOf } from "./core/image.js";
import { noiseLevel } from "./core/noise_level.js";
import { predictInWindows } from "./core/windows.js";
import { fetchBytes, hasSha256 } from "./fetching.js";
import { Refusal } from "./refusal.js";

const MODEL = "window";
const SIDE = 512; // px that a window adds to its neighbours: with the overlap 90 MB in the network, for phones
const MOST_THREADS = 8; // more were not faster in onnxruntime for windows of this size

/** Threads need memory that workers share, which browsers give only to pages isolated by COOP and COEP. */
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
   * Make the network of a precision ready, where it is not.
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
      throw new Refusal(`${url.pathname} is not the file of the manifest beside it. Reload the page; if that does not help, its server must be mended.`);
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
    const plan = { side: SIDE, overlap: steps.window.overlap };
    return { denoised: await predictInWindows(image, steps, plan, predict, onWindow), level };
  }

  get threads() {
    return ort.env.wasm.numThreads;
  }
}
