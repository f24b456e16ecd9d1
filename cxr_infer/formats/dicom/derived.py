"""The attributes of a denoised instance: those kept from its source, and those that record the derivation.

Sources: PS3.3 C.7.6.1 (General Image), C.12.1 (SOP Common), C.7.5.2 and C.12.1.1.5 (equipment); codes from PS3.16.
"""

from __future__ import annotations

import json
import uuid
from copy import deepcopy
from dataclasses import asdict
from datetime import datetime, timedelta, timezone

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from cxr_infer.errors import AlreadyDenoised
from cxr_infer.formats.dicom.attributes import ANY_BYTE, as_number, items, text, value, values
from cxr_infer.formats.radiograph import METHOD, Provenance

MANUFACTURER = MODEL_NAME = "cxr-infer"
NAMESPACE = uuid.UUID("1f0dbe64-5b5c-4d0e-9c55-6ad1c3f1a6c7")  # of all UIDs made here

SERIES_OFFSET = 1000  # added to the source's SeriesNumber
LARGEST_NUMBER = (1 << 31) - 1  # of value representation IS
DESCRIPTION_LENGTH, TEXT_LENGTH = 64, 1024  # characters of value representations LO and ST
DENOISED = "denoised"
ESCAPE = b"\x1b"  # switches between character sets (ISO 2022)

SECONDARY_CAPTURES = frozenset(
    {
        SecondaryCaptureImageStorage,
        MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    }
)
# attributes that describe or sign the source's pixels or their encoding, or name the creator of the source file
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


def check_new(source: Dataset) -> None:
    """Raise AlreadyDenoised if a data set is a result of cxr-infer, so that routing loops end."""
    for item in items(source, "ContributingEquipmentSequence"):
        if (text(item, "Manufacturer"), text(item, "ManufacturerModelName")) == (MANUFACTURER, MODEL_NAME):
            raise AlreadyDenoised("is already a result of cxr-infer; give the original")


def mark_lossy(source: Dataset, method: str, ratio: float) -> None:
    """Record that the pixels were once lossily compressed (PS3.3 C.7.6.1.1.5).

    method: Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1). ratio: uncompressed to compressed size of the pixels.
    """
    if text(source, "LossyImageCompression") != "01":
        source.LossyImageCompression = "01"
        source.LossyImageCompressionRatio = f"{ratio:.2f}"
        source.LossyImageCompressionMethod = method


def derived_uid(source_uid: str, provenance: Provenance, invert: bool) -> UID:
    """Return the UID of a result: the same for the same source, model, settings and inversion.

    A name-based UUID (RFC 9562, version 5) under the root 2.25 (PS3.5 B.2).
    """
    settings = asdict(provenance.settings) | {"invert": invert, "method": METHOD}
    del settings["compress"]  # changes no pixel
    made_by = (source_uid, provenance.sha256, json.dumps(settings, sort_keys=True))
    return UID(f"2.25.{uuid.uuid5(NAMESPACE, json.dumps(made_by)).int}")


def derived_dataset(source: Dataset, provenance: Provenance, *, invert: bool = False) -> Dataset:
    """Return the data set of a denoised instance, without pixel data; `source` is not changed.

    All other attributes are carried over byte by byte, private and unknown ones included. invert: whether black and
    white were inverted on request (ReadOptions.invert).
    """
    derived = deepcopy(source)
    for keyword in OUTDATED:
        if keyword in derived:
            del derived[keyword]
    now = _now(source)
    _identify(derived, source, provenance, now, invert)
    _explain(derived, source, provenance, now)
    derived.file_meta = _file_meta(derived, provenance)
    derived.preamble = b"\0" * 128
    return derived


def _now(source: Dataset) -> datetime:
    """Return the time in the data set's time zone (Timezone Offset From UTC, PS3.3 C.12.1); local time without one."""
    offset = text(source, "TimezoneOffsetFromUTC")
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isdecimal():
        ahead = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
        if ahead < timedelta(hours=24):
            return datetime.now(timezone(ahead if offset[0] == "+" else -ahead))
    return datetime.now()


