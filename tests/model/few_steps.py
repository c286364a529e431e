"""Sessions opened for a training, and some steps of it, which then stops."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import StoppedError
from omnimouse_model.progress import QUIET, Job, LimitedJob
from omnimouse_model.training.config import RunSettings, SessionChoice
from omnimouse_model.training.distributed import current_team
from omnimouse_model.training.loop import TrainingRun, train
from omnimouse_model.training.sessions import TrainingSession, training_session, training_sessions


def open_training_session(folder: Path, choice: SessionChoice) -> TrainingSession:
    """Open a session folder for training, as a run does that names it."""
    # One for each process of a team, which share what a run names.
    n = current_team().size
    named = RunSettings(sessions=(choice,) * n, places=(str(folder),) * n)
    (source,) = training_sessions([open_session(folder)], named, training_session)
    return source


def train_some(
    kind: type[TrainingRun],
    config: Any,
    sessions: list[TrainingSession],
    out: Path,
    steps: int,
    job: Job = QUIET,
    **options: Any,
) -> Any:
    """Train for some further steps, or to the end; return what is trained then."""
    made: list[TrainingRun] = []

    class Kept(kind):  # type: ignore[misc, valid-type]  # a class that is only known here
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    with suppress(StoppedError):
        train(Kept, config, sessions, out, job=LimitedJob(job, steps), **options)
    return made[0].result
