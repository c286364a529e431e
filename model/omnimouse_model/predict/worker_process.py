"""The child's half of `worker`: holds the predictor, answers one message at a time.

Messages are tuples (verb, number, …); answers are (number, counters, error, value).
Knows no screen: it refuses to serve where a toolkit was imported.
"""

import contextlib
import os
import pickle
import signal
import sys
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.windows import Window
from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.masks import Mask
from omnimouse_model.predict.deltas import MaskDelta
from omnimouse_model.predict.devices import devices_of
from omnimouse_model.predict.parts import Interruptible, decode_in_parts, stop_if
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction, Predictor

SHARED_FROM_BYTES = 2**20
NICE = 5
SCREENS = ("napari", "qtpy", "PyQt6", "PySide6", "PyQt5", "IPython")
Source = str | Callable[[], Predictor]


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the process holds."""

    predictor_id: str
    needs: Needs
    devices: tuple[str, ...]


def pressed(neurons: np.ndarray) -> bytes:
    """Pack neuron indices; sorted ones take about a bit each."""
    steps = np.diff(np.asarray(neurons, np.int32), prepend=np.int32(0))
    return zlib.compress(steps.astype(np.int32).tobytes(), 1)


def unpressed(packed: bytes) -> np.ndarray:
    """Unpack neuron indices, int64."""
    steps = np.frombuffer(zlib.decompress(packed), np.int32)
    return np.cumsum(steps, dtype=np.int64)


def serve(
    connection: Connection, source: Source, device: str, threads: int, stopped: Any
) -> None:
    """Answer until the other end of the pipe closes: the process's main function."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to handle.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if hasattr(os, "nice"):
        os.nice(NICE)
    server = _Server(source, device, threads, stopped)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            verb, number, *what = pickle.loads(connection.recv_bytes())
            connection.send(server.answered(verb, number, what))


class _Server:
    """Predictor, sessions, the last mask and its encoding."""

    def __init__(self, source: Source, device: str, threads: int, stopped: Any) -> None:
        self._source = source
        self._device = device
        self._threads = threads
        self._stopped = stopped
        self._number = 0
        self._predictor: Predictor | None = None
        self._sessions: dict[int, Session] = {}
        self._mask: Mask | None = None
        self._window: Window | None = None
        self._encoded: Encoded | None = None
        self._shared: SharedMemory | None = None

    def answered(self, verb: str, number: int, what: list[Any]) -> tuple[Any, ...]:
        self._number = number
        value, fault = None, None
        try:
            stop_if(self._outdated)
            value = getattr(self, f"_{verb}")(*what)
        except Exception as error:
            fault = _sendable(error)
        counted = dict(getattr(self._predictor, "counters", {}))
        return number, counted, fault, value

    # -- verbs ------------------------------------------------------------------------
    def _hello(self) -> Welcome:
        predictor = self._loaded()
        return Welcome(predictor.predictor_id, predictor.needs, devices_of(predictor))

    def _prepare(self, key: int, session: Session) -> None:
        self._loaded().prepare(session)
        self._sessions[key] = session

    def _attach(self, shared_name: str) -> None:
        """Leave big answers where the asking side looks for them now."""
        if self._shared is None or self._shared.name != shared_name:
            if self._shared is not None:
                self._shared.close()
            self._shared = SharedMemory(shared_name) if shared_name else None

    def _encode(
        self, key: int, start_index: int, is_reset: bool, delta: MaskDelta
    ) -> None:
        session = self._sessions[key]
        before = None if is_reset else self._mask
        self._mask = delta.redo(before or Mask.nothing(session))
        window = Window(session, start_index)
        if self._window is None or self._window.key != window.key:
            self._window = window
        self._encoded = None
        self._encoded = self._loaded().encode(self._window, self._mask)

    def _decode(self, neurons: bytes | None, shared_name: str) -> Any:
        self._attach(shared_name)
        if self._encoded is None:
            raise WorkerError("Nothing is encoded; encode first.")
        predictor = self._loaded()
        if neurons is None:
            return self._packed(predictor.decode(self._encoded))
        chosen = unpressed(neurons)
        return self._packed(
            decode_in_parts(predictor, self._encoded, chosen, self._outdated)
        )

    # -- within -----------------------------------------------------------------------
    def _outdated(self) -> bool:
        return bool(self._number <= self._stopped.value)

    def _loaded(self) -> Predictor:
        if self._predictor is None:
            self._predictor = self._made()
            if isinstance(self._predictor, Interruptible):
                self._predictor.stop_when(self._outdated)
        return self._predictor

    def _made(self) -> Predictor:
        from omnimouse_model.predict.catalogue import load_predictor

        source = self._source
        if isinstance(source, str):
            made = load_predictor(source, device=self._device)
        else:
            made = source()
        if found := [name for name in SCREENS if name in sys.modules]:
            raise WorkerError(
                f"The predictor's process imported {', '.join(found)}; a predictor "
                "must not need a screen."
            )
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(self._threads)
        return made

    def _packed(self, prediction: Prediction) -> Any:
        """A prediction as it is, or with its responses left in shared memory."""
        responses = prediction.responses
        if self._shared is None or responses.nbytes < SHARED_FROM_BYTES:
            return prediction
        if responses.nbytes > self._shared.size:
            return prediction
        target = np.ndarray(responses.shape, np.float32, self._shared.buf)
        target[...] = responses
        return replace(prediction, responses=responses[:0]), responses.shape


def _sendable(error: Exception) -> Exception:
    """Keep our own and builtin errors; others may not exist in the other process."""
    if isinstance(error, StoppedError):
        return StoppedError()
    module = type(error).__module__
    if module == "omnimouse_model.errors":
        return error
    words = "".join(traceback.format_exception_only(error)).strip()
    last = traceback.extract_tb(error.__traceback__)[-1]
    return WorkerError(f"{words} (in {last.name}, {last.filename}:{last.lineno})")
