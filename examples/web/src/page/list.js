// The list of files: a button for each, to show it.
import { countOf } from "./words.js";

const STATES = { waiting: "waiting", working: "working", done: "denoised", refused: "failed" };

export class List {
  /** @param {(id: string) => HTMLElement} element @param {(item: import("./queue.js").Item) => void} show */
  constructor(element, show) {
    this.element = element;
    this.show = show;
    this.buttons = new Map();
  }

  add(item) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...["name", "state"].map((part) => Object.assign(document.createElement("span"), { className: part })));
    button.firstChild.textContent = item.name;
    button.addEventListener("click", () => this.show(item));
    const row = document.createElement("li");
    row.append(button);
    this.element("items").append(row);
    this.buttons.set(item, button);
    this.update(item);
  }

  update(item) {
    const button = this.buttons.get(item);
    button.dataset.state = item.state;
    button.lastChild.textContent = STATES[item.state];
    button.title = item.error ?? item.name;
    const items = [...this.buttons.keys()];
    this.element("count").textContent = countOf(items);
    this.element("list").hidden = items.length < 2;
    this.element("download-all").disabled = !items.some(({ state }) => state === "done");
  }

  mark(item) {
    for (const [one, button] of this.buttons) {
      if (one === item) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    this.buttons.get(item)?.scrollIntoView({ block: "nearest" });
  }

  /** @returns {import("./queue.js").Item | undefined} the item this many places further */
  further(item, step) {
    const items = [...this.buttons.keys()];
    return items[items.indexOf(item) + step];
  }
}
