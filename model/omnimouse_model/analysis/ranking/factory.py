"""Interface of a family of models to a ranking: training, and transfer of a core."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import Job


@runtime_checkable
class Factory(Protocol):
    """Trains models of one family and config; can be pickled.

    The same arguments give the same model. A training that was stopped goes on in its
    folder, and one that is complete only loads its result.
    """

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that a core depends on, apart from sessions and seed; JSON values."""
        ...

    @property
    def transfer_settings(self) -> Mapping[str, Any]:
        """All that a transfer depends on, apart from core, session and seed."""
        ...

    @property
    def spec(self) -> WindowSpec:
        """Windows of the models."""
        ...

    def pretrain(self, sessions: Sequence[Session], seed: int, out: Path, job: Job) -> Predictor:
        """Train a model on sessions.

        Raises
        ------
        StoppedError
            The job is cancelled.
        """
        ...

    def transfer(
        self, model: Predictor, session: Session, seed: int, out: Path, job: Job
    ) -> Predictor:
        """Fit the parts of a new session on the frozen core of a model.

        Raises
        ------
        StoppedError
            The job is cancelled.
        """
        ...
