// One number for a whole image, by the manifest's step `noise_level`: how strong the mottle is.

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
function highPassSquares({ width, values }, rows, columns, { taps, divisor }, squares) {
  for (let x = 0; x < width; x++) {
    let sum = 0;
    for (let i = 0; i < taps.length; i++) {
      for (let j = 0; j < taps[i].length; j++) sum += taps[i][j] * values[rows[i] * width + columns[j][x]];
    }
    squares[x] = (sum / divisor) ** 2;
  }
}

/**
 * Of every whole block, in row order: the high-pass's mean square, the mean, the share of saturated pixels.
 * @param {import("./image.js").Gray} image
 * @returns {{variance: Float64Array, mean: Float64Array, saturated: Float64Array}}
 */
function blocksOf(image, step) {
  const { width, height, values } = image;
  const side = step.block;
  const [across, down] = [Math.floor(width / side), Math.floor(height / side)];
  const [variance, mean, saturated] = [0, 0, 0].map(() => new Float64Array(across * down));
  const { taps, spacing } = step.high_pass;
  const rowPlaces = tapPlaces(taps.length, spacing, height);
  const columnPlaces = tapPlaces(taps[0].length, spacing, width);
  const squares = new Float64Array(width);
  const share = 1 / (side * side);
  for (let y = 0; y < down * side; y++) {
    highPassSquares(image, rowPlaces.map((places) => places[y]), columnPlaces, step.high_pass, squares);
    for (let x = 0; x < across * side; x++) {
      const block = Math.floor(y / side) * across + Math.floor(x / side);
      const value = values[y * width + x];
      variance[block] += squares[x] * share;
      mean[block] += value * share;
      if (value <= 0 || value >= 1) saturated[block] += share;
    }
  }
  return { variance, mean, saturated };
}

/** The blocks of every brightness bin that counts, as lists of their numbers. */
function countingBins({ mean, saturated }, step) {
  const [low, high] = step.bin_range;
  const bins = Array.from({ length: step.bins }, () => []);
  mean.forEach((value, block) => bins[Math.floor(((value - low) / (high - low)) * step.bins)]?.push(block));
  return bins.filter(
    (blocks) => blocks.length >= step.least_blocks && average(blocks, saturated) <= step.most_saturated,
  );
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
 * @param {object} step `noise_level` of the manifest
 * @returns {number} standard deviation of sqrt(pixel); 0 where nothing can be told
 */
export function noiseLevel(image, step) {
  const blocks = blocksOf(image, step);
  const { variance, mean, saturated } = blocks;
  let bins = countingBins(blocks, step);
  if (!bins.length) bins = [[...mean.keys()].filter((block) => mean[block] > 0 && saturated[block] < 1)];
  const count = bins.reduce((sum, bin) => sum + bin.length, 0);
  if (!count) return 0;
  const sum = bins.reduce((sum, bin) => sum + (bin.length * median(bin, variance)) / (4 * average(bin, mean)), 0);
  return Math.min(Math.sqrt(sum / count), step.most);
}
