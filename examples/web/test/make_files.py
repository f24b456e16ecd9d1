"""Files for the browser test that node cannot make: make_files.py DIR.

Of one phantom a JPEG and an uncompressed DICOM (MONOCHROME1, 12 bit, with a window), and beside them, as raw float32,
what cxr-infer shows the model of each.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from cxr_infer.formats.dicom.optional import read_dicom
from cxr_infer.formats.readers import read_picture
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.settings import ReadOptions

WIDTH, HEIGHT, DOSE = 256, 200, 71.0  # px, px, photons at white


def write_dicom(path: Path, unit: np.ndarray) -> None:
    """unit: (H, W) in [0, 1]. Stored values from -2048 to 2047, the window cutting off a little at either end."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.PatientName, dataset.PatientID = "CR", "Phantom", "1"
    dataset.Rows, dataset.Columns = unit.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME1"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 1
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 2, 100, "US"
    dataset.WindowCenter, dataset.WindowWidth = 90, 7800
    stored = np.rint((1 - unit) * 4095 - 2048).astype(np.int16)
    dataset.PixelData = (stored & 0x0FFF).astype("<u2").tobytes()
    dataset.save_as(path, enforce_file_format=True)


def main() -> None:
    folder = Path(sys.argv[1])
    clean = render_phantom(3, WIDTH)[:HEIGHT]
    noisy = np.clip(poisson_mottle(clean, DOSE, np.random.default_rng(3)), 0, 1)
    jpeg, dicom = folder / "phantom.jpg", folder / "phantom.dcm"
    cv2.imwrite(str(jpeg), np.rint(noisy * 255).astype(np.uint8), (cv2.IMWRITE_JPEG_QUALITY, 95))
    write_dicom(dicom, noisy)
    seen = {
        jpeg: read_picture(jpeg, jpeg.read_bytes(), ReadOptions(), ".png").unit(),
        dicom: read_dicom(dicom, dicom.read_bytes(), ReadOptions()).shown(),
    }
    for path, unit in seen.items():
        path.with_suffix(path.suffix + ".f32").write_bytes(np.ascontiguousarray(unit, dtype="<f4").tobytes())


if __name__ == "__main__":
    main()
