"""The attributes of a denoised instance: what of its source it keeps, and what says how it came about.

Sources: PS3.3 C.7.6.1 (General Image), C.12.1 (SOP Common), C.7.5.2 and C.12.1.1.5 (equipment); codes from PS3.16.
"""

from __future__ import annotations

import json
import uuid
from copy import deepcopy
from dataclasses import asdict
from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    SecondaryCaptureImageStorage,
)

from cxr_infer.dicom.attributes import items, number, text
from cxr_infer.errors import AlreadyDenoised
from cxr_infer.radiograph import Provenance

MANUFACTURER = MODEL_NAME = "cxr-infer"
NAMESPACE = uuid.UUID("1f0dbe64-5b5c-4d0e-9c55-6ad1c3f1a6c7")  # of every UID that is made here

SERIES_OFFSET = 1000  # from a source's series number to its result's
LARGEST_NUMBER = (1 << 31) - 1  # of value representation IS
DESCRIPTION_LENGTH, TEXT_LENGTH = 64, 1024  # characters of value representations LO and ST
DENOISED = "denoised"

# what describes the source's pixels or their encoding, signs them, or names what made the source file
OUTDATED = (
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "IconImageSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "MACParametersSequence",
    "DigitalSignaturesSequence",
    "DataSetTrailingPadding",
    "InstanceCreatorUID",
)
# transfer syntaxes that always lose something, and the names of their methods (PS3.3 C.7.6.1.1.5.1)
LOSSY_METHODS = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
}


def check_new(source: Dataset) -> None:
    """Raises AlreadyDenoised where a data set is a result of cxr-infer, so that a loop of routers ends."""
    for item in items(source, "ContributingEquipmentSequence"):
        if (text(item, "Manufacturer"), text(item, "ManufacturerModelName")) == (MANUFACTURER, MODEL_NAME):
            raise AlreadyDenoised("is a result of cxr-infer already; give it the original")


def mark_lossy(source: Dataset, ratio: float) -> None:
    """Say of a data set whose transfer syntax loses something that it did, once it is decoded: it stays so for good.

    ratio: bytes of its pixels by bytes of their compressed form.
    """
    method = LOSSY_METHODS.get(source.file_meta.TransferSyntaxUID)
    if method is not None and text(source, "LossyImageCompression") != "01":
        source.LossyImageCompression = "01"
        source.LossyImageCompressionRatio = f"{ratio:.2f}"
        source.LossyImageCompressionMethod = method


def derived_uid(source_uid: str, provenance: Provenance) -> UID:
    """The UID of what a source becomes; the same for the same source, model and settings.

    A name-based UUID (RFC 9562, version 5) below the root that is everyone's (PS3.5 B.2).
    """
    settings = json.dumps(asdict(provenance.settings), sort_keys=True)
    made_by = (source_uid, provenance.sha256, settings)
    return UID(f"2.25.{uuid.uuid5(NAMESPACE, json.dumps(made_by)).int}")


def derived_dataset(source: Dataset, provenance: Provenance) -> Dataset:
    """The data set of a denoised instance, but for its pixel data; the source is left as it is.

    What is not mentioned here is carried over, private and unknown attributes included.
    """
    derived = deepcopy(source)
    for tag in [tag for tag in derived.keys() if tag.group in (0x0000, 0x0002)]:  # noqa: SIM118 - not its elements
        del derived[tag]
    for keyword in OUTDATED:
        if keyword in derived:
            del derived[keyword]
    now = _now(source)
    _identify(derived, source, provenance, now)
    _explain(derived, source, provenance, now)
    derived.file_meta = _file_meta(derived, provenance)
    derived.preamble = b"\0" * 128
    return derived


def _now(source: Dataset) -> datetime:
    """The time, in the zone that the data set's other times are in (PS3.3 C.12.1.1.8); else local."""
    offset = text(source, "TimezoneOffsetFromUTC")
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isdecimal():
        ahead = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
        if ahead < timedelta(hours=24):
            return datetime.now(timezone(ahead if offset[0] == "+" else -ahead))
    return datetime.now()


def _identify(derived: Dataset, source: Dataset, provenance: Provenance, now: datetime) -> None:
    """A new instance in a new series of the same study."""
    derived.SOPInstanceUID = derived_uid(text(source, "SOPInstanceUID"), provenance)
    derived.SeriesInstanceUID = derived_uid(text(source, "SeriesInstanceUID"), provenance)
    series_number = int(number(source, "SeriesNumber") or 0) + SERIES_OFFSET
    derived.SeriesNumber = series_number if series_number <= LARGEST_NUMBER else SERIES_OFFSET
    described = text(source, "SeriesDescription")[: DESCRIPTION_LENGTH - len(f" ({DENOISED})")]
    derived.SeriesDescription = f"{described} ({DENOISED})" if described else DENOISED
    derived.InstanceCreationDate = derived.ContentDate = now.strftime("%Y%m%d")
    derived.InstanceCreationTime = derived.ContentTime = now.strftime("%H%M%S.%f")


def _explain(derived: Dataset, source: Dataset, provenance: Provenance, now: datetime) -> None:
    """What it was derived from, how, and by what."""
    derived.ImageType = _image_type(source)
    strength = provenance.settings.strength
    how = (
        f"Quantum mottle removed by cxr-infer {provenance.version}: model {provenance.model}, "
        f"SHA-256 {provenance.sha256}, strength {strength:g}"
    )
    earlier = text(source, "DerivationDescription")
    both = f"{earlier}; {how}" if earlier else how
    derived.DerivationDescription = both if len(both) <= TEXT_LENGTH else how[:TEXT_LENGTH]
    derived.DerivationCodeSequence = [
        *items(derived, "DerivationCodeSequence"),
        _code("113087", "Smoothing"),  # the nearest there is
    ]
    derived.SourceImageSequence = [_source_image(source)]
    derived.ContributingEquipmentSequence = [
        *items(derived, "ContributingEquipmentSequence"),
        _equipment(provenance, now),
    ]
    derived.ContentQualification = "RESEARCH"


def _image_type(source: Dataset) -> list[str]:
    """DERIVED, and whether the source came of an examination directly, as it says (PS3.3 C.7.6.1.1.2)."""
    given = source.get("ImageType") or []
    values = [given] if isinstance(given, str) else list(given)
    second = values[1] if len(values) > 1 else ""
    if not second:
        second = "SECONDARY" if source.SOPClassUID == SecondaryCaptureImageStorage else "PRIMARY"
    return ["DERIVED", second, *values[2:]]


def _code(value: str, meaning: str) -> Dataset:
    """A code of DICOM's own scheme (PS3.16)."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _source_image(source: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [_code("121322", "Source image for image processing operation")]
    item.SpatialLocationsPreserved = "YES"
    return item


def _equipment(provenance: Provenance, now: datetime) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [_code("109102", "Processing Equipment")]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = MODEL_NAME
    item.SoftwareVersions = provenance.version
    item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S.%f%z")
    item.ContributionDescription = f"Quantum mottle removed by model {provenance.model}; research use only"
    return item


def _file_meta(derived: Dataset, provenance: Provenance) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = derived.SOPClassUID
    meta.MediaStorageSOPInstanceUID = derived.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(f"2.25.{NAMESPACE.int}")
    meta.ImplementationVersionName = f"CXR_INFER_{provenance.version}"[:16]  # characters of value representation SH
    return meta
