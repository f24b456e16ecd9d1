"""DICOM radiographs in and out. Only `signature` and `optional` can be imported without pydicom (extra `dicom`)."""
