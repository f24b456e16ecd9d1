// ---- a viewer: two pictures with a divider or a difference, zoom, window and level the same for all

const STEP = 1.25; // zoom factor per notch of the wheel or key press
const MOST = 8; // most page pixels per picture pixel
const NUDGE = 0.06; // fraction of the stage moved by a key press
const WHITE = 255; // gray levels are those of the pictures
const LEAST_WIDTH = 2, MOST_WIDTH = 2 * WHITE;
const SPEED = 1.3; // of a drag from side to side, times the gray levels there are
const PAIRS = { compare: ["before", "after"], reference: ["after", "clean"] }; // modes with a divider; others are differences
const NEEDS = { compare: "before", reference: "clean", residual: "residual", error: "error" };
const FIRST_LOOK = {
  mode: "compare", flicker: null, split: 50, width: WHITE, level: WHITE / 2, inverted: false, zoom: 1, x: 0, y: 0,
  drag: matchMedia("(pointer: coarse)").matches ? "move" : "window",
};
const filters = document.querySelector(".filters-of-windows");

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

class Viewer {
  /**
   * @param {HTMLElement} root with a stage, in which the layers are
   * @param {string} name of the image
   * @param {{walk: (step: number) => void, open?: () => void, leave?: () => void}} ways to other pictures
   * @param {object} look how it is looked at first
   */
  constructor(root, name, ways, look = {}) {
    this.root = root;
    this.name = name;
    this.ways = ways;
    this.stage = root.querySelector(".stage");
    this.layers = [...root.querySelectorAll(".layer")];
    this.image = root.querySelector(".after img");
    this.pointers = new Map();
    this.look = { ...FIRST_LOOK, ...look, flicker: null };
    if (!this.has(NEEDS[this.look.mode])) this.look.mode = "compare";
    this.build();
    this.listen();
    this.place();
    this.draw();
  }

  has(name) {
    return this.layers.some((layer) => layer.classList.contains(name));
  }

  part(selector) {
    return this.root.querySelector(selector);
  }

  build() {
    const [divider, tag, controls] = document.getElementById("controls").content.cloneNode(true).children;
    this.stage.append(divider, tag);
    this.root.append(controls);
    for (const button of controls.querySelectorAll("[data-mode]")) {
      if (!this.has(NEEDS[button.dataset.mode])) button.remove();
    }
    for (const caption of controls.querySelectorAll(".caption")) {
      const layer = this.layers.find((one) => one.dataset.gain && caption.classList.contains(one.classList[1]));
      if (layer) caption.querySelector(".gain").textContent = layer.dataset.gain;
      else caption.remove();
    }
    if (!this.ways.open) this.part(".open").remove();
    this.part(".split").setAttribute("aria-label", `Divider, ${this.name}`);
    this.stage.tabIndex = 0;
    this.stage.setAttribute("role", "group");
    this.stage.setAttribute("aria-label", `${this.name}: drag for window and level, plus, minus and wheel zoom, space flickers`);
    this.root.style.setProperty("--aspect", this.image.getAttribute("width") / this.image.getAttribute("height"));
    this.stage.classList.add("ready");
  }

  listen() {
    const onClick = (name, action) => this.part(name)?.addEventListener("click", action);
    for (const button of this.root.querySelectorAll("[data-mode]")) {
      button.addEventListener("click", () => this.change({ mode: button.dataset.mode, flicker: null }));
    }
    const slide = (name, change) => this.part(name).addEventListener("input", (event) => this.change(change(Number(event.target.value))));
    slide(".split", (split) => ({ split, flicker: null }));
    slide(".width", (width) => ({ width }));
    slide(".level", (level) => ({ level }));
    onClick(".zoom-in", () => this.zoomTo(this.look.zoom * STEP));
    onClick(".zoom-out", () => this.zoomTo(this.look.zoom / STEP));
    onClick(".one-to-one", () => this.zoomTo(this.native));
    onClick(".zoom-fit", () => this.zoomTo(1));
    onClick(".flicker", () => this.flicker());
    onClick(".invert", () => this.change({ inverted: !this.look.inverted }));
    onClick(".dragging", () => this.change({ drag: this.look.drag === "move" ? "window" : "move" }));
    onClick(".window-reset", () => this.change({ width: FIRST_LOOK.width, level: FIRST_LOOK.level }));
    onClick(".open", () => this.ways.open());
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.stage.addEventListener("pointerdown", (event) => this.down(event));
    this.stage.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.stage.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    this.stage.addEventListener("dblclick", (event) => this.zoomTo(this.isNative ? 1 : this.native, this.within(event)));
    if (this.ways.open) this.stage.addEventListener("keydown", (event) => this.key(event)); // else the dialog listens
  }

