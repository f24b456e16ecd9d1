"""Run a model over many files."""
