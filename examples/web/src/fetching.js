import { Refusal } from "./refusal.js";

/**
 * Load a file of this page.
 * @param {URL} url
 * @param {number} size uncompressed bytes, for the progress
 * @param {(share: number) => void} onProgress from 0 to 1
 * @returns {Promise<Uint8Array>}
 */
export async function fetchBytes(url, size, onProgress) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) {
    const reason = response ? `the server answers ${response.status}` : "the server does not answer";
    throw new Refusal(`${url.pathname} cannot be loaded: ${reason}. Check that the server has all files of the page, then try again.`);
  }
  const parts = [];
  let loaded = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    loaded += value.length;
    onProgress(Math.min(loaded / size, 1));
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Whether bytes have a SHA-256, in hex. Without HTTPS or localhost browsers cannot compute it, and it is true. */
export async function hasSha256(bytes, expected) {
  if (!globalThis.crypto?.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === expected;
}