  change(look) {
    Object.assign(this.look, look);
    this.draw();
  }

  // -- what is shown

  draw() {
    const { mode, flicker, split, inverted, drag } = this.look;
    const pair = PAIRS[mode];
    const [left, right] = pair ?? [null, mode];
    for (const layer of this.layers) {
      const name = layer.classList[1];
      const hidden = (name === left && flicker === "right") || (name === right && flicker === "left");
      layer.dataset.side = hidden ? "" : name === left ? "left" : name === right ? "right" : "";
    }
    this.stage.classList.toggle("divided", Boolean(pair) && !flicker);
    this.stage.classList.toggle("for-window", drag === "window");
    this.root.dataset.mode = mode;
    for (const button of this.root.querySelectorAll("[data-mode]")) press(button, button.dataset.mode === mode);
    press(this.part(".flicker"), flicker);
    press(this.part(".invert"), inverted);
    press(this.part(".dragging"), drag === "move");
    this.part(".tag").textContent = flicker === "left" ? left : flicker === "right" ? right : "";
    if (pair) this.drawSplit(pair, split);
    this.drawWindow();
  }

  drawSplit([left, right], split) {
    const slider = this.part(".split");
    slider.value = split;
    slider.setAttribute("aria-valuetext", `${split} % ${left}, ${100 - split} % ${right}`);
    this.stage.style.setProperty("--split", `${split}%`);
    [this.part(".left").textContent, this.part(".right").textContent] = [left, right];
  }

  /** Apply window and level by an SVG filter, only if they are not the default. */
  drawWindow() {
    const { width, level, inverted } = this.look;
    const asItIs = width === FIRST_LOOK.width && level === FIRST_LOOK.level && !inverted;
    const filter = asItIs ? "none" : `url(#${this.filter.id})`;
    if (!asItIs) {
      const [slope, intercept] = [WHITE / width, 0.5 - level / width];
      for (const channel of this.filter.firstElementChild.children) {
        channel.setAttribute("slope", inverted ? -slope : slope);
        channel.setAttribute("intercept", inverted ? 1 - intercept : intercept);
      }
    }
    for (const layer of this.layers) if (!layer.dataset.gain) layer.style.filter = filter;
    this.part(".width").value = width;
    this.part(".level").value = level;
    const values = `W ${Math.round(width)} L ${Math.round(level)}`;
    this.part(".window-reset").textContent = values;
    this.part(".window-reset").setAttribute("aria-label", `${values}, reset window and level`);
  }

  get filter() {
    if (!this.ownFilter) {
      this.ownFilter = filters.appendChild(filters.firstElementChild.cloneNode(true));
      this.ownFilter.id = `window-${filters.children.length}`;
    }
    return this.ownFilter;
  }

  /** Show one picture of a pair alone, the other with the next call. */
  flicker() {
    if (PAIRS[this.look.mode]) this.change({ flicker: this.look.flicker === "left" ? "right" : "left" });
  }

  // -- zoom and place, in shares of the stage

  /** The zoom at which a picture pixel is a page pixel. */
  get native() {
    return this.image.getAttribute("width") / this.stage.clientWidth;
  }

  get isNative() {
    return Math.abs(this.look.zoom / this.native - 1) < 1e-3;
  }

  within(event) {
    const box = this.stage.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }

  /** Zoom around a point, by default the middle. */
  zoomTo(wanted, { x, y } = { x: 0.5, y: 0.5 }) {
    const { look } = this;
    const zoom = clamp(wanted, Math.min(1, this.native), Math.max(MOST * this.native, MOST));
    this.place({ zoom, x: x - ((x - look.x) * zoom) / look.zoom, y: y - ((y - look.y) * zoom) / look.zoom });
  }

