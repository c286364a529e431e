"""A predictor in another process, by default on this machine: spawned, restarted.

The worker reads sessions from their files, so a stroke sends only the change of the
mask. Large results come back through shared memory. One thread talks to the worker,
that of the live engine. If the worker crashes, it is started again with its session
and the newest mask, and the request is repeated once. `server` is the other side; a
`Link` carries the messages: `ProcessLink` that of a spawned process on this machine,
`dask_map` has one over Dask. The file is long because the calls, the restarts and the
messages share one state.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import groupby, islice, pairwise
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from omnimouse_model.data.clip import Clip
from omnimouse_model.data.session import Session, Window
from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.inference.mask_delta import mask_delta, pack_indices
from omnimouse_model.inference.registry import Source
from omnimouse_model.inference.server import (
    BatchAnswer,
    ResultMemory,
    ServerInfo,
    Silence,
    portable_error,
    serve,
)
from omnimouse_model.masks import Mask
from omnimouse_model.predict.devices import Residence
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction, Predictor, Request, Subset
from omnimouse_model.progress import Cancelled, never, stop_if
from omnimouse_model.storage.processes import (
    SPAWN,
    WAITING,
    end_process,
    exit_text,
    packed,
    spawn,
    unpacked,
)


# -- connections that carry messages to a predictor in another process, and replies back
# `ProcessLink` is a spawned process on this machine; `dask_map` has one over Dask.
# Both carry the bytes that `client` writes and `server` reads.
class LinkEndedError(Exception):
    """The other end is gone; the message says how, if that is known."""


class Link(Protocol):
    """Connection to one predictor in another process, from its start to its end.

    Attributes
    ----------
    shares_memory
        Whether the other end can attach to this machine's shared memory.
    process_id
        Process of the other end, None if it is on another machine.
    """

    shares_memory: bool = False
    process_id: int | None = None

    def beats(self) -> int:
        """Return a count that grows each second while the other end runs; 0 if not known."""
        return 0

    def fitted_share(self) -> float:
        """Return the finished share of a fit inside the running request; 0 if there is none."""
        return 0.0

    @property
    def is_alive(self) -> bool:
        """False if the other end has ended; True does not guarantee that it replies."""

    def send(self, message: bytes) -> None:
        """Send one message; raises `LinkEndedError`."""

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next reply, in the order of the messages; None after the timeout.

        Raises `LinkEndedError`.
        """

    def cancel(self, number: int) -> None:
        """Cancel all messages up to this number, also a running one."""

    def close(self) -> None:
        """End the other end and release all resources."""


NUMPY_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1"}
"""Variables that numpy reads when it is imported.

The products of predictions are small. With a thread per core, those of a model and of a
baseline that compute at once wait for each other in loops: with 16 cores they took over
ten times as long as with one thread each. The price: a baseline is fitted on one core.
"""
Connect = Callable[[Source, str], Link]
"""Function that starts a link from a source and a device."""


