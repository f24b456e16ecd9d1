// Uncompressed DICOM for presentation, as displayed with the first window of the file, if any. Everything else is
// refused: `cxr-infer` reads more kinds, and writes DICOM.
import dicomParser from "dicom-parser";
import { Refusal } from "../refusal.js";

const SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]; // implicit and explicit VR, little endian
const SOP_CLASSES = [
  "1.2.840.10008.5.1.4.1.1.1", // CR
  "1.2.840.10008.5.1.4.1.1.1.1", // DX for presentation
  "1.2.840.10008.5.1.4.1.1.7", // Secondary Capture
];
const TAGS = {
  transferSyntax: "x00020010",
  sopClass: "x00080016",
  intent: "x00080068",
  relationship: "x00281040",
  samples: "x00280002",
  photometric: "x00280004",
  frames: "x00280008",
  rows: "x00280010",
  columns: "x00280011",
  allocated: "x00280100",
  stored: "x00280101",
  highBit: "x00280102",
  representation: "x00280103",
  padding: "x00280120",
  paddingLimit: "x00280121",
  center: "x00281050",
  width: "x00281051",
  intercept: "x00281052",
  slope: "x00281053",
  voiFunction: "x00281056",
  modalityLut: "x00283000",
  voiLut: "x00283010",
  pixels: "x7fe00010",
};
const LEAST_INSIDE = 0.1; // least fraction of the pixels that a window shows neither black nor white
const LEAST_SPAN = 0.25; // least fraction of the stored range that pixels without a window span
const LEAST_WIDTH = 1e-6; // of a window; a narrower one is a step

function refuse(problem) {
  throw new Refusal(`This DICOM file ${problem}. Try the command cxr-infer, which reads more kinds of DICOM.`);
}

/** The pixel layout of the header. Raises Refusal. */
function layoutOf(data) {
  const text = (tag) => (data.string(tag) ?? "").trim();
  const whole = (tag, otherwise) => data.uint16(tag) ?? otherwise;
  if (!SYNTAXES.includes(text(TAGS.transferSyntax))) refuse("is compressed or big endian, which this page cannot read");
  if (!SOP_CLASSES.includes(text(TAGS.sopClass))) refuse("is not a radiograph for presentation (CR, DX or Secondary Capture)");
  const windowed = data.elements[TAGS.width];
  const raw = !windowed && ["LIN", "LOG"].includes(text(TAGS.relationship));
  if (raw || text(TAGS.intent) === "FOR PROCESSING") refuse("is for processing: it contains raw detector values");
  if (data.elements[TAGS.modalityLut] || data.elements[TAGS.voiLut]) refuse("needs a look-up table, which this page cannot apply");
  if ((data.intString(TAGS.frames) ?? 1) !== 1) refuse("has several frames");
  const photometric = text(TAGS.photometric);
  if (whole(TAGS.samples, 1) !== 1 || !["MONOCHROME1", "MONOCHROME2"].includes(photometric)) refuse("is not gray");
  const [allocated, stored] = [whole(TAGS.allocated, 0), whole(TAGS.stored, 0)];
  const highBit = whole(TAGS.highBit, stored - 1);
  const fits = [8, 16].includes(allocated) && stored >= 8 && stored <= highBit + 1 && highBit < allocated;
  if (!fits) refuse(`stores ${stored} of ${allocated} bits per pixel, which this page cannot read`);
  return {
    width: whole(TAGS.columns, 0),
    height: whole(TAGS.rows, 0),
    allocated,
    stored,
    highBit,
    signed: whole(TAGS.representation, 0) === 1,
    inverted: photometric === "MONOCHROME1",
  };
}

