"""The images that are worked on: seeded phantoms, or the user's own clean images and repeated exposures."""

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

MOST_IMAGES = 100  # of a folder; more take days


def phantoms(protocol: Protocol) -> Images:
    """The protocol's phantoms: chests of its seed and the following ones, clean."""
    seeds = range(protocol.seed, protocol.seed + protocol.phantoms)
    return {f"phantom {seed}": render_phantom(seed, protocol.side) for seed in seeds}


def clean_images(folder: Path, side: int, reading: ReadOptions) -> tuple[Images, float | None]:
    """The X-rays of a folder by their names, and mm a pixel where all their files say the same.

    Each is cut to the middle `side` px where it is larger, never resized. Raises UsageError where there are none or too
    many, ImageError where one cannot be read or is too small.
    """
    require_directory(folder, "give --images the directory of clean X-rays")
    paths = _files_of(folder)
    if not paths:
        raise UsageError(f"{folder}: holds no files; give --images the directory of clean X-rays")
    if len(paths) > MOST_IMAGES:
        raise UsageError(
            f"{folder}: holds {len(paths)} files; copy at most {MOST_IMAGES} into a directory of their own"
        )
    images, spacings = {}, set()
    for path in paths:
        radiograph = _radiograph(path, reading)
        images[path.name] = _middle(path, radiograph.unit(), side)
        spacings.add(radiograph.pixel_spacing)
    return images, spacings.pop() if len(spacings) == 1 else None


def repeated_frames(given: Sequence[Path], reading: ReadOptions) -> Frames | None:
    """Two or more exposures of one object, brought into one place; a directory stands for its files. None of none.

    Raises UsageError where they are too few or too unlike, ImageError where one cannot be read.
    """
    paths = [path for one in given for path in (_files_of(one) if one.is_dir() else [one])]
    for path in paths:
        require_image_file(path)
    return register([_read(path, reading) for path in paths], [str(path) for path in paths]) if paths else None


def one_image(path: Path, reading: ReadOptions) -> FloatImage:
    """An X-ray, (H, W) in [0, 1]. Raises ImageError where it cannot be read."""
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
        raise ImageError(f"{path}: has fewer than {LEAST_SIDE} px on a side; leave it out")
    top, left = (max(0, (extent - side) // 2) for extent in image.shape)
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def frames_by_name(frames: Frames | None) -> Images:
    """The frames as they are worked on, by their files' names; those of one name in several directories by number."""
    if frames is None:
        return {}
    names = [_name(path) for path in frames.names]
    told = [
        f"{name} ({names[: at + 1].count(name)})" if names.count(name) > 1 else name for at, name in enumerate(names)
    ]
    return dict(zip(told, frames.stack, strict=True))


def _name(path: str) -> str:
    """Where somebody keeps X-rays is nobody's business."""
    return Path(path).name


def described(images: Mapping[str, FloatImage]) -> tuple[Shown, ...]:
    """What a result says of the images."""
    return tuple(
        Shown(name, image.shape[1], image.shape[0], hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest())
        for name, image in images.items()
    )
