// The built page in chromium: what it computes against `cxr-infer`, and what a visitor can do with it.
// PICTURES=folder also writes the screenshots of the README there.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { encode } from "fast-png";
import { readPng } from "../src/files/png.js";
import { cxrInfer, HERE, serveByCommand, servePlainly } from "./serving.mjs";
import { launch, Visitor } from "./visitor.mjs";

const TOLERANCES = { fp32: 1e-4, int8: 0.01 };
const NETWORKS = { fp32: "precise (fp32)", int8: "fast (int8)" };
const PHONE = { width: 390, height: 844 };
const EIGHT_BIT = "phantom-1-dose-71.png";
const SIXTEEN_BIT = "phantom-5-dose-71.png";

const folder = mkdtempSync(path.join(tmpdir(), "cxr-web-"));
const at = (...names) => path.join(folder, ...names);
let browser, isolated, plain;

before(async () => {
  cxrInfer("sample", at("small"), "--dose", "71");
  cxrInfer("sample", at("large"), "--dose", "71", "--size", "1024");
  for (const precision of Object.keys(TOLERANCES)) {
    cxrInfer("dir", at("small"), "--out", at(`small-${precision}`), "--precision", precision);
    cxrInfer("file", at("large", SIXTEEN_BIT), at(`large-${precision}.png`), "--precision", precision, "--window", "512");
  }
  execFileSync("python", [path.join(HERE, "make_files.py"), folder]);
  browser = await launch();
  isolated = await serveByCommand();
  plain = await servePlainly();
});

after(async () => {
  await browser?.close();
  await Promise.all([isolated?.close(), plain?.close()]);
  rmSync(folder, { recursive: true });
});

function unitOf(file) {
  return readPng(readFileSync(file)).image.values;
}

function floatsOf(file) {
  return new Float32Array(Uint8Array.from(readFileSync(file)).buffer);
}

function largestDifference(found, expected) {
  assert.equal(found.length, expected.length);
  return found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
}

/** Run a visit to its end; the visitor must have seen no complaint. */
async function visit(url, steps, viewport) {
  const visitor = await Visitor.arrive(browser, url, viewport);
  try {
    await steps(visitor, visitor.page);
    assert.deepEqual(visitor.complaints, []);
  } finally {
    await visitor.leave();
  }
}

async function picture(page, name) {
  if (process.env.PICTURES) await page.screenshot({ path: path.join(process.env.PICTURES, `web-${name}.png`) });
}

for (const [name, server, threaded] of [["cxr-infer web", () => isolated, true], ["a plain server", () => plain, false]]) {
  test(`behind ${name} results are those of cxr-infer`, async (t) => {
    await visit(server().url, async (visitor, page) => {
      assert.equal(await page.evaluate(() => crossOriginIsolated), threaded);
      await visitor.dropFile(at("small", SIXTEEN_BIT));
      for (const precision of ["int8", "fp32"]) {
        if (precision === "fp32") await visitor.choose(NETWORKS.fp32);
        const result = await visitor.result();
        assert.equal(result.precision, precision);
        assert.equal(result.threads > 1, threaded);
        assert.deepEqual(result.before, unitOf(at("small", SIXTEEN_BIT)));
        const difference = largestDifference(result.after, unitOf(at(`small-${precision}`, SIXTEEN_BIT)));
        t.diagnostic(`512 px ${precision}: ${difference.toExponential(1)}, ${result.seconds.toFixed(2)} s, ${result.threads} threads`);
        assert.ok(difference <= TOLERANCES[precision], `${precision}: ${difference}`);
        const shown = await visitor.canvas("after");
        assert.ok(shown.every((gray, i) => Math.abs(gray - result.after[i] * 255) < 0.501));
      }
    });
  });

  test(`behind ${name} several windows are blended as by cxr-infer`, async (t) => {
    await visit(server().url, async (visitor) => {
      await visitor.dropFile(at("large", SIXTEEN_BIT));
      for (const precision of ["int8", "fp32"]) {
        if (precision === "fp32") await visitor.choose(NETWORKS.fp32);
        const result = await visitor.result();
        assert.equal(result.windows, 4);
        const difference = largestDifference(result.after, unitOf(at(`large-${precision}.png`)));
        t.diagnostic(`1024 px ${precision}: ${difference.toExponential(1)}, ${result.seconds.toFixed(2)} s, ${result.threads} threads`);
        assert.ok(difference <= TOLERANCES[precision], `${precision}: ${difference}`);
      }
    });
  });
}

