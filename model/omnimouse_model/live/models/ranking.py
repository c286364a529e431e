"""Ranking of pretraining sessions on screen, read from its results file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omnimouse_model.analysis.ranking.curve_table import OrderFit, StoredRanking, read_ranking
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.storage.files import expanded


@dataclass(frozen=True, slots=True)
class RankingContent:
    """Content of a results file, and the lines that are fitted to its curves."""

    stored: StoredRanking
    fits: tuple[OrderFit, ...]


class RankingOnScreen(HasBackgroundTask):
    """Ranking of a results file, read by a background task.

    A ranking takes hours and runs as `omnimouse rank`; this object only shows its
    results file, also while that command writes it.

    Attributes
    ----------
    path
        Results file; None before the first.
    """

    def __init__(self, execution: Execution = IN_THREADS) -> None:
        self.path: Path | None = None
        self._content: RankingContent | None = None
        self._task = BackgroundTask(_read, self._take, execution)

    @property
    def content(self) -> RankingContent | None:
        """Content of the file; None before it is read, and if it cannot be read."""
        return None if self.error is not None else self._content

    def open(self, path: str | Path) -> None:
        """Read a results file in the background; a wrong file becomes `error`."""
        path = expanded(path).absolute()
        # The content of the same file stays on screen while the file is read again.
        if path != self.path:
            self.path, self._content = path, None
        self._task.start(path, f"Reading {path.name}")

    def read_again(self) -> None:
        """Read the file again, to follow a command that writes it."""
        if self.path is not None:
            self.open(self.path)

    def _take(self, content: RankingContent) -> None:
        self._content = content


def _read(path: Path, _report: ReportProgress) -> Iterator[RankingContent]:
    stored = read_ranking(path)
    fits = () if stored.curve is None else tuple(stored.curve.fits())
    yield RankingContent(stored, fits)
