// Sentences that depend on a result. Pure functions.

const SHA256_SHOWN = 12; // hex digits

/** The noise level of Poisson mottle as the photons at white that make it: level = 0.5 / sqrt(photons). */
export function photonsAtWhite(level) {
  return 0.25 / level ** 2;
}

function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** @returns {string} how the result came about */
export function factsOf({ image, depth }, { level, precision, seconds, threads, windows, sha256 }) {
  const mottle =
    level > 0.005 ? `Mottle as of ${photonsAtWhite(level).toPrecision(2) * 1} photons at white.` : "Next to no mottle found.";
  return (
    `${image.width} × ${image.height} px, ${depth} bit. Denoised in ${seconds.toFixed(1)} s with window, ${precision} ` +
    `(SHA-256 ${sha256.slice(0, SHA256_SHOWN)}), ${counted(windows, "window")}, ${counted(threads, "thread")}. ${mottle}`
  );
}

/** @returns {string} what a download of a result is, where that is not what was given; else nothing */
export function downloadNote({ kind, depth }) {
  if (kind === "DICOM") {
    return `The download is a ${depth}-bit PNG of what a display shows, not a DICOM file; cxr-infer file IN.dcm OUT.dcm makes one.`;
  }
  return kind === "JPEG" ? "The download is an 8-bit PNG, which loses nothing more." : "";
}

/** @returns {string} how close a result is to its reference; both figures in dB */
export function likenessOf(before, after) {
  return `Against the reference: PSNR ${before.toFixed(2)} dB before, ${after.toFixed(2)} dB after.`;
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

/** @returns {string} what became of the files so far */
export function countOf(items) {
  const number = (state) => items.filter((item) => item.state === state).length;
  const refused = number("refused");
  return `${number("done")} of ${counted(items.length, "file")} done${refused ? `, ${refused} refused` : ""}`;
}

/** @returns {string} models of a manifest by precision and hash */
export function modelOf({ files }) {
  const hashes = Object.entries(files).map(([precision, { sha256 }]) => `${precision} ${sha256.slice(0, SHA256_SHOWN)}`);
  return `, model window: ${hashes.join(", ")} (SHA-256)`;
}

/** What a difference means, below the picture that shows it. */
export const CAPTIONS = {
  residual: (gain) =>
    `Before − denoised, ×${gain}; mid-gray is no change. Even grain is noise that was removed, darker where white saturates. ` +
    "Letters, ribs or edges in it are detail that was weakened.",
  error: (gain) =>
    `Denoised − clean, ×${gain}; mid-gray is equal to the reference. Grain is noise that stays; letters, ribs or edges are ` +
    "detail that was lost or made up.",
};
