// The example: a simplified version of cxr_infer's phantom, a chest computed from path lengths, without and with mottle.
// Path lengths are in cm, all other lengths in units of the image's side.

const [SOFT, LUNG, BONE, LINE, LEAD] = [0.2, 0.055, 0.48, 0.95, 12]; // 1/cm, linear attenuation
const FIELD = 38; // cm, side of the imaged field
const [BLACK, WHITE] = [0.3, 4.9]; // line integrals displayed as black and white
const NORMAL_FROM = 40; // photons; from here on the normal distribution is close enough

/** @returns {() => number} a generator of uniform numbers in [0, 1), seeded (mulberry32) */
export function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function smooth(value) {
  const t = Math.min(Math.max(value, 0), 1);
  return t * t * (3 - 2 * t);
}

const rootOrZero = (value) => Math.sqrt(Math.max(value, 0));

/** Thickness along the ray at (x, y): soft tissue and the air in the lungs, in cm. */
function trunk(x, y) {
  const across = Math.max(1 - ((x - 0.5) / (0.41 + 0.05 * smooth(y))) ** 2, 0);
  const shoulder = Math.min(Math.max((y - 0.05 - 0.55 * Math.max(Math.abs(x - 0.5) - 0.13, 0)) / 0.1, 0), 1);
  const neck = 11 * rootOrZero(1 - ((x - 0.5) / 0.125) ** 2) * (1 - smooth((y - 0.04) / 0.1));
  const body = Math.max((16.5 + 4 * y) * across ** 0.42 * Math.sqrt(shoulder), neck);
  let air = 0;
  for (const side of [-1, 1]) {
    const centre = 0.5 + side * 0.205;
    const rise = Math.min(Math.max((y - 0.115) / 0.52, 0), 1);
    const half = 0.158 * Math.max(1 - (1 - rise) ** 2.3, 0) ** (1 / 1.9);
    const lateral = (x - centre + side * 0.062 * (1 - rise) ** 1.4) / Math.max(half, 1e-6);
    const floor = 0.735 + (side > 0 ? 0.028 : 0) + 3.9 * (x - centre + side * 0.03) ** 2;
    const above = smooth((floor - y) / 0.03);
    air = Math.max(air, 14.5 * Math.max(1 - Math.abs(lateral) ** 2.6, 0) ** 0.55 * above * (0.72 + 0.28 * rise));
  }
  return { body, air: Math.min(air, 0.85 * body) };
}

/** Heart, great vessels and spinal column where they displace lung, in cm. */
function mediastinum(x, y, air) {
  const [dx, dy] = [x - 0.553, y - 0.655];
  const [u, v] = [(0.81 * dx + 0.58 * dy) / 0.175, (-0.58 * dx + 0.81 * dy) / 0.128];
  const heart = Math.min(9.5 * Math.max(1 - u * u - v * v, 0) ** 0.75, 0.8 * air);
  const knob = 3.6 * rootOrZero(1 - ((x - 0.553) / 0.034) ** 2 - ((y - 0.335) / 0.042) ** 2);
  const column = 5 * rootOrZero(1 - ((x - 0.5) / 0.062) ** 2);
  return Math.max(heart, Math.min(Math.max(knob, column), Math.max(0.8 * air, 2)));
}

/** Vertebral bodies and discs, in cm. */
function spine(x, y) {
  const phase = (y / 0.056) % 1;
  const disc = smooth((Math.abs(phase - 0.5) - 0.36) / 0.08);
  return 1.15 * rootOrZero(1 - ((x - 0.5) / (0.04 + 0.01 * y)) ** 4) * (1 - 0.5 * disc);
}

/** Add a curved tube to a map of path lengths in cm, keeping the longer path at each pixel. */
function addTube(map, side, points, radiusOf) {
  points.slice(1).forEach(([bx, by], i) => {
    const [ax, ay] = points[i];
    const [ra, rb] = [radiusOf(i / (points.length - 1)), radiusOf((i + 1) / (points.length - 1))];
    const reach = Math.max(ra, rb) + 1.5 / side;
    const bounds = (a, b) => [Math.max(Math.floor((Math.min(a, b) - reach) * side), 0), Math.min(Math.ceil((Math.max(a, b) + reach) * side), side)];
    const [[left, right], [top, bottom]] = [bounds(ax, bx), bounds(ay, by)];
    const [dx, dy] = [bx - ax, by - ay];
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        const [px, py] = [(column + 0.5) / side - ax, (row + 0.5) / side - ay];
        const along = Math.min(Math.max((px * dx + py * dy) / Math.max(dx * dx + dy * dy, 1e-12), 0), 1);
        const squared = (px - along * dx) ** 2 + (py - along * dy) ** 2;
        const length = 2 * FIELD * rootOrZero((ra + along * (rb - ra)) ** 2 - squared);
        if (length > map[row * side + column]) map[row * side + column] = length;
      }
    }
  });
}

function curve(steps, place) {
  return Array.from({ length: steps + 1 }, (_, i) => place(i / steps));
}

/** Add the wall of a hollow tube: its outer path minus its inner one. */
function addWall(total, side, points, radius, hollow, share) {
  const [outer, inner] = [new Float32Array(side * side), new Float32Array(side * side)];
  addTube(outer, side, points, () => radius);
  addTube(inner, side, points, () => radius * hollow);
  for (let i = 0; i < total.length; i++) total[i] += share * (outer[i] - inner[i]);
}