  place(look = {}) {
    Object.assign(this.look, look);
    const { zoom } = this.look;
    const inside = (place) => (zoom < 1 ? (1 - zoom) / 2 : clamp(place, 1 - zoom, 0));
    [this.look.x, this.look.y] = [inside(this.look.x), inside(this.look.y)];
    for (const name of ["zoom", "x", "y"]) this.stage.style.setProperty(`--${name}`, this.look[name]);
    this.stage.classList.toggle("zoomed", zoom > 1);
    this.stage.classList.toggle("magnified", zoom >= this.native);
    this.part(".zoom-level").textContent = zoom === 1 ? "fit" : `${Math.round((100 * zoom) / this.native)} %`;
  }

  // -- mouse, fingers, keys

  /** Zoom by the wheel only after a click or with Ctrl, so that a page of many pictures stays scrollable. */
  wheel(event) {
    if (this.ways.open && document.activeElement !== this.stage && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.zoomTo(this.look.zoom * (event.deltaY < 0 ? STEP : 1 / STEP), this.within(event));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { zoom, inverted } = this.look;
    const actions = {
      " ": () => event.repeat || this.flicker(), // would flash while held down
      i: () => this.change({ inverted: !inverted }),
      "+": () => this.zoomTo(zoom * STEP),
      "=": () => this.zoomTo(zoom * STEP),
      "-": () => this.zoomTo(zoom / STEP),
      0: () => this.zoomTo(1),
      1: () => this.zoomTo(this.native),
      Enter: this.ways.open,
      Escape: this.ways.leave,
      ArrowLeft: () => (event.shiftKey ? this.nudge(1, 0) : this.ways.walk(-1)),
      ArrowRight: () => (event.shiftKey ? this.nudge(-1, 0) : this.ways.walk(1)),
      ArrowUp: () => (event.shiftKey ? this.nudge(0, 1) : this.ways.walk(-1)),
      ArrowDown: () => (event.shiftKey ? this.nudge(0, -1) : this.ways.walk(1)),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  /** Move the zoomed picture, else the divider. */
  nudge(right, down) {
    const { zoom, x, y, split } = this.look;
    if (zoom > 1) this.place({ x: x + NUDGE * right, y: y + NUDGE * down });
    else this.change({ split: clamp(split - 2 * right, 0, 100), flicker: null });
  }

  down(event) {
    if (event.button > 1) return;
    if (event.button === 1) event.preventDefault(); // the page would autoscroll
    this.stage.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    this.drag = this.dragOf(event);
    if (this.drag === "split") this.splitAt(event);
  }

  /** The action of a drag: the divider always moves; Shift and the middle button select the alternative. */
  dragOf(event) {
    const { drag, mode, flicker, zoom } = this.look;
    if (event.target.closest(".divider")) return "split";
    const swapped = event.shiftKey || event.button === 1;
    if ((drag === "window") !== swapped && PAIRS[mode]) return "window";
    if (zoom === 1 && PAIRS[mode] && !flicker) return "split";
    return "move";
  }

  move(event) {
    const last = this.pointers.get(event.pointerId);
    if (last === undefined) return;
    this.pointers.set(event.pointerId, event);
    const [from, to] = [this.within(last), this.within(event)];
    const [across, down] = [to.x - from.x, to.y - from.y];
    const { x, y, width, level } = this.look;
    if (this.pointers.size === 2) this.pinch(event, last);
    else if (this.drag === "split") this.splitAt(event);
    else if (this.drag === "move") this.place({ x: x + across, y: y + down });
    else {
      this.change({
        width: clamp(width + SPEED * WHITE * across, LEAST_WIDTH, MOST_WIDTH),
        level: clamp(level + SPEED * WHITE * down, 0, WHITE),
      });
    }
  }

  splitAt(event) {
    this.change({ split: Math.round(100 * clamp(this.within(event).x, 0, 1)), flicker: null });
  }

  pinch(event, last) {
    const other = [...this.pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId);
    const apart = ({ clientX, clientY }) => Math.hypot(clientX - other.clientX, clientY - other.clientY);
    const [a, b] = [this.within(event), this.within(other)];
    this.zoomTo((this.look.zoom * apart(event)) / Math.max(apart(last), 1), { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
  }
}

function press(button, pressed) {
  button.setAttribute("aria-pressed", String(Boolean(pressed)));
}
