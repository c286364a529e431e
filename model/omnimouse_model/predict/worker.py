"""A predictor in a process of its own: spawned, without any screen, restarted.

The process reads the session from its files, so a stroke sends only what changed in
the mask. Big answers come back through shared memory. One thread talks to it: the
live engine's. The child's half is `worker_process`.
"""

import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory
from types import ModuleType
from typing import Any

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.windows import Window
from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.masks import N_SAMPLES, Mask
from omnimouse_model.predict.deltas import mask_delta
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction, Request
from omnimouse_model.predict.worker_process import (
    SHARED_FROM_BYTES,
    Source,
    Welcome,
    pressed,
    serve,
)

POLL_S = 0.02
"""How often a cancel is looked for while waiting: well under 50 ms."""


class WorkerPredictor:
    """The same calls as the predictor it holds; none of them computes here.

    Parameters
    ----------
    source
        A name, file or folder for `load_predictor`, or a function without arguments
        that the process can import by name and that makes a predictor.
    torch_threads
        Threads of the process; all cores but one by default.
    device
        Where a named predictor computes.
    """

    def __init__(
        self,
        source: Source,
        torch_threads: int | None = None,
        device: str = "auto",
    ) -> None:
        self._source = source
        self._device = device
        self._threads = torch_threads or max(1, _n_cores() - 1)
        self._context = multiprocessing.get_context("spawn")
        self._lock = threading.RLock()
        self._outdated: Callable[[], bool] = _never
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._welcome: Welcome | None = None
        self._shared: SharedMemory | None = None
        self._number = 0
        self._stopped: Any = self._context.Value("q", 0, lock=False)
        self._known: dict[str, tuple[Session, int]] = {}
        self._n_prepared = 0
        self._encoded: tuple[int, Window, Mask] | None = None
        self._bytes_sent = 0
        self._bytes_last = 0
        self._counted: dict[str, int] = {}

    # -- the predictor's calls ------------------------------------------------------
    @property
    def predictor_id(self) -> str:
        """Name and weights hash of the predictor in the process."""
        return self._started().predictor_id

    @property
    def needs(self) -> Needs:
        """What the predictor in the process can see and predict."""
        return self._started().needs

    @property
    def devices(self) -> tuple[str, ...]:
        """What the process could compute on."""
        return self._started().devices

    def prepare(self, session: Session) -> None:
        """Send where the session is, once; the process reads it from there."""
        with self._lock:
            self._started()
            if self._is_known(session):
                return
            self._n_prepared += 1
            key = self._n_prepared
            self._share(session)
            self._ask("prepare", key, session)
            self._known[session.id] = (session, key)

    def encode(self, window: Window, mask: Mask) -> Encoded:
        """Send window and mask; encoded once for all `decode`s that follow."""
        with self._lock:
            self.prepare(window.session)
            return Encoded(window, mask, self._encode(window, mask))

    def decode(self, encoded: Encoded, neurons: np.ndarray | None = None) -> Prediction:
        """Ask for neurons; encodes again if the process has moved on or restarted."""
        with self._lock:
            self.prepare(encoded.window.session)
            if self._encoded is None or self._encoded[0] != encoded.state:
                self._encode(encoded.window, encoded.mask)
            asked = None if neurons is None else pressed(neurons)
            prediction: Prediction = self._ask("decode", asked, self._shared_name())
            return prediction

    def predict(
        self, window: Window, mask: Mask, neurons: np.ndarray | None = None
    ) -> Prediction:
        """`decode(encode(window, mask), neurons)`."""
        with self._lock:
            return self.decode(self.encode(window, mask), neurons)

    def predict_many(
        self,
        requests: Iterable[Request],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Prediction]:
        """Answer requests in order until done or cancelled."""
        for window, mask, neurons in requests:
            if cancelled():
                return
            yield self.predict(window, mask, neurons)

    # -- what only a worker has -----------------------------------------------------
    def stop_when(self, outdated: Callable[[], bool]) -> None:
        """Give up waiting, and tell the process to stop, when this becomes true."""
        self._outdated = outdated

    @property
    def counters(self) -> dict[str, int]:
        """What was counted since the start: bytes sent here, the rest in the process.

        "bytes_sent_last" is what the latest `encode` sent.
        """
        here = {"bytes_sent": self._bytes_sent, "bytes_sent_last": self._bytes_last}
        return self._counted | here

    @property
    def name(self) -> str:
        """What it was made from; known without starting the process."""
        source = self._source
        if isinstance(source, str):
            return source
        return str(getattr(source, "__name__", type(source).__name__))

    @property
    def process_id(self) -> int | None:
        """The process, None while there is none."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End the process; nothing is left behind. The next call starts a new one."""
        process, connection = self._process, self._connection
        self._process = self._connection = self._welcome = None
        self._known, self._encoded = {}, None
        self._stopped.value = self._number
        if connection is not None:
            connection.close()  # The process ends when it reads the end of the pipe.
        if process is not None:
            _end(process)
        if self._shared is not None:
            self._shared.close()
            self._shared.unlink()
            self._shared = None

    # -- within ---------------------------------------------------------------------
    def _started(self) -> Welcome:
        with self._lock:
            if self._process is not None and not self._process.is_alive():
                self.close()
            if self._process is None:
                self._start()
            if self._welcome is None:
                self._number += 1
                self._send(("hello", self._number))
                self._welcome = self._answer_to(self._number)
            return self._welcome

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=serve,
            args=(theirs, self._source, self._device, self._threads, self._stopped),
            name="omnimouse-predictor",
            daemon=True,
        )
        with _without_main():
            process.start()
        theirs.close()
        self._process, self._connection = process, ours

    def _encode(self, window: Window, mask: Mask) -> int:
        known = self._encoded
        if known and known[2] is mask and known[1].key == window.key:
            return known[0]
        same_session = known and known[1].session is window.session
        before = known[2] if known and same_session else Mask.nothing(window.session)
        delta = mask_delta(before, mask)
        self._encoded = None
        sent = self._bytes_sent
        key = self._known[window.session.id][1]
        reset = not same_session
        self._ask("encode", key, window.start_index, reset, delta)
        self._bytes_last = self._bytes_sent - sent
        self._encoded = (self._number, window, mask)
        return self._number

    def _ask(self, verb: str, *what: Any) -> Any:
        self._number += 1
        self._send((verb, self._number, *what))
        return self._answer_to(self._number)

    def _send(self, message: tuple[Any, ...]) -> None:
        payload = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        assert self._connection is not None
        try:
            self._connection.send_bytes(payload)
        except OSError as error:
            raise self._ended() from error
        self._bytes_sent += len(payload)

    def _answer_to(self, number: int) -> Any:
        """Wait for one answer; older ones, of requests given up, are passed over."""
        connection = self._connection
        assert connection is not None
        try:
            while True:
                while not connection.poll(POLL_S):
                    if self._outdated():
                        self._give_up(number)
                answered, counted, error, value = connection.recv()
                if answered == number:
                    break
        except (EOFError, OSError) as fault:
            raise self._ended() from fault
        self._counted = counted
        if error is not None:
            raise error
        return self._read(value)

    def _give_up(self, number: int) -> None:
        self._stopped.value = number
        self._encoded = None
        raise StoppedError

    def _read(self, value: Any) -> Any:
        """Copy an answer out of shared memory, where it came that way."""
        if not isinstance(value, tuple):
            return value
        prediction, shape = value
        assert self._shared is not None
        shared = np.ndarray(shape, np.float32, self._shared.buf)
        return replace(prediction, responses=shared.copy())

    def _ended(self) -> WorkerError:
        process = self._process
        code = None
        if process is not None:
            process.join(1.0)
            code = process.exitcode
        self.close()
        killed = " (killed by the system: out of memory?)" if code == -9 else ""
        return WorkerError(
            f"The predictor's process ended with exit code {code}{killed}. "
            "It starts again with the next request."
        )

    def _is_known(self, session: Session) -> bool:
        known = self._known.get(session.id)
        return known is not None and known[0] is session

    def _share(self, session: Session) -> None:
        """Have shared memory for an answer over all neurons, where that is big."""
        n_bytes = N_SAMPLES * session.n_neurons * 4
        if n_bytes <= SHARED_FROM_BYTES:
            return
        if self._shared is None or self._shared.size < n_bytes:
            if self._shared is not None:
                self._shared.close()
                self._shared.unlink()
            self._shared = SharedMemory(create=True, size=n_bytes)

    def _shared_name(self) -> str:
        return "" if self._shared is None else self._shared.name


def _never() -> bool:
    return False


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _end(process: BaseProcess) -> None:
    process.join(0.2)
    for stop in (process.terminate, process.kill):
        if process.is_alive():
            stop()
            process.join(2.0)


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep the user's script out of the process.

    A spawned process imports the parent's `__main__` again: with it napari and Qt, or
    a script without a guard. Nothing that is sent needs it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
