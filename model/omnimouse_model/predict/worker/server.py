"""The child's half of `worker`: holds the predictor, answers one message at a time.

Messages are pickled tuples (verb, number, pickled arguments), so that arguments which
cannot be read here are an answer too; answers are pickled tuples (number, counters,
error, value). Knows no screen: it refuses to serve where a toolkit was imported.
"""

import contextlib
import os
import pickle
import signal
import sys
import traceback
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np

from omnimouse_model.data.clip import Clip
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.errors import (
    SessionFormatError,
    StoppedError,
    UnsupportedRequestError,
    WorkerError,
)
from omnimouse_model.masks import Mask
from omnimouse_model.predict.capabilities import (
    Foresighted,
    Interruptible,
    decode_in_parts,
    stop_if,
)
from omnimouse_model.predict.devices import Residence, devices_of, residence_of
from omnimouse_model.predict.omnimouse.batching import at_once
from omnimouse_model.predict.predictor import (
    Encoded,
    Needs,
    Prediction,
    Predictor,
    Request,
)
from omnimouse_model.predict.worker.mask_delta import MaskDelta
from omnimouse_model.predict.worker.shared_memory import AttachedAnswers

NICE = 5
SCREENS = ("napari", "qtpy", "PyQt6", "PySide6", "PyQt5", "IPython")
Source = str | Callable[[], Predictor]
Place = tuple[Literal["window", "clip"], dict[str, Any]]
"""Kind of input, and its arguments after the session: numbers and arrays alone."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the process holds."""

    predictor_id: str
    needs: Needs
    devices: tuple[str, ...]
    at_once: int
    residence: Residence


@dataclass(frozen=True, slots=True)
class Answers:
    """What several requests were answered, up to the first that was refused."""

    predictions: list[Prediction]
    refusal: UnsupportedRequestError | None = None


def place_of(inputs: Window) -> Place:
    """Return a window or a clip without its session, for a message."""
    return "clip" if isinstance(inputs, Clip) else "window", inputs.arguments


def inputs_at(session: Session, place: Place) -> Window:
    """Return the window or the clip of a message."""
    kind, arguments = place
    return (Clip if kind == "clip" else Window)(session=session, **arguments)


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
    server = Server(source, device, threads, lambda number: number <= stopped.value)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            connection.send_bytes(server.answered(connection.recv_bytes()))