function bones(side) {
  const total = new Float32Array(side * side);
  for (const way of [-1, 1]) {
    for (let index = 0; index < 10; index++) {
      const [top, reach, drop] = [0.115 + 0.062 * index, Math.min(0.2 + 0.045 * index, 0.375), 0.045 + 0.016 * index];
      const back = curve(24, (t) => [0.5 + way * (0.045 + (reach - 0.045) * Math.sin((t * Math.PI) / 2)), top + drop * t ** 1.7]);
      const [x, y] = back.at(-1);
      const front = curve(16, (t) => {
        const turn = (0.66 * t * Math.PI) / 2;
        return [x - way * (reach - 0.06) * (1 - Math.cos(turn)), y + (0.055 + 0.012 * index) * Math.sin(turn)];
      });
      addWall(total, side, back, 0.0125, 0.8, 0.55);
      addWall(total, side, front, 0.0131, 0.8, 0.34);
    }
    const clavicle = curve(20, (t) => [0.5 + way * (0.045 + 0.29 * t), 0.205 - 0.075 * t + 0.022 * Math.sin(2 * Math.PI * t)]);
    addWall(total, side, clavicle, 0.016, 0.72, 0.75);
  }
  return total;
}

function vessels(side, random) {
  const total = new Float32Array(side * side);
  const grow = ([x, y], angle, way, radius, depth) => {
    const length = (depth ? 0.085 : 0.13) * (0.7 + 0.5 * random()) * 0.92 ** depth;
    let turned = angle;
    const points = [[x, y]];
    for (let step = 0; step < 6; step++) {
      turned += 0.16 * (random() + random() - 1);
      const [px, py] = points.at(-1);
      points.push([px + (way * Math.cos(turned) * length) / 6, py + (Math.sin(turned) * length) / 6]);
    }
    addTube(total, side, points, (t) => radius * (1 - 0.28 * t));
    if (depth === 4) return;
    for (const fork of [0.15 + 0.4 * random(), -0.15 - 0.4 * random()]) {
      grow(points.at(-1), turned + fork, way, radius * (0.58 + 0.18 * random()), depth + 1);
    }
  };
  for (const way of [-1, 1]) {
    for (let i = 0; i < 9; i++) grow([0.5 + way * 0.085, 0.45], -1.25 + 0.325 * i, way, 0.0115 * (0.7 + 0.4 * random()), 0);
  }
  return total;
}

/** A venous catheter, a nodule and a lead letter, as attenuation at (x, y). */
function objects(side) {
  const [line, nodule] = [new Float32Array(side * side), new Float32Array(side * side)];
  const bezier = (t, ...p) => (1 - t) ** 3 * p[0] + 3 * t * (1 - t) ** 2 * p[1] + 3 * t ** 2 * (1 - t) * p[2] + t ** 3 * p[3];
  const points = curve(60, (t) => [bezier(t, 0.2, 0.3, 0.47, 0.472), bezier(t, 0.02, 0.3, 0.17, 0.5)]);
  addWall(line, side, points, 0.0036, 0.45, 1);
  addTube(nodule, side, [[0.71, 0.52], [0.7101, 0.52]], () => 0.015);
  const inLetter = (x, y) => x >= 0.868 && y >= 0.055 && y < 0.115 && (x < 0.88 || (x < 0.904 && y >= 0.103));
  return (x, y, i) => LINE * line[i] + 1.3 * SOFT * nodule[i] + (inLetter(x, y) ? 0.26 * LEAD : 0);
}

/** @returns {import("./image.js").Gray} a clean chest */
export function phantom(side, seed) {
  const random = randomOf(seed);
  const [bone, tree, other] = [bones(side), vessels(side, random), objects(side)];
  const values = new Float32Array(side * side);
  for (let i = 0; i < values.length; i++) {
    const [x, y] = [((i % side) + 0.5) / side, (Math.floor(i / side) + 0.5) / side];
    const { body, air } = trunk(x, y);
    const soft = SOFT * body - (SOFT - LUNG) * air + SOFT * (mediastinum(x, y, air) + tree[i] * Math.min(air / 4, 1));
    const hard = BONE * (spine(x, y) + (body > 0 ? bone[i] : 0));
    const seen = -Math.log(Math.exp(-soft - hard - other(x, y, i)) + 0.01);
    values[i] = Math.min((1.06 * Math.tanh((1.15 * Math.max(seen - BLACK, 0)) / (WHITE - BLACK))) / Math.tanh(1.15), 1);
  }
  return { width: side, height: side, values };
}

function poisson(mean, random) {
  if (mean > NORMAL_FROM) {
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    return Math.max(Math.round(mean + Math.sqrt(mean) * normal), 0);
  }
  const limit = Math.exp(-mean); // Knuth's algorithm
  let [count, product] = [-1, 1];
  do {
    count += 1;
    product *= random();
  } while (product > limit);
  return count;
}

/** @returns {import("./image.js").Gray} the image with Poisson mottle. dose: photons at white */
export function withMottle({ width, height, values }, dose, seed) {
  const random = randomOf(seed);
  return { width, height, values: values.map((value) => Math.min(poisson(value * dose, random) / dose, 1)) };
}
