"""Find clean X-rays in a directory and split them by patient into training, validation and test.

Three layouts are recognised, in this order:

1. `split.csv` (columns file, split, and patient unless names tell) in the directory, one level up or one level down;
2. the NIH release (`Data_Entry_2017*.csv`; `train_val_list.txt` and `test_list.txt` if present; images in any number of
   folders): the official test patients stay test, the rest is split by patient;
3. any directory of images: split by patient, 60 / 20 / 20.

The patient is the first eight characters of the file name, as in the NIH release. The split hashes it, so that adding
images never moves a patient to another split.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import DataError, ImageError
from cxr_infer.files import read_content, require_directory
from cxr_infer.formats.readers import read_gray
from cxr_infer.formats.registry import PICTURE_SUFFIXES
from cxr_infer.imaging.pixels import resized, to_bytes, to_unit

PATIENT_CHARACTERS = 8
SPLITS = ("train", "val", "test")
SHARES = (0.6, 0.2, 0.2)
BY_PATIENT = "split by patient, the first eight characters of the file name"
MOST_OF_A_LIST = 1 << 28  # bytes; the list of all 112,120 X-rays of the NIH release has 8 MB
CACHE_BYTES = 4 << 30  # bytes of decoded images kept in memory; further ones are read from disk each time


def patient_of(path: Path) -> str:
    """Return the patient's number: the first eight characters of the file name."""
    return path.stem[:PATIENT_CHARACTERS]


def split_of_patient(patient: str, shares: Sequence[float] = SHARES) -> str:
    """Return `train`, `val` or `test` for a patient, by the SHA-256 of its number: stable when images are added."""
    position = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") / 2**64 * sum(shares)
    for split, share in zip(SPLITS, shares, strict=True):
        if position < share:
            return split
        position -= share
    return SPLITS[-1]


@dataclass(frozen=True)
class XrayFiles:
    """Image files of a data directory by split, sorted by name, and the origin of the split."""

    root: Path
    files: dict[str, tuple[Path, ...]]
    layout: str

    def fingerprint(self) -> str:
        """Return a SHA-256 over split, name and byte size of every file, which changes with the data."""
        digest = hashlib.sha256()
        for split in SPLITS:
            for path in self.files[split]:
                digest.update(f"{split}/{path.relative_to(self.root)}/{path.stat().st_size}\n".encode())
        return digest.hexdigest()

    def require(self, split: str) -> tuple[Path, ...]:
        """Return the files of a split. Raises DataError if it is empty."""
        if not self.files[split]:
            raise DataError(
                f"{self.root}: no {split} images ({self.layout}); each split needs a few patients; name files so that "
                "their first eight characters are the patient, or add a split.csv with the columns file, split, patient"
            )
        return self.files[split]


def find_xrays(root: Path | str) -> XrayFiles:
    """List the X-rays in a directory and split them by patient.

    Raises UsageError if the directory does not exist, DataError if it has no images or its lists do not fit its files.
    """
    root = Path(root)
    require_directory(root, "give --data a directory of clean chest X-rays")
    images = _find_images(root)
    if not images:
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise DataError(f"{root}: no images found ({kinds}); give --data a directory of clean chest X-rays")
    csv_path = next(iter([*root.glob("split.csv"), *root.glob("*/split.csv"), *root.parent.glob("split.csv")]), None)
    try:
        if csv_path is not None:
            return _listed(root, images, csv_path)
        if any(root.rglob("Data_Entry_2017*.csv")):
            return _nih_release(root, images)
    except (OSError, ImageError, UnicodeError, csv.Error) as error:
        raise DataError(f"{root}: a list of images cannot be read: {error}; fix or remove it") from error
    return _grouped(root, images, [split_of_patient(patient_of(p)) for p in images], BY_PATIENT)


def _find_images(root: Path) -> list[Path]:
    """List images in a directory by name, without hidden files such as those of macOS."""
    try:
        found = [p for p in root.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file()]
    except OSError as error:
        raise DataError(f"{root}: cannot be listed: {error.strerror or error}; check its permissions") from error
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts))


def _read_csv(path: Path) -> tuple[list[dict[str, str]], set[str]]:
    """Return rows and column names, skipping a spreadsheet's byte-order mark."""
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    return list(reader), set(reader.fieldnames or ())


def _text(path: Path) -> str:
    """Return the text of a plain file; opening a FIFO would block. Raises ImageError."""
    return read_content(path, MOST_OF_A_LIST, "too large for a list of images").decode("utf-8-sig")


