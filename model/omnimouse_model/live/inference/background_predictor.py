"""A predictor of its own for long work in the background, at the lowest priority."""

import contextlib
import os
from collections.abc import Callable, Iterator

from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.predict.capabilities import Closable, Interruptible
from omnimouse_model.predict.predictor import Predictor

MIN_URGENT = 19
"""Highest "nice" value of a process, which is the lowest priority."""


@contextlib.contextmanager
def background_predictor(
    source: str | Predictor,
    session: Session | None,
    device: str,
    load: Load,
    stopped: Callable[[], bool],
) -> Iterator[Predictor]:
    """Load a predictor, or use the predictor object; close it at the end if loaded.

    Parameters
    ----------
    stopped
        Returns whether the work must end, also in the middle of a prediction.

    Raises
    ------
    ValueError
        The predictor is an object that only the live engine may stop.
    """
    is_loaded = isinstance(source, str)
    # It has one `stop_when`, which the live engine uses.
    if not is_loaded and isinstance(source, Interruptible):
        raise ValueError(
            "A model that was passed as an object serves the screen only: choose it by "
            "name or file, so that the work in the background can load its own."
        )
    predictor = load(source, session, device) if isinstance(source, str) else source
    try:
        if isinstance(predictor, Interruptible):
            predictor.stop_when(stopped)
        _lower_priority(predictor)
        yield predictor
    finally:
        # Only a predictor that was loaded here may be closed here.
        if is_loaded and isinstance(predictor, Closable):
            predictor.close()


def _lower_priority(predictor: Predictor) -> None:
    """Give the worker process of a predictor the lowest priority, if there is one."""
    # Reading the id starts the process. The priority is set before its computing
    # threads exist, because threads inherit it when they start.
    _ = predictor.predictor_id
    process = getattr(predictor, "process_id", None)
    if process is not None and hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):  # process has ended, or no permission
            os.setpriority(os.PRIO_PROCESS, process, MIN_URGENT)
