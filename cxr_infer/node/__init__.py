"""A DICOM node between modality and PACS: it receives images, denoises them and sends both on; originals stay
untouched.
"""
