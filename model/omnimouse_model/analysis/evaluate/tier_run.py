"""Computation over the windows of a tier that is interrupted, continued and stored."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from omnimouse_model.analysis.evaluate.shard import Shard, ShardRun, ShardScores
from omnimouse_model.analysis.evaluate.shard_sums import (
    Arrays,
    Facts,
    restore_sums,
    shard_sums,
)
from omnimouse_model.progress import QUIET, CallbackJob

Result = TypeVar("Result")


class TierRun(ABC, Generic[Result]):
    """Sums over the batches of windows that `evaluate` adds, in the same order.

    Parameters
    ----------
    shard
        Predictors, recording, conditions and windows.
    """

    def __init__(self, shard: Shard) -> None:
        self._scores = ShardScores(shard, ShardRun(0, QUIET))
        self._n_added = 0

    @abstractmethod
    def result(self) -> Result:
        """Return the result over the windows that were added."""

    @property
    def n_added(self) -> int:
        """Number of batches of windows that were added."""
        return self._n_added

    @property
    def n_windows(self) -> int:
        """Number of windows that were added."""
        return sum(map(len, self._scores.batches[: self._n_added]))

    @property
    def is_whole(self) -> bool:
        """Whether the sums have whole batches; see `ShardScores`."""
        return self._scores.is_whole

    @property
    def n_bytes(self) -> int:
        """Upper limit of the memory of the sums, in bytes."""
        return self._scores.n_bytes

    def sums(self) -> tuple[Facts, Arrays]:
        """Return the state as JSON values and arrays, for `restore`."""
        running, arrays = shard_sums(self._scores)
        return {"n_added": self._n_added, "running": running}, arrays

    def restore(self, facts: Facts, arrays: Arrays) -> None:
        """Go on from the sums of an earlier process.

        Raises
        ------
        KeyError, ValueError
            They are of another task.
        """
        restore_sums(self._scores, facts["running"], arrays)
        self._n_added = int(facts["n_added"])

    def refine(self, cancelled: Callable[[], bool]) -> Iterator[Result]:
        """Yield the result after each further batch of windows.

        Raises
        ------
        StoppedError
            `cancelled()` returned true; a later call continues.
        """
        self._scores.run.job = CallbackJob(cancelled=cancelled)
        while self._n_added < len(self._scores.batches):
            self._scores.add(self._n_added)
            self._n_added += 1
            yield self.result()