def _listed(root: Path, images: list[Path], path: Path) -> XrayFiles:
    """Return the split of a list with columns file and split; a column patient replaces the eight-character rule."""
    rows, columns = _read_csv(path)
    if not {"file", "split"} <= columns:
        raise DataError(f"{path}: columns file and split are required; fix or remove it")
    by_name = {row["file"]: row for row in rows}
    unknown = {row["split"] for row in rows} - set(SPLITS)
    if unknown:
        raise DataError(f"{path}: unknown split {sorted(unknown)[0]!r}; use train, val or test")
    listed = [p for p in images if p.name in by_name]
    if not listed:
        raise DataError(f"{path}: lists none of the {len(images)} images under {root}; fix or remove it")
    patients = [by_name[p.name]["patient"] if "patient" in columns else patient_of(p) for p in listed]
    return _grouped(root, listed, [by_name[p.name]["split"] for p in listed], path.name, patients)


def _nih_release(root: Path, images: list[Path]) -> XrayFiles:
    """Use the official lists, if present: their test patients are test, the others are split 3:1 into train and val."""
    entries = next(iter(sorted(root.rglob("Data_Entry_2017*.csv"))))
    released = {row.get("Image Index", "") for row in _read_csv(entries)[0]}
    images = [p for p in images if p.name in released]
    if not images:
        raise DataError(f"{entries}: lists none of the images under {root}; unpack the release's images there")
    test_list = next(iter(root.rglob("test_list.txt")), None)
    if test_list is None:
        return _grouped(root, images, [split_of_patient(patient_of(p)) for p in images], f"NIH release, {BY_PATIENT}")
    test_patients = {name[:PATIENT_CHARACTERS] for name in _text(test_list).split()}
    shares = (SHARES[0], SHARES[1], 0.0)
    splits = ["test" if patient_of(p) in test_patients else split_of_patient(patient_of(p), shares) for p in images]
    return _grouped(root, images, splits, "NIH release, official test list")


def _grouped(
    root: Path, images: list[Path], splits: list[str], layout: str, patients: list[str] | None = None
) -> XrayFiles:
    groups: dict[str, list[Path]] = defaultdict(list)
    owner: dict[str, str] = {}
    for path, split, patient in zip(images, splits, patients or map(patient_of, images), strict=True):
        if owner.setdefault(patient, split) != split:
            raise DataError(
                f"{path}: patient {patient} is in two splits; keep each patient in one. If the first eight "
                "characters of a file name are not the patient, add a column patient to split.csv"
            )
        groups[split].append(path)
    return XrayFiles(root, {split: tuple(groups[split]) for split in SPLITS}, layout)


class XrayImages:
    """Decoded images of one split, (H, W) uint8, cached up to a memory budget and resized if a size is given."""

    def __init__(self, files: Sequence[Path], size: int | None = None, cache_bytes: int = CACHE_BYTES) -> None:
        """files: images. size: side in px to resize to, as in inference (`resized`); None for native resolution.

        With a size, only one file per name is used, preferably the one of that size, so that a directory with the same
        X-rays at two resolutions counts each once.
        """
        self.size = size
        self.files = list(files) if size is None else _one_per_name(files, size)
        self._cache: dict[int, NDArray[np.uint8]] = {}
        self._room = cache_bytes

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without decoded images; another process reads its own."""
        cached = sum(image.nbytes for image in self._cache.values())
        return self.__dict__ | {"_cache": {}, "_room": self._room + cached}

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        cached = self._cache.get(index)
        if cached is not None:
            return cached
        image = read_xray(self.files[index], self.size)
        if image.nbytes <= self._room:
            self._cache[index] = image
            self._room -= image.nbytes
        return image

    def check(self, limit: int | None = None) -> None:
        """Read all images once, or `limit` evenly spaced ones.

        Raises a single DataError that counts the unusable ones and quotes the first problem.
        """
        count = len(self) if limit is None else min(limit, len(self))
        problems = []
        for number in range(count):
            try:
                self[number * len(self) // count]
            except DataError as error:
                problems.append(str(error))
        if problems:
            raise DataError(f"{len(problems)} of {count} images cannot be used; first: {problems[0]}")

    def stack(self, limit: int | None = None) -> NDArray[np.float32]:
        """Return the first `limit` images as (N, 1, H, W) float32 in [0, 1]; all must have one size."""
        count = len(self) if limit is None else min(limit, len(self))
        return np.stack([to_unit(self[i])[None] for i in range(count)])


def read_xray(path: Path, size: int | None = None) -> NDArray[np.uint8]:
    """Read one clean X-ray as (H, W) uint8. Raises DataError naming the file if it is not a gray image."""
    try:
        image = to_unit(read_gray(path))
    except ImageError as error:
        raise DataError(f"{error}; remove it from the training data") from error
    return to_bytes(image if size is None else resized(image, size, size))


def _one_per_name(files: Sequence[Path], size: int) -> list[Path]:
    """Keep one of the paths that differ only in a folder named by resolution, such as 512, preferably that of
    `size`.
    """
    chosen: dict[tuple[str, ...], Path] = {}
    for path in files:
        identity = tuple(part for part in path.parts if not part.isdigit())
        kept = chosen.get(identity)
        if kept is None or (str(size) in path.parts and str(size) not in kept.parts):
            chosen[identity] = path
    return list(chosen.values())
