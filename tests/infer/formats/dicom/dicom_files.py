"""Valid CR, DX and Secondary Capture instances in every transfer syntax that can be written here, and their reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from cxr_infer.errors import ImageError
from cxr_infer.formats.dicom.optional import read_dicom
from cxr_infer.formats.dicom.reader import DicomRadiograph
from cxr_infer.formats.radiograph import Provenance, Radiograph
from cxr_infer.settings import ReadOptions, Settings

BUNDLED = Path(pydicom.__file__).parent / "data"  # sample files of many vendors
PATH = Path("some where") / "x.dcm"
RAMP = np.linspace(0, 1, 40 * 36).reshape(40, 36)  # every gray once, air to bone
ROOT = "1.2.826.0.1.3680043.8.498.1"
PROVENANCE = Provenance("0.1.0", "window (fp32)", "ab" * 32, Settings())


def lowest(bits: int, signed: bool) -> int:
    return -(1 << bits - 1) if signed else 0


def stored(unit: NDArray[np.floating], bits: int, signed: bool = False, mono1: bool = False) -> NDArray[np.integer]:
    """(H, W) in [0, 1], bone white -> values that fill the stored bits."""
    shown = 1 - unit if mono1 else unit
    dtype = f"{'i' if signed else 'u'}{1 if bits == 8 else 2}"
    return (np.rint(shown * ((1 << bits) - 1)) + lowest(bits, signed)).astype(dtype)


def computed(pixels: NDArray[np.integer], bits: int, mono1: bool = False, **attributes: Any) -> Dataset:
    """A CR instance of stored values, with further attributes; None removes one."""
    dataset = _instance(pixels, bits, mono1, ComputedRadiographyImageStorage, "CR")
    dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
    return _changed(dataset, attributes)


def secondary(pixels: NDArray[np.integer], bits: int, mono1: bool = False, **attributes: Any) -> Dataset:
    """A Secondary Capture instance."""
    dataset = _instance(pixels, bits, mono1, SecondaryCaptureImageStorage, "OT")
    dataset.ConversionType, dataset.Laterality = "WSD", ""
    return _changed(dataset, attributes)


def digital(
    pixels: NDArray[np.integer], bits: int, mono1: bool = False, processing: bool = False, **attributes: Any
) -> Dataset:
    """A DX instance, for presentation with a window over all stored bits, or for processing."""
    sop_class = DigitalXRayImageStorageForProcessing if processing else DigitalXRayImageStorageForPresentation
    dataset = _instance(pixels, bits, mono1, sop_class, "DX")
    dataset.PresentationIntentType = "FOR PROCESSING" if processing else "FOR PRESENTATION"
    dataset.AcquisitionContextSequence = []
    dataset.DetectorType, dataset.DetectorConfiguration = "DIRECT", "AREA"
    dataset.ImagerPixelSpacing = [0.15, 0.15]
    dataset.BodyPartExamined, dataset.ViewPosition, dataset.ImageLaterality = "CHEST", "PA", "U"
    dataset.AnatomicRegionSequence = [_code("51185008", "SCT", "Chest")]
    dataset.ViewCodeSequence = [_code("399348003", "SCT", "postero-anterior")]
    dataset.PositionerType = "COLUMN"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if mono1 else -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.PresentationLUTShape = "INVERSE" if mono1 else "IDENTITY"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    if not processing:
        dataset.WindowWidth = 1 << bits
        dataset.WindowCenter = lowest(bits, pixels.dtype.kind == "i") + (1 << bits - 1)
    return _changed(dataset, attributes)


def encoded(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The file, uncompressed, deflated or, where pydicom can do that, compressed."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.1.1.1"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax.is_compressed else syntax
    if syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False)
    elif not syntax.is_little_endian and dataset.BitsAllocated == 16:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    stream = BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def lookup_table(first: int, bits: int, entries: Sequence[int]) -> Dataset:
    """An item of a modality or VOI LUT sequence: entries of `bits` bits for the values from `first` on."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", [int(entry) for entry in entries])
    return item


def in_every_syntax() -> Iterator[tuple[str, bytes]]:
    """Small files, one in every transfer syntax that can be written here."""
    for syntax in (
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEG2000Lossless,
    ):
        luts = {"VOILUTSequence": [lookup_table(0, 16, range(0, 65536, 16))]}
        yield (
            f"dx {syntax}",
            encoded(digital(stored(RAMP, 12, mono1=True), 12, mono1=True, PixelPaddingValue=7), syntax),
        )
        yield f"raw {syntax}", encoded(digital(stored(RAMP, 14), 14, processing=True), syntax)
        yield f"cr {syntax}", encoded(computed(stored(RAMP, 12, signed=True), 12, **luts), syntax)


def encapsulated(dataset: Dataset, syntax: UID, frame: bytes) -> bytes:
    """The file with an image that another encoder compressed."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    stream = BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def read(content: bytes, reading: ReadOptions | None = None) -> DicomRadiograph:
    """The radiograph read from a file's content."""
    radiograph = read_dicom(PATH, content, reading or ReadOptions())
    assert isinstance(radiograph, DicomRadiograph)
    return radiograph


def read_set(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> DicomRadiograph:
    """The radiograph read from the data set's file."""
    return read(encoded(dataset, syntax))


def result(radiograph: Radiograph, provenance: Provenance = PROVENANCE) -> FileDataset:
    """A result as another program reads it."""
    return pydicom.dcmread(BytesIO(radiograph.encode(provenance)))


def refusal(content: bytes, reading: ReadOptions | None = None) -> str:
    """The message with which a file is refused: one short line that begins with its path."""
    with pytest.raises(ImageError) as caught:
        read_dicom(PATH, content, reading or ReadOptions())
    message = str(caught.value)
    assert message.startswith(f"{PATH}: ")
    assert message.isprintable()
    assert len(message) < 200
    return message


def _instance(pixels: NDArray[np.integer], bits: int, mono1: bool, sop_class: UID, modality: str) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID, dataset.Modality = sop_class, modality
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.1.1"
    dataset.SOPInstanceUID = f"{ROOT}.1.1.1"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.PatientName, dataset.PatientID = "Müller^Secret", "ID-SECRET"
    dataset.PatientBirthDate, dataset.PatientSex = "19700101", "O"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20200102"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "101500"
    dataset.AccessionNumber, dataset.StudyID, dataset.ReferringPhysicianName = "A1", "S1", ""
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = 3, 1, "Chest PA"
    dataset.Manufacturer, dataset.PatientOrientation = "Maker", ["L", "F"]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if mono1 else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = pixels.dtype.itemsize * 8, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset.add_new("PixelData", "OW" if bits > 8 else "OB", data + b"\0" * (len(data) % 2))
    block = dataset.private_block(0x0011, "CXR TEST", create=True)
    block.add_new(0x01, "LO", "kept")
    return dataset


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _changed(dataset: Dataset, attributes: dict[str, Any]) -> Dataset:
    for keyword, value in attributes.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            del dataset[keyword]
    return dataset
