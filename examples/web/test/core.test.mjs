// The pure functions, against the manifest's test image and by their properties.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { stepsOf } from "../src/core/image.js";
import { mirrored, noiseLevel } from "../src/core/noise_level.js";
import * as pixels from "../src/core/pixels.js";
import { blendWeights, predictInWindows, repeated, windowStarts } from "../src/core/windows.js";
import { windowFunction } from "../src/files/dicom.js";
import { jpegSize } from "../src/files/jpeg.js";
import { isPng, pngSize, readPng, writePng } from "../src/files/png.js";
import { checkSize, readPicture } from "../src/files/read.js";
import { psnr } from "../src/core/likeness.js";
import { phantom, randomOf, withMottle } from "../src/core/phantom.js";
import { fitting, isFitting, settled, zoomed } from "../src/core/view.js";
import { ALL, dragged, lineOf } from "../src/core/window.js";
import { chosenFiles, droppedFiles } from "../src/files/entries.js";
import { crc32, Zip } from "../src/files/zip.js";
import { dividerAfterKey } from "../src/page/pointers.js";
import * as words from "../src/page/words.js";
import { Refusal, wordsOf } from "../src/refusal.js";

const weights = new URL("../../../weights/", import.meta.url);
const model = JSON.parse(readFileSync(new URL("manifest.json", weights), "utf8")).models.window;
const steps = stepsOf(model);

function testImage() {
  const { raw, raw_offset, shape } = model.test.image.noisy;
  const bytes = Uint8Array.from(readFileSync(new URL(raw, weights)).subarray(raw_offset));
  return { width: shape[1], height: shape[0], values: new Float32Array(bytes.buffer) };
}

function ramp(width, height) {
  return { width, height, values: Float32Array.from({ length: width * height }, (_, i) => ((i * 7919) % 1009) / 1009) };
}

test("the noise level is the one of the manifest", () => {
  assert.ok(Math.abs(noiseLevel(testImage(), steps.noise_level) - model.test.image.noise_level) < 1e-6);
});

test("where nothing can be told the noise level is 0", () => {
  const even = (width, height, value) => ({ width, height, values: new Float32Array(width * height).fill(value) });
  for (const image of [even(7, 50, 0.5), even(50, 7, 0.5), even(64, 64, 0), even(64, 64, 1), even(1, 1, 0.5)]) {
    assert.equal(noiseLevel(image, steps.noise_level), 0);
  }
  assert.equal(noiseLevel(even(64, 64, 0.5), steps.noise_level), 0);
});

test("indices are mirrored as numpy's reflect and symmetric do", () => {
  const at = (f, length) => Array.from({ length: 9 }, (_, i) => f(i, length));
  assert.deepEqual(at(mirrored, 3), [0, 1, 2, 1, 0, 1, 2, 1, 0]);
  assert.deepEqual([-3, -2, -1].map((i) => mirrored(i, 3)), [1, 2, 1]);
  assert.deepEqual(at(repeated, 3), [0, 1, 2, 2, 1, 0, 0, 1, 2]);
  assert.deepEqual(at(mirrored, 1), Array(9).fill(0));
});

test("windows cover the axis, share the overlap and start at multiples", () => {
  for (let extent = 1; extent < 3000; extent += 37) {
    for (const side of [64, 512, 1024]) {
      const { length, starts, padded } = windowStarts(extent, side, 96, 16);
      assert.equal(starts[0], 0);
      assert.equal(starts.at(-1) + length, padded);
      assert.ok(padded >= extent && padded < extent + 16);
      assert.ok(length <= side + 96);
      assert.ok([...starts, length].every((px) => px % 16 === 0));
      starts.slice(1).forEach((start, i) => assert.ok(starts[i] + length - start >= 96));
    }
  }
});

test("weights rise from 0 to 1 and are symmetric", () => {
  const weights = blendWeights(96, steps.blend.blind_share);
  weights.forEach((weight, i) => assert.ok(Math.abs(weight + weights[95 - i] - 1) < 1e-6));
  assert.equal(weights[0], 0);
  assert.equal(weights[95], 1);
});