/** The stored values, sign-extended, without the unused bits. */
function storedValues(data, { width, height, allocated, stored, highBit, signed }) {
  const element = data.elements[TAGS.pixels];
  const bytes = allocated / 8;
  if (!element || element.length < width * height * bytes) refuse("contains fewer pixels than its header states");
  const view = new DataView(data.byteArray.buffer, data.byteArray.byteOffset + element.dataOffset);
  const values = new Int32Array(width * height);
  for (let i = 0; i < values.length; i++) {
    const word = bytes === 1 ? view.getUint8(i) : view.getUint16(i * 2, true);
    const left = word << (31 - highBit); // drop the bits above the value; shifting back extends the sign
    values[i] = signed ? left >> (32 - stored) : left >>> (32 - stored);
  }
  return values;
}

/** The range of stored values that are padding around the image, [low, high] inclusive; null if there is none. */
function paddingOf(data, { signed }) {
  if (!data.elements[TAGS.padding]) return null;
  const read = (tag) => (signed ? data.int16(tag) : data.uint16(tag));
  const ends = [read(TAGS.padding), read(TAGS.paddingLimit) ?? read(TAGS.padding)];
  return [Math.min(...ends), Math.max(...ends)];
}

/** The function of a window, from value to gray in [0, 1] (PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2). */
export function windowFunction(center, width, name) {
  const exact = name === "SIGMOID" || name === "LINEAR_EXACT";
  const [middle, span] = exact ? [center, width] : [center - 0.5, width - 1];
  const position = (value) => (value - middle) / Math.max(span, LEAST_WIDTH);
  if (name === "SIGMOID") return (value) => 1 / (1 + Math.exp(-4 * position(value)));
  return (value) => Math.min(Math.max(position(value) + 0.5, 0), 1);
}

/** The function from stored value to gray in [0, 1] as displayed, before MONOCHROME1 inverts it. */
function displayFunction(data, layout) {
  const slope = data.floatString(TAGS.slope) ?? 1;
  const intercept = data.floatString(TAGS.intercept) ?? 0;
  const [center, width] = [data.floatString(TAGS.center), data.floatString(TAGS.width)];
  if (center !== undefined && width !== undefined) {
    const shown = windowFunction(center, width, (data.string(TAGS.voiFunction) ?? "").trim());
    return { windowed: true, shown: (value) => shown(value * slope + intercept) };
  }
  const lowest = layout.signed ? -(2 ** (layout.stored - 1)) : 0;
  const range = 2 ** layout.stored - 1;
  const rising = (value) => (value - lowest) / range;
  return { windowed: false, shown: slope < 0 ? (value) => 1 - rising(value) : rising };
}

/** Refuse images with hardly any gray values for the model; `cxr-infer` scales them by their own range. */
function checkShown(grays, windowed) {
  let [inside, least, largest] = [0, 1, 0];
  for (const gray of grays) {
    if (gray > 0 && gray < 1) inside += 1;
    least = Math.min(least, gray);
    largest = Math.max(largest, gray);
  }
  if (windowed && inside < LEAST_INSIDE * grays.length) refuse("has a window that shows almost none of its pixels");
  if (!windowed && largest > least && largest - least < LEAST_SPAN) refuse("has no window and uses only a small part of its range");
}

/**
 * @param {Uint8Array} bytes
 * @param {(size: {width: number, height: number}) => void} checkSize raises Refusal for too large images
 * @returns {import("./read.js").Picture}
 */
export function readDicom(bytes, checkSize) {
  const data = dicomParser.parseDicom(bytes);
  const layout = layoutOf(data);
  const { width, height } = layout;
  checkSize(layout);
  const stored = storedValues(data, layout);
  const padding = paddingOf(data, layout);
  const isPadding = (value) => padding !== null && value >= padding[0] && value <= padding[1];
  const { shown, windowed } = displayFunction(data, layout);
  const grays = new Float32Array(stored.length).map((_, i) => shown(stored[i]));
  checkShown(padding ? grays.filter((_, i) => !isPadding(stored[i])) : grays, windowed);
  const seen = layout.inverted ? (value) => 1 - shown(value) : shown;
  const values = grays.map((_, i) => (isPadding(stored[i]) ? 0 : seen(stored[i])));
  return { image: { width, height, values }, depth: 16 };
}