def _identify(derived: Dataset, source: Dataset, provenance: Provenance, now: datetime, invert: bool) -> None:
    """Make it a new instance in a new series of the same study."""
    derived.SOPInstanceUID = derived_uid(text(source, "SOPInstanceUID"), provenance, invert)
    derived.SeriesInstanceUID = derived_uid(text(source, "SeriesInstanceUID"), provenance, invert)
    # an invalid number such as "A1" counts as 0
    series_number = int(as_number(value(source, "SeriesNumber")) or 0) + SERIES_OFFSET
    derived.SeriesNumber = series_number if 0 <= series_number <= LARGEST_NUMBER else SERIES_OFFSET
    _append(derived, source, "SeriesDescription", DENOISED, " ({})", DESCRIPTION_LENGTH)
    derived.InstanceCreationDate = derived.ContentDate = now.strftime("%Y%m%d")
    derived.InstanceCreationTime = derived.ContentTime = now.strftime("%H%M%S.%f")


def _append(derived: Dataset, source: Dataset, keyword: str, ours: str, joined: str, most: int) -> None:
    """Append ASCII text to an attribute and keep its bytes, whatever their character set.

    ours: the text. joined: format of `ours` after existing text. most: maximum length of the attribute, characters.
    """
    earlier = "\\".join(map(str, values(source, keyword))).encode(ANY_BYTE)
    added = joined.format(ours).encode("ascii")
    earlier = _shortened(earlier, most - len(added))
    content = earlier + added if earlier else ours.encode("ascii")[:most]
    content += b" " * (len(content) % 2)
    tag, representation = Tag(tag_for_keyword(keyword) or 0), dictionary_VR(keyword)
    derived[tag] = RawDataElement(tag, representation, len(content), content, 0, False, True)


def _shortened(content: bytes, most: int) -> bytes:
    """Shorten a text; drop it if it may be multi-byte, as a cut could split a character."""
    if len(content) <= most:
        return content
    return content[: max(most, 0)].rstrip() if content.isascii() and ESCAPE not in content else b""


def _explain(derived: Dataset, source: Dataset, provenance: Provenance, now: datetime) -> None:
    """Record the derivation: source image, method and software."""
    derived.ImageType = _image_type(source)
    strength = provenance.settings.strength
    how = (
        f"Quantum mottle removed by cxr-infer {provenance.version}: model {provenance.model}, "
        f"SHA-256 {provenance.sha256}, strength {strength:g}"
    )
    _append(derived, source, "DerivationDescription", how, "; {}", TEXT_LENGTH)
    derived.DerivationCodeSequence = [
        *items(derived, "DerivationCodeSequence"),
        _code("113087", "Smoothing"),  # the closest code in PS3.16
    ]
    derived.SourceImageSequence = [_source_image(source)]
    derived.ContributingEquipmentSequence = [
        *items(derived, "ContributingEquipmentSequence"),
        _equipment(provenance, now),
    ]
    derived.ContentQualification = "RESEARCH"


def _image_type(source: Dataset) -> list[str]:
    """Return ImageType as DERIVED, with value 2 (PRIMARY or SECONDARY) from the source (PS3.3 C.7.6.1.1.2)."""
    given = [str(one) for one in values(source, "ImageType")]
    second = given[1] if len(given) > 1 else ""
    if not second:
        second = "SECONDARY" if text(source, "SOPClassUID") in SECONDARY_CAPTURES else "PRIMARY"
    return ["DERIVED", second, *given[2:]]


def _code(value: str, meaning: str) -> Dataset:
    """Return a code of the DCM coding scheme (PS3.16)."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _source_image(source: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = text(source, "SOPClassUID")
    item.ReferencedSOPInstanceUID = text(source, "SOPInstanceUID")
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
    meta.MediaStorageSOPClassUID = UID(text(derived, "SOPClassUID"))
    meta.MediaStorageSOPInstanceUID = UID(text(derived, "SOPInstanceUID"))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(f"2.25.{NAMESPACE.int}")
    meta.ImplementationVersionName = f"CXR_INFER_{provenance.version}"[:16]  # characters of value representation SH
    return meta
