"""Progress reports of a fine-tuning: one per step, with plain values."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from omnimouse_model.errors import StoppedError
from omnimouse_model.train.checkpoints import saved_step
from omnimouse_model.train.metrics_log import FILE, log_rows
from omnimouse_model.train.validate import SUMMARY

RECENT = 20
"""Number of steps over which the loss and the duration of a step are averaged."""


@dataclass(frozen=True, slots=True)
class FinetuneProgress:
    """State of a fine-tuning at one step.

    Attributes
    ----------
    stage
        "starting" while start values are computed, then "training", then "context"
        while the context part of the model is fitted, if it has one, then "saving".
    step, of
        Number of finished steps, and the maximum number of steps.
    loss
        Mean loss over the last steps.
    validation, before, best
        Held-out scores: the last one, the one before the first step, and the best one,
        whose weights are the result.
    seconds_left
        Estimate for the remaining steps; None before the second step.
    row
        Row of the log of this step.

    Examples
    --------
    >>> progress = om.FinetuneProgress("training", step=3, of=300, loss=0.9)
    >>> f"{progress.stage}: {progress.step} of {progress.of}"
    'training: 3 of 300'
    """

    stage: str
    step: int
    of: int
    loss: float | None = None
    validation: float | None = None
    before: float | None = None
    best: float | None = None
    seconds_left: float | None = None
    row: dict[str, float] = field(default_factory=dict)


class Cancellation:
    """Remembers that a run was cancelled.

    A cancelled run and a finished one must end differently, even if `cancelled` returns
    True only once.
    """

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._cancelled = cancelled
        self.is_received = False

    def __call__(self) -> bool:
        """Return True from the first time on that `cancelled` does."""
        self.is_received = self.is_received or self._cancelled()
        return self.is_received

    def raise_if_received(self, step: int, of: int, out: Path) -> None:
        """Raise `StoppedError` if the run was cancelled; its folder has the save."""
        if self.is_received:
            raise StoppedError(
                f"stopped at step {step} of {of}; saved in {out}: the same call goes on from there."
            )


class Reports:
    """Progress reports from the rows of a log, including rows before a resume."""

    def __init__(self, report: Callable[[FinetuneProgress], None], of: int, log: Path) -> None:
        self.last = FinetuneProgress("starting", 0, of)
        self._report, self._log = report, log
        self._recent: list[dict[str, float]] = []
        self._context_start = 0.0

    def starting(self, saved: int) -> None:
        """Report the start, after reading the rows up to the saved step."""
        rows = list(log_rows(self._log)) if self._log.exists() else []
        for row in rows:
            if row["step"] <= saved:
                self._add(row)
        # The pause between two sessions of a run must not enter the time per step.
        self._recent = []
        self.last = replace(self.last, stage="starting", seconds_left=None)
        self._report(self.last)

    def step(self, row: dict[str, float]) -> None:
        """Report a step of the training loop."""
        self._add(row)
        self._report(self.last)

    def context(self, share: float) -> None:
        """Report the share of the context part that is fitted, from 0 to 1."""
        now = perf_counter()
        if self.last.stage != "context":
            self._context_start = now
        spent = now - self._context_start
        left = spent * (1 - share) / share if share else None
        self.last = replace(self.last, stage="context", seconds_left=left)
        self._report(self.last)

    def saving(self) -> None:
        """Report that the result is being written."""
        self.last = replace(self.last, stage="saving", seconds_left=0.0)
        self._report(self.last)

    def _add(self, row: dict[str, float]) -> None:
        """Update the last report with a row of the log."""
        last, step = self.last, int(row["step"])
        self._recent = [*self._recent[1 - RECENT :], row]
        losses = [r["loss"] for r in self._recent if "loss" in r]
        score = row.get(SUMMARY)
        if score is not None:
            best = score if last.best is None else max(last.best, score)
            # Step 0 is the validation before training (`loop`).
            before = score if step == 0 else last.before
            last = replace(last, validation=score, best=best, before=before)
        self.last = replace(
            last,
            stage="training",
            step=step,
            loss=sum(losses) / len(losses) if losses else None,
            seconds_left=self._seconds_left(step),
            row=row,
        )

    def _seconds_left(self, step: int) -> float | None:
        # From the differences, because validation and saves are part of the time.
        first, last = self._recent[0], self._recent[-1]
        if first is last:
            return None
        per_step = (last["seconds"] - first["seconds"]) / (step - first["step"])
        return per_step * max(self.last.of - step, 0)


def run_with_reports(
    train: Callable[..., object],
    n_steps: int,
    out: Path,
    progress: Callable[[FinetuneProgress], None],
    cancelled: Callable[[], bool],
) -> Reports:
    """Run a training that takes `on_step` and `cancelled`, and report its steps.

    Raises
    ------
    StoppedError
        `cancelled()` returned True; what is finished is saved.
    """
    reports = Reports(progress, n_steps, out / FILE)
    reports.starting(saved_step(out))
    cancellation = Cancellation(cancelled)
    train(on_step=lambda step, row: reports.step(row), cancelled=cancellation)
    cancellation.raise_if_received(reports.last.step, n_steps, out)
    return reports
