"""Read TIFF and BigTIFF; write TIFF."""
