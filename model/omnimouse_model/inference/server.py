"""The worker's side of `client`: predictor, messages, shared memory and heartbeat.

A message is a pickled tuple (verb, number, pickled arguments), so that arguments which
cannot be read here still get a reply. A reply is a pickled tuple (number, error, value).
The server runs without a screen and refuses to load a GUI toolkit.
"""

import contextlib
import os
import signal
import sys
import threading
import traceback
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from secrets import token_hex
from time import monotonic
from typing import Any

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.errors import (
    SessionFormatError,
    StoppedError,
    UnsupportedRequestError,
    WorkerError,
)
from omnimouse_model.inference.mask_delta import MaskDelta, unpack_indices
from omnimouse_model.inference.registry import Source, resolve_predictor
from omnimouse_model.masks import Mask
from omnimouse_model.predict.devices import Residence, devices_of, full_memory_text, residence_of
from omnimouse_model.predict.predictor import (
    Encoded,
    Needs,
    OptionalMethod,
    Prediction,
    Predictor,
    Prefetcher,
    Request,
    Subset,
    decoded,
    predicted_subsets,
    predictions_of,
    stepped,
)
from omnimouse_model.progress import CallbackJob, stop_if
from omnimouse_model.storage.processes import packed, unpacked

# -- Heartbeat of a worker process: a thread counts there, and this process looks at the
# count
# A worker that is stopped, or that the system does not run, counts no further. Time during
# which this process itself did not run, asleep or stopped, is not measured: it is the time
# between two looks, of which a long one counts as a short one.
BEAT_S = 1.0
SILENCE_S = 5.0
"""Time without a beat after which a worker is reported."""
_LONGEST_STEP_S = 1.0


def start_beating(count: Any) -> None:
    """Add 1 to a shared integer each second, on a thread of this process, until its end."""

    def beat() -> None:
        pause = threading.Event()
        while True:
            count.value += 1
            pause.wait(BEAT_S)

    threading.Thread(target=beat, name="omnimouse-heartbeat", daemon=True).start()


class Silence:
    """Time for which a count has not changed, as seen by a process that looks at it.

    Parameters
    ----------
    clock
        Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._last_s = clock()
        self._count = 0
        self._silent_s = 0.0

    def look(self, count: int) -> float:
        """Return the seconds since the last change; 0 before the first beat."""
        now_s = self._clock()
        step_s, self._last_s = now_s - self._last_s, now_s
        if count != self._count or count == 0:
            self._count, self._silent_s = count, 0.0
        else:
            self._silent_s += min(step_s, _LONGEST_STEP_S)
        return self._silent_s


# -- shared memory for one large result at a time, released whichever side ends first -
# The requesting side creates the segment, and unlinks it when it is closed, collected, or
# its interpreter ends. If it is killed, Python's resource tracker unlinks the segment on
# Linux and macOS, and Windows frees it with its last handle. The worker only attaches.
SHARED_FROM_BYTES = 2**20
"""Smaller results are as fast through the pipe."""


class ResultMemory:
    """The segment of the requesting side; it grows with the sessions."""

    def __init__(self) -> None:
        self._memory: SharedMemory | None = None
        self._release: Callable[[], Any] = lambda: None

    @property
    def name(self) -> str:
        """Name to which the worker attaches, "" without a segment."""
        return "" if self._memory is None else self._memory.name

    def fit(self, n_samples: int, n_neurons: int) -> None:
        """Make room for the float32 responses of all neurons, if these are large."""
        n_bytes = n_samples * n_neurons * 4
        size = 0 if self._memory is None else self._memory.size
        if n_bytes > max(SHARED_FROM_BYTES, size):
            self.close()
            self._memory = SharedMemory(create=True, size=n_bytes)
            # A finaliser, because `__del__` is not called at every interpreter exit.
            self._release = weakref.finalize(self, _unlink, self._memory)

    def read(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return a copy of the result in the segment, float32."""
        # A copy, because the next result overwrites the segment.
        assert self._memory is not None
        return np.ndarray(shape, np.float32, self._memory.buf).copy()

    def close(self) -> None:
        """Release the segment; `fit` makes a new one."""
        self._memory = None
        self._release()


class AttachedMemory:
    """The worker's view of the segment."""

    def __init__(self) -> None:
        self._memory: SharedMemory | None = None

    def attach(self, name: str) -> None:
        """Attach to the segment of this name, to none for ""."""
        if self._memory is not None and self._memory.name != name:
            self._memory.close()
            self._memory = None
        if name and self._memory is None:
            self._memory = SharedMemory(name)

    def put(self, responses: np.ndarray) -> bool:
        """Write float32 values; return False if they are small or do not fit."""
        memory = self._memory
        if memory is None or not SHARED_FROM_BYTES < responses.nbytes <= memory.size:
            return False
        np.ndarray(responses.shape, np.float32, memory.buf)[...] = responses
        return True


def _unlink(memory: SharedMemory) -> None:
    memory.close()
    # The resource tracker of another process may have unlinked it already.
    with contextlib.suppress(FileNotFoundError):
        memory.unlink()


