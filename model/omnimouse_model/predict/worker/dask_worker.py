"""A predictor on a Dask worker, for a GPU elsewhere: the messages of `worker`.

An actor there holds what a process of `worker_process` holds.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from omnimouse_model.data.session import Session
from omnimouse_model.errors import WorkerError
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.worker import dask_scheduler
from omnimouse_model.predict.worker.client import WorkerPredictor
from omnimouse_model.predict.worker.dask_scheduler import (
    checked_address,
    connected,
    private_workers,
)
from omnimouse_model.predict.worker.server import Server, Source
from omnimouse_model.predict.worker.transport import LinkEndedError


def remote_predictor(
    scheduler: str, source: Source, device: str = "auto"
) -> WorkerPredictor:
    """A predictor by name, or made by a function, on a worker of a Dask scheduler.

    Recordings and checkpoints are read there, from the same paths as here.
    """
    connect = partial(DaskLink, checked_address(scheduler))
    return WorkerPredictor(source, device=device, connect=connect)


def load_on_scheduler(
    scheduler: str,
) -> Callable[[str, Session | None, str], Predictor]:
    """A `Load` for the live engine that makes predictors on a scheduler's workers."""
    address = checked_address(scheduler)

    def load(name: str, session: Session | None, device: str = "auto") -> Predictor:
        return remote_predictor(address, name, device)

    return load


class ServerActor:
    """A `Server` on a Dask worker; lives there as an actor."""

    def __init__(self, source: Source, device: str, threads: int | None) -> None:
        self._stopped = 0
        self._server = Server(source, device, threads, self._is_stopped)

    def _is_stopped(self, number: int) -> bool:
        return number <= self._stopped

    def answered(self, message: bytes) -> bytes:
        """One message, on the worker's one thread for actors."""
        return self._server.answered(message)

    async def stop(self, number: int) -> None:
        """On the worker's event loop, hence also while the thread computes."""
        self._stopped = max(self._stopped, number)


class DaskLink:
    """An actor on a worker of a scheduler; ends with the client here."""

    shares_memory = False
    process_id = None

    def __init__(
        self, address: str, source: Source, device: str, threads: int | None
    ) -> None:
        self._client = connected(address)
        self._asked: deque[Any] = deque()
        try:
            workers = private_workers(self._client, address)
            with self._client.as_current():  # which the actor talks through
                self._made = self._client.submit(
                    ServerActor, source, device, threads, actor=True, workers=workers
                )
                self._actor: Any = self._made.result(
                    timeout=dask_scheduler.START_TIMEOUT_S
                )
                _ = self._actor.stop  # binds it to this client
        except Exception as error:
            self._client.close()
            if isinstance(error, WorkerError):
                raise
            raise WorkerError(
                f"No predictor could be started through {address}: "
                f"{error or 'no answer'}. Is this project installed there, in this "
                "version?"
            ) from error

    @property
    def is_alive(self) -> bool:
        """Whether the scheduler still talks to us, and knows of no dead worker."""
        talks = str(self._client.status) == "running"
        return talks and str(self._made.status) == "finished"

    def send(self, message: bytes) -> None:
        """Call the actor; its answers come in order."""
        try:
            self._asked.append(self._actor.answered(message))
        except RuntimeError as fault:
            raise _gone(fault) from fault

    def receive(self, timeout_s: float) -> bytes | None:
        """Wait for the oldest call that is not answered yet."""
        try:
            answer: bytes = self._asked[0].result(timeout=timeout_s)
        except TimeoutError:
            return None
        except Exception as fault:
            raise _gone(fault) from fault
        self._asked.popleft()
        return answer

    def stop(self, number: int) -> None:
        """Tell the worker's event loop; a dead one computes nothing any more."""
        with suppress(RuntimeError):
            self._actor.stop(number)

    def close(self) -> None:
        """Stop what runs, and let the actor go with the client."""
        self._client.close(timeout=2)


def _gone(fault: Exception) -> LinkEndedError:
    return LinkEndedError(f"The Dask worker that held the predictor is gone ({fault}).")