class Server:
    """Predictor, sessions, the last mask and its encoding.

    Parameters
    ----------
    source, device
        What the predictor is made from, and where it computes.
    threads
        Torch's threads; its own choice where None.
    is_stopped
        Whether the message of this number is given up.
    """

    def __init__(
        self,
        source: Source,
        device: str,
        threads: int | None,
        is_stopped: Callable[[int], bool],
    ) -> None:
        self._source = source
        self._device = device
        self._threads = threads
        self._is_stopped = is_stopped
        self._number = 0
        self._predictor: Predictor | None = None
        self._sessions: dict[int, Session] = {}
        self._mask: Mask | None = None
        self._window: Window | None = None
        self._encoded: Encoded | None = None
        self._shared = AttachedAnswers()

    def answered(self, message: bytes) -> bytes:
        """Do what one message asks; a fault is an answer too."""
        verb, self._number, packed = pickle.loads(message)
        value, fault = None, None
        try:
            stop_if(self._outdated)
            value = getattr(self, f"_{verb}")(*_unpacked(packed))
        except Exception as error:
            fault = sendable(error)
        counted = dict(getattr(self._predictor, "counters", {}))
        answer = self._number, counted, fault, value
        return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)

    # -- verbs ------------------------------------------------------------------------
    def _hello(self) -> Welcome:
        predictor = self._loaded()
        return Welcome(
            predictor.predictor_id,
            predictor.needs,
            devices_of(predictor),
            at_once(predictor),
            residence_of(predictor),
        )

    def _prepare(self, key: int, session: Session) -> None:
        self._loaded().prepare(session)
        self._sessions[key] = session

    def _encode(self, key: int, place: Place, is_reset: bool, delta: MaskDelta) -> None:
        session = self._sessions[key]
        window = inputs_at(session, place)
        before = None if is_reset else self._mask
        self._mask = delta.redo(before or Mask.nothing(session, window.spec))
        if self._window is None or self._window.key != window.key:
            self._window = window
        self._encoded = None
        self._encoded = self._loaded().encode(self._window, self._mask)

    def _decode(self, neurons: bytes | None, shared_name: str) -> Any:
        self._shared.attach(shared_name)
        if self._encoded is None:
            raise WorkerError("Nothing is encoded; encode first.")
        predictor = self._loaded()
        if neurons is None:
            return self._packed(predictor.decode(self._encoded))
        chosen = unpressed(neurons)
        return self._packed(
            decode_in_parts(predictor, self._encoded, chosen, self._outdated)
        )

    def _many(
        self,
        key: int,
        place: Place,
        deltas: Sequence[MaskDelta],
        neurons: Sequence[bytes | None],
    ) -> "Answers":
        """Answer masks of one window, each told by how it differs from the last."""
        session = self._sessions[key]
        window = inputs_at(session, place)
        mask = Mask.nothing(session, window.spec)
        requests: list[Request] = []
        for delta, packed in zip(deltas, neurons, strict=True):
            mask = delta.redo(mask)
            asked = None if packed is None else unpressed(packed)
            requests.append((window, mask, asked))
        answers: list[Prediction] = []
        try:
            answers.extend(self._loaded().predict_many(requests, self._outdated))
        except UnsupportedRequestError as refusal:
            return Answers(answers, refusal)
        stop_if(self._outdated)
        return Answers(answers)

    def _look_ahead(self, key: int, place: Place, frames: np.ndarray) -> None:
        predictor, session = self._loaded(), self._sessions[key]
        if isinstance(predictor, Foresighted):
            window = inputs_at(session, place)
            shown = np.unpackbits(frames, count=window.spec.n_frames).astype(bool)
            mask = Mask.nothing(session, window.spec).with_frames(shown)
            predictor.look_ahead(window, mask)

    # -- within -----------------------------------------------------------------------
    def _outdated(self) -> bool:
        return self._is_stopped(self._number)

    def _loaded(self) -> Predictor:
        if self._predictor is None:
            self._predictor = self._made()
            if isinstance(self._predictor, Interruptible):
                self._predictor.stop_when(self._outdated)
        return self._predictor

    def _made(self) -> Predictor:
        from omnimouse_model.predict.registry import load_predictor

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
        if self._threads and (torch := sys.modules.get("torch")):
            torch.set_num_threads(self._threads)
        return made

    def _packed(self, prediction: Prediction) -> Any:
        """A prediction as it is, or with its responses left in shared memory."""
        responses = prediction.responses
        if not self._shared.leave(responses):
            return prediction
        return replace(prediction, responses=responses[:0]), responses.shape


def _unpacked(packed: bytes) -> tuple[Any, ...]:
    """Arguments; a session among them is opened here, from its own files."""
    try:
        what: tuple[Any, ...] = pickle.loads(packed)
    except (OSError, SessionFormatError) as error:
        raise WorkerError(
            f"Where the predictor runs, this cannot be read: {error}. The recording "
            "must be there too, at the same path, unchanged since it was opened."
        ) from error
    return what


def sendable(error: Exception) -> Exception:
    """Keep our own and builtin errors; others may not exist in the other process."""
    if isinstance(error, StoppedError):
        return StoppedError()
    module = type(error).__module__
    if module == "omnimouse_model.errors":
        return error
    words = "".join(traceback.format_exception_only(error)).strip()
    last = traceback.extract_tb(error.__traceback__)[-1]
    return WorkerError(f"{words} (in {last.name}, {last.filename}:{last.lineno})")
