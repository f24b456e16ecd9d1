"""Recognise, read and write X-ray files."""
