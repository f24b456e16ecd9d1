import { readFileSync, writeFileSync } from "node:fs";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { PNG } from "pngjs";

const load = (name) => InferenceSession.create(`weights/${name}.onnx`);
const [estimate, window] = await Promise.all(["noise_level", "window/model"].map(load));
const { width, height, data } = PNG.sync.read(readFileSync("noisy.png")); // 8-bit RGBA, black is 0
const mirrored = (i, length) => (i < length ? i : 2 * length - 1 - i);
const gray = (x, y) => data[4 * (mirrored(y, height) * width + mirrored(x, width))] / 255; // in [0, 1]
const pixels = (w, h, value) => Array.from({ length: w * h }, (_, i) => value(i % w, Math.floor(i / w)));
const tensor = (w, h) => new Tensor("float32", pixels(w, h, gray), [1, 1, h, w]);
const { noise_level } = await estimate.run({ noisy: tensor(width, height) });
const [padded, below] = [width, height].map((side) => 16 * Math.ceil(side / 16));
const { denoised } = await window.run({ noisy: tensor(padded, below), noise_level });
const stored = Buffer.from(pixels(width, height, (x, y) => Math.round(255 * denoised.data[y * padded + x])));
writeFileSync("denoised.png", PNG.sync.write({ width, height, data: stored }, { colorType: 0, inputColorType: 0 }));
