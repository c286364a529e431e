"""Worker processes of the models: whether they still beat, and those of background work."""

import contextlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from weakref import WeakSet

from psygnal import Signal

from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_model.inference.server import SILENCE_S
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.predict.predictor import Closable, Predictor, Prefetcher
from omnimouse_model.progress import Cancelled, TimeLeft

LOOK_S = 0.5


class WorkerWatch:
    """Reports workers that compute and have not beaten for `SILENCE_S`.

    Attributes
    ----------
    changed
        Emitted on the drawing thread when an attribute has changed.
    is_silent
        Whether a worker is silent, and the user has not chosen to wait for it.
    fit
        Fit of a baseline that a request waits for: "40 %, about 3 s left", "" for none.
    """

    changed = Signal()

    def __init__(self, execution: Execution = IN_THREADS) -> None:
        self.is_silent = False
        self.fit = ""
        self._time_left = TimeLeft()
        self._execution = execution
        self._workers: WeakSet[WorkerPredictor] = WeakSet()
        self._silent: tuple[WorkerPredictor, ...] = ()
        self._is_patient = False
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def watched(self, load: Load) -> Load:
        """Return a loader whose predictors are watched."""

        def load_and_watch(name: str, device: str) -> Predictor:
            predictor = load(name, device)
            if isinstance(predictor, WorkerPredictor):
                with self._lock:
                    self._workers.add(predictor)
                    self._start()
                if self._end.is_set():  # work in the background loads it too late
                    predictor.kill(is_last=True)
            return predictor

        return load_and_watch

    def look(self) -> None:
        """Look at all workers once; the thread does so twice a second."""
        with self._lock:
            workers = tuple(self._workers)
        before = bool(self._silent)
        self._silent = tuple(one for one in workers if one.silence_s() >= SILENCE_S)
        if bool(self._silent) != before:
            # The next silence is reported again.
            self._is_patient = False
            self._execution.post(self._show)
        fit = self._fit_text(max((one.fitted_share for one in workers), default=0.0))
        if fit != self.fit:
            self._execution.post(partial(self._show_fit, fit))

    def wait(self) -> None:
        """Wait for the silent workers: report them no more until they have beaten."""
        self._is_patient = True
        self._show()

    def restart(self) -> None:
        """End the silent workers; each starts again, and repeats its request."""
        for worker in self._silent:
            worker.kill()
        self.wait()

    def close(self) -> None:
        """End the watch, and the workers that have not ended with their engines."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(5.0)
        self.end(is_last=True)

    def end(self, *, is_last: bool = False) -> None:
        """End all workers; each starts again with its next request, unless it is the last."""
        with self._lock:
            workers = tuple(self._workers)
        for worker in workers:
            # Work in the background that still waits for one would start it again.
            worker.kill(is_last=is_last)

    def _start(self) -> None:
        if self._thread is None and not self._execution.synchronous:
            self._thread = threading.Thread(target=self._run, name="omnimouse-watch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(LOOK_S):
            self.look()

    def _fit_text(self, share: float) -> str:
        left = self._time_left.text(share)
        return f"{100 * share:z.0f} %{left}" if 0.0 < share < 1.0 else ""

    def _show_fit(self, fit: str) -> None:
        if not self._end.is_set():
            self.fit = fit
            self.changed.emit()

    def _show(self) -> None:
        is_silent = bool(self._silent) and not self._is_patient
        if is_silent != self.is_silent and not self._end.is_set():
            self.is_silent = is_silent
            self.changed.emit()


# -- a predictor of its own for long work in the background, at the lowest priority ---
MIN_URGENT = 19
"""Highest "nice" value of a process, which is the lowest priority."""


@contextlib.contextmanager
def background_predictor(
    source: str | Predictor, device: str, load: Load, cancelled: Cancelled
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
    predictor = load(source, device) if isinstance(source, str) else source
    try:
        if isinstance(predictor, WorkerPredictor):
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
