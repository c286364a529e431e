"""Log of a training run: one JSON line per step, and TensorBoard events."""

import math
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omnimouse_model.progress import CallbackJob, Job
from omnimouse_model.storage.journal import append_line, cut_lines, lines_after, read_lines

OnStep = Callable[[int, dict[str, float]], None]
FILE = "metrics.jsonl"
EVENTS = "tensorboard"
SCORED_WINDOWS, SCORED_NEURONS = "scored_windows", "scored_neurons"
"""Keys of the windows (or trials) and neurons over which scores are; of a decoder, no neurons."""
SCORE_ENDS = ("validation_low", "validation_high")
GAIN_ENDS = ("gain_low", "gain_high")
"""Keys of the ends of the 95 % intervals, for these neurons in further windows, of a score and of
its difference from that of the start values in the same windows."""
OVER = (SCORED_WINDOWS, SCORED_NEURONS, *SCORE_ENDS, *GAIN_ENDS)
"""Keys of a row that tell of its scores, and are none."""


class MetricsLog:
    """Log of a run that starts, or is resumed, after `step`.

    Existing rows of later steps are removed: the run was killed after its last save,
    and repeats these steps. Event files for TensorBoard are written if its package is
    installed (extra `train`).
    """

    def __init__(self, out: Path, step: int) -> None:
        self._path = out / FILE
        if self._path.exists():
            cut_lines(self._path, lambda row: row["step"] <= step)
        self._events = _events(out / EVENTS, step)

    def add(self, row: dict[str, float]) -> None:
        """Append the row of one step."""
        # Opened per row, so that a killed run has lost no finished row.
        # JSON has no NaN and no infinity.
        append_line(self._path, {k: v if math.isfinite(v) else None for k, v in row.items()})
        if self._events is not None:
            for name, value in row.items():
                if name != "step":
                    self._events.add_scalar(name, value, int(row["step"]))

    def close(self) -> None:
        """Close the event files."""
        if self._events is not None:
            self._events.close()


def log_rows(path: Path) -> Iterator[dict[str, float]]:
    """Yield the rows of a log file; an incomplete last line is ignored."""
    return map(_numbers, read_lines(path))


def reports_rows(job: Job, out: Path, on_step: OnStep) -> Job:
    """Return the job of a run that also calls `on_step` with each new row of its log.

    The rows are read from the log, so that a family reports progress only.
    """
    path = out / FILE
    end = path.stat().st_size if path.exists() else 0

    def report(done: int | float, total: int | float, step: str) -> None:
        nonlocal end
        if path.exists():
            rows, end = lines_after(path, end)
            for row in rows:
                on_step(int(row["step"]), _numbers(row))
        job.progress(done, total, step)

    return CallbackJob(report, job.cancelled, job.message, job.device)


def _numbers(row: Mapping[str, float | None]) -> dict[str, float]:
    return {k: math.nan if v is None else v for k, v in row.items()}


def _events(folder: Path, step: int) -> Any:  # tensorboard has no types
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    # purge_step hides events of the steps that are repeated, as with the rows above.
    return SummaryWriter(str(folder), purge_step=step + 1)
