// The report in a browser, opened from disk: sorting, filtering, divider, zoom, keyboard; also on a phone.
// Needs cxr-infer and its python on the PATH and chromium (or CHROMIUM=path). Screenshots go to build/report_browser.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { DESK, HERE, inaccessible, launched, ON_A_PHONE, openedIn, PHONE, SCREENSHOTS } from "./browser.mjs";

const MANY = 60; // images of the long report
const HOSTILE = '"><img src=x onerror=document.title=1>.png';

let folder, browser, report, long;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "cxr-report-"));
  const options = { cwd: folder, encoding: "utf8" };
  execFileSync("cxr-infer", ["sample", "xrays", "--size", "512"], options);
  writeFileSync(join(folder, "xrays", "notes.txt"), "not an image");
  writeFileSync(join(folder, "xrays", HOSTILE), "not an image either");
  const done = spawnSync(
    "cxr-infer",
    ["dir", "xrays", "--reference", "xrays-clean", "--report", "report.html"],
    options,
  );
  assert.equal(done.status, 1, done.stderr); // one file failed
  report = pathToFileURL(join(folder, "report.html")).href;
  execFileSync("python", [join(HERE, "make_files.py"), folder, String(MANY)], options);
  execFileSync("cxr-infer", ["dir", "many", "--reference", "many-clean", "--report", "long.html", "-q"], options);
  long = pathToFileURL(join(folder, "long.html")).href;
  browser = await launched();
});

after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

const opened = (size, use, options = {}, address = report) => openedIn(browser, address, size, use, options);

const column = (page, index) => page.locator(`#files tbody tr:visible > :nth-child(${index})`).allInnerTexts();
const percent = (card) => card.locator(".stage").evaluate((stage) => parseFloat(stage.style.getPropertyValue("--split")));
/** Scroll a card to the top of the screen and return the box of its stage. */
async function boxOf(card) {
  await card.evaluate((one) => one.scrollIntoView());
  return card.locator(".stage").boundingBox();
}

const placed = (card, picture) => card.locator(`.${picture} img`).evaluate((image) => getComputedStyle(image).transform);

test("the report opens without an error, every picture is decoded, and names execute nothing", () =>
  opened(DESK, async (page) => {
    await page.screenshot({ path: join(SCREENSHOTS, "desk.png") });
    const pictures = page.locator(".card img");
    assert.equal(await pictures.count(), 5 * 5);
    for (const image of await pictures.all()) {
      assert.ok(await image.evaluate(async (one) => (await one.decode(), one.naturalWidth === 512 || one.naturalWidth === 256)));
    }
    assert.match(await page.title(), /^xrays denoised/);
    assert.ok(await page.getByText(HOSTILE, { exact: true }).isVisible());
    assert.ok(await page.getByText("is a text file, not an image").isVisible());
    assert.equal(await page.locator("svg rect.bar").count() > 1, true);
  }));

test("the content security policy blocks loading", async () => {
  const page = await browser.newPage();
  await page.goto(report);
  const violated = await page.evaluate(async () => {
    const found = [];
    document.addEventListener("securitypolicyviolation", (event) => found.push(event.effectiveDirective));
    await fetch("http://127.0.0.1:9/").catch(() => {});
    document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/x.png" }));
    document.body.append(Object.assign(document.createElement("script"), { textContent: "document.title = 'ran'" }));
    await new Promise((resolve) => setTimeout(resolve, 300));
    return found;
  });
  assert.deepEqual(violated.sort(), ["connect-src", "img-src", "script-src-elem"]);
  assert.notEqual(await page.title(), "ran");
  await page.close();
});

