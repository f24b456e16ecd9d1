"""Chest phantoms as CR instances, for demonstrations, measurements and tests of a route."""

from __future__ import annotations

import hashlib
from datetime import datetime
from io import BytesIO

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import render_phantom

PHOTONS = 200.0  # at white
BITS = 12


def phantom_instance(seed: int, height: int = 512, width: int = 0) -> tuple[str, bytes]:
    """Return SOPInstanceUID and file of a noisy phantom; the same for the same seed and size.

    seed: of anatomy and mottle. height, width: px; a width of 0 means square.
    """
    width = width or height
    clean = render_phantom(seed, max(height, width))[:height, :width]
    unit = np.clip(poisson_mottle(clean, PHOTONS, np.random.default_rng(seed)), 0, 1)
    dataset = _described(f"{seed} {height}x{width}")
    dataset.Rows, dataset.Columns = unit.shape
    dataset.PixelData = np.rint(unit * ((1 << BITS) - 1)).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return str(dataset.SOPInstanceUID), buffer.getvalue()


def renamed(content: bytes, uid: str) -> tuple[str, bytes]:
    """Return the file as another instance: UID and file."""
    dataset = dcmread(BytesIO(content))
    dataset.SOPInstanceUID = uid
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return uid, buffer.getvalue()


def _described(name: str) -> Dataset:
    """Return a CR image (PS3.3 A.2) without pixels."""
    dataset = Dataset()
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    for level in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(dataset, level, _uid(f"{level} {name}"))
    dataset.PatientName, dataset.PatientID = "Phantom^Chest", f"PHANTOM {name}"[:64]
    dataset.PatientBirthDate = dataset.PatientSex = dataset.ReferringPhysicianName = dataset.AccessionNumber = ""
    dataset.StudyDate = dataset.SeriesDate = datetime(2024, 1, 1).strftime("%Y%m%d")
    dataset.StudyTime, dataset.StudyID = "120000", "1"
    dataset.Modality, dataset.Manufacturer = "CR", "phantom"
    dataset.BodyPartExamined, dataset.ViewPosition, dataset.SeriesNumber, dataset.InstanceNumber = "CHEST", "PA", 1, 1
    dataset.ImageType, dataset.PatientOrientation = ["ORIGINAL", "PRIMARY"], ["L", "F"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, BITS, BITS - 1, 0
    dataset.WindowCenter, dataset.WindowWidth = 1 << BITS - 1, 1 << BITS
    return dataset


def _uid(name: str) -> UID:
    """Return a name-based UID under the root for UUIDs (PS3.5 B.2)."""
    return UID(f"2.25.{int.from_bytes(hashlib.sha256(name.encode()).digest()[:15])}")
