// Stored pixels <-> [0, 1] <-> screen. The stored type sets the range, never the maximum of an image.
import { Refusal } from "../refusal.js";

export const COLOUR = "This is a colour picture, not a gray X-ray. Convert it to gray first.";
export const TRANSPARENT = "This picture has transparent pixels. Flatten it to gray first.";

/**
 * The gray channel of pixels whose colours are equal, by the manifest's step `gray`.
 * @param {ArrayLike<number>} data interleaved channels of the pixels: gray, gray and alpha, RGB or RGBA
 * @param {number} channels
 * @param {number} white largest value of the stored type
 */
export function grayChannel(data, channels, white) {
  if (channels === 1) return data;
  const colours = channels < 3 ? 1 : 3;
  const gray = new data.constructor(data.length / channels);
  for (let pixel = 0; pixel < gray.length; pixel++) {
    const at = pixel * channels;
    for (let c = 1; c < colours; c++) if (data[at + c] !== data[at]) throw new Refusal(COLOUR);
    if (channels > colours && data[at + colours] !== white) throw new Refusal(TRANSPARENT);
    gray[pixel] = data[at];
  }
  return gray;
}

/** @returns {Float32Array} in [0, 1], by the manifest's step `scale` */
export function toUnit(stored, white) {
  const unit = new Float32Array(stored.length); // `Float32Array.from` would first collect all numbers in a list
  for (let i = 0; i < unit.length; i++) unit[i] = Math.min(stored[i] / white, 1);
  return unit;
}

/** Round to nearest, ties to even, as IEEE 754 does, for the manifest's step `store`. */
export function roundedToEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/** @returns {Uint8Array | Uint16Array} by the manifest's step `store`; white is 255 or 65535 */
export function toStored(unit, white) {
  const stored = white === 255 ? new Uint8Array(unit.length) : new Uint16Array(unit.length);
  for (let i = 0; i < unit.length; i++) {
    stored[i] = Math.min(Math.max(roundedToEven(Math.fround(unit[i] * white)), 0), white);
  }
  return stored;
}

/** The result at a strength of 0 to 1, exact at both ends, by the manifest's step `strength`. */
export function atStrength(before, denoised, strength) {
  if (strength === 1) return denoised;
  const mixed = Math.fround(strength);
  return before.map((value, i) => value + Math.fround(mixed * Math.fround(denoised[i] - value)));
}

export const RESIDUAL_GAIN = 4;

/** Before minus after, amplified around mid-gray: darker where the result is brighter than the input. */
export function residual(before, after) {
  return before.map((value, i) => 0.5 + RESIDUAL_GAIN * (value - after[i]));
}

/**
 * @param {Float32Array} unit
 * @param {{slope: number, intercept: number}} line from gray to screen
 * @returns {Uint8ClampedArray} RGBA of gray values, for an ImageData
 */
export function toRgba(unit, { slope, intercept } = { slope: 1, intercept: 0 }) {
  const rgba = new Uint8ClampedArray(unit.length * 4);
  const words = new Uint32Array(rgba.buffer);
  for (let i = 0; i < unit.length; i++) {
    const gray = Math.min(Math.max(roundedToEven((slope * unit[i] + intercept) * 255), 0), 255);
    words[i] = 0xff000000 + gray * 0x010101; // little-endian, as in every browser
  }
  return rgba;
}

/**
 * Shrink an image by a whole factor; each pixel is the mean of a block.
 * @param {import("./image.js").Gray} image
 * @param {number} factor px of the image per px of the result
 */
export function shrunk(image, factor) {
  if (factor <= 1) return image;
  const [width, height] = [Math.ceil(image.width / factor), Math.ceil(image.height / factor)];
  const values = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [bottom, right] = [Math.min((y + 1) * factor, image.height), Math.min((x + 1) * factor, image.width)];
      let sum = 0;
      for (let v = y * factor; v < bottom; v++) {
        for (let u = x * factor; u < right; u++) sum += image.values[v * image.width + u];
      }
      values[y * width + x] = sum / ((bottom - y * factor) * (right - x * factor));
    }
  }
  return { width, height, values };
}

/** A square of `side` px around a point, moved inside the image and cut to its size. */
export function squareAround({ width, height }, x, y, side) {
  const within = (centre, extent) => Math.max(0, Math.min(Math.round(centre - side / 2), extent - side));
  return { left: within(x, width), top: within(y, height), width: Math.min(side, width), height: Math.min(side, height) };
}

/** @returns {import("./image.js").Gray} a rectangle of an image */
export function part(image, { left, top, width, height }) {
  const values = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const from = (top + y) * image.width + left;
    values.set(image.values.subarray(from, from + width), y * width);
  }
  return { width, height, values };
}
