"""A DICOM node between modality and PACS: it receives, denoises, and sends on; the original stays untouched."""
