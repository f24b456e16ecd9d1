// Dropped or chosen files and folders as a flat list of files with their paths.

/** @typedef {{name: string, file: File}} NamedFile  name: path with `/`, from the dropped or chosen folder on */

const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const SUFFIXES = /\.(png|jpe?g|dcm|dicom)$/i; // in folders; any file dropped by itself is tried

function isHidden(name) {
  return name.split("/").some((part) => part.startsWith("."));
}

/** The entries of a folder; browsers return them in portions, at last an empty one. */
async function entriesIn(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const portion = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!portion.length) return all;
    all.push(...portion);
  }
}

/** @returns {Promise<NamedFile[]>} */
async function filesIn(entry, path) {
  const name = path ? `${path}/${entry.name}` : entry.name;
  if (entry.isDirectory) {
    const inside = await entriesIn(entry);
    return (await Promise.all(inside.map((one) => filesIn(one, name)))).flat();
  }
  return [{ name, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) }];
}

/** Whether a file of a folder may be an X-ray. DICOM files often have no suffix. */
function mayBeXray({ name }) {
  const last = name.split("/").at(-1);
  return !isHidden(name) && (SUFFIXES.test(last) || !last.includes("."));
}

/** @param {DataTransfer} dropped @returns {Promise<NamedFile[]>} */
export async function droppedFiles(dropped) {
  // take all entries now: the browser drops them after the event
  const entries = [...dropped.items].filter(({ kind }) => kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = await Promise.all(
    entries.filter(Boolean).map(async (entry) => {
      if (entry instanceof File) return [{ name: entry.name, file: entry }];
      return entry.isDirectory ? sortedByName((await filesIn(entry, "")).filter(mayBeXray)) : filesIn(entry, "");
    }),
  );
  return found.flat();
}

/** @param {Iterable<File>} files of an input @returns {NamedFile[]} */
export function chosenFiles(files) {
  const named = [...files].map((file) => ({ name: file.webkitRelativePath || file.name, file }));
  return sortedByName(named.filter((one) => !one.file.webkitRelativePath || mayBeXray(one)));
}

/** @param {NamedFile[]} files */
export function sortedByName(files) {
  return files.toSorted((a, b) => byName.compare(a.name, b.name));
}