test("a network that changes nothing gives every image back to the bit", async () => {
  for (const [width, height] of [[1, 1], [17, 5], [150, 118], [401, 230]]) {
    const image = ramp(width, height);
    const calls = [];
    const result = await predictInWindows(image, steps, { side: 64, overlap: 32 }, async (x) => x, (done, all) => calls.push([done, all]));
    assert.deepEqual(result, image);
    assert.deepEqual(calls.at(-1), [calls.length - 1, calls.length - 1]);
  }
});

test("what throws between windows ends the work", async () => {
  let windows = 0;
  const predict = async (x) => (windows++, x);
  const stop = (done) => { if (done === 2) throw new Error("enough"); };
  await assert.rejects(predictInWindows(ramp(200, 200), steps, { side: 64, overlap: 32 }, predict, stop), /enough/);
  assert.equal(windows, 2);
});

test("stored pixels come back, ties go to even, what is beyond saturates", () => {
  for (const [white, type] of [[255, Uint8Array], [65535, Uint16Array]]) {
    const all = type.from({ length: white + 1 }, (_, i) => i);
    assert.deepEqual(pixels.toStored(pixels.toUnit(all, white), white), all);
  }
  assert.deepEqual([0.5, 1.5, 2.5, -1.5, 2.51].map(pixels.roundedToEven), [0, 2, 2, -2, 3]);
  assert.deepEqual(pixels.toStored(Float32Array.of(-1, 2), 255), Uint8Array.of(0, 255));
});

test("strength mixes, and both ends are exact", () => {
  const [before, after] = [Float32Array.of(0.1, 0.9), Float32Array.of(0.3, 0.7)];
  assert.deepEqual(pixels.atStrength(before, after, 0), before);
  assert.deepEqual(pixels.atStrength(before, after, 1), after);
  assert.ok(Math.abs(pixels.atStrength(before, after, 0.5)[0] - 0.2) < 1e-7);
  assert.ok(Math.abs(pixels.residual(before, after)[0] - (0.5 - 0.2 * pixels.RESIDUAL_GAIN)) < 1e-6);
});

test("equal channels are gray, others are refused", () => {
  assert.deepEqual(pixels.grayChannel(Uint8Array.of(7, 7, 7, 255, 9, 9, 9, 255), 4, 255), Uint8Array.of(7, 9));
  assert.deepEqual(pixels.grayChannel(Uint16Array.of(7, 65535), 2, 65535), Uint16Array.of(7));
  assert.throws(() => pixels.grayChannel(Uint8Array.of(7, 7, 8), 3, 255), { message: pixels.COLOUR });
  assert.throws(() => pixels.grayChannel(Uint8Array.of(7, 254), 2, 255), { message: pixels.TRANSPARENT });
});

test("shrinking takes means of blocks, also at ragged edges", () => {
  const image = { width: 5, height: 3, values: Float32Array.from({ length: 15 }, (_, i) => i) };
  assert.equal(pixels.shrunk(image, 1), image);
  assert.deepEqual(pixels.shrunk(image, 2), { width: 3, height: 2, values: Float32Array.of(3, 5, 6.5, 10.5, 12.5, 14) });
});

test("the lens stays inside the image", () => {
  assert.deepEqual(pixels.squareAround({ width: 100, height: 50 }, 0, 50, 20), { left: 0, top: 30, width: 20, height: 20 });
  assert.deepEqual(pixels.squareAround({ width: 10, height: 50 }, 5, 25, 20), { left: 0, top: 15, width: 10, height: 20 });
});

test("PNG of both depths comes back", () => {
  for (const depth of [8, 16]) {
    const image = { width: 5, height: 3, values: pixels.toUnit(Uint16Array.from({ length: 15 }, (_, i) => i * 17), 2 ** depth - 1) };
    const file = writePng(image, depth);
    assert.ok(isPng(file));
    assert.deepEqual(pngSize(file), { width: 5, height: 3 });
    assert.deepEqual(readPng(file), { image, depth });
  }
});

test("the size of a JPEG is found behind its other segments", () => {
  const header = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc4, 0, 3, 9, 0xff, 0xc2, 0, 11, 8, 0, 30, 1, 0, 1, 1, 1];
  assert.deepEqual(jpegSize(Uint8Array.from(header)), { width: 256, height: 30 });
  assert.deepEqual(jpegSize(Uint8Array.from(header.slice(0, 12))), { width: 0, height: 0 });
});

