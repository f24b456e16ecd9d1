// The page of the lab in a browser: on a desktop, on a phone and printed. Has the requirements of report.test.mjs.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { DESK, inaccessible, launched, ON_A_PHONE, openedIn, PHONE, SCREENSHOTS } from "./browser.mjs";

const PROTOCOL = `
name = "tiny <b>"
version = 1
seed = 1
phantoms = 1
side = 96
spacing = 0.4
doses = [50, 200]
noises = ["white", "canon_dr_chest"]
methods = ["noisy", "gaussian"]
contrasts = [8, 32]
draws = 4
studies = ["contrast-kept", "lines", "bias"]

[[signal]]
kind = "nodule"
size = 2
contrast = 32
`;

let folder, browser, address;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "cxr-lab-"));
  writeFileSync(join(folder, "tiny.toml"), PROTOCOL);
  execFileSync("cxr-infer", ["lab", "tiny.toml", "-o", "out", "--quiet"], { cwd: folder, encoding: "utf8" });
  address = pathToFileURL(join(folder, "out", "lab.html")).href;
  browser = await launched();
});

after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

const opened = (size, use, options = {}) => openedIn(browser, address, size, use, options);

for (const [name, size, options] of [
  ["desk", DESK, {}],
  ["phone", PHONE, ON_A_PHONE],
]) {
  test(`the page fits a ${name}, every map is decoded, and every figure is drawn`, () =>
    opened(size, async (page) => {
      await page.screenshot({ path: join(SCREENSHOTS, `lab-${name}.png`) });
      const [wide, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.equal(wide, inner, "only tables scroll sideways");
      for (const image of await page.locator(".map img").all()) {
        assert.ok(await image.evaluate(async (one) => (await one.decode(), one.naturalWidth === 96)));
      }
      assert.ok((await page.locator(".map img").count()) > 0);
      for (const card of await page.locator(".finding").all()) {
        assert.ok((await card.locator("svg.plot .curve").count()) > 0);
        const boxes = await card.locator("svg.plot text").evaluateAll((labels) =>
          labels.map((label) => [label.getBoundingClientRect(), label.ownerSVGElement.getBoundingClientRect()])
            .filter(([own, whole]) => own.left < whole.left - 1 || own.right > whole.right + 1).length,
        );
        assert.equal(boxes, 0, "a label is cut off");
      }
      const lines = await page.locator(".m0 .curve").first().evaluate((line) => getComputedStyle(line).stroke);
      assert.equal(lines, "rgb(255, 200, 60)", "the policy permits the style of the page");
      const figures = page.locator("details").first();
      await figures.locator("summary").click();
      assert.ok(await figures.locator("td").first().isVisible());
      assert.equal(await page.title(), "tiny <b>: cxr-infer lab");
    }, options));
}

test("the page is accessible", () =>
  opened(DESK, async (page) => assert.deepEqual(await inaccessible(page), [])));

test("the page is printed dark on white, with complete tables", () =>
  opened(DESK, async (page) => {
    await page.emulateMedia({ media: "print" });
    const look = (selector, property) =>
      page.locator(selector).first().evaluate((one, name) => getComputedStyle(one)[name], property);
    assert.equal(await look("html", "backgroundColor"), "rgb(255, 255, 255)");
    assert.equal(await look("body", "color"), "rgb(0, 0, 0)");
    assert.equal(await look(".m0 .curve", "stroke"), "rgb(0, 0, 0)");
    assert.equal(await look(".scroll", "overflow"), "visible");
    await page.screenshot({ path: join(SCREENSHOTS, "lab-paper.png") });
  }));
