// ---- full view: one picture on the whole screen, and stepping through the table

const reader = document.getElementById("reader");
const detail = reader.querySelector(".detail");
let shown = null; // {fragment, viewer} of the full view

/** The fragment of the picture this many rows further in the table, or null at its ends. */
function further(fragment, step) {
  const order = walked();
  return order[order.indexOf(fragment) + step] ?? null;
}

function markRow(fragment) {
  table.querySelector("[aria-current]")?.removeAttribute("aria-current");
  rowsOfPictures.get(fragment)?.setAttribute("aria-current", "true");
}

/** Go to a card and mark it, as a click on its link does, without an entry in the browser's history. */
function land(card) {
  location.replace(`#${card.id}`);
  card.querySelector(".stage").focus({ preventScroll: true });
}

function walkFrom(fragment, step) {
  const next = further(fragment, step);
  if (next) land(pictures.get(next)[0]);
}

function openReader(fragment, card, look) {
  const { viewer } = shown ?? {};
  const cards = pictures.get(fragment);
  const chosen = card ?? cards[shown?.detail ? 1 : 0] ?? cards[0];
  const root = document.createElement("div");
  const stage = document.createElement("div");
  [root.className, stage.className] = ["viewer", "stage"];
  stage.append(...[...chosen.querySelectorAll(".layer")].map((layer) => layer.cloneNode(true)));
  root.append(stage);
  reader.querySelector(".reader-body").replaceChildren(root);
  if (!reader.open) reader.showModal();
  const ways = { walk: (step) => walkReader(step) };
  const name = chosen.querySelector("h3").textContent;
  shown = { fragment, card: chosen, detail: chosen !== cards[0], viewer: new Viewer(root, name, ways, look ?? viewer?.look) };
  const order = walked();
  reader.querySelector("h2").textContent = name;
  reader.querySelector(".reader-size").textContent = chosen.querySelector("header p").textContent;
  reader.querySelector(".reader-place").textContent = `${order.indexOf(fragment) + 1} of ${order.length}`;
  root.querySelector(".controls").append(cards[0].querySelector(".facts").cloneNode(true));
  reader.querySelector(".previous").disabled = !further(fragment, -1);
  reader.querySelector(".next").disabled = !further(fragment, 1);
  detail.hidden = cards.length < 2;
  press(detail, shown.detail);
  markRow(fragment);
  stage.focus({ preventScroll: true });
}

function walkReader(step) {
  const next = further(shown.fragment, step);
  if (next) openReader(next);
}

reader.querySelector(".previous").addEventListener("click", () => walkReader(-1));
reader.querySelector(".next").addEventListener("click", () => walkReader(1));
reader.querySelector(".close").addEventListener("click", () => reader.close());
detail.addEventListener("click", () => {
  const cards = pictures.get(shown.fragment);
  openReader(shown.fragment, cards[shown.detail ? 0 : 1], { ...shown.viewer.look, zoom: 1 });
});
reader.addEventListener("keydown", (event) => {
  const control = event.target.closest("button, input"); // they use these keys themselves
  if (event.key === "Escape" || (control && (event.key === " " || event.key === "Enter"))) return;
  if (control?.type === "range" && event.key.startsWith("Arrow")) return;
  if (event.key.toLowerCase() === "d" && !detail.hidden) detail.click();
  else shown.viewer.key(event);
});
reader.addEventListener("close", () => {
  land(shown.card);
  reader.querySelector(".reader-body").replaceChildren();
  shown = null;
});

for (const [fragment, cards] of pictures) {
  for (const card of cards) {
    const viewer = new Viewer(card.querySelector(".viewer"), card.querySelector("h3").textContent, {
      walk: (step) => walkFrom(fragment, step),
      open: () => openReader(fragment, card, viewer.look),
      leave: () => viewer.stage.blur(),
    });
  }
}
addEventListener("hashchange", () => markRow(location.hash.replace(/-detail$/, "")));
