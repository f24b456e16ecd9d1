// Buttons, sliders and labels around the picture.
import { RESIDUAL_GAIN } from "../core/pixels.js";
import { ALL } from "../core/window.js";
import { STEP } from "../core/view.js";
import { SIDES, isDefaultWindow } from "./stage.js";
import { CAPTIONS } from "./words.js";

// caption and alternative text of each side, in the words of the HTML report
const NAMES = {
  before: ["Before", "before denoising"],
  after: ["After", "after denoising"],
  clean: ["Clean", "clean reference"],
  residual: [`Residual ×${RESIDUAL_GAIN}`, "before minus after"],
  error: [`After − clean ×${RESIDUAL_GAIN}`, "after minus clean"],
};

/**
 * @param {(id: string) => HTMLElement} element
 * @param {import("./stage.js").Stage} stage
 * @param {{zoomChosen: () => void, precision: () => void}} on handlers of choices that concern more than the stage
 */
export function listenToControls(element, stage, on) {
  const slide = (id, change) => element(id).addEventListener("input", ({ target }) => stage.change(change(Number(target.value) / 100)));
  slide("strength", (strength) => ({ strength }));
  slide("window", (width) => ({ width }));
  slide("level", (level) => ({ level }));
  document.addEventListener("change", ({ target }) => {
    if (target.name === "zoom") {
      on.zoomChosen();
      stage.change({ zoom: Number(target.value) });
    }
    if (target.name === "view") stage.change({ view: target.value, flicker: null });
    if (target.name === "precision") on.precision();
  });
  const press = (id, action) => element(id).addEventListener("click", () => stage.done && action());
  press("zoom-in", () => stage.zoomTo(stage.view.scale * STEP));
  press("zoom-out", () => stage.zoomTo(stage.view.scale / STEP));
  press("one-to-one", () => stage.zoomTo(1));
  press("fit", () => stage.fit());
  press("flicker", () => stage.flicker());
  press("invert", () => stage.change({ inverted: !stage.look.inverted }));
  press("window-reset", () => stage.change({ width: ALL.width, level: ALL.level }));
  press("dragging", () => stage.change({ drag: stage.look.drag === "move" ? "window" : "move" }));
}

/** Update all controls and labels to the stage. */
export function showLook(element, stage) {
  const { look, view } = stage;
  const percent = (share) => `${Math.round(100 * share)} %`;
  for (const [id, share] of Object.entries({ strength: look.strength, window: look.width, level: look.level })) {
    element(id).value = Math.round(100 * share);
    element(`${id}-value`).textContent = percent(share);
  }
  const values = `W ${Math.round(100 * look.width)} L ${Math.round(100 * look.level)}`;
  element("window-reset").textContent = values;
  element("window-reset").setAttribute("aria-label", `${values}, reset window and level`);
  element("window-reset").classList.toggle("changed", !isDefaultWindow({ ...look, inverted: false }));
  element("zoom-level").textContent = stage.fits ? "fit" : percent(view.scale);
  const buttons = { flicker: look.flicker, invert: look.inverted, dragging: look.drag === "move" };
  for (const [id, pressed] of Object.entries(buttons)) element(id).setAttribute("aria-pressed", String(Boolean(pressed)));
  showSides(element, look);
}

function showSides(element, { view, flicker }) {
  const [left, right] = SIDES[view].map((name) => NAMES[name]);
  element("side-before").textContent = element("lens-before-caption").textContent = left[0];
  element("side-after").textContent = element("lens-after-caption").textContent = right[0];
  element("before").setAttribute("aria-label", left[1]);
  element("after").setAttribute("aria-label", right[1]);
  element("tag").hidden = !flicker;
  element("tag").textContent = { left: left[0], right: right[0] }[flicker] ?? "";
  element("caption").hidden = !CAPTIONS[view];
  element("caption").textContent = CAPTIONS[view]?.(RESIDUAL_GAIN) ?? "";
  document.querySelector(`input[name=view][value=${view}]`).checked = true;
}

/** Offer the views with a reference, if there is one. */
export function showViews(element, stage, withReference) {
  element("with-reference").hidden = !withReference;
  if (!withReference && ["clean", "error"].includes(stage.look.view)) stage.change({ view: "denoised" });
}
