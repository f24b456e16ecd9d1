"use strict";

// ---- the table: sorted by its headings, filtered by text and outcome

const table = document.getElementById("files");
const rows = [...table.tBodies[0].rows];
const find = document.getElementById("find");
const outcomes = [...document.querySelectorAll(".outcomes button")];
const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** A cell's figure, its text, or null where it has none. */
function sortKey(row, column) {
  const cell = row.cells[column];
  if (column < 2) return cell.firstChild.textContent;
  return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
}

function compare(a, b) {
  return typeof a === "string" ? byName.compare(a, b) : a - b;
}

function sortBy(heading) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const keyed = rows.map((row) => ({ row, key: sortKey(row, heading.cellIndex) }));
  const present = keyed.filter(({ key }) => key !== null);
  const missing = keyed.filter(({ key }) => key === null); // last, whichever way
  present.sort((a, b) => (descending ? compare(b.key, a.key) : compare(a.key, b.key)));
  const body = table.tBodies[0];
  body.remove(); // thousands of rows move faster where nobody looks
  for (const { row } of [...present, ...missing]) body.append(row);
  table.append(body);
}

function filter() {
  const wanted = find.value.trim().toLowerCase();
  const outcome = outcomes.find((button) => button.getAttribute("aria-pressed") === "true").dataset.outcome;
  let shown = 0;
  for (const row of rows) {
    const fits = (!outcome || row.dataset.outcome === outcome) && row.cells[0].textContent.toLowerCase().includes(wanted);
    row.hidden = !fits;
    shown += fits;
  }
  document.getElementById("count").textContent = `${shown} of ${rows.length} files`;
}

function choose(outcome) {
  for (const button of outcomes) button.setAttribute("aria-pressed", String(button.dataset.outcome === outcome));
  filter();
}

for (const heading of table.tHead.rows[0].cells) {
  heading.querySelector("button").addEventListener("click", () => sortBy(heading));
}
for (const button of outcomes) button.addEventListener("click", () => choose(button.dataset.outcome));
find.addEventListener("input", filter);
find.form.addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("[data-show-outcome]")) {
  button.addEventListener("click", () => {
    choose(button.dataset.showOutcome);
    document.getElementById("files-title").scrollIntoView();
  });
}

// ---- the viewers: a divider between before and after, zoom and place the same for both

const STEP = 1.25; // of zoom, a notch of the wheel or a key
const MOST = 8; // pixels of the page for one of the image
const NUDGE = 40; // px that an arrow key moves

class Viewer {
  constructor(card) {
    this.card = card;
    this.root = card.querySelector(".viewer");
    this.stage = card.querySelector(".stage");
    this.split = card.querySelector(".split");
    this.level = card.querySelector(".zoom-level");
    this.image = card.querySelector(".after img");
    this.zoom = 1;
    this.x = 0;
    this.y = 0;
    this.pointers = new Map();
    this.root.style.setProperty("--aspect", this.image.getAttribute("width") / this.image.getAttribute("height"));
    this.listen();
    this.drawSplit();
  }

  listen() {
    const press = (name, action) => this.card.querySelector(name).addEventListener("click", action);
    this.split.addEventListener("input", () => this.drawSplit());
    press(".zoom-in", () => this.zoomTo(this.zoom * STEP));
    press(".zoom-out", () => this.zoomTo(this.zoom / STEP));
    press(".one-to-one", () => this.zoomTo(this.native));
    press(".zoom-fit", () => this.zoomTo(1));
    press(".residual-toggle", (event) => this.showResidual(event.currentTarget));
    press(".enlarge", (event) => this.enlarge(event.currentTarget));
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.stage.addEventListener("keydown", (event) => this.key(event));
    this.stage.addEventListener("pointerdown", (event) => this.down(event));
    this.stage.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.stage.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    this.stage.addEventListener("dblclick", (event) => {
      this.zoomTo(this.zoom > 1 ? 1 : Math.max(this.native, 2), this.within(event));
    });
  }

  /** The zoom at which a pixel of the image is one of the page. */
  get native() {
    return this.image.getAttribute("width") / this.stage.clientWidth;
  }

