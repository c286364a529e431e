"""A predictor elsewhere, by default in a process of its own: spawned, restarted.

It reads the session from its files, so a stroke sends only what changed in the mask.
Big answers come back through shared memory. One thread talks to it: the live
engine's. Where it dies, it is started again with its session and newest mask, and
asked once more. The other half is `worker_process`; what lies between, `link`.
"""

import logging
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby, islice
from typing import Any, TypeVar

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.masks import Mask
from omnimouse_model.predict.devices import Residence
from omnimouse_model.predict.predictor import (
    Encoded,
    Needs,
    Prediction,
    Predictor,
    Request,
)
from omnimouse_model.predict.worker.mask_delta import mask_delta
from omnimouse_model.predict.worker.server import (
    Answers,
    Source,
    Welcome,
    place_of,
    pressed,
)
from omnimouse_model.predict.worker.shared_memory import SharedAnswers
from omnimouse_model.predict.worker.transport import (
    Connect,
    Link,
    LinkEndedError,
    ProcessLink,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")
POLL_S = 0.01
"""How often a cancel is looked for while waiting: well under 50 ms."""
POLL_AHEAD_S = 0.002
"""The same while looking ahead, which must not hold up a question."""
CLOSED = "The predictor was closed while it answered."


class WorkerPredictor:
    """The same calls as the predictor it holds; none of them computes here.

    Parameters
    ----------
    source
        A name, file or folder for `load_predictor`, or a function without arguments
        that the process can import by name and that makes a predictor.
    torch_threads
        Threads it computes with; all cores but one by default.
    device
        Where a named predictor computes.
    connect
        Starts it and carries the messages; a process on this machine by default.
    """

    def __init__(
        self,
        source: Source,
        torch_threads: int | None = None,
        device: str = "auto",
        *,
        connect: Connect = ProcessLink,
    ) -> None:
        self._source = source
        self._device = device
        self._threads = torch_threads
        self._connect = connect
        self._lock = threading.RLock()
        self._outdated: Callable[[], bool] = _never
        self._link: Link | None = None
        self._n_closes = 0
        self._welcome: Welcome | None = None
        self._shared = SharedAnswers()
        self._deaths = 0
        self._notice = ""
        self._number = 0
        self._given_up = 0
        self._known: dict[str, tuple[Session, int]] = {}
        self._n_prepared = 0
        self._encoded: tuple[int, Window, Mask] | None = None
        self._bytes_sent = 0
        self._bytes_last = 0
        self._counted: dict[str, int] = {}

    # -- the predictor's calls ------------------------------------------------------
    @property
    def predictor_id(self) -> str:
        """Name and weights hash of the predictor elsewhere."""
        return self._asked_twice(self._started).predictor_id

    @property
    def needs(self) -> Needs:
        """What the predictor elsewhere can see and predict."""
        return self._asked_twice(self._started).needs

    @property
    def devices(self) -> tuple[str, ...]:
        """What it could compute on, where it is."""
        return self._asked_twice(self._started).devices

    @property
    def residence(self) -> Residence:
        """Where it is; its process is known where that is on this machine."""
        told = self._asked_twice(self._started).residence
        return replace(told, process_id=self.process_id)

    def prepare(self, session: Session) -> None:
        """Tell where the session is, once; it is read from there."""
        self._asked_twice(lambda: self._prepare(session))

    def encode(self, window: Window, mask: Mask) -> Encoded:
        """Send window and mask; encoded once for all `decode`s that follow."""
        number = self._asked_twice(lambda: self._encode(window, mask))
        return Encoded(window, mask, number)

    def decode(self, encoded: Encoded, neurons: np.ndarray | None = None) -> Prediction:
        """Ask for neurons; encodes again if another question came between."""
        asked = None if neurons is None else pressed(neurons)
        return self._told(self._asked_twice(lambda: self._decode(encoded, asked)))

    def look_ahead(self, window: Window, mask: Mask) -> None:
        """Have it get ready for a window; nothing where it has not started."""
        with self._lock:
            if self._link is not None and self._is_known(window.session):
                where = self._known[window.session.id][1], place_of(window)
                frames = np.packbits(mask.frames)
                try:
                    self._ask("look_ahead", *where, frames, poll_s=POLL_AHEAD_S)
                except LinkEndedError as ended:
                    self.close()  # No question of anybody's: the next one starts it.
                    self._notice = f"started again: {ended}"

    def predict(
        self, window: Window, mask: Mask, neurons: np.ndarray | None = None
    ) -> Prediction:
        """`decode(encode(window, mask), neurons)`."""
        return self.decode(self.encode(window, mask), neurons)

    def predict_many(
        self,
        requests: Iterable[Request],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Prediction]:
        """Answer requests in order; of one window as many at once as are worth it."""
        most = self._asked_twice(self._started).at_once
        for _, group in groupby(requests, key=lambda request: request[0].key):
            while batch := list(islice(group, most)):
                if cancelled():
                    return
                yield from self._answered(batch)

    def _answered(self, batch: list[Request]) -> Iterator[Prediction]:
        if len(batch) == 1:
            yield self.predict(*batch[0])
            return
        found = self._asked_twice(lambda: self._many(batch))
        for prediction in found.predictions:
            yield self._told(prediction)
        if found.refusal is not None:
            raise found.refusal

    # -- what only a worker has -----------------------------------------------------
    def stop_when(self, outdated: Callable[[], bool]) -> None:
        """Give up waiting, and tell the other side to stop, when this becomes true."""
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
        """Its process on this machine, None while there is none."""
        return None if self._link is None else self._link.process_id

    def close(self) -> None:
        """End it; nothing is left behind. The next call starts a new one.

        From another thread too: a call that waits, for its start or its answer, raises
        `WorkerError` then.
        """
        self._n_closes += 1
        link, self._link = self._link, None
        self._welcome = None
        self._known, self._encoded = {}, None
        self._given_up = 0
        if link is not None:
            link.close()
        self._shared.close()

    # -- within ---------------------------------------------------------------------
    def _asked_twice(self, ask: Callable[[], T]) -> T:
        """Ask; where that is its end, start it again with its state and ask once more.

        Raises `WorkerError` with what to do where that ends it too. The next question
        then has a single try, until one is answered or given up. An end that a
        question given up may have caused counts against nobody.
        """
        with self._lock:
            while True:
                try:
                    return ask()
                except LinkEndedError as ended:
                    how, is_of_this = str(ended), not self._given_up
                if self._link is None:
                    raise WorkerError(CLOSED)
                self.close()
                if is_of_this:
                    self._deaths += 1
                    if self._deaths > 1:
                        raise WorkerError(_remedy(how, self._deaths))
                logger.warning("%s It is started again.", how)
                self._notice = f"started again: {how}"

    def _started(self) -> Welcome:
        if self._link is not None and not self._link.is_alive:
            self.close()
            self._notice = "started again: the predictor's process had ended"
        if self._link is None:
            n_closes = self._n_closes
            self._link = self._connect(self._source, self._device, self._threads)
            if self._n_closes != n_closes:  # before there was a link to close
                self.close()
                raise WorkerError(CLOSED)
        if self._welcome is None:
            self._welcome = self._ask("hello")
        return self._welcome

    def _prepare(self, session: Session) -> None:
        self._started()
        if self._is_known(session):
            return
        if self._link is not None and self._link.shares_memory:
            n_samples = self.needs.spec.n_samples
            self._shared.fit(n_samples, session.n_neurons)
        self._n_prepared += 1
        self._ask("prepare", self._n_prepared, session)
        self._known[session.id] = (session, self._n_prepared)

    def _encode(self, window: Window, mask: Mask) -> int:
        self._prepare(window.session)
        known = self._encoded
        if known and known[2] is mask and known[1].key == window.key:
            return known[0]
        # a delta joins masks of one session and one spec
        is_alike = (
            known is not None
            and known[1].session is window.session
            and known[2].spec == mask.spec
        )
        before = Mask.nothing(window.session, mask.spec)
        if known is not None and is_alike:
            before = known[2]
        delta = mask_delta(before, mask)
        self._encoded = None
        sent = self._bytes_sent
        key = self._known[window.session.id][1]
        self._ask("encode", key, place_of(window), not is_alike, delta)
        self._bytes_last = self._bytes_sent - sent
        self._encoded = (self._number, window, mask)
        return self._number

    def _decode(self, encoded: Encoded, asked: bytes | None) -> Prediction:
        self._prepare(encoded.window.session)
        if self._encoded is None or self._encoded[0] != encoded.state:
            self._encode(encoded.window, encoded.mask)
        prediction: Prediction = self._ask("decode", asked, self._shared.name)
        return prediction

    def _many(self, batch: list[Request]) -> Answers:
        window = batch[0][0]
        self._prepare(window.session)
        before, deltas = Mask.nothing(window.session, batch[0][1].spec), []
        for _, mask, _ in batch:
            deltas.append(mask_delta(before, mask))
            before = mask
        asked = [None if known is None else pressed(known) for _, _, known in batch]
        key = self._known[window.session.id][1]
        answers: Answers = self._ask("many", key, place_of(window), deltas, asked)
        return answers

    def _told(self, prediction: Prediction) -> Prediction:
        """An answer, with what happened on the way to it."""
        self._deaths = 0
        notice, self._notice = self._notice, ""
        return prediction.with_notice(notice) if notice else prediction

    def _ask(self, verb: str, *what: Any, poll_s: float = POLL_S) -> Any:
        assert self._link is not None
        self._number += 1
        packed = pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
        message = pickle.dumps((verb, self._number, packed), pickle.HIGHEST_PROTOCOL)
        self._link.send(message)
        self._bytes_sent += len(message)
        return self._answer_to(self._number, poll_s)

    def _answer_to(self, number: int, poll_s: float) -> Any:
        """Wait for one answer; older ones, of requests given up, are passed over."""
        link = self._link
        assert link is not None
        while True:
            while (message := link.receive(poll_s)) is None:
                if self._outdated():
                    self._given_up, self._deaths = number, 0
                    link.stop(number)
                    raise StoppedError
            answered, counted, error, value = pickle.loads(message)
            if answered >= self._given_up:
                self._given_up = 0  # It survived that one.
            if answered == number:
                break
        self._counted = counted
        if error is not None:
            raise error
        if isinstance(value, tuple):
            prediction, shape = value
            return replace(prediction, responses=self._shared.copied(shape))
        return value

    def _is_known(self, session: Session) -> bool:
        known = self._known.get(session.id)
        return known is not None and known[0] is session


def _never() -> bool:
    return False


def _remedy(how: str, deaths: int) -> str:
    return (
        f"{how} It has ended {'twice' if deaths == 2 else f'{deaths} times'} in a row, "
        "and starts again with the next request: ask something smaller, choose another "
        "model or device, or free memory; `omnimouse doctor` looks for what is wrong."
    )


def load_in_worker(
    name: str, session: Session | None, device: str = "auto"
) -> Predictor:
    """Build a predictor in a process of its own: screens never wait for it."""
    return WorkerPredictor(name, device=device)