test("a download has the depth of its source and the strength chosen", async () => {
  await visit(isolated.url, async (visitor, page) => {
    for (const [name, depth, most] of [[EIGHT_BIT, 8, 0.01 * 255 + 1], [SIXTEEN_BIT, 16, 0.01 * 65535 + 1]]) {
      await visitor.dropFile(at("small", name));
      await visitor.result();
      const saved = async () => {
        const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
        assert.equal(download.suggestedFilename(), name.replace(".png", "-denoised.png"));
        return readPng(readFileSync(await download.path()));
      };
      const white = 2 ** depth - 1;
      const full = await saved();
      assert.equal(full.depth, depth);
      assert.ok(largestDifference(full.image.values, unitOf(at("small-int8", name))) * white <= most);
      await page.getByLabel("Strength").fill("0");
      assert.deepEqual((await saved()).image.values, unitOf(at("small", name)));
      await page.getByLabel("Strength").fill("100");
    }
  });
});

test("the divider moves by mouse and by keyboard", async () => {
  await visit(isolated.url, async (visitor, page) => {
    await visitor.dropFile(at("small", EIGHT_BIT));
    await visitor.result();
    const [divider, stage] = [page.getByRole("slider", { name: "Divider" }), page.locator("#stage")];
    const value = async () => Number(await divider.getAttribute("aria-valuenow"));
    const box = await stage.boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + 100);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width / 4, box.y + 120, { steps: 5 });
    await page.mouse.up();
    assert.equal(await value(), 25);
    assert.match(await page.locator("#after").evaluate((canvas) => getComputedStyle(canvas).clipPath), /25/);
    await page.keyboard.press("ArrowRight");
    assert.equal(await value(), 27);
    await page.keyboard.press("End");
    assert.equal(await value(), 100);
    await page.keyboard.press("PageDown");
    assert.equal(await value(), 90);
    assert.equal(await divider.getAttribute("aria-valuetext"), "90 % before, 10 % after");
  });
});

test("a finger drags the divider and the lens, strokes beside them and taps", async () => {
  await visit(isolated.url, async (visitor, page) => {
    await visitor.dropFile(at("small", EIGHT_BIT));
    await visitor.result();
    const box = await page.locator("#stage").boundingBox();
    const place = (x, y) => [box.x + box.width * x, box.y + box.height * y];
    const divided = async () => Number(await page.locator("#divider").getAttribute("aria-valuenow"));
    const lensAt = async () => {
      const spot = await page.locator("#spot").boundingBox();
      return [(spot.x + spot.width / 2 - box.x) / box.width, (spot.y + spot.height / 2 - box.y) / box.height];
    };
    const near = async (x, y) => (await lensAt()).every((found, axis) => Math.abs(found - [x, y][axis]) < 0.02);
    await visitor.stroke(place(0.5, 0.8), place(0.7, 0.8));
    assert.ok(Math.abs((await divided()) - 70) <= 1);
    await visitor.stroke(place(0.2, 0.8), place(0.4, 0.8));
    assert.ok(Math.abs((await divided()) - 40) <= 1);
    await page.waitForTimeout(300); // chromium takes a tap that follows at once for the end of the stroke
    await page.touchscreen.tap(...place(0.75, 0.3));
    await page.waitForTimeout(300); // and tells of a tap later than of what a finger did before
    assert.ok(await near(0.75, 0.3));
    await visitor.stroke(place(0.75, 0.3), place(0.6, 0.6));
    assert.ok(await near(0.6, 0.6));
    assert.ok(Math.abs((await divided()) - 40) <= 1);
  }, PHONE);
});

test("strength and residual change what is shown", async () => {
  await visit(isolated.url, async (visitor, page) => {
    await visitor.dropFile(at("small", EIGHT_BIT));
    await visitor.result();
    const [noisy, full] = [await visitor.canvas("before"), await visitor.canvas("after")];
    await page.getByLabel("Strength").press("Home");
    assert.deepEqual(await visitor.canvas("after"), noisy);
    assert.equal(await page.locator("#strength-value").textContent(), "0 %");
    await page.getByText("What was removed").click();
    assert.ok((await visitor.canvas("after")).every((gray) => gray === 128));
    await page.getByLabel("Strength").press("End");
    const removed = await visitor.canvas("after");
    const mean = removed.reduce((sum, gray) => sum + gray, 0) / removed.length;
    assert.ok(Math.abs(mean - 128) < 8, `mean ${mean}`);
    await page.getByText("Denoised", { exact: true }).last().click();
    assert.deepEqual(await visitor.canvas("after"), full);
  });
});

