// Read a gray image from a file. Formats are recognised by content, and sizes are checked before pixels are decoded.
import { Refusal, wordsOf } from "../refusal.js";
import { isJpeg, jpegSize, readJpeg } from "./jpeg.js";
import { isPng, pngSize, readPng } from "./png.js";

export const MOST_PIXELS = 32_000_000; // the largest detectors have 20 million; the page takes up to 30 bytes for each
const MOST_BYTES = 256 * 2 ** 20; // larger than any file of that many pixels
const DICOM_MAGIC = [0x44, 0x49, 0x43, 0x4d]; // "DICM", after a preamble
const PREAMBLE = 128;

/**
 * depth: bits of the stored pixels
 * @typedef {{image: import("../core/image.js").Gray, depth: 8 | 16, kind: "PNG" | "JPEG" | "DICOM"}} Picture
 */

/** Raises Refusal if an image has no pixels, or more than a browser can handle. */
export function checkSize({ width, height }) {
  if (!(width > 0 && height > 0)) throw new Refusal("This file contains no pixels. Is it complete?");
  if (width * height > MOST_PIXELS) {
    throw new Refusal(
      `This image has ${width} × ${height} pixels; this page takes up to ${MOST_PIXELS / 1e6} million. ` +
        "For larger images, use the command cxr-infer.",
    );
  }
}

/**
 * @param {Blob} file
 * @returns {Promise<Picture>}
 */
export async function readPicture(file) {
  if (file.size > MOST_BYTES) {
    throw new Refusal(
      `This file has ${Math.round(file.size / 2 ** 20)} MB; this page takes up to ${MOST_BYTES / 2 ** 20} MB. ` +
        "For larger files, use the command cxr-infer.",
    );
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  try {
    if (isPng(bytes)) {
      checkSize(pngSize(bytes));
      return { ...readPng(bytes), kind: "PNG" };
    }
    if (isJpeg(bytes)) {
      checkSize(jpegSize(bytes));
      return { ...(await readJpeg(file)), kind: "JPEG" };
    }
    if (DICOM_MAGIC.every((byte, i) => bytes[PREAMBLE + i] === byte)) {
      const { readDicom } = await import("./dicom.js"); // loaded only if needed
      return { ...readDicom(bytes, checkSize), kind: "DICOM" };
    }
  } catch (error) {
    if (error instanceof Refusal) throw error;
    const words = wordsOf(error);
    throw new Refusal(`This file cannot be decoded${words && `: ${words}`}. Is it damaged or incomplete?`);
  }
  throw new Refusal("This is neither PNG, JPEG nor DICOM. For other formats, use the command cxr-infer.");
}