test("what cannot be read is refused with a sentence", async () => {
  const png = writePng({ width: 5, height: 3, values: new Float32Array(15) }, 8);
  const damaged = png.slice();
  damaged[40] ^= 1;
  for (const bytes of [[], [1, 2, 3], png.slice(0, 45), damaged, [0xff, 0xd8, 0xff, 0xd9]]) {
    await assert.rejects(readPicture(new Blob([Uint8Array.from(bytes)])), (error) => error instanceof Refusal && /^This /.test(error.message));
  }
  assert.throws(() => checkSize({ width: 8000, height: 4001 }), /8000 × 4001 pixels; this page takes up to 32 million/);
});

/** An uncompressed 4x4 image of 8 bit in Explicit VR Little Endian, each attribute as [group, element, VR, bytes]. */
function dicomFile() {
  const ascii = (text) => Array.from(text.padEnd(text.length + (text.length % 2), "\0"), (c) => c.charCodeAt(0));
  const us = (value) => [value & 255, value >> 8];
  const attribute = (group, element, vr, value) => {
    const length = us(value.length);
    return [...us(group), ...us(element), ...ascii(vr), ...(vr === "OB" ? [0, 0, ...length, 0, 0] : length), ...value];
  };
  const meta = attribute(0x0002, 0x0010, "UI", ascii("1.2.840.10008.1.2.1"));
  const ramp = Array.from({ length: 16 }, (_, i) => i * 17);
  return Uint8Array.from([
    ...Array(128).fill(0), ...ascii("DICM"), ...attribute(0x0002, 0x0000, "UL", [meta.length, 0, 0, 0]), ...meta,
    ...attribute(0x0008, 0x0016, "UI", ascii("1.2.840.10008.5.1.4.1.1.7")),
    ...attribute(0x0028, 0x0002, "US", us(1)), ...attribute(0x0028, 0x0004, "CS", ascii("MONOCHROME2 ")),
    ...attribute(0x0028, 0x0010, "US", us(4)), ...attribute(0x0028, 0x0011, "US", us(4)),
    ...attribute(0x0028, 0x0100, "US", us(8)), ...attribute(0x0028, 0x0101, "US", us(8)),
    ...attribute(0x0028, 0x0102, "US", us(7)), ...attribute(0x0028, 0x0103, "US", us(0)),
    ...attribute(0x7fe0, 0x0010, "OB", ramp),
  ]);
}

test("a DICOM file that is cut off anywhere, or damaged, is refused in words", async () => {
  const whole = dicomFile();
  const { image, kind } = await readPicture(new Blob([whole]));
  assert.equal(kind, "DICOM");
  assert.deepEqual(image.values, pixels.toUnit(Uint8Array.from({ length: 16 }, (_, i) => i * 17), 255));
  const start = 132; // behind the preamble and the magic word, without which it is no DICOM
  const cuts = Array.from({ length: whole.length - start }, (_, i) => whole.slice(0, start + i));
  const damages = cuts.map((_, i) => whole.map((byte, at) => (at === start + i ? byte ^ 0xff : byte)));
  for (const bytes of [...cuts, ...damages]) {
    await readPicture(new Blob([bytes])).catch((error) => {
      assert.ok(error instanceof Refusal, error);
      assert.match(error.message, /^This [^[\]]{20,}[.?]$/);
      assert.doesNotMatch(error.message, /undefined|null|NaN|\(\)/);
    });
  }
  for (const bytes of cuts) await assert.rejects(readPicture(new Blob([bytes])));
});

test("whatever is thrown is told in its own words, or in none", () => {
  class Aborted extends Error {}
  const wordy = ["gone.", new Error("gone"), new Aborted("gone"), { message: "gone" }, { exception: "gone", dataSet: {} },
    { exception: new Error("gone") }, { reason: { error: "gone " } }, new Error("", { cause: "gone" })];
  assert.deepEqual(wordy.map((thrown) => wordsOf(thrown)), wordy.map(() => "gone"));
  const loop = {};
  loop.cause = loop;
  const silent = [undefined, null, 5242880, "", {}, [], new Error(), { message: { text: 5 } }, Symbol("gone"), loop];
  assert.deepEqual(silent.map((thrown) => wordsOf(thrown)), silent.map(() => ""));
});

