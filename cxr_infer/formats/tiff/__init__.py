"""TIFF and BigTIFF in."""
