/** An error whose message is one sentence for the visitor: what is wrong and the way out. */
export class Refusal extends Error {}

const WRAPPINGS = ["message", "exception", "error", "reason", "cause"]; // under which libraries keep what went wrong
const MOST_WRAPPINGS = 4; // within each other

/**
 * The words of anything that was thrown: dicom-parser throws texts, and objects around them; WebAssembly throws numbers.
 * @param {unknown} thrown
 * @returns {string} empty where there are none
 */
export function wordsOf(thrown, depth = MOST_WRAPPINGS) {
  if (typeof thrown === "string") return thrown.trim().replace(/\.$/, "");
  if (thrown === null || typeof thrown !== "object" || depth === 0) return "";
  for (const name of WRAPPINGS) {
    const words = wordsOf(thrown[name], depth - 1);
    if (words) return words;
  }
  return "";
}