test("the lens shows the same spot twice, by mouse and by keyboard", async () => {
  await visit(isolated.url, async (visitor, page) => {
    await visitor.dropFile(at("small", EIGHT_BIT));
    const { width, before: noisy, after: clean } = await visitor.result();
    const box = await page.locator("#stage").boundingBox();
    await page.mouse.move(box.x + box.width * 0.25, box.y + box.height * 0.75);
    const lens = async () => {
      const side = await page.locator("#lens-before").evaluate((canvas) => canvas.width);
      return { side, before: await visitor.canvas("lens-before"), after: await visitor.canvas("lens-after") };
    };
    const { side, ...shown } = await lens();
    const [left, top] = [width * 0.25, width * 0.75].map((centre) => Math.round(centre - side / 2));
    for (const [canvas, image] of [["before", noisy], ["after", clean]]) {
      for (const [x, y] of [[0, 0], [side - 1, 3], [7, side - 1]]) {
        assert.ok(Math.abs(shown[canvas][y * side + x] - image[(top + y) * width + left + x] * 255) < 0.501);
      }
    }
    await page.getByRole("application", { name: "Zoom lens" }).press("Shift+ArrowRight");
    assert.notDeepEqual((await lens()).before, shown.before);
    await page.getByText("8×").click();
    assert.ok(Math.abs((await lens()).side - side / 2) <= 1);
  });
});

test("JPEG and DICOM are seen as cxr-infer sees them", async () => {
  await visit(isolated.url, async (visitor) => {
    for (const [name, depth] of [["phantom.jpg", 8], ["phantom.dcm", 16]]) {
      await visitor.dropFile(at(name));
      const result = await visitor.result();
      assert.equal(result.depth, depth);
      // decoders of JPEG may differ by a gray level
      assert.ok(largestDifference(result.before, floatsOf(at(`${name}.f32`))) <= (depth === 8 ? 1.01 / 255 : 1e-6));
    }
  });
});

test("what is no gray X-ray of bearable size gets a sentence, and a result stays", async () => {
  await visit(isolated.url, async (visitor, page) => {
    const colour = encode({ width: 2, height: 1, channels: 3, data: Uint8Array.of(9, 9, 9, 9, 8, 9) });
    await visitor.drop("holiday.png", colour);
    assert.match(await visitor.error(), /^This is a colour picture, not a gray X-ray\./);
    await picture(page, "error");
    const huge = Uint8Array.from(colour);
    new DataView(huge.buffer).setUint32(16, 12000);
    new DataView(huge.buffer).setUint32(20, 9000);
    await visitor.drop("huge.png", huge);
    await page.getByText("12000 × 9000 pixels; this page takes up to 32 million").waitFor();
    await visitor.dropFile(at("small", EIGHT_BIT));
    await visitor.result();
    assert.ok(await page.getByRole("alert").isHidden());
    await visitor.drop("notes.txt", Buffer.from("no picture"));
    assert.match(await visitor.error(), /neither PNG, JPEG nor DICOM/);
    await visitor.drop("cut.dcm", readFileSync(at("phantom.dcm")).subarray(0, 2000));
    assert.match(await visitor.error(), /^This file cannot be decoded \([a-z][^[]+\)\. Is it damaged or incomplete\?$/i);
    assert.ok(await page.getByRole("button", { name: "Download" }).isEnabled());
  });
});

for (const [missing, said] of [["weights/window/model.int8.onnx", /model\.int8\.onnx cannot be loaded: the server answers 404\./], ["ort/ort-wasm-simd-threaded.wasm", /\.wasm cannot be loaded: the server answers 404\./]]) {
  test(`without ${missing} a sentence says so`, async () => {
    const server = await servePlainly((name) => name === missing);
    const visitor = await Visitor.arrive(browser, server.url);
    await visitor.dropFile(at("small", EIGHT_BIT));
    assert.match(await visitor.error(), said);
    await visitor.leave();
    await server.close();
  });
}

test("a newer file ends the work on an older one", async () => {
  await visit(plain.url, async (visitor) => {
    await visitor.dropFile(at("large", SIXTEEN_BIT));
    await visitor.dropFile(at("small", EIGHT_BIT));
    assert.equal((await visitor.result()).name, EIGHT_BIT);
  });
});

/** Rules of WCAG 2.1 A and AA that axe-core can judge. */
async function accessibilityFaults(page) {
  await page.evaluate(readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21aa"] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
}

for (const [name, viewport] of [["desk", undefined], ["phone", PHONE]]) {
  test(`on a ${name} the page keeps to WCAG AA, fits, and can be used without a mouse`, async () => {
    await visit(isolated.url, async (visitor, page) => {
      const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
      assert.deepEqual(await accessibilityFaults(page), []);
      assert.ok(await fits());
      await picture(page, name === "desk" ? "before" : "phone-before");
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate(() => document.activeElement.id), "file");
      await visitor.dropFile(at("large", EIGHT_BIT));
      await visitor.result();
      assert.deepEqual(await accessibilityFaults(page), []);
      assert.ok(await fits());
      assert.match(await page.locator("#status").textContent(), /^Done\. 1024 × 1024 px/);
      await page.locator("#spot").press("Shift+ArrowLeft");
      await page.evaluate(() => document.activeElement.blur());
      await picture(page, name === "desk" ? "after" : "phone");
    }, viewport);
  });
}