test("the table sorts both ways, with missing figures last", () =>
  opened(DESK, async (page) => {
    const heading = page.getByRole("columnheader", { name: "removed" });
    const removed = async () => (await column(page, 6)).map(Number);
    await heading.getByRole("button").click();
    assert.equal(await heading.getAttribute("aria-sort"), "ascending");
    let figures = await removed();
    assert.deepEqual(figures.slice(0, 5), figures.slice(0, 5).toSorted((a, b) => a - b));
    assert.ok(figures.slice(5).every(Number.isNaN));
    await heading.getByRole("button").press("Enter");
    assert.equal(await heading.getAttribute("aria-sort"), "descending");
    figures = await removed();
    assert.deepEqual(figures.slice(0, 5), figures.slice(0, 5).toSorted((a, b) => b - a));
    assert.ok(figures.slice(5).every(Number.isNaN));
    await page.getByRole("columnheader", { name: "file" }).getByRole("button").click();
    assert.equal(await heading.getAttribute("aria-sort"), null);
    const names = await column(page, 1);
    assert.ok(names.findIndex((name) => name.startsWith("phantom-1")) < names.findIndex((name) => name.startsWith("phantom-2")));
    await page.locator("#files-title").evaluate((title) => title.scrollIntoView());
    await page.screenshot({ path: join(SCREENSHOTS, "table.png") });
  }));

test("the table is filtered by text and by outcome", () =>
  opened(DESK, async (page) => {
    const count = page.getByRole("status").filter({ hasText: "files" });
    await page.getByLabel("Find").fill("dose-71");
    assert.equal((await column(page, 1)).length, 2);
    assert.equal(await count.innerText(), "2 of 7 files");
    await page.getByLabel("Find").fill("in a supported format");
    assert.equal((await column(page, 1)).length, 1, "reasons are also searched");
    await page.getByLabel("Find").fill("");
    await page.getByRole("button", { name: "ignored 1" }).click();
    assert.match((await column(page, 1)).join(), /notes\.txt/);
    await page.getByRole("button", { name: "Show" }).click(); // in the line with the number of failures
    assert.deepEqual(await column(page, 2), ["failed"]);
    await page.getByRole("button", { name: "all 7" }).click();
    await page.getByRole("link", { name: "phantom-3" }).click();
    assert.ok(await page.locator("#image-3").evaluate((card) => card.getBoundingClientRect().top < innerHeight / 2));
  }));

for (const [name, size, options] of [["a desk", DESK, {}], ["a phone", PHONE, ON_A_PHONE]]) {
  test(`every link of a long report leads to its picture and highlights it, on ${name}`, () =>
    opened(
      size,
      async (page) => {
        const links = page.locator("#files tbody a");
        assert.equal(await links.count(), MANY);
        for (const link of await links.all()) {
          const name = await link.innerText();
          await link.click();
          const landed = await page.evaluate(() => {
            const card = document.querySelector(".card:target");
            const { top, bottom, left, right } = card.getBoundingClientRect();
            const padding = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop);
            const atEnd = scrollY + innerHeight >= document.documentElement.scrollHeight - 1;
            const hit = document.elementFromPoint((left + right) / 2, Math.max(top, 0) + 20).closest(".card");
            const { outlineStyle, outlineWidth } = getComputedStyle(card);
            const name = card.querySelector("h3").textContent;
            return { name, top: top - padding, bottom, atEnd, seen: hit === card, outlineStyle, outlineWidth };
          });
          assert.equal(landed.name, name);
          assert.ok(landed.seen, name);
          assert.ok(Math.abs(landed.top) <= 1 || (landed.atEnd && landed.bottom <= size.height), `${name}: ${landed.top} px off`);
          assert.deepEqual([landed.outlineStyle, landed.outlineWidth], ["solid", "2px"]);
        }
      },
      options,
      long,
    ));
}

test("an external link to a picture of a long report leads to it", () =>
  opened(
    DESK,
    async (page) => {
      const top = await page.locator("#image-41").evaluate((card) => card.getBoundingClientRect().top);
      assert.ok(Math.abs(top - 16) <= 1, `${top} px`);
    },
    {},
    `${long}#image-41`,
  ));

