// One number for a whole image that a page can show: how strong the mottle is, as Poisson mottle would be.

/** High-pass with its taps 3 px apart, in blocks of 8x8 px, sorted into bins of brightness. */
const TAPS = [
  [1, -2, 1],
  [-2, 4, -2],
  [1, -2, 1],
];
const DIVISOR = 6;
const SPACING = 3; // px
const BLOCK = 8; // px
const BINS = 24;
const [DARKEST, BRIGHTEST] = [0.05, 0.9];
const LEAST_BLOCKS = 25; // of a bin
const MOST_SATURATED = 0.02; // share of a bin's pixels that are 0 or 1
const MOST_LEVEL = 0.5;

/** Where an index beyond either end is read: mirrored without repeating the edge pixel, as often as that takes. */
export function mirrored(index, length) {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const inside = ((index % period) + period) % period;
  return Math.min(inside, period - inside);
}

/** For every tap along an axis, the places that it reads: shape (taps, length). */
function tapPlaces(taps, spacing, length) {
  const middle = (taps - 1) / 2;
  return Array.from({ length: taps }, (_, tap) =>
    Int32Array.from({ length }, (_, place) => mirrored(place + (tap - middle) * spacing, length)),
  );
}

/** The high-pass's square at every pixel of one row, into `squares`. */
function highPassSquares({ width, values }, rows, columns, squares) {
  for (let x = 0; x < width; x++) {
    let sum = 0;
    for (let i = 0; i < TAPS.length; i++) {
      for (let j = 0; j < TAPS[i].length; j++) sum += TAPS[i][j] * values[rows[i] * width + columns[j][x]];
    }
    squares[x] = (sum / DIVISOR) ** 2;
  }
}

/**
 * Of every whole block, in row order: the high-pass's mean square, the mean, the share of saturated pixels.
 * @param {import("./image.js").Gray} image
 * @returns {{variance: Float64Array, mean: Float64Array, saturated: Float64Array}}
 */
function blocksOf(image) {
  const { width, height, values } = image;
  const [across, down] = [Math.floor(width / BLOCK), Math.floor(height / BLOCK)];
  const [variance, mean, saturated] = [0, 0, 0].map(() => new Float64Array(across * down));
  const rowPlaces = tapPlaces(TAPS.length, SPACING, height);
  const columnPlaces = tapPlaces(TAPS[0].length, SPACING, width);
  const squares = new Float64Array(width);
  const share = 1 / (BLOCK * BLOCK);
  for (let y = 0; y < down * BLOCK; y++) {
    highPassSquares(image, rowPlaces.map((places) => places[y]), columnPlaces, squares);
    for (let x = 0; x < across * BLOCK; x++) {
      const block = Math.floor(y / BLOCK) * across + Math.floor(x / BLOCK);
      const value = values[y * width + x];
      variance[block] += squares[x] * share;
      mean[block] += value * share;
      if (value <= 0 || value >= 1) saturated[block] += share;
    }
  }
  return { variance, mean, saturated };
}

/** The blocks of every brightness bin that counts, as lists of their numbers. */
function countingBins({ mean, saturated }) {
  const bins = Array.from({ length: BINS }, () => []);
  mean.forEach((value, block) => bins[Math.floor(((value - DARKEST) / (BRIGHTEST - DARKEST)) * BINS)]?.push(block));
  return bins.filter((blocks) => blocks.length >= LEAST_BLOCKS && average(blocks, saturated) <= MOST_SATURATED);
}

function average(blocks, values) {
  return blocks.reduce((sum, block) => sum + values[block], 0) / blocks.length;
}

function median(blocks, values) {
  const sorted = Float64Array.from(blocks, (block) => values[block]).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * @param {import("./image.js").Gray} image
 * @returns {number} standard deviation of sqrt(pixel); 0 where nothing can be told
 */
export function noiseLevel(image) {
  const blocks = blocksOf(image);
  const { variance, mean, saturated } = blocks;
  let bins = countingBins(blocks);
  if (!bins.length) bins = [[...mean.keys()].filter((block) => mean[block] > 0 && saturated[block] < 1)];
  const count = bins.reduce((sum, bin) => sum + bin.length, 0);
  if (!count) return 0;
  const sum = bins.reduce((sum, bin) => sum + (bin.length * median(bin, variance)) / (4 * average(bin, mean)), 0);
  return Math.min(Math.sqrt(sum / count), MOST_LEVEL);
}
