// Sentences that depend on a result. Pure functions.

/** The noise level of Poisson mottle as the photons at white that make it: level = 0.5 / sqrt(photons). */
export function photonsAtWhite(level) {
  return 0.25 / level ** 2;
}

function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** @returns {string} how the result came about */
export function factsOf({ image, depth }, { level, precision, seconds, threads, windows }) {
  const mottle =
    level > 0.005 ? `Mottle as of ${photonsAtWhite(level).toPrecision(2) * 1} photons at white.` : "Next to no mottle found.";
  return (
    `${image.width} × ${image.height} px, ${depth} bit. Denoised in ${seconds.toFixed(1)} s with ${precision}, ` +
    `${counted(windows, "window")}, ${counted(threads, "thread")}. ${mottle}`
  );
}

/** @returns {string} the name of a result: `chest.jpg` -> `chest-denoised.png` */
export function downloadName(name) {
  return `${name.replace(/\.[^.]{1,5}$/, "") || "xray"}-denoised.png`;
}
