"""Read DICOM files as radiographs. pydicom raises arbitrary exceptions; only here do they become ImageErrors."""

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
from cxr_infer.formats.dicom.pixel_data import StoredPixels, StoredValues, layout_of, state_layout, stored_pixels
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
NO_NUMBER = "its SeriesNumber is not a number; counted as 0 for that of the result"
OTHER_MODALITY = "its Modality {} is not that of an X-ray; denoised because of its SOP class"
# terms of modalities other than projection X-ray (PS3.3 C.7.3.1.1.1). The SOP class decides (PS3.3 A.1), but users who
# rely on Modality are told about the contradiction
OTHER_MODALITIES = frozenset(
    {"CT", "MR", "US", "NM", "PT", "OPT", "OCT", "OP", "ES", "GM", "SM", "XC", "TG", "IVUS", "BMD"}
)
GRAYSCALE_PROBLEM = "its window, LUT or padding cannot be read; correct those attributes"

# pydicom warns about unusual files and quotes their content, which may be patient data. Files are read in one thread
# while others are written in another, so the filter stays: `warnings.catch_warnings` is not thread-safe.
PYDICOM = re.compile("pydicom|libjpeg|openjpeg")


@contextmanager
def _errors_of(path: Path, problem: str) -> Iterator[None]:
    """Turn every exception into an ImageError with the file's name, but without content of the file."""
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
    """A single grayscale X-ray.

    syntax: transfer syntax of the source. pixels: (H, W) stored values, int8, uint8, int16 or uint16. invert: whether
    black and white were inverted on request (ReadOptions.invert).
    """

    path: Path
    syntax: UID
    dataset: Dataset = field(repr=False)  # without the pixel data; holds patient data
    source: StoredPixels = field(repr=False)
    scale: Scale = field(repr=False)
    pixels: StoredValues
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
        """Imager Pixel Spacing (at the detector), else Pixel Spacing (PS3.3 10.7.1), mm; None if not square."""
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

    def with_pixels(self, pixels: StoredValues) -> DicomRadiograph:
        return replace(self, pixels=pixels)

    def encoding_notes(self, settings: Settings) -> tuple[str, ...]:
        return self._syntax(settings)[1]

    def _syntax(self, settings: Settings) -> tuple[UID, tuple[str, ...]]:
        """Return the transfer syntax of the result, and notes on it."""
        return kept_syntax(self.syntax, self.source) if settings.compress == KEEP else (ExplicitVRLittleEndian, ())

    def encode(self, provenance: Provenance) -> bytes:
        """Encode the derived instance: Explicit VR Little Endian, or compressed like the source with compress=`keep`.

        Raises ImageError if an attribute cannot be written.
        """
        syntax, _ = self._syntax(provenance.settings)
        with _errors_of(self.path, "has attributes that cannot be written; export it again"):
            derived = derived_dataset(self.dataset, provenance, invert=self.invert)
            state_layout(derived, self.source.layout)
            derived.file_meta.TransferSyntaxUID = syntax
            add_pixel_data(derived, self.source, self.pixels, syntax)
            settle(derived)
            encoded = BytesIO()
            dcmwrite(encoded, derived, implicit_vr=False, little_endian=True, enforce_file_format=True)
            return encoded.getvalue()


def read(path: Path, content: bytes, reading: ReadOptions) -> DicomRadiograph:
    """Decode a DICOM file; see `read_dicom`."""
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


def read_pixels(path: Path, content: bytes, reading: ReadOptions) -> StoredValues:
    """Return only the stored values of a DICOM file; see `read_dicom_pixels`."""
    with _errors_of(path, HEADER_PROBLEM):
        file = read_file(content, reading, _check_class)
        layout, _ = layout_of(file.dataset, reading)
    with _errors_of(path, PIXELS_PROBLEM):
        return stored_pixels(file, layout).values


def _check_class(dataset: Dataset) -> None:
    """Raise NoRadiograph if the SOP class is not that of an X-ray, ImageError if it is missing or invalid."""
    given = text(dataset, "SOPClassUID")
    if not given:
        raise ImageError("lacks SOPClassUID, so its type is unknown; export it again")
    if given in SOP_CLASSES:
        return
    if not UID(given).is_valid:
        raise ImageError("its SOPClassUID is invalid; is it damaged?")
    name = UID(given).name
    kind = "an unknown SOP class" if name == given else name.removesuffix(" Storage")
    raise NoRadiograph(f"is DICOM but not an X-ray ({kind}); ignored")


def _check_identity(dataset: Dataset) -> None:
    for keyword in IDENTIFIERS:
        if not text(dataset, keyword):
            raise ImageError(f"lacks {keyword}, which archives require; export it again")
