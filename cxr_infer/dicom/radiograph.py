"""DICOM files as radiographs. pydicom raises whatever it meets: here, and only here, that becomes an ImageError."""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

from cxr_infer.dicom.attributes import text
from cxr_infer.dicom.derived import check_new, derived_dataset, mark_lossy
from cxr_infer.dicom.scale import Scale, scale_of
from cxr_infer.dicom.stored import Stored, StoredPixels, first_frame, layout_of, stored_pixels
from cxr_infer.errors import ImageError
from cxr_infer.picture import UPRIGHT
from cxr_infer.radiograph import FloatImage, Provenance
from cxr_infer.settings import ReadOptions

SOP_CLASSES = frozenset(
    {
        ComputedRadiographyImageStorage,
        DigitalXRayImageStorageForPresentation,
        DigitalXRayImageStorageForProcessing,
        SecondaryCaptureImageStorage,
    }
)
IDENTIFIERS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")

MOST_HEADER = 16_000_000  # bytes of a data set beside its pixels
MOST_READS = 200_000  # of a file, 2 or 3 an attribute: each takes some hundred times the memory of its 8 bytes
BYTES_A_PIXEL = 2
PIXEL_DATA = 0x7FE00010
WORD_BYTES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}  # value representations that pydicom keeps as bytes

# pydicom tells by warnings what is unusual in a file, and quotes it. Files are read in one thread while others are
# written in another, so the filter is added once, for good: `warnings.catch_warnings` is not made for threads.
PYDICOM = re.compile("pydicom|pylibjpeg|libjpeg|openjpeg|rle")


@contextmanager
def _errors_of(path: Path, problem: str) -> Iterator[None]:
    """Every failure inside as an ImageError that names the file, and no more of its content than our own words do."""
    if not any(module == PYDICOM for *_, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=PYDICOM.pattern)
    try:
        yield
    except ImageError as error:
        raise type(error)(f"{path}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(f"{path}: {problem}") from error


@dataclass(frozen=True)
class DicomRadiograph:
    """A CR, DX or Secondary Capture instance. pixels: (H, W) stored values, signed or not, of 8 or 16 bits."""

    path: Path
    dataset: Dataset = field(repr=False)  # but for the pixel data; holds patient data
    source: StoredPixels = field(repr=False)
    scale: Scale = field(repr=False)
    pixels: Stored
    notes: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        return self.source.layout.stored

    @property
    def orientation(self) -> int:
        return UPRIGHT

    def unit(self) -> FloatImage:
        return self.scale.unit(self.pixels)

    def gray(self) -> FloatImage:
        return self.unit()

    def restored(self, denoised: FloatImage) -> DicomRadiograph:
        return replace(self, pixels=self.scale.restored(self.pixels, denoised))

    def encode(self, provenance: Provenance) -> bytes:
        """The derived instance, Explicit VR Little Endian. Raises ImageError where an attribute cannot be written."""
        with _errors_of(self.path, "has attributes that cannot be written again; export it anew"):
            derived = derived_dataset(self.dataset, provenance)
            pixel_vr = "OW" if self.source.layout.allocated > 8 else "OB"
            derived.add_new("PixelData", pixel_vr, _even(self.source.packed(self.pixels)))
            encoded = BytesIO()
            dcmwrite(encoded, derived, implicit_vr=False, little_endian=True, enforce_file_format=True)
            return encoded.getvalue()


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def read(path: Path, content: bytes, reading: ReadOptions) -> DicomRadiograph:
    """Decode the whole content of a DICOM file; see `read_dicom`, which this is once pydicom is there."""
    with _errors_of(path, "not a DICOM file that can be read; is it damaged or incomplete?"):
        dataset = _dataset(content, reading)
        _check_identity(dataset)
        check_new(dataset)
        layout = layout_of(dataset, reading)
        source = stored_pixels(dataset, layout)
        if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            mark_lossy(dataset, source.values.nbytes / len(first_frame(dataset)))
        del dataset.PixelData
        scale, notes = scale_of(dataset, layout, source.values)
        return DicomRadiograph(path, dataset, source, scale, source.values, notes)


def _dataset(content: bytes, reading: ReadOptions) -> FileDataset:
    """All attributes of a file, byte order little endian from here on.

    Raises ImageError where the data set is deflated and grows beyond the largest image: pydicom would inflate it all.
    """
    stream = _CountingStream(content)
    preamble = read_preamble(stream, force=False)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag.group != 2)
    syntax = meta.get("TransferSyntaxUID")
    if syntax is None or not (syntax.is_transfer_syntax and not syntax.is_private):
        raise ImageError("names no transfer syntax of the standard; convert it to Explicit VR Little Endian")
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = _CountingStream(_inflated(stream.read(), MOST_HEADER + BYTES_A_PIXEL * reading.max_pixels))
    attributes = read_dataset(stream, syntax.is_implicit_VR, syntax.is_little_endian)
    # the encoding as it was found: files exist that have implicit VR where their header says explicit
    dataset = FileDataset("", attributes, preamble, FileMetaDataset(meta), *attributes.original_encoding)
    header = sum(len(e.value) for e in attributes.elements() if isinstance(e.value, bytes) and e.tag != PIXEL_DATA)
    if header > MOST_HEADER:
        raise ImageError(f"has {header / 1e6:.0f} MB of attributes beside its pixels; {MOST_HEADER / 1e6:.0f} are read")
    if not syntax.is_little_endian:
        dataset.walk(_swap_words)
    return dataset


def _swap_words(_: Dataset, element: DataElement) -> None:
    """Turn around what pydicom keeps as bytes of a big-endian element; pixels it decodes itself."""
    size = WORD_BYTES.get(element.VR)
    if size is not None and element.tag != PIXEL_DATA and element.value:
        element.value = np.frombuffer(element.value, dtype=f">u{size}").astype(f"<u{size}").tobytes()


class _CountingStream(BytesIO):
    """A file in memory that is not read for ever, however many attributes it is made of."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MOST_READS:
            raise ImageError("consists of more attributes than any image has; export it again")
        return super().read(size)


def _inflated(deflated: bytes, most: int) -> bytes:
    """A deflated data set (PS3.5 A.5). Raises ImageError where it is incomplete or larger than `most` bytes."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(deflated, most)
    if not inflater.eof:
        full = len(data) == most
        raise ImageError(
            f"inflates to more than {most / 1e6:.0f} MB; see --max-pixels" if full else "ends within its data set"
        )
    return data


def _check_identity(dataset: Dataset) -> None:
    if text(dataset, "SOPClassUID") not in SOP_CLASSES:
        raise ImageError("not a CR, DX or Secondary Capture image; other kinds of DICOM are left alone")
    for keyword in IDENTIFIERS:
        if not text(dataset, keyword):
            raise ImageError(f"lacks {keyword}, without which no archive takes it; export it again")
