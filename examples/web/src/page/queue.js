// The files of a visit and their states. They are denoised one after the other, in a worker.

/**
 * @typedef {"waiting" | "working" | "done" | "refused"} State
 * @typedef {object} Item
 * @property {string} name path within the chosen folder
 * @property {File} file
 * @property {State} state
 * @property {string} [error] why it was refused
 * @property {8 | 16} [depth]
 * @property {object} [facts] about the result: level, precision, seconds, threads, windows, sha256
 * @property {Blob} [after] float32 values of the result; browsers move large blobs to disk
 * @property {{name: string, file: File}} [reference]
 */

export class Queue {
  /**
   * @param {{base: string, precision: () => string, notify: (item: Item, kind: string, message?: object) => void}} options
   *   notify: called with the kinds `added`, `started`, `progress`, `picture`, `result` and `refused`
   */
  constructor({ base, precision, notify }) {
    this.items = [];
    this.job = 0;
    this.current = null;
    Object.assign(this, { base, precision, notify });
    this.worker = startWorker((message) => this.#receive(message), () => this.#fail());
  }

  /** @param {{name: string, file: File, reference?: object}[]} files @returns {Item[]} */
  add(files) {
    const added = files.map((one) => ({ ...one, state: "waiting" }));
    this.items.push(...added);
    for (const item of added) this.notify(item, "added");
    this.next();
    return added;
  }

  /** Denoise an item again, such as with another network, before the waiting ones. */
  again(item) {
    if (this.current && this.current !== item) this.current.state = "waiting";
    this.#start(item);
  }

  next() {
    if (this.current) return;
    const item = this.items.find(({ state }) => state === "waiting");
    if (item) this.#start(item);
  }

  #start(item) {
    this.job += 1;
    this.current = item;
    item.state = "working";
    this.notify(item, "started");
    this.worker.postMessage({ kind: "denoise", id: this.job, file: item.file, precision: this.precision(), base: this.base });
  }

  #receive(message) {
    if (message.id !== this.job || !this.current) return;
    const item = this.current;
    if (message.kind === "picture") item.depth = message.depth;
    if (message.kind === "result") this.#finish(item, "done", resultOf(message));
    if (message.kind === "refused") this.#finish(item, "refused", { error: message.text });
    this.notify(item, message.kind, message);
    if (!this.current) this.next();
  }

  #finish(item, state, facts) {
    Object.assign(item, { state, ...facts });
    this.current = null;
  }

  #fail() {
    const text = "The worker of this page cannot be loaded. Check that the server has all files of the page, then reload it.";
    for (const item of this.items.filter(({ state }) => state === "waiting" || state === "working")) {
      this.#finish(item, "refused", { error: text });
      this.notify(item, "refused", { text });
    }
  }
}

function resultOf({ denoised, level, precision, seconds, threads, windows, sha256 }) {
  return { after: new Blob([denoised.values]), facts: { level, precision, seconds, threads, windows, sha256 } };
}

/** @param {(message: object) => void} receive @param {() => void} fail called if the worker cannot be loaded */
function startWorker(receive, fail) {
  const worker = new Worker(new URL("../worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }) => receive(data));
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    fail();
  });
  return worker;
}

/** Decodes files and draws the example, in a worker of its own, so that the display need not wait for the queue. */
export class Reader {
  constructor() {
    this.pending = new Map(); // id -> resolve and reject
    this.last = 0;
    const fail = () => this.pending.forEach(({ reject }) => reject(new Error("The worker of this page cannot be loaded.")));
    this.worker = startWorker((message) => this.#receive(message), fail);
  }

  /** @param {Blob} file @returns {Promise<import("../files/read.js").Picture>} rejects with the message of a refusal */
  async read(file) {
    const { image, depth, source } = await this.#request({ kind: "read", file });
    return { image, depth, kind: source };
  }

  /** @returns {Promise<{clean: import("../core/image.js").Gray, noisy: import("../core/image.js").Gray}>} */
  example(facts) {
    return this.#request({ kind: "draw", ...facts });
  }

  #request(message) {
    this.last += 1;
    this.worker.postMessage({ ...message, id: this.last });
    return new Promise((resolve, reject) => this.pending.set(this.last, { resolve, reject }));
  }

  #receive({ id, kind, ...facts }) {
    const { resolve, reject } = this.pending.get(id);
    this.pending.delete(id);
    if (kind === "refused") reject(new Error(facts.text));
    else resolve(facts);
  }
}
