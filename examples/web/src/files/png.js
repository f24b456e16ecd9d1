import { convertIndexedToRgb, decode, encode } from "fast-png";
import { grayChannel, toStored, toUnit, TRANSPARENT } from "../core/pixels.js";
import { Refusal } from "../refusal.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const HEADER = SIGNATURE.length + 8; // the fields of the first chunk, IHDR, follow its length and name
const CHUNK_FRAME = 12; // bytes of a chunk without its data: length, name, checksum

export function isPng(bytes) {
  return SIGNATURE.every((byte, i) => bytes[i] === byte);
}

export function pngSize(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { width: view.getUint32(HEADER), height: view.getUint32(HEADER + 4) };
}

/** Whether it is an animation: its chunk must come before the first pixels. */
function isAnimated(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = SIGNATURE.length; at + CHUNK_FRAME <= bytes.length; at += CHUNK_FRAME + view.getUint32(at)) {
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (name === "acTL" || name === "IDAT") return name === "acTL";
  }
  return false;
}

/** @returns {import("./read.js").Picture} */
export function readPng(bytes) {
  if (isAnimated(bytes)) throw new Refusal("This PNG is an animation. Save the X-ray as a PNG of one frame.");
  const png = decode(bytes, { checkCrc: true });
  const { width, height, palette, transparency } = png;
  if (transparency && !palette) throw new Refusal(TRANSPARENT);
  if (png.depth < 8 && !palette) throw new Refusal(`This PNG has ${png.depth} bits per pixel. Save it with 8 or 16.`);
  const data = palette ? convertIndexedToRgb(png) : png.data;
  const [channels, depth] = palette ? [palette[0].length, 8] : [png.channels, png.depth];
  const white = 2 ** depth - 1;
  return { image: { width, height, values: toUnit(grayChannel(data, channels, white), white) }, depth };
}

/**
 * @param {import("../core/image.js").Gray} image
 * @param {8 | 16} depth
 * @returns {Uint8Array} the file
 */
export function writePng({ width, height, values }, depth) {
  return encode({ width, height, channels: 1, depth, data: toStored(values, 2 ** depth - 1) });
}