test("DICOM windows are the standard's", () => {
  const values = [-1, 0, 50, 100, 101];
  assert.deepEqual(values.map(windowFunction(50.5, 101, "LINEAR")), [0, 0, 0.5, 1, 1]);
  assert.deepEqual(values.map(windowFunction(50, 100, "LINEAR_EXACT")), [0, 0, 0.5, 1, 1]);
  assert.equal(windowFunction(50, 100, "SIGMOID")(50), 0.5);
});

test("keys move the divider and stop at its ends", () => {
  assert.deepEqual(["ArrowLeft", "ArrowUp", "PageUp", "Home", "End", "x"].map((key) => dividerAfterKey(key, 99)), [97, 100, 100, 0, 100, null]);
});

test("a result is told in words", () => {
  assert.equal(Math.round(words.photonsAtWhite(0.5 / Math.sqrt(71))), 71);
  const sha256 = "0123456789abcdef".repeat(4);
  const facts = { level: 0.5 / Math.sqrt(71), precision: "int8", seconds: 1.24, threads: 1, windows: 4, sha256 };
  assert.equal(
    words.factsOf({ image: { width: 1024, height: 900 }, depth: 16 }, facts),
    "1024 × 900 px, 16 bit. Denoised in 1.2 s by model window, int8, SHA-256 0123456789ab; 4 windows, 1 thread. " +
      "Photons at white: 71.",
  );
  assert.deepEqual(["a.b.jpg", "scan", ".dcm", "noise.2024-01-02", "ward.1/a.png"].map(words.resultName), [
    "a.b-denoised.png", "scan-denoised.png", "xray-denoised.png", "noise.2024-01-02-denoised.png", "ward.1/a-denoised.png",
  ]);
  assert.equal(words.downloadName("ward.1/a.png"), "a-denoised.png");
  assert.match(words.downloadNote({ kind: "DICOM", depth: 16 }), /16-bit PNG.*not a DICOM file/);
  assert.match(words.downloadNote({ kind: "JPEG", depth: 8 }), /8-bit PNG/);
  assert.equal(words.downloadNote({ kind: "PNG", depth: 16 }), "");
  const states = ["done", "done", "working", "waiting", "refused"].map((state) => ({ state }));
  assert.equal(words.countOf(states), "2 of 5 files denoised, 1 failed");
  assert.equal(words.countOf(states.slice(0, 1)), "1 of 1 file denoised");
  assert.equal(words.modelOf(model), `, model window: fp32 ${model.files.fp32.sha256.slice(0, 12)}, int8 ${model.files.int8.sha256.slice(0, 12)} (SHA-256)`);
});

test("window and level are a line from gray to the screen", () => {
  const at = (line, gray) => line.slope * gray + line.intercept;
  assert.deepEqual([0, 0.5, 1].map((gray) => at(lineOf(ALL), gray)), [0, 0.5, 1]);
  const narrow = lineOf({ width: 0.5, level: 0.25, inverted: false });
  assert.deepEqual([0, 0.25, 0.5].map((gray) => at(narrow, gray)), [0, 0.5, 1]);
  assert.deepEqual([0, 0.25, 0.5].map((gray) => at(lineOf({ width: 0.5, level: 0.25, inverted: true }), gray)), [1, 0.5, 0]);
  const later = dragged({ width: 0.5, level: 0.5 }, 0.1, 0.1);
  assert.ok(later.width > 0.5 && later.level > 0.5);
  assert.deepEqual(dragged(ALL, -9, 9), { width: 0.01, level: 1 });
  assert.deepEqual([...pixels.toRgba(Float32Array.of(0, 0.25, 0.9), narrow)].filter((_, i) => i % 4 === 0), [0, 128, 255]);
});

