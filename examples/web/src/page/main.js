// The page: takes files, shows one of them and its result, and saves results.
//
// For programs that embed the page: each result fires the event `denoised` on the document. Its detail has name, depth,
// before, after (width, height, values: Float32Array in [0, 1], at full strength), precision, windows, threads, seconds,
// level, and sha256 of the model's file.
import { psnr } from "../core/likeness.js";
import { atStrength } from "../core/pixels.js";
import { chosenFiles, droppedFiles } from "../files/entries.js";
import { writePng } from "../files/png.js";
import { Zip } from "../files/zip.js";
import { listenToControls, showLook, showViews } from "./controls.js";
import { List } from "./list.js";
import { listenToStage } from "./pointers.js";
import { Queue, Reader } from "./queue.js";
import { firstZoom, Stage } from "./stage.js";
import { downloadName, downloadNote, factsOf, likenessOf, modelOf, resultName } from "./words.js";

const EXAMPLE = { side: 768, seed: 7, dose: 71 }; // px, photons at white
const element = (id) => document.getElementById(id);
const base = new URL(".", document.baseURI).href;
const [error, status] = [element("error"), element("status")];

const stage = new Stage(element, (changed) => showLook(element, changed));
const list = new List(element, show);
const reader = new Reader();
const queue = new Queue({
  base,
  precision: () => document.querySelector("input[name=precision]:checked").value,
  notify: (item, kind, message) => HANDLERS[kind](item, message),
});

let shown = null; // the item on the stage
let picture = null; // its decoded pixels, {image, depth, kind}
let current = null; // the picture of the item being denoised, {item, image, depth, kind}
let visit = 0; // number of calls of `show`; pixels read for an earlier one are dropped
let zoomChosen = false; // by the visitor

// ---- what is shown

function setState(state) {
  document.body.dataset.state = state;
  element("welcome").hidden = state !== "empty" && !(state === "refused" && queue.items.length === 1);
  element("workspace").hidden = !element("welcome").hidden;
  element("viewer").hidden = state === "refused";
  element("working").hidden = state !== "working";
  element("download").disabled = element("reference").disabled = state !== "done";
}

/** Let screen readers say a text. */
function announce(text) {
  status.textContent = text;
}

function showError(text) {
  error.textContent = text;
  error.hidden = false;
}

/** Show the progress; announce only the start of each step. */
function showProgress(text, share) {
  const step = text.split(",")[0];
  if (step !== status.textContent) announce(step);
  element("working-text").textContent = text;
  element("progress").value = share;
}

/** Show an item, as far as it is known. */
async function show(item) {
  [shown, picture, visit] = [item, null, visit + 1];
  const mine = visit;
  error.hidden = true;
  list.mark(item);
  element("name").textContent = item.name;
  element("facts").textContent = "";
  if (item.state === "refused") {
    showRefusal(item);
    return;
  }
  setState("working");
  showProgress(item.state === "waiting" ? "Waiting for earlier files" : "Reading the file", 0);
  if (item.state === "working" && current?.item !== item) return; // the queue sends its picture
  const found = current?.item === item ? current : await reader.read(item.file).catch(({ message }) => ({ error: message }));
  if (mine !== visit) return;
  if (found.error) showRefusal(found);
  else await display(item, found);
}

function showRefusal(item) {
  setState("refused");
  showError(item.error);
}

async function display(item, found) {
  picture = found;
  stage.showBefore(found.image);
  showViews(element, stage, false);
  if (!zoomChosen) suggestZoom(firstZoom(found.image));
  if (item.state === "done") {
    const mine = visit;
    const values = new Float32Array(await item.after.arrayBuffer());
    if (mine === visit) await displayResult(item, { ...found.image, values });
  }
}

async function displayResult(item, denoised) {
  stage.showAfter(denoised);
  setState("done");
  stage.redraw(); // the stage may not have had a size before
  const facts = factsOf(picture, item.facts);
  element("facts").textContent = [facts, downloadNote(picture)].filter(Boolean).join(" ");
  announce(`Done. ${facts}`);
  if (item.reference) await displayReference(item);
}

async function displayReference(item) {
  const mine = visit;
  const { image, text } = await reader.read(item.reference.file).catch(({ message }) => ({ text: `The reference: ${message}` }));
  if (mine !== visit) return;
  const { width, height } = picture.image;
  if (!image) showError(text);
  else if (image.width !== width || image.height !== height) {
    showError(`The reference has ${image.width} × ${image.height} pixels, the picture ${width} × ${height}. Choose a reference of the same size.`);
  } else {
    stage.showClean(image);
    showViews(element, stage, true);
    const { before, denoised } = stage.images;
    const quality = likenessOf(psnr(image.values, before.values), psnr(image.values, denoised.values));
    element("facts").textContent = `${quality} ${element("facts").textContent}`;
  }
}

function suggestZoom(zoom) {
  document.querySelector(`input[name=zoom][value="${zoom}"]`).checked = true;
  stage.change({ zoom });
}

