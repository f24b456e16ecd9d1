// What was dropped or chosen, folders and all, as a flat list of files with their paths.

/** @typedef {{name: string, file: File}} Named  name: with the folders it lay in, `/` between them */

const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const READ = /\.(png|jpe?g|dcm|dicom)$/i; // of a folder; whatever is dropped by itself is tried

function isHidden(name) {
  return name.split("/").some((part) => part.startsWith("."));
}

/** A folder's own entries; browsers give them in portions until there are no more. */
async function entriesIn(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const portion = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!portion.length) return all;
    all.push(...portion);
  }
}

/** @returns {Promise<Named[]>} */
async function filesIn(entry, path) {
  const name = path ? `${path}/${entry.name}` : entry.name;
  if (entry.isDirectory) {
    const inside = await entriesIn(entry);
    return (await Promise.all(inside.map((one) => filesIn(one, name)))).flat();
  }
  return [{ name, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) }];
}

/** Of folders the files that may be X-rays, in the order of their names. DICOM without a suffix counts. */
function worth({ name }) {
  const last = name.split("/").at(-1);
  return !isHidden(name) && (READ.test(last) || !last.includes("."));
}

/** @param {DataTransfer} dropped @returns {Promise<Named[]>} */
export async function droppedFiles(dropped) {
  // all at once: what was dropped is gone when the event is over
  const entries = [...dropped.items].filter(({ kind }) => kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = await Promise.all(
    entries.filter(Boolean).map(async (entry) => {
      if (entry instanceof File) return [{ name: entry.name, file: entry }];
      return entry.isDirectory ? inOrder((await filesIn(entry, "")).filter(worth)) : filesIn(entry, "");
    }),
  );
  return found.flat();
}

/** @param {Iterable<File>} files of an input @returns {Named[]} */
export function chosenFiles(files) {
  const named = [...files].map((file) => ({ name: file.webkitRelativePath || file.name, file }));
  return inOrder(named.filter((one) => !one.file.webkitRelativePath || worth(one)));
}

/** @param {Named[]} files */
export function inOrder(files) {
  return files.toSorted((a, b) => byName.compare(a.name, b.name));
}
