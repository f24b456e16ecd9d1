// The built page in chromium: what it computes against `cxr-infer`, and what a visitor can do with it.
// PICTURES=folder also writes the screenshots of the README there.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { encode } from "fast-png";
import { roundedToEven } from "../src/core/pixels.js";
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

/** The gray level on the screen of a value in [0, 1]. */
function pixelOf(value) {
  return roundedToEven(value * 255);
}

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
        await visitor.shown(SIXTEEN_BIT);
        const shown = await visitor.pixels("after", 512, 512);
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
      await visitor.shown(name);
      const saved = async () => {
        const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download PNG" }).click()]);
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
    await page.getByText("Residual", { exact: true }).click();
    assert.ok((await visitor.canvas("after")).every((gray) => gray === 128));
    await page.getByLabel("Strength").press("End");
    const removed = await visitor.canvas("after");
    const mean = removed.reduce((sum, gray) => sum + gray, 0) / removed.length;
    assert.ok(Math.abs(mean - 128) < 8, `mean ${mean}`);
    await page.getByText("Before | after", { exact: true }).click();
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

test("what is no gray X-ray of bearable size gets a sentence, and the old result is gone", async () => {
  await visit(isolated.url, async (visitor, page) => {
    const gone = async () => {
      assert.ok(await page.locator("#viewer").isHidden());
      assert.ok(await page.getByRole("button", { name: "Download PNG" }).isHidden());
    };
    const colour = encode({ width: 2, height: 1, channels: 3, data: Uint8Array.of(9, 9, 9, 9, 8, 9) });
    await visitor.drop("holiday.png", colour);
    assert.match(await visitor.error(), /^This is a colour picture, not a gray X-ray\./);
    await gone();
    await picture(page, "error");
    const huge = Uint8Array.from(colour);
    new DataView(huge.buffer).setUint32(16, 12000);
    new DataView(huge.buffer).setUint32(20, 9000);
    await visitor.drop("huge.png", huge);
    await page.getByText("12000 × 9000 pixels; this page takes up to 32 million").waitFor();
    await visitor.dropFile(at("small", EIGHT_BIT));
    await visitor.shown(EIGHT_BIT);
    assert.ok(await page.getByRole("alert").isHidden());
    await visitor.drop("notes.txt", Buffer.from("no picture"));
    assert.match(await visitor.error(), /neither PNG, JPEG nor DICOM/);
    await gone();
    await visitor.drop("cut.dcm", readFileSync(at("phantom.dcm")).subarray(0, 2000));
    await page.getByText("This file cannot be decoded").waitFor();
    assert.match(await visitor.error(), /^This file cannot be decoded: [a-z][^[]+\. Is it damaged or incomplete\?$/i);
    await gone();
    await page.locator("#items").getByRole("button", { name: EIGHT_BIT }).click();
    await visitor.shown(EIGHT_BIT);
    assert.ok(await page.getByRole("alert").isHidden());
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

test("another network ends the work with the first and begins anew", async () => {
  await visit(plain.url, async (visitor, page) => {
    await visitor.dropFile(at("large", SIXTEEN_BIT));
    await page.getByText("windows done").waitFor();
    await visitor.choose(NETWORKS.fp32);
    assert.equal((await visitor.result()).precision, "fp32");
  });
});

test("several files are done one after the other, by their names, and downloaded together", async () => {
  await visit(isolated.url, async (visitor, page) => {
    const told = [];
    await page.exposeFunction("tell", (name) => told.push(name));
    await page.evaluate(() => document.addEventListener("denoised", ({ detail }) => globalThis.tell(detail.name)));
    const names = [EIGHT_BIT, SIXTEEN_BIT];
    const files = names.map((name) => [name, readFileSync(at("small", name))]);
    await visitor.dropAll([files[0], ["notes.txt", "no picture"], files[1], ["phantom.jpg", readFileSync(at("phantom.jpg"))]]);
    await page.getByText("3 of 4 files denoised, 1 failed").waitFor();
    assert.deepEqual(told, [...names, "phantom.jpg"]);
    await visitor.shown(EIGHT_BIT);
    const buttons = page.locator("#items button");
    assert.deepEqual(await buttons.locator(".name").allTextContents(), [names[0], "notes.txt", names[1], "phantom.jpg"]);
    assert.deepEqual(await buttons.locator(".state").allTextContents(), ["denoised", "failed", "denoised", "denoised"]);
    await picture(page, "list");
    await buttons.nth(2).click();
    await visitor.shown(SIXTEEN_BIT);
    assert.deepEqual(await visitor.pixels("before", 512, 512), Array.from(unitOf(at("small", SIXTEEN_BIT)), (v) => pixelOf(v)));
    await page.locator("#stage").press("ArrowRight");
    await visitor.shown("phantom.jpg");
    assert.equal(await buttons.nth(3).getAttribute("aria-current"), "true");
    await page.locator("#stage").press("ArrowLeft");
    await visitor.shown(SIXTEEN_BIT);
    await page.locator("#stage").press("ArrowUp");
    assert.match(await visitor.error(), /neither PNG/);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download all" }).click()]);
    assert.equal(download.suggestedFilename(), "denoised.zip");
    execFileSync("python", ["-m", "zipfile", "-e", await download.path(), at("unpacked")]);
    for (const name of names) {
      const { image, depth } = readPng(readFileSync(at("unpacked", name.replace(".png", "-denoised.png"))));
      assert.equal(depth, name === EIGHT_BIT ? 8 : 16);
      assert.ok(largestDifference(image.values, unitOf(at("small-int8", name))) <= TOLERANCES.int8 + 1 / 255);
    }
  });
});

test("a folder is its X-rays, with their folders in the archive", async () => {
  await visit(isolated.url, async (visitor, page) => {
    mkdirSync(at("ward", "sub"), { recursive: true });
    copyFileSync(at("small", EIGHT_BIT), at("ward", "sub", "a.png"));
    copyFileSync(at("phantom.dcm"), at("ward", "IM0001"));
    writeFileSync(at("ward", "notes.txt"), "no picture");
    await page.locator("#folder").setInputFiles(at("ward"));
    await page.getByText("2 of 2 files denoised").waitFor();
    assert.deepEqual((await page.locator("#items .name").allTextContents()).toSorted(), ["ward/IM0001", "ward/sub/a.png"]);
    await page.locator("#items").getByRole("button", { name: "ward/IM0001" }).click();
    await visitor.shown("ward/IM0001");
    assert.match(await page.locator("#facts").textContent(), /16-bit PNG of the image as displayed, not a DICOM file/);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download all" }).click()]);
    const listed = execFileSync("python", ["-m", "zipfile", "-l", await download.path()], { encoding: "utf8" });
    for (const name of ["ward/IM0001-denoised.png", "ward/sub/a-denoised.png"]) assert.ok(listed.includes(name), listed);
  });
});

test("the example needs no file, and has its clean reference", async () => {
  await visit(isolated.url, async (visitor, page) => {
    await page.getByRole("button", { name: "Try an example" }).click();
    const { before, after } = await visitor.result();
    await visitor.shown("example.png");
    await page.getByText("After | clean", { exact: true }).click();
    const clean = (await page.evaluate(() => [...document.getElementById("after").getContext("2d").getImageData(0, 0, 1, 1).data]))[0];
    assert.equal(clean, 0, "air");
    const told = await page.locator("#facts").textContent();
    const [, first, second] = /PSNR against the reference: ([\d.]+) dB before, ([\d.]+) dB after/.exec(told);
    assert.ok(Number(first) < 25 && Number(second) > Number(first) + 12, told);
    assert.equal(before.length, after.length);
    assert.deepEqual(await page.locator(".sides span").allTextContents(), ["After", "Clean"]);
    await page.getByText("After − clean", { exact: true }).click();
    assert.match(await page.locator("#caption").textContent(), /mid-gray means equal to the reference\. Grain is remaining noise; letters/);
    await picture(page, "reference");
    await page.getByText("Residual", { exact: true }).click();
    assert.match(await page.locator("#caption").textContent(), /Even grain is removed noise.*Letters/);
  });
});

test("a reference is compared with the result, and one of another size is refused", async () => {
  await visit(isolated.url, async (visitor, page) => {
    await visitor.dropFile(at("small", SIXTEEN_BIT));
    const { before, after } = await visitor.result();
    await visitor.shown(SIXTEEN_BIT);
    assert.ok(await page.getByText("After | clean", { exact: true }).isHidden());
    await page.locator("#reference").setInputFiles(at("large", SIXTEEN_BIT));
    assert.match(await visitor.error(), /^The reference has 1024 × 1024 pixels, the picture 512 × 512\./);
    await page.locator("#reference").setInputFiles(at("small-clean", SIXTEEN_BIT));
    await page.getByText("PSNR against the reference: ").waitFor();
    const clean = unitOf(at("small-clean", SIXTEEN_BIT));
    const psnr = (image) => -10 * Math.log10(image.reduce((sum, value, i) => sum + (value - clean[i]) ** 2, 0) / clean.length);
    assert.ok((await page.locator("#facts").textContent()).startsWith(`PSNR against the reference: ${psnr(before).toFixed(2)} dB before, ${psnr(after).toFixed(2)} dB after.`));
    await page.getByText("After | clean", { exact: true }).click();
    assert.deepEqual(await visitor.pixels("after", 512, 512), Array.from(clean, pixelOf));
    assert.deepEqual(await page.locator(".sides span").allTextContents(), ["After", "Clean"]);
    await page.getByText("After − clean", { exact: true }).click();
    const error = await visitor.pixels("after", 512, 512);
    assert.ok(error.every((gray, i) => Math.abs(gray - Math.min(Math.max(255 * (0.5 + 4 * (after[i] - clean[i])), 0), 255)) < 1.01));
  });
});

test("dragging sets window and level, I inverts, space flickers, and none of it changes the result", async () => {
  await visit(isolated.url, async (visitor, page) => {
    await visitor.dropFile(at("small", EIGHT_BIT));
    const { before } = await visitor.result();
    await visitor.shown(EIGHT_BIT);
    const box = await page.locator("#stage").boundingBox();
    const drag = async (across, down) => {
      await page.mouse.move(box.x + box.width * 0.3, box.y + box.height * 0.5);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width * (0.3 + across), box.y + box.height * (0.5 + down), { steps: 4 });
      await page.mouse.up();
    };
    const shownAs = async (line) => {
      const gray = await visitor.pixels("before", 512, 512);
      return gray.every((found, i) => Math.abs(found - Math.min(Math.max(255 * line(before[i]), 0), 255)) < 1.01);
    };
    const read = async () => (await page.locator("#window-reset").textContent()).match(/\d+/g).map((number) => Number(number) / 100);
    assert.ok(await shownAs((value) => value));
    await drag(-0.2, 0.1);
    const [width, level] = await page.evaluate(() => ["window", "level"].map((id) => Number(document.getElementById(id).value) / 100));
    assert.ok(width < 0.8 && level > 0.6, `${width} ${level}`);
    assert.deepEqual(await read(), [width, level]);
    const line = (value) => (value - level) / width + 0.5;
    const rough = await visitor.pixels("before", 512, 512);
    assert.ok(rough.every((found, i) => Math.abs(found - Math.min(Math.max(255 * line(before[i]), 0), 255)) < 5), "to a percent");
    await page.locator("#stage").press("i");
    assert.equal(await page.getByRole("button", { name: "Invert" }).getAttribute("aria-pressed"), "true");
    await page.getByRole("button", { name: "reset window and level" }).click();
    assert.ok(await shownAs((value) => 1 - value));
    await page.locator("#stage").press("i");
    assert.ok(await shownAs((value) => value));
    await page.getByRole("slider", { name: "Window", exact: true }).fill("50");
    await page.getByRole("slider", { name: "Level", exact: true }).fill("30");
    assert.ok(await shownAs((value) => (value - 0.3) / 0.5 + 0.5), "by keys as well");
    const clip = () => page.locator("#after").evaluate((canvas) => getComputedStyle(canvas).clipPath);
    const tag = page.locator("#tag");
    for (const [said, clipped] of [["Before", /100%/], ["After", /inset\(0px( 0px 0px 0%)?\)/], ["Before", /100%/]]) {
      await page.locator("#stage").press("Space");
      assert.equal(await tag.textContent(), said);
      assert.match(await clip(), clipped);
    }
    await page.locator("#stage").press("Escape");
    assert.ok(await tag.isHidden());
    assert.ok(await shownAs((value) => value));
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download PNG" }).click()]);
    const saved = readPng(readFileSync(await download.path())).image.values;
    assert.ok(largestDifference(saved, unitOf(at("small-int8", EIGHT_BIT))) <= 0.01 + 1 / 255);
  });
});

test("the wheel zooms to the pointer, a double click shows 100 %, and a zoomed picture moves", async () => {
  await visit(isolated.url, async (visitor, page) => {
    await visitor.dropFile(at("large", EIGHT_BIT));
    const { before } = await visitor.result();
    await visitor.shown(EIGHT_BIT);
    const level = page.locator("#zoom-level");
    const box = await page.locator("#stage").boundingBox();
    const [x, y] = [box.x + box.width * 0.25, box.y + box.height * 0.75];
    await page.mouse.dblclick(x, y);
    assert.equal(await level.textContent(), "100 %");
    const shown = await visitor.canvas("before");
    const width = await page.locator("#before").evaluate((canvas) => canvas.width);
    const [left, top] = [256 - x + box.x, 768 - y + box.y]; // what was under the pointer is under it still
    for (const [column, row] of [[3, 5], [width - 4, 7], [100, width - 9]]) {
      const neighbours = [-1, 0, 1].flatMap((down) => [-1, 0, 1].map((right) => before[(Math.round(top) + row + down) * 1024 + Math.round(left) + column + right]));
      const [least, most] = [Math.min(...neighbours), Math.max(...neighbours)].map((value) => value * 255);
      const gray = shown[row * width + column];
      assert.ok(gray >= least - 1 && gray <= most + 1, `${gray} at ${column}, ${row}: ${least} to ${most}`);
    }
    await page.keyboard.down("Shift");
    await page.mouse.down();
    await page.mouse.move(x + 50, y - 40, { steps: 4 });
    await page.mouse.up();
    await page.keyboard.up("Shift");
    assert.notDeepEqual(await visitor.canvas("before"), shown);
    assert.equal(await page.locator("#divider").getAttribute("aria-valuenow"), "50");
    await page.mouse.wheel(0, -200);
    await page.waitForFunction(() => parseInt(document.getElementById("zoom-level").textContent) > 100);
    await page.mouse.dblclick(x, y);
    await page.mouse.dblclick(x, y);
    assert.equal(await level.textContent(), "fit");
    await page.getByRole("button", { name: "1:1" }).click();
    assert.equal(await level.textContent(), "100 %");
    await page.locator("#stage").press("0");
    assert.equal(await level.textContent(), "fit");
    await page.getByRole("button", { name: "Drag moves" }).click();
    await page.mouse.move(box.x + 100, box.y + 100);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 100, { steps: 4 });
    await page.mouse.up();
    assert.equal(await page.locator("#divider").getAttribute("aria-valuenow"), "60", "at first a drag moves the divider then");
  });
});

test("two fingers zoom", async () => {
  await visit(isolated.url, async (visitor, page) => {
    await visitor.dropFile(at("small", EIGHT_BIT));
    await visitor.shown(EIGHT_BIT);
    const box = await page.locator("#stage").boundingBox();
    await visitor.pinch([box.x + box.width / 2, box.y + box.height / 2], 40, 120);
    const percent = await page.locator("#zoom-level").textContent();
    assert.ok(parseInt(percent) > 150, percent);
  }, PHONE);
});

test("it says which version it is, by which hashes its models are known, and how it is used", async () => {
  await visit(isolated.url, async (visitor, page) => {
    const [version] = execFileSync("cxr-infer", ["--version"], { encoding: "utf8" }).trim().split(" ").slice(-1);
    await page.waitForFunction(() => document.getElementById("model").textContent);
    const told = await page.locator("footer").textContent();
    assert.ok(told.includes(`cxr-infer ${version}, model window: `), told);
    const { files } = JSON.parse(readFileSync(path.join(HERE, "../../../weights/manifest.json"), "utf8")).models.window;
    for (const { sha256 } of Object.values(files)) assert.ok(told.includes(sha256.slice(0, 12)));
    await page.getByRole("link", { name: "How to use this page" }).click();
    await page.getByRole("heading", { name: "How to use this page" }).waitFor();
    assert.deepEqual(await accessibilityFaults(page), []);
    await page.getByRole("link", { name: "Back to the pictures" }).click();
    await page.getByText("Drop chest X-rays or folders here").waitFor();
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
