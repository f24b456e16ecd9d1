"""Reports of a run: tables, JSON, CSV and HTML."""
