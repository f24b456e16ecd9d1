// The part of an image that a stage shows: scale in page px per image px, and x and y of its upper left corner.

export const STEP = 1.25; // zoom factor per notch of the wheel or key press
export const MOST_SCALE = 8;

/** @typedef {{scale: number, x: number, y: number}} View */
/** @typedef {{width: number, height: number}} Size */

/** The view that shows all of an image. */
export function fitting(image, stage) {
  return settled({ scale: stage.width / image.width, x: 0, y: 0 }, image, stage);
}

/** Move a view to the image: centred where the image is smaller than the stage, else without a gap. */
export function settled({ scale, x, y }, image, stage) {
  const inside = (start, extent, shown) => (shown >= extent ? (extent - shown) / 2 : Math.min(Math.max(start, 0), extent - shown));
  return { scale, x: inside(x, image.width, stage.width / scale), y: inside(y, image.height, stage.height / scale) };
}

/** Zoom a view around a point of the stage. */
export function zoomed(view, wanted, point, image, stage) {
  const fit = stage.width / image.width;
  const scale = Math.min(Math.max(wanted, Math.min(fit, 1)), Math.max(fit * MOST_SCALE, MOST_SCALE));
  const [x, y] = [view.x + point.x / view.scale, view.y + point.y / view.scale]; // image px under the point
  return settled({ scale, x: x - point.x / scale, y: y - point.y / scale }, image, stage);
}

export function isFitting(view, image, stage) {
  return Math.abs(view.scale / (stage.width / image.width) - 1) < 1e-6;
}
