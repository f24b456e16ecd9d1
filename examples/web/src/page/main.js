// The page: files in, messages to and from the worker, controls, the download.
//
// For programs that embed the page: every result is told by an event `denoised` on the document, whose detail has name,
// depth, before, after (width, height, values: Float32Array in [0, 1], at full strength), precision, windows, threads,
// seconds and level.
import { atStrength, RESIDUAL_GAIN } from "../core/pixels.js";
import { writePng } from "../files/png.js";
import { firstZoom, Stage } from "./stage.js";
import { downloadName, factsOf } from "./words.js";

const element = (id) => document.getElementById(id);
const stage = new Stage(element);
const worker = new Worker(new URL("../worker.js", import.meta.url), { type: "module" });
const base = new URL(".", document.baseURI).href;
const [error, status] = [element("error"), element("status")];

let job = 0;
let asked = null; // the file of the newest job
let file = null; // the file of the picture that is shown
let picture = null; // {image, depth} as the worker read it
let result = null;
let zoomChosen = false;

function chosen(name) {
  return document.querySelector(`input[name=${name}]:checked`).value;
}

function setState(state) {
  document.body.dataset.state = state;
  element("welcome").hidden = state !== "empty";
  element("viewer").hidden = state === "empty";
  element("working").hidden = state !== "working";
  element("download").disabled = state !== "done";
}

function say(text) {
  status.textContent = text;
}

/** What is shown of every step is more than anyone wants to hear: a screen reader is told when another one begins. */
function showProgress(text, share) {
  const step = text.split(",")[0];
  if (step !== status.textContent) say(step);
  element("working-text").textContent = text;
  element("progress").value = share;
}

function showError(text) {
  error.textContent = text;
  error.hidden = false;
  setState(result ? "done" : "empty");
}

function start(newFile) {
  asked = newFile;
  job += 1;
  error.hidden = true;
  worker.postMessage({ id: job, file: asked, precision: chosen("precision"), base });
}

function showPicture(message) {
  file = asked;
  picture = { image: message.image, depth: message.depth };
  result = null;
  stage.showBefore(picture.image);
  if (!zoomChosen) suggestZoom(firstZoom(picture.image));
  setState("working");
}

function showResult(message) {
  result = message;
  stage.showAfter(result.denoised);
  setState("done");
  const facts = factsOf(picture, result);
  element("facts").textContent = facts;
  say(`Done. ${facts}`);
  const { denoised: after, level, precision, seconds, threads, windows } = result;
  const detail = { name: file.name, ...picture, before: picture.image, after, level, precision, seconds, threads, windows };
  document.dispatchEvent(new CustomEvent("denoised", { detail }));
}

const HANDLERS = {
  progress: ({ text, share }) => showProgress(text, share),
  picture: showPicture,
  result: showResult,
  refused: ({ text }) => showError(text),
};

function download() {
  const strength = stage.look.strength;
  const values = atStrength(picture.image.values, result.denoised.values, strength);
  const png = new Blob([writePng({ ...picture.image, values }, picture.depth)], { type: "image/png" });
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(png),
    download: downloadName(file.name),
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // long enough for the browser to have read it
}

function listenToFiles() {
  const input = element("file");
  input.addEventListener("change", () => {
    if (input.files[0]) start(input.files[0]);
    input.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.dataset.dragging = "";
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) delete document.body.dataset.dragging;
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    delete document.body.dataset.dragging;
    const dropped = event.dataTransfer.files[0];
    if (dropped) start(dropped);
  });
}

function listenToControls() {
  const strength = element("strength");
  strength.addEventListener("input", () => {
    element("strength-value").textContent = `${strength.value} %`;
    stage.change({ strength: strength.value / 100 });
  });
  document.addEventListener("change", ({ target }) => {
    if (target.name === "zoom") {
      zoomChosen = true;
      stage.change({ zoom: Number(target.value) });
    }
    if (target.name === "view") showView(target);
    if (target.name === "precision" && file) start(file);
  });
  element("download").addEventListener("click", download);
}

function suggestZoom(zoom) {
  document.querySelector(`input[name=zoom][value="${zoom}"]`).checked = true;
  stage.change({ zoom });
}

function showView({ value }) {
  const [name, meaning] = value === "residual" ? [`Removed (×${RESIDUAL_GAIN})`, "What was removed"] : ["Denoised", "The X-ray denoised"];
  element("side-after").textContent = element("lens-caption").textContent = name;
  element("after").setAttribute("aria-label", meaning);
  stage.change({ view: value });
}

worker.addEventListener("message", ({ data: message }) => {
  if (message.id === job) HANDLERS[message.kind](message);
});
worker.addEventListener("error", (event) => {
  event.preventDefault();
  showError("The worker of this page cannot be loaded. Check that the page is served whole, and reload it.");
});
listenToFiles();
listenToControls();
element("sizes").textContent = `${(__RUNTIME__.wasmBytes / 1e6).toFixed(0)}\u00a0MB of runtime`;
