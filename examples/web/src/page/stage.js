// The picture with its divider and its lens: what is before on the left, what is after on the right.
import { atStrength, part, residual, shrunk, squareAround, toRgba } from "../core/pixels.js";

const MOST_SHOWN = 2048; // px on the longer side of what is drawn as a whole; phones draw no canvas much larger
const STEP = 2; // percent that an arrow key moves the divider
const LARGE_STEP = 10;
const LENS_STEP = 0.1; // of the lens's own side that an arrow key moves it; with Shift a whole side
const FIRST_SPOT = [0.33, 0.4]; // shares of width and height: beside the divider, in a lung
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** @param {HTMLCanvasElement} canvas @param {import("../core/image.js").Gray} image */
function draw(canvas, { width, height, values }) {
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(toRgba(values), width, height), 0, 0);
}

/** The right-hand side: the result at a strength, or what it took away. */
function after(before, denoised, { strength, view }) {
  const values = atStrength(before.values, denoised.values, strength);
  return { ...before, values: view === "residual" ? residual(before.values, values) : values };
}

/** @returns {1 | 2 | 4 | 8} the zoom at which the lens shows a part of an image that is worth a look */
export function firstZoom({ width, height }) {
  return 2 ** clamp(Math.round(Math.log2(2048 / Math.max(width, height))), 0, 3);
}

/** @returns {number | null} where a key moves the divider, in percent */
export function dividerAfterKey(key, percent) {
  const moved = {
    ArrowLeft: percent - STEP,
    ArrowDown: percent - STEP,
    ArrowRight: percent + STEP,
    ArrowUp: percent + STEP,
    PageDown: percent - LARGE_STEP,
    PageUp: percent + LARGE_STEP,
    Home: 0,
    End: 100,
  }[key];
  return moved === undefined ? null : clamp(moved, 0, 100);
}

export class Stage {
  /** @param {(id: string) => HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.look = { strength: 1, view: "denoised", zoom: 2 };
    this.#listenToDivider(element("divider"));
    this.#listenToLens(element("spot"));
    new ResizeObserver(() => this.#drawLens()).observe(element("lens-before"));
  }

  /** @param {import("../core/image.js").Gray} image as it came */
  showBefore(image) {
    this.image = image;
    this.denoised = null;
    this.shown = { before: shrunk(image, MOST_SHOWN) };
    this.centre = [image.width * FIRST_SPOT[0], image.height * FIRST_SPOT[1]];
    this.element("stage").parentElement.style.setProperty("--ratio", image.width / image.height);
    draw(this.element("before"), this.shown.before);
    this.divide(50);
  }

  /** @param {import("../core/image.js").Gray} denoised of the same size */
  showAfter(denoised) {
    this.denoised = denoised;
    this.shown.denoised = shrunk(denoised, MOST_SHOWN);
    this.redraw();
  }

  /** Show the result another way: strength 0 to 1, view `denoised` or `residual`, zoom of the lens. */
  change(look) {
    Object.assign(this.look, look);
    this.redraw();
  }

  redraw() {
    if (!this.denoised) return;
    draw(this.element("after"), after(this.shown.before, this.shown.denoised, this.look));
    this.#drawLens();
  }

  divide(percent) {
    this.percent = percent;
    this.element("stage").style.setProperty("--divide", `${percent}%`);
    const divider = this.element("divider");
    divider.setAttribute("aria-valuenow", Math.round(percent));
    divider.setAttribute("aria-valuetext", `${Math.round(percent)} % before, ${Math.round(100 - percent)} % after`);
  }

  #listenToDivider(divider) {
    divider.addEventListener("pointerdown", (event) => {
      divider.setPointerCapture(event.pointerId);
      divider.focus({ preventScroll: true, focusVisible: false });
      event.preventDefault();
    });
    divider.addEventListener("pointermove", (event) => {
      if (divider.hasPointerCapture(event.pointerId)) this.divide(clamp(this.#placeOf(event)[0] * 100, 0, 100));
    });
    divider.addEventListener("keydown", (event) => {
      const percent = dividerAfterKey(event.key, this.percent);
      if (percent === null) return;
      event.preventDefault();
      this.divide(percent);
    });
  }

  /** The lens follows the mouse, and a finger that taps or drags it; one that strokes beside it moves the divider. */
  #listenToLens(spot) {
    const stage = this.element("stage");
    const follow = (event) => {
      const [x, y] = this.#placeOf(event);
      this.#moveLens(x * this.image.width, y * this.image.height);
    };
    stage.addEventListener("pointermove", (event) => {
      if (!this.denoised || this.element("divider").contains(event.target)) return;
      if (event.pointerType === "mouse" || event.target === spot) follow(event);
      else this.divide(clamp(this.#placeOf(event)[0] * 100, 0, 100));
    });
    stage.addEventListener("click", (event) => {
      if (this.denoised && !this.element("divider").contains(event.target)) follow(event);
    });
    spot.addEventListener("keydown", (event) => {
      const arrow = ARROWS[event.key];
      if (!arrow) return;
      event.preventDefault();
      const step = this.lens.width * (event.shiftKey ? 1 : LENS_STEP);
      this.#moveLens(...this.centre.map((place, axis) => place + step * arrow[axis]));
    });
  }

  /** Where a pointer is, as shares of the picture's width and height. */
  #placeOf({ clientX, clientY }) {
    const { left, top, width, height } = this.element("stage").getBoundingClientRect();
    return [(clientX - left) / width, (clientY - top) / height];
  }

  #moveLens(x, y) {
    this.centre = [clamp(x, 0, this.image.width), clamp(y, 0, this.image.height)];
    this.#drawLens();
  }

  #drawLens() {
    if (!this.denoised) return;
    const side = Math.max(1, Math.round(this.element("lens-before").clientWidth / this.look.zoom));
    const square = squareAround(this.image, ...this.centre, side);
    const [before, denoised] = [part(this.image, square), part(this.denoised, square)];
    draw(this.element("lens-before"), before);
    draw(this.element("lens-after"), after(before, denoised, this.look));
    const { width, height } = this.image;
    Object.assign(this.element("spot").style, {
      left: `${(square.left / width) * 100}%`,
      top: `${(square.top / height) * 100}%`,
      width: `${(square.width / width) * 100}%`,
      height: `${(square.height / height) * 100}%`,
    });
    this.lens = square;
  }
}
