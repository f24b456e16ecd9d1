// The report in a browser, as a reader has it: opened from disk, sorted, filtered, slid, zoomed; on a phone as well.
// Needs cxr-infer and its python on the PATH and chromium (or CHROMIUM=path). Screenshots go to build/report_browser.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import axe from "axe-core";
import { chromium } from "playwright-core";

const HERE = dirname(fileURLToPath(import.meta.url));
const SCREENSHOTS = join(HERE, "..", "..", "build", "report_browser");
const MANY = 60; // images of the long report
const HOSTILE = '"><img src=x onerror=document.title=1>.png';

let folder, browser, report, long;

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
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
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
});

after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Open a report, call `use` with its page, then see that nothing went wrong and nothing was loaded. */
async function opened(size, use, options = {}, address = report) {
  const context = await browser.newContext({ viewport: size, reducedMotion: "reduce", ...options });
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

const DESK = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const ON_A_PHONE = { hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

const column = (page, index) => page.locator(`#files tbody tr:visible > :nth-child(${index})`).allInnerTexts();
const percent = (card) => card.locator(".stage").evaluate((stage) => parseFloat(stage.style.getPropertyValue("--split")));
const placed = (card, picture) => card.locator(`.${picture} img`).evaluate((image) => getComputedStyle(image).transform);

test("it opens without an error, every picture is decoded, and names do nothing", () =>
  opened(DESK, async (page) => {
    await page.screenshot({ path: join(SCREENSHOTS, "desk.png") });
    const pictures = page.locator(".card img");
    assert.equal(await pictures.count(), 3 * 5);
    for (const image of await pictures.all()) {
      assert.ok(await image.evaluate(async (one) => (await one.decode(), one.naturalWidth === 512 || one.naturalWidth === 256)));
    }
    assert.match(await page.title(), /^xrays denoised/);
    assert.ok(await page.getByText(HOSTILE, { exact: true }).isVisible());
    assert.ok(await page.getByText("not an image of a kind that is read here").isVisible());
    assert.equal(await page.locator("svg rect.bar").count() > 1, true);
  }));

test("the policy lets nothing be loaded", async () => {
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

test("the table sorts both ways, what has no figure last", () =>
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
    await page.getByLabel("Find").fill("whatever its name");
    assert.equal((await column(page, 1)).length, 1, "reasons are searched as well");
    await page.getByLabel("Find").fill("");
    await page.getByRole("button", { name: "left alone 1" }).click();
    assert.match((await column(page, 1)).join(), /notes\.txt/);
    await page.getByRole("button", { name: "Show" }).click(); // of the line that says how many failed
    assert.deepEqual(await column(page, 2), ["failed"]);
    await page.getByRole("button", { name: "all 7" }).click();
    await page.getByRole("link", { name: "phantom-3" }).click();
    assert.ok(await page.locator("#image-3").evaluate((card) => card.getBoundingClientRect().top < innerHeight / 2));
  }));

for (const [name, size, options] of [["a desk", DESK, {}], ["a phone", PHONE, ON_A_PHONE]]) {
  test(`every link of a long report lands on its picture and marks it, on ${name}`, () =>
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

test("a link from elsewhere to a picture of a long report lands on it as well", () =>
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
    await card.scrollIntoViewIfNeeded();
    const box = await card.locator(".stage").boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + 200);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.25, box.y + 220, { steps: 4 });
    await page.mouse.up();
    assert.ok(Math.abs((await percent(card)) - 25) < 1.5);
    const clip = await card.locator(".layer.before").evaluate((layer) => getComputedStyle(layer).clipPath);
    assert.match(clip, /^inset\(0px (calc\(.*\)|75%) 0px 0px\)$/);
    const slider = card.getByRole("slider");
    assert.equal(await slider.inputValue(), String(await percent(card)));
    const start = await percent(card);
    await slider.focus();
    for (let press = 0; press < 5; press += 1) await page.keyboard.press("ArrowRight");
    assert.equal(await percent(card), start + 5);
    await page.keyboard.press("End");
    assert.equal(await percent(card), 100);
    await card.locator(".stage").focus();
    await page.keyboard.press("ArrowLeft");
    assert.equal(await percent(card), 98);
  }));

