// A ZIP archive (APPNOTE.TXT 6.3.10) without compression, which would not shrink PNG files.

const MOST_BYTES = 2 ** 32 - 1; // the limit of an archive without ZIP64
const MOST_FILES = 2 ** 16 - 1;
const UTF8 = 0x0800; // flag: names are UTF-8
const VERSION = 20; // of ZIP, needed to unpack it
const FIRST_DAY = 0x21; // 1 January 1980, as results have no date of their own

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
  #parts = []; // blobs, as browsers move large ones to disk
  #directory = [];
  #names = new Set();
  #size = 0; // bytes of all files and their headers
  #directorySize = 0;

  /**
   * @param {string} name path with `/`; a name that is taken gets a number
   * @param {Uint8Array} content
   * @throws {RangeError} if the archive is full
   */
  add(name, content) {
    const encoded = new TextEncoder().encode(this.#unused(name));
    // in the file's header and in the directory: flags, no compression, time, date, checksum, sizes, length of the name
    const about = [[2, UTF8], [2, 0], [2, 0], [2, FIRST_DAY], [4, crc32(content)], [4, content.length], [4, content.length], [2, encoded.length], [2, 0]];
    const header = fields([[4, 0x04034b50], [2, VERSION], ...about]);
    const line = fields([[4, 0x02014b50], [2, VERSION], [2, VERSION], ...about, [2, 0], [2, 0], [2, 0], [4, 0], [4, this.#size]]);
    this.#parts.push(new Blob([header, encoded, content]));
    this.#directory.push(line, encoded);
    this.#size += header.length + encoded.length + content.length;
    this.#directorySize += line.length + encoded.length;
    if (this.#size + this.#directorySize > MOST_BYTES || this.#names.size > MOST_FILES) throw new RangeError("more than a ZIP archive can hold");
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
    const ending = fields([[4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, this.#directorySize], [4, this.#size], [2, 0]]);
    return new Blob([...this.#parts, ...this.#directory, ending], { type: "application/zip" });
  }
}
