/**
 * A gray image, rows from the top.
 * @typedef {{width: number, height: number, values: Float32Array}} Gray  values in [0, 1], black 0, bone white 1
 */

/**
 * The steps before and after a model's network by name, from `weights/manifest.json`.
 * @param {{before: object[], after: object[]}} model
 */
export function stepsOf(model) {
  return Object.fromEntries([...model.before, ...model.after].map((step) => [step.step, step]));
}