test("zoom and place are the same before and after, and the page still scrolls", () =>
  opened(DESK, async (page) => {
    const card = page.locator(".card").first();
    const level = card.locator(".zoom-level");
    await card.evaluate((one) => one.scrollIntoView());
    const box = await card.locator(".stage").boundingBox();
    await page.mouse.move(box.x + 100, box.y + 100);
    const scrolled = await page.evaluate(() => scrollY);
    await page.mouse.wheel(0, 120);
    await page.waitForFunction((y) => scrollY > y, scrolled);
    assert.equal(await level.innerText(), "fit", "a wheel that passes by scrolls");
    await card.evaluate((one) => one.scrollIntoView());
    await page.mouse.click(box.x + 100, box.y + 100);
    await page.mouse.wheel(0, -240);
    await page.waitForFunction((one) => one.textContent !== "fit", await level.elementHandle());
    assert.equal(await placed(card, "before"), await placed(card, "after"));
    assert.equal(await placed(card, "residual"), await placed(card, "after"));
    await card.getByRole("button", { name: "Zoom in" }).click();
    const zoomed = await placed(card, "after");
    await page.mouse.move(box.x + 300, box.y + 300);
    await page.mouse.down();
    await page.mouse.move(box.x + 250, box.y + 280, { steps: 3 });
    await page.mouse.up();
    assert.notEqual(await placed(card, "after"), zoomed, "a drag moves what is zoomed");
    assert.equal(await placed(card, "before"), await placed(card, "after"));
    await card.getByRole("button", { name: "1:1" }).click();
    assert.match(await level.innerText(), /^(100 %|fit)$/);
    await card.locator(".stage").focus();
    for (const key of ["+", "+", "+", "ArrowRight", "ArrowDown"]) await page.keyboard.press(key);
    await page.screenshot({ path: join(SCREENSHOTS, "zoom.png") });
    await page.keyboard.press("0");
    assert.equal(await level.innerText(), "fit");
  }));

test("the residual can be looked at, and an image be made large", () =>
  opened(DESK, async (page) => {
    const card = page.locator(".card").nth(1);
    const toggle = card.getByRole("button", { name: "Residual" });
    await toggle.click();
    assert.equal(await toggle.getAttribute("aria-pressed"), "true");
    assert.ok(await card.locator(".layer.residual").isVisible());
    assert.ok(!(await card.locator(".layer.before").isVisible()));
    assert.ok(await card.getByText(/^before − after, ×\d+: mid-gray is no change$/).isVisible());
    await page.screenshot({ path: join(SCREENSHOTS, "residual.png") });
    await toggle.click();
    assert.ok(await card.locator(".layer.before").isVisible());
    const width = (await card.boundingBox()).width;
    await card.getByRole("button", { name: "Large" }).click();
    assert.ok((await card.boundingBox()).width > 1.8 * width);
    await page.screenshot({ path: join(SCREENSHOTS, "large.png") });
  }));

test("a phone shows all of it, and a finger slides", () =>
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
      for (const button of await card.getByRole("button").all()) {
        const { width, height } = await button.boundingBox();
        assert.ok(width >= 24 && height >= 24, "large enough for a finger (WCAG 2.5.8)");
      }
    },
    ON_A_PHONE,
  ));

for (const [name, size] of [["a desk", DESK], ["a phone", PHONE]]) {
  test(`nothing in it is out of reach for anybody, on ${name} (WCAG 2.2 AA)`, () =>
    opened(size, async (page) => {
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() =>
        globalThis.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
      );
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 200)}`), []);
    }));
}

test("it can be printed", () =>
  opened(DESK, async (page) => {
    await page.emulateMedia({ media: "print" });
    assert.ok(!(await page.locator(".filters").isVisible()));
    await page.screenshot({ path: join(SCREENSHOTS, "print.png") });
    assert.ok(readdirSync(SCREENSHOTS).length >= 8);
  }));
