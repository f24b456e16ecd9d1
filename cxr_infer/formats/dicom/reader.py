"""DICOM files as radiographs. pydicom raises whatever it meets: here, and only here, that becomes an ImageError."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalIntraOralXRayImageStorageForPresentation,
    DigitalIntraOralXRayImageStorageForProcessing,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    XRayAngiographicImageStorage,
    XRayRadiofluoroscopicImageStorage,
)

from cxr_infer.errors import ImageError, NoRadiograph
from cxr_infer.formats.dicom.attributes import as_number, code, text, value, values
from cxr_infer.formats.dicom.compression import add_pixel_data, kept_syntax
from cxr_infer.formats.dicom.data_set import read_file, settle
from cxr_infer.formats.dicom.derived import SECONDARY_CAPTURES, check_new, derived_dataset, mark_lossy
from cxr_infer.formats.dicom.pixel_data import Stored, StoredPixels, layout_of, state_layout, stored_pixels
from cxr_infer.formats.dicom.scale import Scale, scale_of
from cxr_infer.formats.picture import UPRIGHT
from cxr_infer.formats.radiograph import Provenance
from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.settings import KEEP, ReadOptions, Settings

SOP_CLASSES = SECONDARY_CAPTURES | {
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalIntraOralXRayImageStorageForPresentation,
    DigitalIntraOralXRayImageStorageForProcessing,
    XRayAngiographicImageStorage,
    XRayRadiofluoroscopicImageStorage,
}
IDENTIFIERS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")

HEADER_PROBLEM = "its DICOM header cannot be read; is it damaged or incomplete?"
PIXELS_PROBLEM = "its pixel data cannot be decoded; are they damaged or incomplete?"
NO_NUMBER = "its SeriesNumber is not a number; that of the result counts from 0"
OTHER_MODALITY = "its Modality is {}, not that of an X-ray; denoised because of its SOP class"
# terms for what makes no projections by X-rays (PS3.3 C.7.3.1.1.1), which files of our classes should not name; the
# class decides (PS3.3 A.1), but who relies on the other is told
OTHER_MODALITIES = frozenset(
    {"CT", "MR", "US", "NM", "PT", "OPT", "OCT", "OP", "ES", "GM", "SM", "XC", "TG", "IVUS", "BMD"}
)
GRAYSCALE_PROBLEM = "its window, LUT or padding cannot be read; correct those attributes"

# pydicom tells by warnings what is unusual in a file, and quotes it. Files are read in one thread while others are
# written in another, so the filter is added once, for good: `warnings.catch_warnings` is not made for threads.
PYDICOM = re.compile("pydicom|libjpeg|openjpeg")


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
    """A single grayscale X-ray. pixels: (H, W) stored values, signed or not, of 8 or 16 bits. syntax: of the source.

    invert: whether its sense was inverted because the user said that the file is wrong about it.
    """

    path: Path
    syntax: UID
    dataset: Dataset = field(repr=False)  # but for the pixel data; holds patient data
    source: StoredPixels = field(repr=False)
    scale: Scale = field(repr=False)
    pixels: Stored
    notes: tuple[str, ...] = ()
    invert: bool = False

    @property
    def bits(self) -> int:
        return self.source.layout.stored

    @property
    def orientation(self) -> int:
        return UPRIGHT

    @property
    def stretch(self) -> float:
        return self.scale.stretch

    @property
    def inverted(self) -> bool | None:
        return self.scale.inverted

    @property
    def outside_window(self) -> float | None:
        return self.scale.outside

    @property
    def pixel_spacing(self) -> float | None:
        """Imager Pixel Spacing, which is that of the detector, else Pixel Spacing (PS3.3, 10.7.1)."""
        for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
            down, across = (*map(as_number, values(self.dataset, keyword)), None, None)[:2]
            if down is not None and across is not None and down > 0 and math.isclose(down, across, rel_tol=1e-3):
                return across
        return None

    def unit(self) -> FloatImage:
        return self.scale.unit(self.pixels)

    def gray(self) -> FloatImage:
        return self.unit()

    def shown(self) -> FloatImage:
        return self.scale.display(self.pixels)

    def restored(self, denoised: FloatImage) -> DicomRadiograph:
        return replace(self, pixels=self.scale.restored(self.pixels, denoised))

    def with_pixels(self, pixels: Stored) -> DicomRadiograph:
        return replace(self, pixels=pixels)

    def encoding_notes(self, settings: Settings) -> tuple[str, ...]:
        return self._syntax(settings)[1]

    def _syntax(self, settings: Settings) -> tuple[UID, tuple[str, ...]]:
        """The transfer syntax of the result, and notes on it."""
        return kept_syntax(self.syntax, self.source) if settings.compress == KEEP else (ExplicitVRLittleEndian, ())

    def encode(self, provenance: Provenance) -> bytes:
        """The derived instance: Explicit VR Little Endian, or compressed as the source where the settings keep that.

        Raises ImageError where an attribute cannot be written.
        """
        syntax, _ = self._syntax(provenance.settings)
        with _errors_of(self.path, "has attributes that cannot be written again; export it again"):
            derived = derived_dataset(self.dataset, provenance, invert=self.invert)
            state_layout(derived, self.source.layout)
            derived.file_meta.TransferSyntaxUID = syntax
            add_pixel_data(derived, self.source, self.pixels, syntax)
            settle(derived)
            encoded = BytesIO()
            dcmwrite(encoded, derived, implicit_vr=False, little_endian=True, enforce_file_format=True)
            return encoded.getvalue()


def read(path: Path, content: bytes, reading: ReadOptions) -> DicomRadiograph:
    """Decode the whole content of a DICOM file; see `read_dicom`, which this is once pydicom is there."""
    with _errors_of(path, HEADER_PROBLEM):
        file = read_file(content, reading, _check_class)
        _check_identity(file.dataset)
        check_new(file.dataset)
        layout, notes = layout_of(file.dataset, reading)
        series = value(file.dataset, "SeriesNumber")
        notes += () if series is None or as_number(series) is not None else (NO_NUMBER,)
        modality = code(file.dataset, "Modality")
        notes += (OTHER_MODALITY.format(modality),) if modality in OTHER_MODALITIES else ()
    with _errors_of(path, PIXELS_PROBLEM):
        source = stored_pixels(file, layout)
        if source.lossy is not None:
            mark_lossy(file.dataset, *source.lossy)
    with _errors_of(path, GRAYSCALE_PROBLEM):
        scale, noted = scale_of(file.dataset, layout, source.values, invert=reading.invert)
    notes = (*file.notes, *notes, *source.notes, *noted)
    return DicomRadiograph(path, file.syntax, file.dataset, source, scale, source.values, notes, reading.invert)


def read_pixels(path: Path, content: bytes, reading: ReadOptions) -> Stored:
    """The stored values of a DICOM file alone, which may be a result of cxr-infer; see `read_dicom_pixels`."""
    with _errors_of(path, HEADER_PROBLEM):
        file = read_file(content, reading, _check_class)
        layout, _ = layout_of(file.dataset, reading)
    with _errors_of(path, PIXELS_PROBLEM):
        return stored_pixels(file, layout).values


def _check_class(dataset: Dataset) -> None:
    """Raises NoRadiograph where a file is no X-ray; ImageError where it does not say what it is."""
    given = text(dataset, "SOPClassUID")
    if not given:
        raise ImageError("lacks SOPClassUID, which says what it is; export it again")
    if given in SOP_CLASSES:
        return
    if not UID(given).is_valid:
        raise ImageError("not a CR, DX or Secondary Capture image: its SOPClassUID is invalid; is it damaged?")
    name = UID(given).name
    kind = "of an unknown kind" if name == given else f"of the kind {name.removesuffix(' Storage')}"
    raise NoRadiograph(f"{kind}, not a CR, DX or Secondary Capture image or another X-ray; left alone")


def _check_identity(dataset: Dataset) -> None:
    for keyword in IDENTIFIERS:
        if not text(dataset, keyword):
            raise ImageError(f"lacks {keyword}, which every archive needs; export it again")
