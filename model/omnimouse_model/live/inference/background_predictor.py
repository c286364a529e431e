"""A predictor of its own for long work in the background, at the lowest priority."""

import contextlib
import os
from collections.abc import Iterator

from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.predict.predictor import Closable, Loadable, Predictor, Prefetcher
from omnimouse_model.progress import Cancelled

MIN_URGENT = 19
"""Highest "nice" value of a process, which is the lowest priority."""


@contextlib.contextmanager
def background_predictor(
    source: str | Predictor,
    session: Session | None,
    device: str,
    load: Load,
    cancelled: Cancelled,
) -> Iterator[Predictor]:
    """Load a predictor, or use the predictor object; close it at the end if loaded.

    Parameters
    ----------
    cancelled
        Asked while the predictor loads.

    Raises
    ------
    ValueError
        The predictor is an object that computes for the screen.
    """
    is_loaded = isinstance(source, str)
    # A network or a process computes one prediction at a time, that of the screen.
    if not is_loaded and (isinstance(source, Prefetcher) or hasattr(source, "net")):
        raise ValueError(
            "A model that was passed as an object serves the screen only: choose it by "
            "name or file, so that the work in the background can load its own."
        )
    predictor = load(source, session, device) if isinstance(source, str) else source
    try:
        if isinstance(predictor, Loadable):
            predictor.load_model(None, cancelled)
        _lower_priority(predictor)
        yield predictor
    finally:
        # Only a predictor that was loaded here may be closed here.
        if is_loaded and isinstance(predictor, Closable):
            predictor.close()


def _lower_priority(predictor: Predictor) -> None:
    """Give the worker process of a predictor the lowest priority, if there is one."""
    # The process has been started. The priority is set before its computing threads
    # exist, because threads inherit it when they start.
    process = getattr(predictor, "process_id", None)
    if process is not None and hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):  # process has ended, or no permission
            os.setpriority(os.PRIO_PROCESS, process, MIN_URGENT)