test("the divider follows mouse and keyboard", () =>
  opened(DESK, async (page) => {
    const card = page.locator(".card").first();
    const { x, y, width, height } = await boxOf(card);
    await page.mouse.move(x + width / 2, y + height * 0.8);
    await page.mouse.down();
    await page.mouse.move(x + width * 0.25, y + height * 0.9, { steps: 4 });
    await page.mouse.up();
    assert.ok(Math.abs((await percent(card)) - 25) < 1.5);
    const clip = await card.locator(".layer.before").evaluate((layer) => getComputedStyle(layer).clipPath);
    assert.match(clip, /^inset\(0px (calc\(.*\)|75%) 0px 0px\)$/);
    const slider = card.getByRole("slider", { name: "Divider" });
    assert.equal(await slider.inputValue(), String(await percent(card)));
    const start = await percent(card);
    await slider.focus();
    for (let press = 0; press < 5; press += 1) await page.keyboard.press("ArrowRight");
    assert.equal(await percent(card), start + 5);
    await page.keyboard.press("End");
    assert.equal(await percent(card), 100);
    await card.locator(".stage").focus();
    await page.keyboard.press("Shift+ArrowLeft");
    assert.equal(await percent(card), 98);
  }));

test("all pictures of an image share zoom and position, and the page still scrolls", () =>
  opened(DESK, async (page) => {
    const card = page.locator(".card").nth(4);
    const level = card.locator(".zoom-level");
    const { x, y } = await boxOf(card);
    await page.mouse.move(x + 100, y + 100);
    const scrolled = await page.evaluate(() => scrollY);
    await page.mouse.wheel(0, -120);
    await page.waitForFunction((before) => scrollY < before, scrolled);
    assert.equal(await level.innerText(), "fit", "the wheel scrolls the page until the picture is clicked");
    await boxOf(card);
    await page.mouse.click(x + 100, y + 100);
    await page.mouse.wheel(0, -240);
    await page.waitForFunction((one) => one.textContent !== "fit", await level.elementHandle());
    for (const picture of ["before", "clean", "residual", "error"]) {
      assert.equal(await placed(card, picture), await placed(card, "after"));
    }
    await card.getByRole("button", { name: "Zoom in" }).click();
    const zoomed = await placed(card, "after");
    const drag = async () => {
      await page.mouse.move(x + 300, y + 300);
      await page.mouse.down();
      await page.mouse.move(x + 250, y + 280, { steps: 3 });
      await page.mouse.up();
    };
    await page.keyboard.down("Shift");
    await drag();
    await page.keyboard.up("Shift");
    const moved = await placed(card, "after");
    assert.notEqual(moved, zoomed, "with Shift, dragging moves the zoomed picture");
    await card.getByRole("button", { name: "Drag moves" }).click();
    await drag();
    assert.notEqual(await placed(card, "after"), moved);
    assert.equal(await placed(card, "before"), await placed(card, "after"));
    await card.locator(".stage").focus();
    for (const key of ["+", "+", "+", "Shift+ArrowRight", "Shift+ArrowDown"]) await page.keyboard.press(key);
    await page.screenshot({ path: join(SCREENSHOTS, "zoom.png") });
    await page.keyboard.press("0");
    assert.equal(await level.innerText(), "fit");
  }));

test("a double click shows the picture at 100 %, a second one shows all of it", () =>
  opened(DESK, async (page) => {
    const card = page.locator(".card").nth(4);
    const { x, y } = await boxOf(card);
    const shownWidth = () => card.locator(".after img").evaluate((image) => image.getBoundingClientRect().width);
    const fit = await shownWidth();
    await page.mouse.dblclick(x + 100, y + 100);
    assert.equal(await card.locator(".zoom-level").innerText(), "100 %");
    assert.ok(Math.abs((await shownWidth()) - 512) < 1);
    await page.mouse.dblclick(x + 100, y + 100);
    assert.equal(await card.locator(".zoom-level").innerText(), "fit");
    assert.equal(await shownWidth(), fit);
  }));

