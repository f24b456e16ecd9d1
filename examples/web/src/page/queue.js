// The files of a visit and what became of them: denoised one after the other, in another thread.

/**
 * @typedef {"waiting" | "working" | "done" | "refused"} State
 * @typedef {object} Item
 * @property {string} name with its folders
 * @property {File} file
 * @property {State} state
 * @property {string} [error] why it was refused
 * @property {8 | 16} [depth]
 * @property {object} [facts] of a result: level, precision, seconds, threads, windows
 * @property {Blob} [after] the result's float32 values, which browsers keep on disk where there are many
 * @property {{name: string, file: File}} [reference]
 */

export class Queue {
  /**
   * @param {{base: string, precision: () => string, tell: (item: Item, kind: string, message?: object) => void}} ways
   *   tell: of `added`, `progress`, `picture`, `result` and `refused`
   */
  constructor({ base, precision, tell }) {
    this.items = [];
    this.job = 0;
    this.inWork = null;
    Object.assign(this, { base, precision, tell });
    this.worker = startWorker((message) => this.#receive(message), () => this.#lost());
  }

  /** @param {{name: string, file: File, reference?: object}[]} files @returns {Item[]} */
  add(files) {
    const added = files.map((one) => ({ ...one, state: "waiting" }));
    this.items.push(...added);
    for (const item of added) this.tell(item, "added");
    this.next();
    return added;
  }

  /** Do one again, as with another network, before those that wait. */
  again(item) {
    if (this.inWork && this.inWork !== item) this.inWork.state = "waiting";
    this.#start(item);
  }

  next() {
    if (this.inWork) return;
    const item = this.items.find(({ state }) => state === "waiting");
    if (item) this.#start(item);
  }

  #start(item) {
    this.job += 1;
    this.inWork = item;
    item.state = "working";
    this.tell(item, "started");
    this.worker.postMessage({ kind: "denoise", id: this.job, file: item.file, precision: this.precision(), base: this.base });
  }

  #receive(message) {
    if (message.id !== this.job || !this.inWork) return;
    const item = this.inWork;
    if (message.kind === "picture") item.depth = message.depth;
    if (message.kind === "result") this.#finish(item, "done", resultOf(message));
    if (message.kind === "refused") this.#finish(item, "refused", { error: message.text });
    this.tell(item, message.kind, message);
    if (!this.inWork) this.next();
  }

  #finish(item, state, facts) {
    Object.assign(item, { state, ...facts });
    this.inWork = null;
  }

  #lost() {
    const text = "The worker of this page cannot be loaded. Check that the page is served whole, and reload it.";
    for (const item of this.items.filter(({ state }) => state === "waiting" || state === "working")) {
      this.#finish(item, "refused", { error: text });
      this.tell(item, "refused", { text });
    }
  }
}

function resultOf({ denoised, level, precision, seconds, threads, windows, sha256 }) {
  return { after: new Blob([denoised.values]), facts: { level, precision, seconds, threads, windows, sha256 } };
}

/** @param {(message: object) => void} receive @param {() => void} lost called where the worker cannot be loaded */
export function startWorker(receive, lost) {
  const worker = new Worker(new URL("../worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }) => receive(data));
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    lost();
  });
  return worker;
}

/** Decodes files for the page and draws its example, apart from the queue's own thread: what is looked at need not wait for what is worked on. */
export class Reader {
  constructor() {
    this.asked = new Map(); // id -> resolve and reject
    this.last = 0;
    const lost = () => this.asked.forEach(({ reject }) => reject(new Error("the page's worker cannot be loaded")));
    this.worker = startWorker((message) => this.#receive(message), lost);
  }

  /** @param {Blob} file @returns {Promise<import("../files/read.js").Picture>} rejects with the words of a refusal */
  async read(file) {
    const { image, depth, source } = await this.#ask({ kind: "read", file });
    return { image, depth, kind: source };
  }

  /** @returns {Promise<{clean: import("../core/image.js").Gray, noisy: import("../core/image.js").Gray}>} */
  example(facts) {
    return this.#ask({ kind: "draw", ...facts });
  }

  #ask(message) {
    this.last += 1;
    this.worker.postMessage({ ...message, id: this.last });
    return new Promise((resolve, reject) => this.asked.set(this.last, { resolve, reject }));
  }

  #receive({ id, kind, ...facts }) {
    const { resolve, reject } = this.asked.get(id);
    this.asked.delete(id);
    if (kind === "refused") reject(new Error(facts.text));
    else resolve(facts);
  }
}