// ---- messages of the queue

const HANDLERS = {
  added: (item) => list.add(item),
  started: (item) => {
    list.update(item);
    if (item === shown) setState("working");
  },
  progress: (item, { text, share }) => item === shown && showProgress(text, share),
  picture: (item, { image, depth, source }) => {
    current = { item, image, depth, kind: source };
    if (item === shown && !picture) display(item, current);
  },
  result: (item, { denoised }) => {
    list.update(item);
    const { image: before, depth } = current;
    if (item === shown) displayResult(item, denoised);
    current = null;
    const detail = { name: item.name, depth, before, after: denoised, ...item.facts };
    document.dispatchEvent(new CustomEvent("denoised", { detail }));
  },
  refused: (item) => {
    list.update(item);
    if (item === shown) showRefusal(item);
  },
};

/** @param {import("../files/entries.js").NamedFile[]} files */
function add(files) {
  if (!files.length) {
    showError("No X-rays found: their names must end in .png, .jpg or .dcm, or have no suffix.");
    return;
  }
  const [first] = queue.add(files);
  show(first);
}

// ---- downloads

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // by then the browser has read it
}

function pngOf(image, denoised, depth) {
  return writePng({ ...image, values: atStrength(image.values, denoised, stage.look.strength) }, depth);
}

function download() {
  const png = pngOf(picture.image, stage.images.denoised.values, picture.depth);
  save(new Blob([png], { type: "image/png" }), downloadName(shown.name));
}

/** Save all results so far in one archive, with the folders of their sources, at the chosen strength. */
async function downloadAll() {
  const button = element("download-all");
  const done = queue.items.filter(({ state }) => state === "done");
  const zip = new Zip();
  button.disabled = true;
  try {
    for (const [i, item] of done.entries()) {
      button.textContent = `Packing ${i + 1} of ${done.length}`;
      const { image, depth } = await reader.read(item.file);
      zip.add(resultName(item.name), pngOf(image, new Float32Array(await item.after.arrayBuffer()), depth));
    }
    save(zip.blob, "denoised.zip");
  } catch (thrown) {
    showError(`Cannot make the archive: ${thrown.message}. Download the files one by one.`);
  }
  button.textContent = "Download all";
  button.disabled = false;
}

// ---- actions of the visitor

function listenToFiles() {
  for (const id of ["file", "folder"]) {
    const input = element(id);
    input.addEventListener("change", () => {
      add(chosenFiles(input.files));
      input.value = ""; // so that the same file can be chosen again
    });
  }
  const references = element("reference");
  references.addEventListener("change", () => {
    addReferences(chosenFiles(references.files));
    references.value = "";
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.dataset.dragging = "";
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) delete document.body.dataset.dragging;
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    delete document.body.dataset.dragging;
    add(await droppedFiles(event.dataTransfer));
  });
  element("example").addEventListener("click", addExample);
}

/** A single reference is for the file shown; several are matched by name, without suffix. */
function addReferences(files) {
  const stem = (name) => name.split("/").at(-1).replace(/\.[^.]*$/, "").toLowerCase();
  const items = files.length === 1 ? [shown] : queue.items;
  const found = items.filter((item) => {
    const reference = files.length === 1 ? files[0] : files.find(({ name }) => stem(name) === stem(item.name));
    return reference && Object.assign(item, { reference });
  });
  if (!found.length) showError("No reference has the name of a file in the list. Rename the references, or add one at a time.");
  else if (found.includes(shown) && shown.state === "done") show(shown);
}

async function addExample() {
  const button = element("example");
  [button.disabled, button.textContent] = [true, "Drawing an example"];
  const { clean, noisy } = await reader.example(EXAMPLE);
  [button.disabled, button.textContent] = [false, "Try an example"];
  const asFile = (image, name) => ({ name, file: new File([writePng(image, 16)], name, { type: "image/png" }) });
  add([{ ...asFile(noisy, "example.png"), reference: asFile(clean, "example-clean.png") }]);
}

/** Show the version, and the hashes of the models. */
async function showVersion() {
  element("version").textContent = __VERSION__;
  const response = await fetch(new URL("weights/manifest.json", base)).catch(() => null);
  const manifest = response?.ok ? await response.json().catch(() => null) : null;
  if (manifest) element("model").textContent = modelOf(manifest.models.window);
}

listenToFiles();
listenToStage(stage, (step) => {
  const next = list.further(shown, step);
  if (next) show(next);
});
listenToControls(element, stage, {
  zoomChosen: () => (zoomChosen = true),
  precision: () => shown && shown.state !== "refused" && queue.again(shown),
});
element("download").addEventListener("click", download);
element("download-all").addEventListener("click", downloadAll);
element("sizes").textContent = `${(__RUNTIME__.wasmBytes / 1e6).toFixed(0)}\u00a0MB of runtime`;
showLook(element, stage);
showVersion();
