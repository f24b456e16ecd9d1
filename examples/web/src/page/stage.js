// The picture with its divider and its lens: the visible part of two sides of an image, with window and level.
import { atStrength, part, residual, shrunk, squareAround, toRgba } from "../core/pixels.js";
import { fitting, isFitting, settled, zoomed } from "../core/view.js";
import { ALL, lineOf } from "../core/window.js";

const MOST_SHOWN = 2048; // px, largest side of a canvas; phones draw none much larger
const FIRST_SPOT = [0.33, 0.4]; // fractions of width and height: beside the divider, in a lung
const IDENTITY = lineOf(ALL);
const DIFFERENCES = ["residual", "error"];
/** The sides left and right of the divider in each view. */
export const SIDES = {
  denoised: ["before", "after"],
  residual: ["before", "residual"],
  clean: ["after", "clean"],
  error: ["after", "error"],
};
export const FIRST_LOOK = { strength: 1, view: "denoised", zoom: 2, ...ALL, percent: 50, flicker: null, drag: "window" };

export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** Draw gray values on a canvas, which takes their size. */
function put(canvas, { width, height, values }, line) {
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(new ImageData(toRgba(values, line), width, height), 0, 0);
  return canvas;
}

/** @returns {1 | 2 | 4 | 8} the first zoom of the lens, larger for smaller images */
export function firstZoom({ width, height }) {
  return 2 ** clamp(Math.round(Math.log2(2048 / Math.max(width, height))), 0, 3);
}

export class Stage {
  /** @param {(id: string) => HTMLElement} element @param {(stage: Stage) => void} onLook called after each change of the look */
  constructor(element, onLook = () => {}) {
    this.element = element;
    this.onLook = onLook;
    this.look = { ...FIRST_LOOK, drag: matchMedia("(pointer: coarse)").matches ? "move" : "window" };
    this.size = { width: 0, height: 0 };
    new ResizeObserver(() => this.#resized()).observe(element("stage"));
    new ResizeObserver(() => this.#drawLens()).observe(element("lens-before"));
  }

  // -- which image

  /** @param {import("../core/image.js").Gray} image before denoising */
  showBefore(image) {
    this.images = { before: image };
    this.shrunkImages = new Map();
    this.centre = [image.width * FIRST_SPOT[0], image.height * FIRST_SPOT[1]];
    this.element("stage").parentElement.style.setProperty("--ratio", image.width / image.height);
    this.view = null; // until the stage has its size
    this.#resized();
    this.change({ view: "denoised", percent: 50, flicker: null });
  }

  /** @param {import("../core/image.js").Gray} denoised of the same size */
  showAfter(denoised) {
    this.#add("denoised", denoised);
  }

  /** @param {import("../core/image.js").Gray} clean the reference, of the same size */
  showClean(clean) {
    this.#add("clean", clean);
  }

  #add(name, image) {
    this.images[name] = image;
    for (const key of this.shrunkImages.keys()) if (key.startsWith(name)) this.shrunkImages.delete(key);
    this.redraw();
  }

  get image() {
    return this.images?.before;
  }

  get done() {
    return Boolean(this.images?.denoised);
  }

  // -- the look

  /** Change the look: any of `FIRST_LOOK`, such as strength (0 to 1), view or percent of the divider. */
  change(look) {
    Object.assign(this.look, look);
    this.redraw();
    this.onLook(this);
  }

  get fits() {
    return !this.view || isFitting(this.view, this.image, this.size);
  }

  fit() {
    this.view = fitting(this.image, this.size);
    this.change({});
  }

  /** @param {number} scale page px per image px @param {{x: number, y: number}} point of the stage that stays in place */
  zoomTo(scale, point = { x: this.size.width / 2, y: this.size.height / 2 }) {
    this.view = zoomed(this.view, scale, point, this.image, this.size);
    this.change({});
  }

  /** Move the picture by page px. */
  move(right, down) {
    const { scale, x, y } = this.view;
    this.view = settled({ scale, x: x - right / scale, y: y - down / scale }, this.image, this.size);
    this.change({});
  }

  /** Show one side alone, the other with the next call. */
  flicker() {
    if (this.done) this.change({ flicker: this.look.flicker === "left" ? "right" : "left" });
  }

  #resized() {
    const { clientWidth: width, clientHeight: height } = this.element("stage");
    if (!this.image || !width || !height) return;
    const [whole, before] = [this.fits, this.size];
    this.size = { width, height };
    if (whole) this.view = fitting(this.image, this.size);
    else this.view = settled({ ...this.view, scale: (this.view.scale * width) / before.width }, this.image, this.size);
    this.redraw();
  }

