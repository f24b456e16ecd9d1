"""One run over many files."""
