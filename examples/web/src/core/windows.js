// Run a network over an image in windows, by the manifest's steps `pad`, `window` and `blend`.

/**
 * The windows along an axis, evenly spaced and of equal length, in px.
 * @returns {{length: number, starts: number[], padded: number}}
 */
export function windowStarts(extent, side, overlap, multiple) {
  const [cells, shared, step] = [extent, overlap, side].map((px) => Math.ceil(px / multiple));
  const count = Math.max(1, Math.ceil((cells - shared) / step));
  const length = Math.min(cells, Math.ceil((cells + (count - 1) * shared) / count));
  const between = Math.max(count - 1, 1);
  const starts = Array.from({ length: count }, (_, i) => Math.floor((i * (cells - length)) / between) * multiple);
  return { length: length * multiple, starts, padded: cells * multiple };
}

/** Weight of the later window over an overlap of `shared` px: 0, a smooth rise, 1. */
export function blendWeights(shared, blindShare) {
  return Float32Array.from({ length: shared }, (_, index) => {
    const position = (index + 0.5) / shared;
    const rise = Math.min(Math.max((position - blindShare) / (1 - 2 * blindShare), 0), 1);
    return rise * rise * (3 - 2 * rise);
  });
}

/** Mirror an index beyond the end and repeat the edge pixel, as numpy pads in mode `symmetric`. */
export function repeated(index, length) {
  const inside = index % (2 * length);
  return inside < length ? inside : 2 * length - 1 - inside;
}

/** Cut a window from an image, mirrored at its lower and right edge: (rows, columns). */
function cut({ width, height, values }, top, left, rows, columns) {
  const piece = new Float32Array(rows * columns);
  for (let y = 0; y < rows; y++) {
    const from = repeated(top + y, height) * width;
    for (let x = 0; x < columns; x++) piece[y * columns + x] = values[from + repeated(left + x, width)];
  }
  return piece;
}

/** Blend a window into a band of the same height at column `left`; the band is filled up to column `filled`. */
function blendAcross(band, bandWidth, piece, pieceWidth, left, filled, blindShare) {
  const weights = blendWeights(Math.max(filled - left, 0), blindShare);
  for (let y = 0; y < piece.length / pieceWidth; y++) {
    const [to, from] = [y * bandWidth + left, y * pieceWidth];
    for (let x = 0; x < weights.length; x++) band[to + x] += weights[x] * (piece[from + x] - band[to + x]);
    band.set(piece.subarray(from + weights.length, from + pieceWidth), to + weights.length);
  }
}

/** Blend a band into a canvas of the same width at row `top`; the canvas is filled up to row `filled`. */
function blendDown(canvas, width, band, top, filled, blindShare) {
  const weights = blendWeights(Math.max(filled - top, 0), blindShare);
  for (let y = 0; y < weights.length; y++) {
    const [to, from] = [(top + y) * width, y * width];
    for (let x = 0; x < width; x++) canvas[to + x] += weights[y] * (band[from + x] - canvas[to + x]);
  }
  canvas.set(band.subarray(weights.length * width), (top + weights.length) * width);
}

function cropped(canvas, canvasWidth, width, height) {
  const values = new Float32Array(width * height);
  for (let y = 0; y < height; y++) values.set(canvas.subarray(y * canvasWidth, y * canvasWidth + width), y * width);
  return { width, height, values };
}

/**
 * @param {import("./image.js").Gray} image
 * @param {object} steps of the manifest, by name
 * @param {{side: number, overlap: number}} tiling px that each further window adds, least px that neighbours share
 * @param {(window: Float32Array, height: number, width: number) => Promise<Float32Array>} predict
 * @param {(done: number, all: number) => unknown} onWindow awaited before each window and after the last; throws to stop
 * @returns {Promise<import("./image.js").Gray>}
 */
export async function predictInWindows(image, steps, { side, overlap }, predict, onWindow = () => {}) {
  const { multiple } = steps.pad;
  const blindShare = steps.blend.blind_share;
  const rows = windowStarts(image.height, side, overlap, multiple);
  const columns = windowStarts(image.width, side, overlap, multiple);
  const all = rows.starts.length * columns.starts.length;
  const canvas = new Float32Array(rows.padded * columns.padded);
  let [done, covered] = [0, 0];
  for (const top of rows.starts) {
    const band = new Float32Array(rows.length * columns.padded);
    let filled = 0;
    for (const left of columns.starts) {
      await onWindow(done++, all);
      const piece = await predict(cut(image, top, left, rows.length, columns.length), rows.length, columns.length);
      blendAcross(band, columns.padded, piece, columns.length, left, filled, blindShare);
      filled = left + columns.length;
    }
    blendDown(canvas, columns.padded, band, top, covered, blindShare);
    covered = top + rows.length;
  }
  await onWindow(done, all);
  return cropped(canvas, columns.padded, image.width, image.height);
}
