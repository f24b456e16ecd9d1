"""The format registry: one entry holds all that the rest of the program knows about a format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxr_infer.formats.picture import Display, Picture
from cxr_infer.formats.readers import read_picture, write_image
from cxr_infer.formats.registry import (
    FORMATS,
    PICTURE_FORMATS,
    SIGNATURE_LENGTH,
    PictureFormat,
    can_be_result,
    format_named,
    format_of,
    output_name,
)
from cxr_infer.settings import ReadOptions

SHADES = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)


def test_every_suffix_belongs_to_one_format() -> None:
    suffixes = [suffix for format in FORMATS for suffix in format.suffixes]
    assert len(suffixes) == len(set(suffixes))
    for format in FORMATS:
        assert {format_named(suffix) for suffix in format.suffixes} == {format}
        assert {format_named(suffix.upper()) for suffix in format.suffixes} == {format}


@pytest.mark.parametrize("format", PICTURE_FORMATS, ids=lambda format: format.suffixes[0])
def test_written_files_are_recognised_and_read_as_their_format(format: PictureFormat, tmp_path: Path) -> None:
    for suffix in format.suffixes:
        path = tmp_path / f"x{suffix}"
        write_image(path, SHADES)
        content = path.read_bytes()
        assert format_of(content[:SIGNATURE_LENGTH]) is format
        read = format.open(path, content, ReadOptions())
        assert np.abs(read.pixels.astype(int) - SHADES).max() <= (3 if format.lossy else 0)


@pytest.mark.parametrize("format", PICTURE_FORMATS, ids=lambda format: format.suffixes[0])
def test_results_have_the_format_of_their_suffix_and_are_lossless(format: PictureFormat, tmp_path: Path) -> None:
    for suffix in format.suffixes:
        assert can_be_result(suffix) is not format.lossy
        name = output_name(f"x{suffix}")
        assert name == (f"x{suffix}.png" if format.lossy else f"x{suffix}")
        content = format.encode(Picture(SHADES))
        result = read_picture(tmp_path / f"x{suffix}", content, ReadOptions(), Path(name).suffix).encode()
        assert format_of(result[:SIGNATURE_LENGTH]) is format_named(Path(name).suffix)


@pytest.mark.parametrize("format", PICTURE_FORMATS, ids=lambda format: format.suffixes[0])
def test_display_properties_that_a_format_keeps_are_kept_again(format: PictureFormat) -> None:
    given = Display(profile=bytes(16) + b"GRAY", chunks=b"chunk", other_curve=True)
    carried = format.carries(given)
    assert format.carries(carried) == carried != given
