"""Images to work on: seeded phantoms, or the user's own clean images and repeated exposures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.files import read_content, require_directory, require_image_file
from cxr_infer.formats.radiograph import Radiograph
from cxr_infer.formats.readers import most_bytes, read_radiograph
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.exposures import Frames, register
from cxr_infer.lab.protocol import Protocol
from cxr_infer.lab.protocol_files import LEAST_SIDE
from cxr_infer.lab.result import Shown
from cxr_infer.settings import ReadOptions

Images = dict[str, FloatImage]

MOST_IMAGES = 100  # per folder; more would take days


def phantoms(protocol: Protocol) -> Images:
    """Return the protocol's phantoms, clean, with its seed and the following ones."""
    seeds = range(protocol.seed, protocol.seed + protocol.phantoms)
    return {f"phantom {seed}": render_phantom(seed, protocol.side) for seed in seeds}


def clean_images(folder: Path, side: int, reading: ReadOptions) -> tuple[Images, float | None]:
    """Read the X-rays of a folder, by name, and their pixel spacing in mm if all files agree.

    Larger images are cropped to the middle `side` px, never resized. Raises UsageError if there are none or too many,
    ImageError if one cannot be read or is too small.
    """
    require_directory(folder, "give --images the directory of clean X-rays")
    paths = _files_of(folder)
    if not paths:
        raise UsageError(f"{folder}: no files; give --images the directory of clean X-rays")
    if len(paths) > MOST_IMAGES:
        raise UsageError(f"{folder}: {len(paths)} files; copy at most {MOST_IMAGES} of them to another directory")
    images, spacings = {}, set()
    for path in paths:
        radiograph = _radiograph(path, reading)
        images[path.name] = _middle(path, radiograph.unit(), side)
        spacings.add(radiograph.pixel_spacing)
    return images, spacings.pop() if len(spacings) == 1 else None


def repeated_frames(given: Sequence[Path], reading: ReadOptions) -> Frames | None:
    """Read and align exposures of one object; a directory stands for its files. None if none are given.

    Raises UsageError if they are too few or too different, ImageError if one cannot be read.
    """
    paths = [path for one in given for path in (_files_of(one) if one.is_dir() else [one])]
    for path in paths:
        require_image_file(path)
    return register([_read(path, reading) for path in paths], [str(path) for path in paths]) if paths else None


def one_image(path: Path, reading: ReadOptions) -> FloatImage:
    """Read an X-ray, (H, W) in [0, 1]. Raises ImageError if it cannot be read."""
    require_image_file(path)
    return _read(path, reading)


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _read(path: Path, reading: ReadOptions) -> FloatImage:
    return _radiograph(path, reading).unit()


def _radiograph(path: Path, reading: ReadOptions) -> Radiograph:
    return read_radiograph(path, read_content(path, most_bytes(reading)), reading, path)


def _middle(path: Path, image: FloatImage, side: int) -> FloatImage:
    if min(image.shape) < LEAST_SIDE:
        raise ImageError(f"{path}: less than {LEAST_SIDE} px a side; remove it")
    top, left = (max(0, (extent - side) // 2) for extent in image.shape)
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def frames_by_name(frames: Frames | None) -> Images:
    """Return the frames by file name; equal names from several directories get a number."""
    if frames is None:
        return {}
    names = [_name(path) for path in frames.names]
    told = [
        f"{name} ({names[: at + 1].count(name)})" if names.count(name) > 1 else name for at, name in enumerate(names)
    ]
    return dict(zip(told, frames.stack, strict=True))


def _name(path: str) -> str:
    """Return the file name only, because folders may be private."""
    return Path(path).name


def described(images: Mapping[str, FloatImage]) -> tuple[Shown, ...]:
    """Return the images as a result lists them."""
    return tuple(
        Shown(name, image.shape[1], image.shape[0], hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest())
        for name, image in images.items()
    )