test("a view keeps what lies under the pointer, and leaves no gap", () => {
  const [image, stage] = [{ width: 2000, height: 1000 }, { width: 500, height: 250 }];
  const whole = fitting(image, stage);
  assert.deepEqual(whole, { scale: 0.25, x: 0, y: 0 });
  assert.ok(isFitting(whole, image, stage));
  const near = zoomed(whole, 1, { x: 100, y: 50 }, image, stage);
  assert.deepEqual(near, { scale: 1, x: 300, y: 150 }, "the pixel at 400, 200 is still 100, 50 from the corner");
  assert.deepEqual(settled({ scale: 1, x: -9, y: 9e9 }, image, stage), { scale: 1, x: 0, y: 750 });
  assert.equal(zoomed(near, 99, { x: 0, y: 0 }, image, stage).scale, 8);
  assert.deepEqual(zoomed(near, 0.001, { x: 0, y: 0 }, image, stage), whole);
  const small = { width: 100, height: 50 };
  assert.deepEqual(zoomed(fitting(small, stage), 1, { x: 9, y: 9 }, small, stage), { scale: 1, x: -200, y: -100 }, "in the middle");
});

test("an archive unpacks to what went in", () => {
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
  const zip = new Zip();
  const files = [["ä/one.png", [1, 2, 3]], ["ä/one.png", [4]], ["two", []]];
  for (const [name, content] of files) zip.add(name, Uint8Array.from(content));
  return zip.blob.arrayBuffer().then((content) => {
    const folder = mkdtempSync(path.join(tmpdir(), "cxr-zip-"));
    writeFileSync(path.join(folder, "a.zip"), Buffer.from(content));
    const code = "import json, sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None;" +
      "print(json.dumps([[i.filename, list(z.read(i))] for i in z.infolist()]))";
    const told = execFileSync("python", ["-c", code, path.join(folder, "a.zip")], { encoding: "utf8" });
    rmSync(folder, { recursive: true });
    assert.deepEqual(JSON.parse(told), [["ä/one.png", [1, 2, 3]], ["ä/one (2).png", [4]], ["two", []]]);
  });
});

test("folders become their files, those that may be X-rays, in order", async () => {
  const file = (name) => ({ isDirectory: false, name, file: (resolve) => resolve(new File([name], name)) });
  const folder = (name, ...inside) => {
    const portions = () => [inside.slice(0, 1), inside.slice(1), []]; // as browsers give them
    return { isDirectory: true, name, createReader: () => ({ left: portions(), readEntries(resolve) { resolve(this.left.shift()); } }) };
  };
  const dropped = [
    folder("ward", file("10.png"), file("9.DCM"), file(".hidden.png"), file("notes.txt"), folder("sub", file("IM0001"))),
    file("holiday.txt"),
  ];
  const items = dropped.map((entry) => ({ kind: "file", webkitGetAsEntry: () => entry }));
  const names = (await droppedFiles({ items: [...items, { kind: "string" }] })).map(({ name }) => name);
  assert.deepEqual(names, ["ward/9.DCM", "ward/10.png", "ward/sub/IM0001", "holiday.txt"], "what is given by itself is tried");
  const chosen = [new File([""], "b.png"), Object.assign(new File([""], "x"), { webkitRelativePath: "w/a.txt" })];
  assert.deepEqual(chosenFiles(chosen).map(({ name }) => name), ["b.png"]);
});

test("the example is a chest, the same for the same seed, with the mottle it is said to have", () => {
  const clean = phantom(160, 3);
  assert.deepEqual(phantom(160, 3), clean);
  assert.notDeepEqual(phantom(160, 4), clean);
  assert.ok(clean.values.every((value) => value >= 0 && value <= 1));
  const at = (x, y) => clean.values[Math.floor(y * 160) * 160 + Math.floor(x * 160)];
  assert.ok(at(0.02, 0.1) < 0.02, "air beside the neck");
  assert.ok(at(0.3, 0.5) < at(0.5, 0.6) - 0.2, "a lung beside the spine");
  const noisy = withMottle(clean, 71, 3);
  assert.ok(Math.abs(1 / (0.25 / noiseLevel(noisy, steps.noise_level) ** 2) / (1 / 71) - 1) < 0.3);
  const random = randomOf(1);
  const draws = Array.from({ length: 4000 }, random);
  assert.ok(Math.abs(draws.reduce((sum, value) => sum + value, 0) / 4000 - 0.5) < 0.02);
});

test("PSNR is that of cxr-infer", () => {
  const [clean, image] = [Float32Array.of(0, 0.5, 1, 1), Float32Array.of(0.1, 0.5, 1, 0.9)];
  assert.ok(Math.abs(psnr(clean, image) - -10 * Math.log10(0.02 / 4)) < 1e-5);
  assert.equal(psnr(clean, clean), 120);
});