test("dragging sets window and level, and I inverts", () =>
  opened(DESK, async (page) => {
    const card = page.locator(".card").nth(4);
    const { x, y, width, height } = await boxOf(card);
    const gray = async () => {
      const clip = { x: x + width * 0.75, y: y + height * 0.3, width: 40, height: 40 };
      const png = (await page.screenshot({ clip })).toString("base64");
      return page.evaluate(async (base64) => {
        const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
        const picture = await createImageBitmap(new Blob([bytes]));
        const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
        context.drawImage(picture, 0, 0);
        const { data } = context.getImageData(0, 0, picture.width, picture.height);
        return data.reduce((sum, value, i) => sum + (i % 4 === 0 ? value : 0), 0) / (data.length / 4);
      }, png);
    };
    const readout = card.locator(".window-reset");
    const drag = async (across, down) => {
      await page.mouse.move(x + width * 0.2, y + height * 0.5);
      await page.mouse.down();
      await page.mouse.move(x + width * (0.2 + across), y + height * (0.5 + down), { steps: 5 });
      await page.mouse.up();
    };
    const first = await gray();
    assert.equal(await readout.innerText(), "W 255 L 128");
    await drag(0, 0.2);
    const [, level] = /^W 255 L (\d+)$/.exec(await readout.innerText());
    assert.ok(Number(level) > 150);
    const darker = await gray();
    assert.ok(Math.abs(darker - Math.max(first + 127.5 - Number(level), 0)) < 4, `${first} became ${darker}`);
    await drag(-0.1, 0);
    assert.ok(Number(/^W (\d+) /.exec(await readout.innerText())[1]) < 230);
    await page.screenshot({ path: join(SCREENSHOTS, "window.png") });
    await readout.click();
    assert.equal(await readout.innerText(), "W 255 L 128");
    assert.ok(Math.abs((await gray()) - first) < 1);
    await card.locator(".stage").focus();
    await page.keyboard.press("i");
    assert.ok(Math.abs((await gray()) - (255 - first)) < 2);
    assert.equal(await card.getByRole("button", { name: "Invert" }).getAttribute("aria-pressed"), "true");
    await page.keyboard.press("i");
    assert.ok(Math.abs((await gray()) - first) < 1);
    assert.equal(await percent(card), 50, "the divider does not move");
  }));

test("space toggles before and after, only once while held", () =>
  opened(DESK, async (page) => {
    const card = page.locator(".card").nth(4);
    await boxOf(card);
    await card.locator(".stage").focus();
    const visible = async () => {
      const names = ["before", "after", "clean"];
      const shown = await Promise.all(names.map((name) => card.locator(`.layer.${name}`).isVisible()));
      return names.filter((_, i) => shown[i]);
    };
    assert.deepEqual(await visible(), ["before", "after"]);
    const scrolled = await page.evaluate(() => scrollY);
    for (const expected of ["before", "after", "before"]) {
      await page.keyboard.press("Space");
      assert.deepEqual(await visible(), [expected]);
      assert.equal(await card.locator(".tag").innerText(), expected);
    }
    await page.keyboard.down("Space");
    await page.keyboard.down("Space"); // repeated by a held key
    assert.deepEqual(await visible(), ["after"]);
    await page.keyboard.up("Space");
    assert.equal(await page.evaluate(() => scrollY), scrolled);
    await card.getByRole("button", { name: "After | clean" }).click();
    assert.deepEqual(await visible(), ["after", "clean"]);
  }));

test("the reference is shown next to the result, and both differences have a caption", () =>
  opened(DESK, async (page) => {
    const card = page.locator(".card").nth(4);
    await boxOf(card);
    await card.getByRole("button", { name: "After | clean" }).click();
    assert.ok(await card.locator(".layer.clean").isVisible());
    assert.deepEqual(await card.locator(".slider span").allInnerTexts(), ["after", "clean"]);
    await page.screenshot({ path: join(SCREENSHOTS, "clean.png") });
    for (const [name, layer, caption] of [
      ["Residual", "residual", /^Before − after, ×\d+; mid-gray means no change\. Even grain is removed noise.*Letters/s],
      ["After − clean", "error", /^After − clean, ×\d+; mid-gray means equal to the reference\. Grain.*letters/s],
    ]) {
      const button = card.getByRole("button", { name, exact: true });
      await button.click();
      assert.equal(await button.getAttribute("aria-pressed"), "true");
      assert.ok(await card.locator(`.layer.${layer}`).isVisible());
      assert.ok(!(await card.locator(".layer.before").isVisible()));
      assert.match(await card.locator(".caption:visible").innerText(), caption);
      await page.screenshot({ path: join(SCREENSHOTS, `${layer}.png`) });
    }
    await card.getByRole("button", { name: "Before | after" }).click();
    assert.ok(await card.locator(".layer.before").isVisible());
  }));

