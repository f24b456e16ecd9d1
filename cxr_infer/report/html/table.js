"use strict";

// ---- the table: sorted by its headings, filtered by text and outcome; the pictures follow it

const FIRST = 4; // images above the table
const table = document.getElementById("files");
const rows = [...table.tBodies[0].rows];
const find = document.getElementById("find");
const outcomes = [...document.querySelectorAll(".outcomes button")];
const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** A cell's number, else its text, or null if it is empty. */
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
  const missing = keyed.filter(({ key }) => key === null); // last, in either direction
  present.sort((a, b) => (descending ? compare(b.key, a.key) : compare(a.key, b.key)));
  const body = table.tBodies[0];
  body.remove(); // thousands of rows move faster outside the document
  for (const { row } of [...present, ...missing]) body.append(row);
  table.append(body);
  arrange();
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
  arrange();
}

function choose(outcome) {
  for (const button of outcomes) button.setAttribute("aria-pressed", String(button.dataset.outcome === outcome));
  filter();
}

/** Change the page but keep an element at its place on the screen. */
function inPlace(element, change) {
  const before = element.getBoundingClientRect().top;
  change();
  scrollBy(0, element.getBoundingClientRect().top - before);
}

for (const heading of table.tHead.rows[0].cells) {
  const button = heading.querySelector("button");
  button.addEventListener("click", () => inPlace(button, () => sortBy(heading)));
}
for (const button of outcomes) {
  button.addEventListener("click", () => inPlace(button, () => choose(button.dataset.outcome)));
}
find.addEventListener("input", () => inPlace(find, filter));
find.form.addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("[data-show-outcome]")) {
  button.addEventListener("click", () => {
    choose(button.dataset.showOutcome);
    document.getElementById("files-title").scrollIntoView();
  });
}

// ---- the pictures: a card each, and one more for a detail, in the order of the table once that is sorted

const sections = [...document.querySelectorAll(".pictures")];
const titles = sections.map((section) => section.querySelector("h2").textContent);
const pictures = new Map(); // from the fragment of a link to its cards
for (const card of document.querySelectorAll(".card")) {
  const fragment = `#${card.id.replace(/-detail$/, "")}`;
  pictures.set(fragment, [...(pictures.get(fragment) ?? []), card]);
}
const asWritten = new Map([...document.querySelectorAll(".card")].map((card) => [card, card.parentElement]));
const rowsOfPictures = new Map(rows.map((row) => [fragmentOf(row), row]).filter(([fragment]) => fragment));

function fragmentOf(row) {
  return row.querySelector("th a")?.getAttribute("href");
}

/** The fragments of the pictures whose rows are shown, in the order of the table. */
function walked() {
  return [...table.tBodies[0].rows].filter((row) => !row.hidden).map(fragmentOf).filter(Boolean);
}

/** The heading by which the table is sorted, with its direction. */
function sorting() {
  const heading = table.querySelector("thead [aria-sort]");
  return heading && `${heading.textContent}, ${heading.getAttribute("aria-sort")}`;
}

/** The first pictures above the table and the others below it: all as written, or those of the rows as they are now. */
function arrange() {
  if (!sections.length) return;
  const sorted = sorting();
  for (const [fragment, cards] of pictures) {
    for (const card of cards) card.hidden = rowsOfPictures.get(fragment)?.hidden ?? false;
  }
  const narrowed = [...rowsOfPictures.values()].some((row) => row.hidden);
  if (!sorted && !narrowed) {
    for (const [card, place] of asWritten) place.append(card);
    sections.forEach((section, i) => (section.querySelector("h2").textContent = titles[i]));
  } else {
    const order = sorted ? walked() : [...pictures.keys()].filter((fragment) => !rowsOfPictures.get(fragment)?.hidden);
    const places = sections.map((section) => section.querySelector(".cards"));
    order.forEach((fragment, i) => places[Math.min(i < FIRST ? 0 : 1, places.length - 1)].append(...pictures.get(fragment)));
    const by = sorted ? ` by ${sorted}` : "";
    sections[0].querySelector("h2").textContent = `First ${Math.min(FIRST, order.length)} of ${order.length}${by}`;
    if (sections[1]) sections[1].querySelector("h2").textContent = "The others in this order";
  }
  for (const section of sections.slice(1)) section.hidden = !section.querySelector(".card:not([hidden])");
}