class ProcessLink(Link):
    """A spawned process at the end of a pipe; it ends with this process."""

    shares_memory = True

    def __init__(self, source: Source, device: str) -> None:
        # No lock: one side writes an aligned integer, and the other only compares it.
        self._cancelled: Any = SPAWN.Value("q", 0, lock=False)
        self._beats: Any = SPAWN.Value("q", 0, lock=False)
        self._share: Any = SPAWN.Value("d", 0.0, lock=False)
        # One core stays free for the user interface.
        threads = max(1, _n_cores() - 1)
        self._process, self._connection = spawn(
            "omnimouse-predictor",
            serve,
            source,
            device,
            threads,
            self._cancelled,
            self._beats,
            self._share,
            environment={"OMP_NUM_THREADS": str(threads), **NUMPY_THREADS, **WAITING},
        )
        self.process_id = self._process.pid

    def beats(self) -> int:
        """Return the count of the thread `start_beating` of the process."""
        return int(self._beats.value)

    def fitted_share(self) -> float:
        """Return the share that the process last reported."""
        return float(self._share.value)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def send(self, message: bytes) -> None:
        """Send one message; a full pipe blocks until the process reads."""
        try:
            self._connection.send_bytes(message)
        except OSError as error:
            raise self._ended() from error

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next reply from the pipe, None after the timeout."""
        try:
            if not self._connection.poll(timeout_s):
                return None
            return self._connection.recv_bytes()
        except (EOFError, OSError) as fault:
            raise self._ended() from fault

    def cancel(self, number: int) -> None:
        """Cancel through shared memory: a busy process does not read its pipe."""
        self._cancelled.value = number

    def close(self) -> None:
        """End the process: close its pipe, then terminate, then kill."""
        self._cancelled.value = 2**62  # above every number: stops a running request
        self._connection.close()
        end_process(self._process, 0.2)

    def _ended(self) -> LinkEndedError:
        return LinkEndedError(f"The predictor's process {exit_text(self._process)}.")


def _n_cores() -> int:
    # Containers and job schedulers give a process fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


logger = logging.getLogger(__name__)

T = TypeVar("T")
POLL_S = 0.01
"""Time between two checks for a cancel: well under the 50 ms within which a cancel takes effect."""
PREFETCH_POLL_S = 0.002
"""The same while prefetching, which must not delay a request."""
CLOSED = "The predictor was closed while it predicted."


class WorkerPredictor(Predictor):
    """A predictor whose calls are sent to another process.

    Parameters
    ----------
    source
        A name, file or folder for `load_predictor`, or a function without arguments
        that the process can import by name and that makes a predictor.
    device
        Device of a predictor that is loaded by name.
    connect
        Starts the worker and carries the messages; by default a local process.
    """

    def __init__(
        self, source: Source, device: str = "auto", *, connect: Connect = ProcessLink
    ) -> None:
        self._source = source
        self._device = device
        self._connect = connect
        # Reentrant: requests call `needs`, which is a request too.
        self._lock = threading.RLock()
        self._link: Link | None = None
        self._info: ServerInfo | None = None
        self._n_closes = 0
        self._is_over = False
        self._is_asked = False
        self._silence = Silence()
        self._memory = ResultMemory()
        self._n_crashes = 0
        self._remark = ""
        # Number of the last message, and of the last cancelled one, 0 for none.
        self._number = 0
        self._cancelled = 0
        self._sessions: dict[str, tuple[Session, int]] = {}
        self._n_prepared = 0
        self._encoded: tuple[int, Window, Mask] | None = None

    def __repr__(self) -> str:
        """Return the class and the source; the id would start the process."""
        return f"{type(self).__name__}: {self._source}"

    # -- the predictor's calls ------------------------------------------------------
    @property
    def predictor_id(self) -> str:
        """Name and weights hash of the predictor in the worker."""
        return self._with_restart(self._started).predictor_id

    @property
    def needs(self) -> Needs:
        """What the predictor in the worker can see and predict."""
        return self._with_restart(self._started).needs

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices of the worker."""
        return self._with_restart(self._started).devices

    @property
    def residence(self) -> Residence:
        """Hardware of the worker, and its process if that is on this machine."""
        info = self._with_restart(self._started)
        return replace(info.residence, process_id=self.process_id)

    def load_model(self, session: Session | None, cancelled: Cancelled = never) -> None:
        """Start the worker, which loads the model, and prepare a session if there is one."""
        self._with_restart(partial(self._prepare, session, cancelled))

    def prepare(self, session: Session) -> None:
        """Send the path of a session, once; the worker reads the session from it."""
        self.load_model(session)

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Send window and mask; the encoding serves all `decode` calls after it."""
        number = self._with_restart(lambda: self._encode(window, mask, cancelled))
        return Encoded(window, mask, number)

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        """Request neurons; encodes again if another encoding replaced this one."""
        indices = None if neurons is None else pack_indices(neurons)
        decode = partial(self._decode, encoded, indices, cancelled)
        return self._finished(self._with_restart(decode))

    def prefetch(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> None:
        """Prepare a window in the worker; has no effect before the worker is used."""
        with self._lock:
            if self._link is None or self._key_of(window.session) is None:
                return
            # The frames only: a prefetch reads no more of the mask.
            asked = window, np.packbits(mask.frames)
            try:
                self._request("prefetch", *asked, cancelled=cancelled, poll_s=PREFETCH_POLL_S)
            except LinkEndedError as ended:
                # No request of the user failed: the next one starts the worker.
                self.close()
                self._remark = f"started again: {ended}"

    def predict_many(
        self, requests: Iterable[Request], cancelled: Cancelled = never
    ) -> Iterator[Prediction]:
        """Yield predictions in order; requests of one window are sent together."""
        at_once = self._with_restart(partial(self._started, cancelled)).at_once
        for _, group in groupby(requests, key=lambda request: request[0].key):
            while batch := list(islice(group, at_once)):
                stop_if(cancelled)
                # A single request reuses the encoding and sends only a change of the mask.
                if len(batch) == 1:
                    yield self.predict(*batch[0], cancelled)
                    continue
                send = partial(self._predict_many, batch, cancelled)
                predictions, refusal = self._with_restart(send)
                for (_, mask, _), prediction in zip(batch, predictions, strict=False):
                    yield self._finished(_with_mask(prediction, mask))
                if refusal is not None:
                    raise refusal

    # -- optional methods; see `Needs.methods` ----------------------------------------
    def embeddings(self, session: Session, cancelled: Cancelled = never) -> np.ndarray:
        """Return the learned vectors of a session's neurons, float32 (P, d)."""
        return self._call("ask", session, "embeddings", session, cancelled=cancelled)

    def stimulus_positions(self, session: Session) -> np.ndarray:
        """Return the places of the stimulus that neurons read, float32 (P, 2)."""
        return self._call("stimulus_positions", session, session)

    def stimulus_gradient(
        self, clip: Clip, neurons: np.ndarray, objective: np.ndarray, cancelled: Cancelled = never
    ) -> tuple[float, np.ndarray]:
        """Return value and gradient of an objective; see `Differentiable`."""
        asked = "stimulus_gradient", clip, neurons, objective
        return self._call("ask", clip.session, *asked, cancelled=cancelled)

    def predict_subsets(
        self, windows: Sequence[Window], subsets: Sequence[Subset], cancelled: Cancelled = never
    ) -> list[list[np.ndarray]]:
        """Return predictions of many subsets of inputs; see `predicted_subsets`."""
        session = windows[0].session
        masks = pairwise([Mask.nothing(session, windows[0].spec), *(one.mask for one in subsets)])
        sent = [
            (mask_delta(*pair), pack_indices(one.neurons), one.own)
            for pair, one in zip(masks, subsets, strict=True)
        ]
        return self._call("predict_subsets", session, list(windows), sent, cancelled=cancelled)

    def start(self, session: Session, cancelled: Cancelled = never) -> str:
        """Return the key of a stream's first state, which stays in the worker."""
        return self._call("start", session, session, cancelled=cancelled)

    def step(
        self, state: str, inputs: Window, cancelled: Cancelled = never
    ) -> tuple[Prediction, str]:
        """Return the prediction for the next frames, and the key of the next state."""
        return self._call("step", inputs.session, state, inputs, cancelled=cancelled)

    def _call(
        self, verb: str, session: Session, *arguments: Any, cancelled: Cancelled = never
    ) -> Any:
        """Call an optional method for a session; the worker refuses an unknown one."""

        def send() -> Any:
            self._prepare(session, cancelled)
            return self._request(verb, *arguments, cancelled=cancelled)

        return self._with_restart(send)

    # -- beyond a predictor -----------------------------------------------------------
    @property
    def name(self) -> str:
        """Name of the source; known without starting the worker."""
        source = self._source
        if isinstance(source, str):
            return source
        return str(getattr(source, "__name__", type(source).__name__))

    @property
    def process_id(self) -> int | None:
        """Process of the worker on this machine, None while there is none."""
        return None if self._link is None else self._link.process_id

    def silence_s(self) -> float:
        """Return for how long a worker that is asked has not beaten, as seen by these calls."""
        link = self._link
        return self._silence.look(link.beats() if link is not None and self._is_asked else 0)

    @property
    def fitted_share(self) -> float:
        """Finished share of a fit that the running request began; 0 if there is none."""
        return 0.0 if self._link is None else self._link.fitted_share()

    def kill(self, *, is_last: bool = False) -> None:
        """End the process of the worker at once, also a stopped one; a call repeats its request.

        With `is_last`, no call starts another process: one that waits raises `WorkerError`.
        """
        self._is_over |= is_last
        if (process_id := self.process_id) is not None:
            with suppress(OSError):  # it has just ended
                os.kill(process_id, getattr(signal, "SIGKILL", signal.SIGTERM))

    def close(self) -> None:
        """End the worker and release its resources; the next call starts a new one.

        Another thread may call it: a call that waits, for the start or for a reply,
        then raises `WorkerError`.
        """
        self._n_closes += 1
        link, self._link = self._link, None
        self._info = None
        self._sessions, self._encoded = {}, None
        self._cancelled = 0
        if link is not None:
            link.close()
        self._memory.close()

    # -- restarts -------------------------------------------------------------------
    def _with_restart(self, send: Callable[[], T]) -> T:
        """Send a request; restart a crashed worker and retry once.

        Raises `WorkerError`, with what to do, if the worker crashes again. Then the
        next requests are not retried until one succeeds or is cancelled. Crashes
        during cancelled requests are not counted.
        """
        with self._lock:
            while True:
                try:
                    return send()
                except LinkEndedError as ended:
                    # While a cancelled request may still run, the crash may be its.
                    fault, is_counted = str(ended), not self._cancelled
                if self._link is None or self._is_over:
                    raise WorkerError(CLOSED)
                self.close()
                if is_counted:
                    self._n_crashes += 1
                    if self._n_crashes > 1:
                        n = self._n_crashes
                        raise WorkerError(
                            f"{fault} It has ended {'twice' if n == 2 else f'{n} times'} in a row, "
                            "and starts again with the next request: use fewer neurons, choose "
                            "another model or device, or free memory; `omnimouse doctor` looks "
                            "for the problem."
                        )
                logger.warning("%s It is started again.", fault)
                self._remark = f"started again: {fault}"

    def _started(self, cancelled: Cancelled = never) -> ServerInfo:
        """Start the worker if it does not run, and return its properties."""
        if self._link is not None and not self._link.is_alive:
            self.close()
            self._remark = "started again: the predictor's process had ended"
        if self._is_over:
            raise WorkerError(CLOSED)
        if self._link is None:
            n_closes = self._n_closes
            self._link = self._connect(self._source, self._device)
            # Another thread called `close` or `kill` before there was a link to end.
            if self._is_over or self._n_closes != n_closes:
                self.close()
                raise WorkerError(CLOSED)
        if self._info is None:
            self._info = self._request("info", cancelled=cancelled)
        return self._info

    def _finished(self, prediction: Prediction) -> Prediction:
        """Return a prediction with a remark on a restart, if there was one."""
        # A success: the next crash is the first of a new series.
        self._n_crashes = 0
        remark, self._remark = self._remark, ""
        return prediction.with_remark(remark) if remark else prediction

    # -- messages -------------------------------------------------------------------
    def _prepare(self, session: Session | None, cancelled: Cancelled) -> None:
        info = self._started(cancelled)
        if session is None or self._key_of(session) is not None:
            return
        # Before the request: the worker attaches to the memory when it decodes.
        if self._link is not None and self._link.shares_memory:
            self._memory.fit(info.needs.spec.n_samples, session.n_neurons)
        self._n_prepared += 1
        self._request("prepare", self._n_prepared, session, cancelled=cancelled)
        self._sessions[session.id] = (session, self._n_prepared)

    def _key_of(self, value: Any) -> int | None:
        """Return the number under which the worker knows a session; None for other values."""
        # By identity: a session that was opened again may have changed on disk.
        prepared = self._sessions.get(value.id) if isinstance(value, Session) else None
        return prepared[1] if prepared is not None and prepared[0] is value else None

    def _encode(self, window: Window, mask: Mask, cancelled: Cancelled) -> int:
        self._prepare(window.session, cancelled)
        inputs: Window | None = window
        is_reset, before = True, Mask.nothing(window.session, mask.spec)
        if self._encoded is not None:
            number, last_window, last_mask = self._encoded
            if last_window.key == window.key:
                if last_mask is mask:
                    return number
                # A stroke does not send the frames of a clip again.
                inputs = None
            # A delta is defined for masks of one session and one spec.
            if last_window.session is window.session and last_mask.spec == mask.spec:
                is_reset, before = False, last_mask
        delta = mask_delta(before, mask)
        # Unknown until the reply: a failed encoding leaves no mask to change from.
        self._encoded = None
        self._request("encode", inputs, is_reset, delta, cancelled=cancelled)
        self._encoded = (self._number, window, mask)
        return self._number

    def _decode(self, encoded: Encoded, neurons: bytes | None, cancelled: Cancelled) -> Prediction:
        self._prepare(encoded.window.session, cancelled)
        if self._encoded is None or self._encoded[0] != encoded.state:
            self._encode(encoded.window, encoded.mask, cancelled)
        reply: Prediction = self._request("decode", neurons, self._memory.name, cancelled=cancelled)
        if reply.responses.shape[1] < (n_neurons := len(reply.neurons)):
            responses = self._memory.read((len(reply.responses), n_neurons))
            reply = replace(reply, responses=responses)
        return _with_mask(reply, encoded.mask)

    def _predict_many(self, batch: list[Request], cancelled: Cancelled) -> BatchAnswer:
        window = batch[0][0]
        self._prepare(window.session, cancelled)
        nothing = Mask.nothing(window.session, batch[0][1].spec)
        deltas = [mask_delta(*pair) for pair in pairwise([nothing, *(m for _, m, _ in batch)])]
        neurons = [None if n is None else pack_indices(n) for _, _, n in batch]
        return self._request("predict_many", window, deltas, neurons, cancelled=cancelled)

    def _request(
        self, verb: str, *arguments: Any, cancelled: Cancelled, poll_s: float = POLL_S
    ) -> Any:
        """Send a message and return the value of its reply, or raise its error.

        Replies to cancelled messages are ignored.
        """
        link = self._link
        assert link is not None
        self._number = number = self._number + 1
        # Packed twice: the worker can read the number even if the arguments fail.
        message = packed((verb, number, packed(arguments, self._key_of)))
        self._is_asked = True
        try:
            link.send(message)
            answered = 0
            while answered != number:
                while (reply := link.receive(poll_s)) is None:
                    if cancelled():
                        self._cancelled, self._n_crashes = number, 0
                        link.cancel(number)
                        raise StoppedError
                try:
                    answered, error, value = unpacked(reply)
                except Exception as fault:  # a class that a family cannot make anew here
                    raise portable_error(fault) from fault
                # The worker survived the cancelled request.
                if answered >= self._cancelled:
                    self._cancelled = 0
        finally:
            self._is_asked = False
        if error is not None:
            raise error
        return value


def _with_mask(prediction: Prediction, mask: Mask) -> Prediction:
    """Return an answer with the mask of its request, if the predictor computed no id."""
    return prediction if prediction.mask_id else replace(prediction, mask=mask)
