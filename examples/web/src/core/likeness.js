const PERFECT = 1e-12; // least mean squared error, as in cxr-infer

/** @returns {number} PSNR of an image against the clean one in dB, both in [0, 1] */
export function psnr(clean, image) {
  let sum = 0;
  for (let i = 0; i < clean.length; i++) sum += (clean[i] - image[i]) ** 2;
  return -10 * Math.log10(Math.max(sum / clean.length, PERFECT));
}