  // -- drawing

  redraw() {
    if (!this.image || !this.view) return;
    const [left, right] = this.done ? SIDES[this.look.view] : ["before", "before"];
    this.#paint(this.element("before"), left);
    this.#paint(this.element("after"), right);
    this.#drawDivider();
    this.#drawLens();
  }

  #drawDivider() {
    const { percent, flicker, drag } = this.look;
    const stage = this.element("stage");
    const [left, right] = { left: ["", "100%"], right: ["", "0%"] }[flicker] ?? [null, `${percent}%`];
    stage.style.setProperty("--divide", right);
    stage.classList.toggle("flickering", left !== null);
    stage.classList.toggle("for-window", drag === "window");
    stage.classList.toggle("zoomed", !this.fits);
    const divider = this.element("divider");
    divider.setAttribute("aria-valuenow", Math.round(percent));
    divider.setAttribute("aria-valuetext", `${Math.round(percent)} % before, ${Math.round(100 - percent)} % after`);
  }

  /** The line from gray to screen of a side. Window and level do not act on differences. */
  #lineOf(name) {
    return DIFFERENCES.includes(name) ? IDENTITY : lineOf(this.look);
  }

  /** Draw the visible part of a side, shrunk as far as the screen needs. */
  #paint(canvas, name) {
    const ratio = Math.min(devicePixelRatio, MOST_SHOWN / Math.max(this.size.width, this.size.height));
    [canvas.width, canvas.height] = [this.size.width, this.size.height].map((px) => Math.round(px * ratio));
    const scale = this.view.scale * ratio; // canvas px per image px
    const factor = 2 ** Math.max(Math.floor(Math.log2(1 / scale)), 0);
    const across = (place, extent, shown) => {
      const first = Math.max(Math.floor(place / factor), 0);
      return [first, Math.min(Math.ceil((place + shown) / factor), Math.ceil(extent / factor)) - first];
    };
    const [left, width] = across(this.view.x, this.image.width, canvas.width / scale);
    const [top, height] = across(this.view.y, this.image.height, canvas.height / scale);
    const shown = put(new OffscreenCanvas(1, 1), this.#values(name, factor, { left, top, width, height }), this.#lineOf(name));
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = scale * factor < 1; // enlarged pixels keep their edges
    context.imageSmoothingQuality = "high";
    const [x, y] = [left * factor - this.view.x, top * factor - this.view.y].map((px) => px * scale);
    context.drawImage(shown, x, y, width * factor * scale, height * factor * scale);
  }

  /** A part of a side of the image shrunk by `factor`; `square` is in px of the shrunk image. */
  #values(name, factor, square) {
    const cut = (image) => part(this.#shrunk(image, factor), square);
    const mixed = () => {
      const [before, denoised] = [cut("before"), cut("denoised")];
      return { ...before, values: atStrength(before.values, denoised.values, this.look.strength) };
    };
    const difference = (first, second) => ({ ...first, values: residual(first.values, second.values) });
    switch (name) {
      case "after":
        return mixed();
      case "residual":
        return difference(cut("before"), mixed());
      case "error":
        return difference(mixed(), cut("clean"));
      default:
        return cut(name);
    }
  }

  #shrunk(name, factor) {
    const key = `${name}/${factor}`;
    if (!this.shrunkImages.has(key)) this.shrunkImages.set(key, shrunk(this.images[name], factor));
    return this.shrunkImages.get(key);
  }

  // -- the lens

  moveLens(x, y) {
    this.centre = [clamp(x, 0, this.image.width), clamp(y, 0, this.image.height)];
    this.#drawLens();
  }

  #drawLens() {
    if (!this.done || !this.view) return;
    const side = Math.max(1, Math.round(this.element("lens-before").clientWidth / this.look.zoom));
    const square = squareAround(this.image, ...this.centre, side);
    SIDES[this.look.view].forEach((name, i) => {
      put(this.element(i ? "lens-after" : "lens-before"), this.#values(name, 1, square), this.#lineOf(name));
    });
    const px = (place) => `${place * this.view.scale}px`;
    Object.assign(this.element("spot").style, {
      left: px(square.left - this.view.x),
      top: px(square.top - this.view.y),
      width: px(square.width),
      height: px(square.height),
    });
    this.lens = square;
  }
}

export function isDefaultWindow(look) {
  const { slope, intercept } = lineOf(look);
  return slope === IDENTITY.slope && intercept === IDENTITY.intercept;
}
