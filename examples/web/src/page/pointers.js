// Mouse, fingers and keys on the stage: window and level, divider, lens, zoom and position.
import { STEP as ZOOM_STEP } from "../core/view.js";
import { ALL, dragged } from "../core/window.js";
import { clamp } from "./stage.js";

const STEP = 2; // percent per arrow key of the divider
const LARGE_STEP = 10;
const LENS_STEP = 0.1; // fraction of its side that an arrow key moves the lens; with Shift, a whole side
const NUDGE = 60; // page px per arrow key of the picture
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @returns {number | null} percent of the divider after a key, null for other keys */
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

/** The position of a pointer on the stage, in page px. */
function placeOf({ clientX, clientY }, root) {
  const { left, top } = root.getBoundingClientRect();
  return { x: clientX - left, y: clientY - top };
}

/** @param {import("./stage.js").Stage} stage @param {(step: number) => void} walk selects another file of the list */
export function listenToStage(stage, walk) {
  const root = stage.element("stage");
  new Pointers(stage, root);
  listenToKeys(stage, root, walk);
  listenToLensKeys(stage, stage.element("spot"));
  stage.element("divider").addEventListener("keydown", (event) => {
    const percent = dividerAfterKey(event.key, stage.look.percent);
    if (percent === null) return;
    event.preventDefault();
    event.stopPropagation();
    stage.change({ percent, flicker: null });
  });
}

class Pointers {
  constructor(stage, root) {
    this.stage = stage;
    this.root = root;
    this.down = new Map(); // pointer -> its last event
    root.addEventListener("pointerdown", (event) => this.start(event));
    root.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) root.addEventListener(end, ({ pointerId }) => this.down.delete(pointerId));
    root.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    root.addEventListener("dblclick", (event) => {
      if (!stage.done) return;
      const { scale } = stage.view;
      if (scale === 1) stage.fit();
      else stage.zoomTo(1, placeOf(event, root));
    });
    root.addEventListener("click", (event) => {
      if (stage.done && event.pointerType !== "mouse" && !this.moved) this.lensAt(event);
    });
  }

  lensAt(event) {
    const { x, y } = placeOf(event, this.root);
    const { view } = this.stage;
    this.stage.moveLens(view.x + x / view.scale, view.y + y / view.scale);
  }

  start(event) {
    if (!this.stage.done || event.button > 1) return;
    event.preventDefault(); // otherwise the middle button scrolls and a drag selects
    (event.target.closest(".divider, .spot") ?? this.root).focus({ preventScroll: true, focusVisible: false });
    this.root.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, event);
    [this.moved, this.drag] = [false, this.dragOf(event)];
  }

  /** The action of a drag: divider and lens always move; Shift and the middle button select the alternative. */
  dragOf(event) {
    if (event.target.closest(".divider")) return "divider";
    if (event.target.closest(".spot") && event.pointerType !== "mouse") return "lens";
    const swapped = event.shiftKey || event.button === 1;
    if ((this.stage.look.drag === "window") !== swapped) return "window";
    return this.stage.fits ? "divider" : "picture";
  }

  move(event) {
    if (!this.stage.done) return;
    const last = this.down.get(event.pointerId);
    if (!last) {
      if (event.pointerType === "mouse") this.lensAt(event);
      return;
    }
    this.down.set(event.pointerId, event);
    this.moved = true;
    const [from, to] = [placeOf(last, this.root), placeOf(event, this.root)];
    const { width, height } = this.stage.size;
    if (this.down.size === 2) this.pinch(event, last);
    else if (this.drag === "divider") this.stage.change({ percent: clamp((to.x / width) * 100, 0, 100), flicker: null });
    else if (this.drag === "lens") this.lensAt(event);
    else if (this.drag === "picture") this.stage.move(to.x - from.x, to.y - from.y);
    else this.stage.change(dragged(this.stage.look, (to.x - from.x) / width, (to.y - from.y) / height));
  }

  pinch(event, last) {
    const other = [...this.down.values()].find(({ pointerId }) => pointerId !== event.pointerId);
    const apart = ({ clientX, clientY }) => Math.hypot(clientX - other.clientX, clientY - other.clientY);
    const [a, b] = [placeOf(event, this.root), placeOf(other, this.root)];
    const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    this.stage.zoomTo((this.stage.view.scale * apart(event)) / Math.max(apart(last), 1), middle);
  }

  wheel(event) {
    if (!this.stage.done) return;
    event.preventDefault();
    this.stage.zoomTo(this.stage.view.scale * (event.deltaY < 0 ? ZOOM_STEP : 1 / ZOOM_STEP), placeOf(event, this.root));
  }
}

function listenToKeys(stage, root, walk) {
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    const { view, look } = stage;
    const onPicture = {
      " ": () => event.repeat || stage.flicker(), // would flash while held down
      i: () => stage.change({ inverted: !look.inverted }),
      "+": () => stage.zoomTo(view.scale * ZOOM_STEP),
      "=": () => stage.zoomTo(view.scale * ZOOM_STEP),
      "-": () => stage.zoomTo(view.scale / ZOOM_STEP),
      0: () => stage.fit(),
      1: () => stage.zoomTo(1),
      Escape: () => (stage.change({ ...ALL, flicker: null }), stage.fit()),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const action = arrow ? () => (event.shiftKey ? nudge(stage, arrow) : walk(arrow[0] + arrow[1])) : stage.done && onPicture;
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/** Move the zoomed picture, else the divider. */
function nudge(stage, [right, down]) {
  if (!stage.done) return;
  if (stage.fits) stage.change({ percent: clamp(stage.look.percent + STEP * right, 0, 100), flicker: null });
  else stage.move(-NUDGE * right, -NUDGE * down);
}

function listenToLensKeys(stage, spot) {
  spot.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow || !stage.done) return;
    event.preventDefault();
    event.stopPropagation();
    const step = stage.lens.width * (event.shiftKey ? 1 : LENS_STEP);
    stage.moveLens(...stage.centre.map((place, axis) => place + step * arrow[axis]));
  });
}
