// What a visitor does and sees, driven through Debian's chromium.
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
const PATIENCE = Number(process.env.PATIENCE ?? 120_000); // ms; more on machines that have other things to do

/** As root, as in containers, chromium runs only without its sandbox; the page is our own. */
export function launch() {
  return chromium.launch({ executablePath: EXECUTABLE, args: ["--no-sandbox"] });
}

export class Visitor {
  /**
   * @param {import("playwright-core").Browser} browser
   * @param {string} url of the page
   */
  static async arrive(browser, url, viewport = { width: 1280, height: 800 }) {
    const phone = viewport.width < 500;
    const context = await browser.newContext({ viewport, acceptDownloads: true, hasTouch: phone, isMobile: phone });
    context.setDefaultTimeout(PATIENCE);
    const visitor = new Visitor();
    visitor.page = await context.newPage();
    visitor.complaints = []; // errors on the console, exceptions, and requests to anywhere else
    visitor.page.on("console", (message) => {
      if (message.type() === "error") visitor.complaints.push(message.text());
    });
    visitor.page.on("pageerror", (error) => visitor.complaints.push(String(error)));
    context.on("request", (request) => {
      const { protocol, origin } = new URL(request.url());
      if (protocol !== "blob:" && origin !== new URL(url).origin) visitor.complaints.push(request.url());
    });
    await visitor.page.goto(url);
    await visitor.page.evaluate(() => document.addEventListener("denoised", ({ detail }) => (globalThis.latest = detail)));
    return visitor;
  }

  leave() {
    return this.page.context().close();
  }

  /** Drop files on the page as a mouse does: [name, content] each. */
  async dropAll(files) {
    await this.page.evaluate(
      (files) => {
        globalThis.latest = null;
        const dataTransfer = new DataTransfer();
        for (const [name, base64] of files) {
          dataTransfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
        }
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
      },
      files.map(([name, content]) => [name, Buffer.from(content).toString("base64")]),
    );
  }

  drop(name, content) {
    return this.dropAll([[name, content]]);
  }

  dropFile(path) {
    return this.drop(path.split("/").at(-1), readFileSync(path));
  }

  /** What the page's event `denoised` told, with the pixels of `before` and `after` as arrays. */
  async result() {
    await this.page.waitForFunction(() => globalThis.latest, null, { timeout: PATIENCE });
    const told = await this.page.evaluate(() => {
      const base64 = ({ values }) => {
        const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
        let text = "";
        for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
        return btoa(text);
      };
      const { before, after, ...facts } = globalThis.latest;
      return { ...facts, width: before.width, height: before.height, before: base64(before), after: base64(after) };
    });
    const floats = (text) => new Float32Array(Uint8Array.from(Buffer.from(text, "base64")).buffer);
    return { ...told, before: floats(told.before), after: floats(told.after) };
  }

  /** Choose a radio button by its text, as a click on its label does. */
  async choose(text) {
    await this.page.evaluate(() => (globalThis.latest = null));
    await this.page.getByText(text, { exact: true }).first().click();
  }

  /** The gray values, 0 to 255, of a canvas. */
  async canvas(id) {
    const text = await this.page.evaluate((id) => {
      const canvas = document.getElementById(id);
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let text = "";
      for (let i = 0; i < data.length; i += 4) text += String.fromCharCode(data[i]);
      return btoa(text);
    }, id);
    return Uint8Array.from(Buffer.from(text, "base64"));
  }

  /** The gray values, 0 to 255, that a canvas shows of an image that is all on it, enlarged: one for each of its pixels. */
  async pixels(id, width, height) {
    const shown = await this.canvas(id);
    const [across, down] = await this.page.locator(`#${id}`).evaluate((canvas) => [canvas.width, canvas.height]);
    const middle = (i, extent, of) => Math.floor(((i + 0.5) * of) / extent);
    return Array.from({ length: width * height }, (_, i) => {
      return shown[middle(Math.floor(i / width), height, down) * across + middle(i % width, width, across)];
    });
  }

  /** Wait until the page shows a result. */
  shown(name) {
    return this.page.waitForFunction(
      (name) => document.body.dataset.state === "done" && document.getElementById("name").textContent === name,
      name,
      { timeout: PATIENCE },
    );
  }

  /** Two fingers on the stage, moved apart around a place. */
  async pinch([x, y], from, to) {
    const session = await this.page.context().newCDPSession(this.page);
    const touch = (type, apart) => {
      const touchPoints = apart === undefined ? [] : [{ x: x - apart, y, id: 1 }, { x: x + apart, y, id: 2 }];
      return session.send("Input.dispatchTouchEvent", { type, touchPoints });
    };
    await touch("touchStart", from);
    for (let step = 1; step <= 10; step++) await touch("touchMove", from + ((to - from) * step) / 10);
    await touch("touchEnd");
  }

  /** Stroke with a finger, from a place to another, in steps as a hand does. */
  async stroke([x, y], [toX, toY]) {
    const session = await this.page.context().newCDPSession(this.page);
    const touch = (type, ...touchPoints) => session.send("Input.dispatchTouchEvent", { type, touchPoints });
    await touch("touchStart", { x, y });
    for (let step = 1; step <= 10; step++) {
      await touch("touchMove", { x: x + ((toX - x) * step) / 10, y: y + ((toY - y) * step) / 10 });
    }
    await touch("touchEnd");
  }

  error() {
    const alert = this.page.getByRole("alert");
    return alert.waitFor().then(() => alert.textContent());
  }
}
