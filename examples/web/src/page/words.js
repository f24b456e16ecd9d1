// Sentences about results, in the words of the HTML report. Pure functions.

const SHA256_SHOWN = 12; // hex digits

/** @returns {number} photons at white whose Poisson mottle has this noise level: level = 0.5 / sqrt(photons) */
export function photonsAtWhite(level) {
  return 0.25 / level ** 2;
}

function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** @returns {string} size, model and noise of a result */
export function factsOf({ image, depth }, { level, precision, seconds, threads, windows, sha256 }) {
  const mottle =
    level > 0.005 ? `Photons at white: ${photonsAtWhite(level).toPrecision(2) * 1}.` : "Almost no mottle found.";
  return (
    `${image.width} × ${image.height} px, ${depth} bit. Denoised in ${seconds.toFixed(1)} s by model window, ${precision}, ` +
    `SHA-256 ${sha256.slice(0, SHA256_SHOWN)}; ${counted(windows, "window")}, ${counted(threads, "thread")}. ${mottle}`
  );
}

/** @returns {string} how the format of a download differs from the source; empty for PNG */
export function downloadNote({ kind, depth }) {
  if (kind === "DICOM") {
    return `The download is a ${depth}-bit PNG of the image as displayed, not a DICOM file. For DICOM, use cxr-infer file IN.dcm OUT.dcm.`;
  }
  return kind === "JPEG" ? "The download is an 8-bit PNG, without further compression loss." : "";
}

/** @returns {string} the PSNR of original and result, in dB */
export function likenessOf(before, after) {
  return `PSNR against the reference: ${before.toFixed(2)} dB before, ${after.toFixed(2)} dB after.`;
}

/** @returns {string} the name of a result: `ward/chest.jpg` -> `ward/chest-denoised.png` */
export function resultName(name) {
  const [, folders, last] = /^(.*\/)?([^/]*)$/s.exec(name);
  return `${folders ?? ""}${last.replace(/\.[^.]{1,5}$/, "") || "xray"}-denoised.png`;
}

/** @returns {string} the same without its folders */
export function downloadName(name) {
  return resultName(name).split("/").at(-1);
}

/** @returns {string} how many files are denoised and how many failed */
export function countOf(items) {
  const number = (state) => items.filter((item) => item.state === state).length;
  const refused = number("refused");
  return `${number("done")} of ${counted(items.length, "file")} denoised${refused ? `, ${refused} failed` : ""}`;
}

/** @returns {string} the precisions and hashes of a model of the manifest */
export function modelOf({ files }) {
  const hashes = Object.entries(files).map(([precision, { sha256 }]) => `${precision} ${sha256.slice(0, SHA256_SHOWN)}`);
  return `, model window: ${hashes.join(", ")} (SHA-256)`;
}

/** Explanations of the differences, the same as in the HTML report. */
export const CAPTIONS = {
  residual: (gain) =>
    `Before − after, ×${gain}; mid-gray means no change. Even grain is removed noise; it is darker where white saturates. ` +
    "Letters, ribs or edges are weakened detail.",
  error: (gain) =>
    `After − clean, ×${gain}; mid-gray means equal to the reference. Grain is remaining noise; letters, ribs or edges are ` +
    "lost or false detail.",
};