  within(event) {
    const box = this.stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  drawSplit() {
    const share = Number(this.split.value);
    this.stage.style.setProperty("--split", `${share}%`);
    this.split.setAttribute("aria-valuetext", `${share} % before, ${100 - share} % after`);
  }

  splitAt(event) {
    if (this.root.classList.contains("show-residual")) return;
    this.split.value = Math.round((100 * this.within(event).x) / this.stage.clientWidth);
    this.drawSplit();
  }

  /** Zoom so that what lies at a point of the stage, by default its middle, stays there. */
  zoomTo(wanted, point) {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const { x, y } = point ?? { x: width / 2, y: height / 2 };
    const zoom = Math.min(Math.max(wanted, 1), Math.max(MOST * this.native, MOST));
    this.x = x - ((x - this.x) * zoom) / this.zoom;
    this.y = y - ((y - this.y) * zoom) / this.zoom;
    this.zoom = zoom;
    this.place();
  }

  place() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    this.x = Math.min(0, Math.max(this.x, width * (1 - this.zoom)));
    this.y = Math.min(0, Math.max(this.y, height * (1 - this.zoom)));
    const style = this.stage.style;
    style.setProperty("--zoom", this.zoom);
    style.setProperty("--x", `${this.x}px`);
    style.setProperty("--y", `${this.y}px`);
    this.stage.classList.toggle("zoomed", this.zoom > 1);
    this.stage.classList.toggle("magnified", this.zoom >= this.native);
    this.level.textContent = this.zoom === 1 ? "fit" : `${Math.round((100 * this.zoom) / this.native)} %`;
  }

  /** A page of many pictures must stay scrollable: the wheel zooms only the picture that was clicked, or with Ctrl. */
  wheel(event) {
    if (document.activeElement !== this.stage && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.zoomTo(this.zoom * (event.deltaY < 0 ? STEP : 1 / STEP), this.within(event));
  }

  key(event) {
    const actions = {
      "+": () => this.zoomTo(this.zoom * STEP),
      "=": () => this.zoomTo(this.zoom * STEP),
      "-": () => this.zoomTo(this.zoom / STEP),
      0: () => this.zoomTo(1),
      1: () => this.zoomTo(this.native),
      Escape: () => this.stage.blur(),
      ArrowLeft: () => this.arrow(1, 0),
      ArrowRight: () => this.arrow(-1, 0),
      ArrowUp: this.zoom > 1 && (() => this.arrow(0, 1)),
      ArrowDown: this.zoom > 1 && (() => this.arrow(0, -1)),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  /** Moves what is zoomed, else the divider. */
  arrow(right, down) {
    if (this.zoom === 1) {
      this.split.value = Number(this.split.value) - 2 * right;
      this.drawSplit();
    } else {
      this.x += NUDGE * right;
      this.y += NUDGE * down;
      this.place();
    }
  }

  down(event) {
    if (event.button !== 0) return;
    this.stage.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    this.sliding = this.zoom === 1 || event.target.classList.contains("handle");
    if (this.sliding) this.splitAt(event);
  }

  move(event) {
    const last = this.pointers.get(event.pointerId);
    if (last === undefined) return;
    this.pointers.set(event.pointerId, event);
    if (this.pointers.size === 2) {
      this.pinch(event, last);
    } else if (this.sliding) {
      this.splitAt(event);
    } else {
      this.x += event.clientX - last.clientX;
      this.y += event.clientY - last.clientY;
      this.place();
    }
  }

  pinch(event, last) {
    const other = [...this.pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId);
    const apart = ({ clientX, clientY }) => Math.hypot(clientX - other.clientX, clientY - other.clientY);
    const [a, b] = [this.within(event), this.within(other)];
    this.zoomTo((this.zoom * apart(event)) / Math.max(apart(last), 1), { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
  }

  showResidual(button) {
    const shows = this.root.classList.toggle("show-residual");
    button.setAttribute("aria-pressed", String(shows));
    this.split.disabled = shows;
  }

  enlarge(button) {
    button.setAttribute("aria-pressed", String(this.card.classList.toggle("large")));
    this.zoomTo(1);
    this.card.scrollIntoView({ block: "start" });
  }
}

for (const card of document.querySelectorAll(".card")) new Viewer(card);