test("an image without a reference has no button for one", () =>
  opened(
    DESK,
    async (page) => {
      const card = page.locator(".card", { has: page.getByRole("heading", { name: /017-?/ }) });
      assert.deepEqual(await card.locator("button[data-mode]").allInnerTexts(), ["Before | after", "Residual"]);
    },
    {},
    long,
  ));

test("sorting the table sorts the pictures, the first four above it, and does not move the table", () =>
  opened(
    DESK,
    async (page) => {
      const linked = () => page.locator("#files tbody a:visible").evaluateAll((links) => links.map((link) => link.textContent));
      const pictured = (where) =>
        page.locator(`${where} .card:not([id$=detail]):visible h3`).evaluateAll((names) => names.map((name) => name.textContent));
      const worst = await pictured(".first");
      assert.equal(worst.length, 4);
      const button = page.getByRole("columnheader", { name: "PSNR" }).getByRole("button");
      await button.scrollIntoViewIfNeeded();
      const { y } = await button.boundingBox();
      await button.click();
      assert.ok(Math.abs((await button.boundingBox()).y - y) <= 1);
      assert.deepEqual((await linked()).slice(0, 4), worst, "the four worst were above the table before it was sorted");
      await button.click();
      assert.ok(Math.abs((await button.boundingBox()).y - y) <= 1);
      assert.deepEqual(await pictured(".first"), (await linked()).slice(0, 4));
      assert.deepEqual(await pictured("main"), await linked());
      assert.match(await page.locator(".first h2").innerText(), /^First 4 of 60 by PSNR, dB.*, descending$/);
      await page.getByLabel("Find").fill("ward-1");
      assert.deepEqual(await pictured("main"), await linked());
      assert.equal((await linked()).length, 20);
      const third = page.locator("#files tbody a:visible").nth(2);
      await third.click();
      assert.equal(await page.locator(".card:target h3").textContent(), await third.textContent());
    },
    {},
    long,
  ));

test("arrow keys step through the sorted table, on the page and in the full view, which Escape closes", () =>
  opened(
    DESK,
    async (page) => {
      await page.getByRole("columnheader", { name: "removed" }).getByRole("button").click();
      const order = await page.locator("#files tbody a").evaluateAll((links) => links.map((link) => link.textContent));
      await page.locator("#files tbody a").nth(10).click();
      const target = page.locator(".card:target");
      await target.locator(".stage").focus();
      const targetName = () => target.locator("h3").textContent();
      for (const [key, place] of [["ArrowRight", 11], ["ArrowDown", 12], ["ArrowLeft", 11]]) {
        await page.keyboard.press(key);
        assert.equal(await targetName(), order[place]);
        assert.ok(Math.abs((await target.boundingBox()).y - 16) <= 1);
      }
      await page.keyboard.press("i");
      await page.keyboard.press("Enter");
      const reader = page.getByRole("dialog");
      const readerName = () => reader.getByRole("heading").textContent();
      assert.equal(await readerName(), order[11]);
      assert.equal(await reader.locator(".reader-place").innerText(), `12 of ${MANY}`);
      assert.equal(await reader.getByRole("button", { name: "Invert" }).getAttribute("aria-pressed"), "true");
      const { width, height } = await reader.locator(".stage").boundingBox();
      assert.ok(height > 0.85 * DESK.height || width > 0.7 * DESK.width);
      for (const [key, place] of [["ArrowRight", 12], ["ArrowDown", 13], ["ArrowUp", 12]]) {
        await page.keyboard.press(key);
        assert.equal(await readerName(), order[place]);
      }
      assert.equal(await reader.getByRole("button", { name: "Invert" }).getAttribute("aria-pressed"), "true", "the display settings are kept");
      await page.mouse.move(500, 400);
      await page.mouse.wheel(0, -240);
      assert.notEqual(await reader.locator(".zoom-level").innerText(), "fit", "in the full view, the wheel zooms without a click");
      await page.screenshot({ path: join(SCREENSHOTS, "full-view.png") });
      await reader.getByRole("button", { name: "Next in the table" }).click();
      assert.equal(await readerName(), order[13]);
      assert.equal(await page.locator("#files [aria-current] a").textContent(), order[13]);
      await page.keyboard.press("Escape");
      assert.ok(!(await reader.isVisible()));
      assert.equal(await targetName(), order[13]);
      assert.ok(Math.abs((await target.boundingBox()).y - 16) <= 1);
      assert.ok(await target.locator(".stage").evaluate((stage) => stage === document.activeElement));
      await page.keyboard.press("Escape");
      assert.ok(await page.evaluate(() => document.activeElement === document.body));
    },
    {},
    long,
  ));

