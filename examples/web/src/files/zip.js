// Several files as one ZIP archive, stored as they are: PNG files do not become smaller (APPNOTE.TXT 6.3.10).

const MOST_BYTES = 2 ** 32 - 1; // what an archive without extensions can hold
const MOST_FILES = 2 ** 16 - 1;
const UTF8 = 0x0800; // flag: names are UTF-8
const VERSION = 20; // of ZIP that is needed to unpack it
const FIRST_DAY = 0x21; // 1 January 1980: results have no date of their own

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});

/** @param {Uint8Array} bytes */
export function crc32(bytes) {
  let sum = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) sum = TABLE[(sum ^ bytes[i]) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}

/** Numbers of 2 or 4 bytes, little endian. */
function fields(list) {
  const bytes = new Uint8Array(list.reduce((sum, [size]) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [size, value] of list) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return bytes;
}

export class Zip {
  #parts = []; // blobs, which browsers keep on disk where there are many
  #directory = [];
  #names = new Set();
  #at = 0;
  #listed = 0;

  /**
   * @param {string} name with `/` between folders; one that is there already gets a number
   * @param {Uint8Array} content
   * @throws {RangeError} where that would be more than an archive holds
   */
  add(name, content) {
    const encoded = new TextEncoder().encode(this.#unused(name));
    // of the file's header and of its line in the directory: no compression, no time, sum, sizes, length of the name
    const about = [[2, UTF8], [2, 0], [2, 0], [2, FIRST_DAY], [4, crc32(content)], [4, content.length], [4, content.length], [2, encoded.length], [2, 0]];
    const header = fields([[4, 0x04034b50], [2, VERSION], ...about]);
    const line = fields([[4, 0x02014b50], [2, VERSION], [2, VERSION], ...about, [2, 0], [2, 0], [2, 0], [4, 0], [4, this.#at]]);
    this.#parts.push(new Blob([header, encoded, content]));
    this.#directory.push(line, encoded);
    this.#at += header.length + encoded.length + content.length;
    this.#listed += line.length + encoded.length;
    if (this.#at + this.#listed > MOST_BYTES || this.#names.size > MOST_FILES) throw new RangeError("more than a ZIP archive holds");
  }

  #unused(name) {
    const [, stem, suffix] = /^(.*?)(\.[^./]*)?$/s.exec(name);
    let unused = name;
    for (let number = 2; this.#names.has(unused); number++) unused = `${stem} (${number})${suffix ?? ""}`;
    this.#names.add(unused);
    return unused;
  }

  /** @returns {Blob} the archive */
  get blob() {
    const count = this.#names.size;
    const ending = fields([[4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, this.#listed], [4, this.#at], [2, 0]]);
    return new Blob([...this.#parts, ...this.#directory, ending], { type: "application/zip" });
  }
}
