"""The parameters of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxr_infer.formats.radiograph import METHOD, Provenance
from cxr_infer.model.denoiser import Model
from cxr_infer.settings import ReadOptions, Settings
from cxr_infer.storage.ledger import digest
from cxr_infer.version import __version__


@dataclass(frozen=True)
class BatchRun:
    """The parameters shared by all images of a run. reference: directory of clean images."""

    model: Model
    settings: Settings
    reading: ReadOptions
    reference: Path | None
    overwrite: bool
    measures_finished: bool = True  # also measure results of earlier runs
    shows: bool = False  # also make pictures before and after

    @property
    def made_by(self) -> bytes:
        """Digest of model and settings, recorded with each result."""
        reading = (self.reading.white, self.reading.invert)
        return digest(repr((METHOD, self.model.sha256, self.settings, reading)).encode())

    @property
    def provenance(self) -> Provenance:
        return Provenance(__version__, self.model.title, self.model.sha256, self.settings)
