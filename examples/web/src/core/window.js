// Window and level of the display, in fractions of the gray range: width 1 at level 0.5 shows all of it.

export const ALL = { width: 1, level: 0.5, inverted: false };
const LEAST_WIDTH = 0.01;
const MOST_WIDTH = 2;

/** @returns {{slope: number, intercept: number}} the line from gray in [0, 1] to screen */
export function lineOf({ width, level, inverted }) {
  const [slope, intercept] = [1 / width, 0.5 - level / width];
  return inverted ? { slope: -slope, intercept: 1 - intercept } : { slope, intercept };
}

/** The window after a drag by fractions of the picture's sides: wider to the right, darker downwards. */
export function dragged({ width, level }, across, down) {
  return {
    width: Math.min(Math.max(width + 1.3 * across, LEAST_WIDTH), MOST_WIDTH),
    level: Math.min(Math.max(level + 1.3 * down, 0), 1),
  };
}
