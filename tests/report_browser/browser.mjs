// Shared by the tests of the report and of the lab's page: the browser, screen sizes, and checks for every page.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import axe from "axe-core";
import { chromium } from "playwright-core";

export const HERE = dirname(fileURLToPath(import.meta.url));
export const SCREENSHOTS = join(HERE, "..", "..", "build", "report_browser");
export const DESK = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };
export const ON_A_PHONE = { hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Start the browser and create the folder for screenshots. */
export function launched() {
  mkdirSync(SCREENSHOTS, { recursive: true });
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
}

/** Open a page from disk and call `use` with it, then check that there was no error and nothing was loaded. */
export async function openedIn(browser, address, size, use, options = {}) {
  const context = await browser.newContext({ viewport: size, reducedMotion: "reduce", ...options });
  context.setDefaultTimeout(120_000); // ms, enough for a busy machine
  const page = await context.newPage();
  const wrong = [], requests = [];
  page.on("console", (message) => wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(error.message));
  page.on("request", (request) => requests.push(request.url()));
  await page.goto(address);
  await use(page);
  assert.deepEqual(wrong, []);
  assert.deepEqual(requests.filter((url) => !url.startsWith("data:")), [address.split("#")[0]]);
  await context.close();
}

/** Return the accessibility violations of the page in its current state. */
export async function inaccessible(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate((rules) => globalThis.axe.run({ runOnly: rules }), RULES);
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 200)).join(" ")}`);
}