test("the full view also shows the detail of a large image", () =>
  opened(
    DESK,
    async (page) => {
      const name = "ward-2/029.png";
      const card = page.locator(".card:not([id$=detail])", { has: page.getByRole("heading", { name, exact: true }) });
      await card.getByRole("button", { name: "Full view" }).click();
      const reader = page.getByRole("dialog");
      await page.keyboard.press("d");
      assert.match(await reader.getByRole("heading").textContent(), /^ward-2\/029\.png, detail/);
      assert.match(await reader.locator(".reader-size").textContent(), /^512 × 512 of 1152 × 1152 px/);
      await page.keyboard.press("d");
      assert.equal(await reader.getByRole("heading").textContent(), name);
    },
    {},
    long,
  ));

test("the report fits a phone, and touch moves the divider", () =>
  opened(
    PHONE,
    async (page) => {
      await page.screenshot({ path: join(SCREENSHOTS, "phone.png") });
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), PHONE.width);
      const card = page.locator(".card").first();
      await card.evaluate((one) => one.scrollIntoView());
      const box = await card.locator(".stage").boundingBox();
      await page.touchscreen.tap(box.x + box.width * 0.7, box.y + 100);
      assert.ok(Math.abs((await percent(card)) - 70) < 2);
      await page.screenshot({ path: join(SCREENSHOTS, "phone-card.png") });
      await card.getByRole("button", { name: "Full view" }).click();
      await page.screenshot({ path: join(SCREENSHOTS, "phone-full-view.png") });
      const reader = page.getByRole("dialog");
      assert.equal(await reader.evaluate((one) => one.scrollWidth), PHONE.width);
      await reader.getByRole("slider", { name: "Window" }).fill("120");
      assert.match(await reader.locator(".window-reset").innerText(), /^W 120 /);
      await reader.getByRole("button", { name: "Close" }).click();
      for (const button of await card.getByRole("button").all()) {
        const { width, height } = await button.boundingBox();
        assert.ok(width >= 24 && height >= 24, "large enough for a finger (WCAG 2.5.8)");
      }
    },
    ON_A_PHONE,
  ));

for (const [name, size] of [["a desk", DESK], ["a phone", PHONE]]) {
  test(`the report is accessible, on ${name} (WCAG 2.2 AA)`, () =>
    opened(size, async (page) => {
      assert.deepEqual(await inaccessible(page), []);
      await page.getByRole("button", { name: "Full view" }).first().click();
      assert.deepEqual(await inaccessible(page), []);
    }));
}

test("the report can be printed", () =>
  opened(DESK, async (page) => {
    await page.emulateMedia({ media: "print" });
    assert.ok(!(await page.locator(".filters").isVisible()));
    await page.screenshot({ path: join(SCREENSHOTS, "print.png") });
    assert.ok(readdirSync(SCREENSHOTS).length >= 8);
  }));
