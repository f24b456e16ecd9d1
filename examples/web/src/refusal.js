/** An error whose message tells the visitor the problem and the way out. */
export class Refusal extends Error {}

const WRAPPINGS = ["message", "exception", "error", "reason", "cause"]; // fields in which libraries keep the message
const MOST_WRAPPINGS = 4; // nested

/**
 * The message of anything thrown: dicom-parser throws strings and objects that wrap them, WebAssembly throws numbers.
 * @param {unknown} thrown
 * @returns {string} empty if there is none
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
