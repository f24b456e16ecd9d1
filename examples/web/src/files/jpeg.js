import { grayChannel, toUnit } from "../core/pixels.js";

const START = [0xff, 0xd8, 0xff];
const NOT_FRAMES = [0xc4, 0xc8, 0xcc]; // markers of tables and extensions within the range of frame markers (ITU-T T.81, B.1)

export function isJpeg(bytes) {
  return START.every((byte, i) => bytes[i] === byte);
}

/** The size in the frame header; EXIF may rotate it. */
export function jpegSize(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 2; at + 9 < bytes.length; ) {
    const marker = bytes[at + 1];
    if (bytes[at] !== 0xff) break;
    if (marker === 0xff) {
      at += 1; // a fill byte
    } else if (marker >= 0xc0 && marker <= 0xcf && !NOT_FRAMES.includes(marker)) {
      return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    } else {
      at += 2 + view.getUint16(at + 2);
    }
  }
  return { width: 0, height: 0 };
}

/**
 * Decode by the browser: upright by EXIF, without colour management.
 * @returns {Promise<import("./read.js").Picture>}
 */
export async function readJpeg(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  return { image: { width, height, values: toUnit(grayChannel(data, 4, 255), 255) }, depth: 8 };
}
