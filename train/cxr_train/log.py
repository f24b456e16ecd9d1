"""Log a training: log.csv and curve.png in the run's directory, and TensorBoard if installed."""

from __future__ import annotations

import csv
import importlib.util
import io
from pathlib import Path
from typing import Any

from cxr_infer.errors import ImageError, ModelError
from cxr_infer.files import read_content, write_bytes
from cxr_train.config import CURVE, LOG
from cxr_train.curve import LogRow, draw_curve
from cxr_train.run import Progress

TENSORBOARD = "tensorboard"
LOG_EVERY = 10  # steps from one row to the next
MOST_OF_A_LOG = 1 << 28  # bytes
LOG_COLUMNS = ("step", "minutes", "learning_rate", "loss", "images_per_second", "validation_images")


class TrainingLog:
    """The rows of a run's log; the file is rewritten as a whole, so that an interruption cannot truncate it.

    There is a row for every LOG_EVERY steps and for every validation, whose figures are in the columns after
    LOG_COLUMNS. `loss` is a running mean.
    """

    def __init__(self, directory: Path, step: int) -> None:
        """step: at which the run continues; later rows of its log are dropped, because their steps are repeated.

        Raises ModelError if the existing log is damaged.
        """
        self._directory = directory
        self._rows = [row for row in _read(directory / LOG) if row["step"] <= step] if step else []
        self._metrics: dict[str, float] | None = None
        self._is_written = True  # whether the file has all rows
        self._board = _tensorboard(directory / TENSORBOARD, step)

    def note(self, progress: Progress, learning_rate: float) -> None:
        """Record the state of a run after each step."""
        validated = progress.metrics is not self._metrics and progress.metrics is not None
        self._metrics = progress.metrics
        if not validated and progress.step % LOG_EVERY:
            return
        row: LogRow = {
            "step": progress.step,
            "minutes": progress.seconds / 60,
            "learning_rate": learning_rate,
            "loss": progress.loss,
            "images_per_second": progress.images_per_second,
        }
        if validated and progress.metrics is not None:
            row |= {"validation_images": progress.validation_images, **progress.metrics}
        self._is_written = False
        if self._rows and self._rows[-1]["step"] == progress.step:
            self._rows[-1] |= row
        else:
            self._rows.append(row)
        if self._board is not None:
            for name, value in row.items():
                if name != "step":
                    self._board.add_scalar(name, value, progress.step)
        if validated:
            self.write()

    def write(self) -> None:
        """Write log.csv and curve.png if there is anything new."""
        if self._is_written:
            return
        self._is_written = True
        metrics = dict.fromkeys(name for row in self._rows for name in row if name not in LOG_COLUMNS)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [*LOG_COLUMNS, *metrics], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in self._rows)
        write_bytes(self._directory / LOG, text.getvalue().encode())
        write_bytes(self._directory / CURVE, draw_curve(self._rows))
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        self.write()
        if self._board is not None:
            self._board.close()


def _cell(value: float) -> str:
    """Format with six digits, enough to compare two trainings; counts as they are."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _read(path: Path) -> list[LogRow]:
    if not path.exists():
        return []
    try:
        rows = csv.DictReader(io.StringIO(read_content(path, MOST_OF_A_LOG, "too large for a log").decode()))
        read = [{name: _number(name, cell) for name, cell in row.items() if cell} for row in rows]
        if "step" not in (rows.fieldnames or ()) or any("step" not in row for row in read):
            raise ValueError("no steps")
    except (OSError, ImageError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise ModelError(f"{path}: damaged log; move it away to resume the run without it") from error
    return read


def _number(name: str, cell: str) -> float:
    return int(cell) if name in ("step", "validation_images") else float(cell)


def _tensorboard(directory: Path, step: int) -> Any:
    """Return a TensorBoard writer, or None if it is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(directory, purge_step=step + 1 if step else None)