# -- the worker's side of `client` ----------------------------------------------------
NICE = 5
"""Niceness: the user interface has priority over the predictor."""
SCREENS = ("napari", "qtpy", "PyQt6", "PySide6", "PyQt5", "IPython")
MAX_STATES = 8
"""Stored states of streams; a stream needs its last one only."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Properties of the predictor in the worker."""

    predictor_id: str
    needs: Needs
    devices: tuple[str, ...]
    at_once: int
    residence: Residence


BatchAnswer = tuple[list[Prediction], UnsupportedRequestError | None]
"""Predictions of several requests, up to the first that was refused, and its error."""


def serve(
    connection: Connection,
    source: Source,
    device: str,
    threads: int,
    cancelled: Any,
    beats: Any,
    share: Any,
) -> None:
    """Serve until the other end of the pipe closes; main function of the process.

    Both processes share the number of the last cancelled message, the count of beats and
    the finished share of a fit.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to handle.
    if hasattr(os, "nice"):
        os.nice(NICE)
    start_beating(beats)
    report = partial(setattr, share, "value")
    server = Server(source, device, threads, lambda number: number <= cancelled.value, report)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            connection.send_bytes(server.reply(connection.recv_bytes()))


class Server:
    """Predictor, sessions, and the last mask with its encoding.

    Parameters
    ----------
    source, device
        Argument of `load_predictor` or function that makes the predictor; its device.
    threads
        Number of threads of torch; None for its default.
    is_cancelled
        Function from the number of a message to whether it is cancelled.
    report
        Receives the finished share of a fit that a request begins, 0 at its end.
    """

    def __init__(
        self,
        source: Source,
        device: str,
        threads: int | None,
        is_cancelled: Callable[[int], bool],
        report: Callable[[float], None] = lambda share: None,
    ) -> None:
        self._report = report
        self._source = source
        self._device = device
        self._threads = threads
        self._is_cancelled = is_cancelled
        self._number = 0
        self._sessions: dict[int, Session] = {}
        self._mask: Mask | None = None
        self._window: Window | None = None
        self._encoded: Encoded | None = None
        self._states: OrderedDict[str, Any] = OrderedDict()
        self._memory = AttachedMemory()

    def reply(self, message: bytes) -> bytes:
        """Execute one message, and return the reply; an error is a reply too."""
        verb, self._number, arguments = unpacked(message)
        try:
            # A message may have been cancelled while it waited in the pipe.
            stop_if(self._cancelled)
            # Each verb is a method below.
            value = getattr(self, f"_{verb}")(*self._unpacked(arguments))
            answer = packed((self._number, None, value))
        except BaseException as error:  # a family may also ask to end the process
            with contextlib.suppress(Exception):
                self._report(0.0)
            is_asked = isinstance(error, StoppedError) and self._cancelled()
            fault = StoppedError() if is_asked else portable_error(error)
            return packed((self._number, fault, None))
        self._report(0.0)
        return answer

    # -- verbs ------------------------------------------------------------------------
    def _info(self) -> ServerInfo:
        predictor = self._predictor
        return ServerInfo(
            predictor.predictor_id,
            predictor.needs,
            devices_of(predictor),
            getattr(predictor, "at_once", 1),
            residence_of(predictor),
        )

    def _prepare(self, key: int, session: Session) -> None:
        # Only after `prepare`: a refused session must not count as known.
        self._predictor.prepare(session)
        self._sessions[key] = session

    def _encode(self, window: Window | None, is_reset: bool, delta: MaskDelta) -> None:
        # None for the window of the last message, whose arrays are cached in it.
        self._window = window or self._window
        assert self._window is not None
        before = None if is_reset else self._mask
        self._mask = delta.redo(before or Mask.nothing(self._window.session, self._window.spec))
        # Dropped first: two encodings may not fit in the memory of the device.
        self._encoded = None
        self._encoded = self._predictor.encode(self._window, self._mask, self._cancelled)

    def _decode(self, neurons: bytes | None, memory_name: str) -> Prediction:
        """Predict neurons; large responses are in the shared memory alone."""
        self._memory.attach(memory_name)
        if self._encoded is None:
            raise WorkerError("Nothing is encoded; encode first.")
        indices = None if neurons is None else unpack_indices(neurons)
        prediction = decoded(self._predictor, self._encoded, indices, self._cancelled)
        if self._memory.put(prediction.responses):
            # The rows stay, because `valid` has one value per row.
            prediction = replace(prediction, responses=prediction.responses[:, :0])
        return _without_mask(prediction)

    def _predict_many(
        self, window: Window, deltas: Sequence[MaskDelta], neurons: Sequence[bytes | None]
    ) -> BatchAnswer:
        """Predict masks of one window; each delta is the change from the last mask."""
        mask = Mask.nothing(window.session, window.spec)
        requests: list[Request] = []
        for delta, chosen in zip(deltas, neurons, strict=True):
            mask = delta.redo(mask)
            indices = None if chosen is None else unpack_indices(chosen)
            requests.append((window, mask, indices))
        predictions: list[Prediction] = []
        # A refusal is part of the result, so that the predictions before it count.
        try:
            found = predictions_of(self._predictor, requests, self._cancelled)
            predictions.extend(map(_without_mask, found))
        except UnsupportedRequestError as refusal:
            return predictions, refusal
        return predictions, None

    def _prefetch(self, window: Window, frames: np.ndarray) -> None:
        predictor = self._predictor
        if isinstance(predictor, Prefetcher):
            visible = np.unpackbits(frames, count=window.spec.n_frames).astype(bool)
            mask = Mask.nothing(window.session, window.spec).with_frames(visible)
            predictor.prefetch(window, mask, self._cancelled)

    # -- verbs of optional methods ----------------------------------------------------
    def _ask(self, method: OptionalMethod, *arguments: Any) -> Any:
        """Return what an optional method returns, if the predictor announces it."""
        return getattr(self._offering(method), method)(*arguments, self._cancelled)

    def _stimulus_positions(self, session: Session) -> np.ndarray:
        return self._offering("stimulus_positions").stimulus_positions(session)

    def _predict_subsets(
        self, windows: Sequence[Window], sent: Sequence[tuple[MaskDelta, bytes, tuple[int, int]]]
    ) -> list[list[np.ndarray]]:
        mask, subsets = Mask.nothing(windows[0].session, windows[0].spec), []
        for delta, neurons, own in sent:
            mask = delta.redo(mask)
            subsets.append(Subset(mask, unpack_indices(neurons), own))
        predictor = self._offering("predict_subsets")
        return predicted_subsets(predictor, windows, subsets, self._cancelled)

    def _start(self, session: Session) -> str:
        return self._store(self._offering("step").start(session, self._cancelled))

    def _step(self, state_key: str, inputs: Window) -> tuple[Prediction, str]:
        if state_key not in self._states:
            raise UnsupportedRequestError(
                "The worker no longer has the state of this stream: start a new one."
            )
        state = self._states[state_key]
        prediction, state = stepped(self._offering("step"), state, inputs, self._cancelled)
        return prediction, self._store(state)

    def _offering(self, method: OptionalMethod) -> Any:
        """Return the predictor, if it announces an optional method."""
        predictor = self._predictor
        if method not in predictor.needs.methods:
            raise UnsupportedRequestError(f"{predictor.predictor_id!r} offers no {method}.")
        return predictor

    def _store(self, state: Any) -> str:
        # States stay here, on the device; random keys are not those of a worker that
        # was restarted.
        key = token_hex(8)
        self._states[key] = state
        while len(self._states) > MAX_STATES:
            self._states.popitem(last=False)
        return key

    # -- internals --------------------------------------------------------------------
    def _unpacked(self, message: bytes) -> tuple[Any, ...]:
        """Return the arguments; a session among them is known, or opened from its own files."""
        try:
            arguments: tuple[Any, ...] = unpacked(message, self._sessions)
        except (OSError, SessionFormatError) as error:
            raise WorkerError(
                f"Where the predictor runs, this cannot be read: {error}. The recording "
                "must be there too, at the same path, unchanged since it was opened."
            ) from error
        return arguments

    def _cancelled(self) -> bool:
        return self._is_cancelled(self._number)

    @cached_property
    def _predictor(self) -> Predictor:
        predictor = resolve_predictor(self._source, self._device)
        # Only a predictor that is fitted to a session has one; the screen shows it.
        if hasattr(predictor, "job"):
            predictor.job = CallbackJob(lambda done, total, _: self._report(done / total))
        # A toolkit would open a display, and its threads would slow the predictor.
        if screens := [name for name in SCREENS if name in sys.modules]:
            raise WorkerError(
                f"The predictor's process imported {', '.join(screens)}; a predictor "
                "must not need a screen."
            )
        # Only if the predictor has imported it: baselines do without.
        if self._threads and (torch := sys.modules.get("torch")):
            torch.set_num_threads(self._threads)
        return predictor


def _without_mask(prediction: Prediction) -> Prediction:
    """Return a checked prediction without its mask, which the client has."""
    return prediction if prediction.mask is None else replace(prediction, mask_id="", mask=None)


def portable_error(error: BaseException) -> Exception:
    """Return an error that the other process can unpickle."""
    # A stop that nobody asked for is a fault of the model like any other.
    is_own = type(error).__module__ == "omnimouse_model.errors"
    if isinstance(error, Exception) and is_own and not isinstance(error, StoppedError):
        return error
    if text := full_memory_text(error):
        return WorkerError(text)
    # No fault of the code: the text says what has to be installed.
    if isinstance(error, ModuleNotFoundError):
        return WorkerError(str(error))
    # The class may not exist in the other process, so its text and place are sent.
    text = "".join(traceback.format_exception_only(error)).strip()
    last = traceback.extract_tb(error.__traceback__)[-1]
    return WorkerError(f"{text} (in {last.name}, {last.filename}:{last.lineno})")
