// The noise level of an image, by the manifest's step `noise_level`.

/** Mirror an index beyond either end without repeating the edge pixel, as numpy pads in mode `reflect`. */
export function mirrored(index, length) {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const inside = ((index % period) + period) % period;
  return Math.min(inside, period - inside);
}

/** The indices that each tap reads along an axis, mirrored at its ends: (taps, length). */
function tapIndices(taps, spacing, length) {
  const middle = (taps - 1) / 2;
  return Array.from({ length: taps }, (_, tap) =>
    Int32Array.from({ length }, (_, index) => mirrored(index + (tap - middle) * spacing, length)),
  );
}

/** Write the squared high-pass of a row to `squares`. */
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
 * For every whole block, in row order: mean square of the high-pass, mean, fraction of saturated pixels.
 * @param {import("./image.js").Gray} image
 * @returns {{variance: Float64Array, mean: Float64Array, saturated: Float64Array}}
 */
function blocksOf(image, step) {
  const { width, height, values } = image;
  const side = step.block;
  const [across, down] = [Math.floor(width / side), Math.floor(height / side)];
  const [variance, mean, saturated] = [0, 0, 0].map(() => new Float64Array(across * down));
  const { taps, spacing } = step.high_pass;
  const tapRows = tapIndices(taps.length, spacing, height);
  const tapColumns = tapIndices(taps[0].length, spacing, width);
  const squares = new Float64Array(width);
  const share = 1 / (side * side);
  for (let y = 0; y < down * side; y++) {
    highPassSquares(image, tapRows.map((indices) => indices[y]), tapColumns, step.high_pass, squares);
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

/** The brightness bins with enough unsaturated blocks, as lists of block numbers. */
function usableBins({ mean, saturated }, step) {
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
 * @returns {number} standard deviation of sqrt(pixel); 0 if it cannot be estimated
 */
export function noiseLevel(image, step) {
  const blocks = blocksOf(image, step);
  const { variance, mean, saturated } = blocks;
  let bins = usableBins(blocks, step);
  if (!bins.length) bins = [[...mean.keys()].filter((block) => mean[block] > 0 && saturated[block] < 1)];
  const count = bins.reduce((sum, bin) => sum + bin.length, 0);
  if (!count) return 0;
  const sum = bins.reduce((sum, bin) => sum + (bin.length * median(bin, variance)) / (4 * average(bin, mean)), 0);
  return Math.min(Math.sqrt(sum / count), step.most);
}
