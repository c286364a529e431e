"""A predictor on a Dask worker, for a GPU on another machine.

A Dask actor holds the same `Server` as a local process, and gets the same messages.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from omnimouse_model.data.session import Session
from omnimouse_model.errors import WorkerError
from omnimouse_model.inference import dask_map
from omnimouse_model.inference.client import LinkEndedError, WorkerPredictor
from omnimouse_model.inference.dask_map import (
    check_address,
    connect,
    private_workers,
)
from omnimouse_model.inference.server import Server, Source
from omnimouse_model.predict.predictor import Predictor


def remote_predictor(scheduler: str, source: Source, device: str = "auto") -> WorkerPredictor:
    """Return a predictor on a worker of a Dask scheduler.

    The worker reads recordings and checkpoints from the same paths as this machine.
    """
    link = partial(DaskLink, check_address(scheduler))
    return WorkerPredictor(source, device=device, connect=link)


def load_on_scheduler(
    scheduler: str,
) -> Callable[[str, Session | None, str], Predictor]:
    """Return a `Load` for the live engine that uses the workers of a scheduler."""
    address = check_address(scheduler)

    def load(name: str, session: Session | None, device: str = "auto") -> Predictor:
        return remote_predictor(address, name, device)

    return load


class ServerActor:
    """A `Server` as a Dask actor."""

    def __init__(self, source: Source, device: str, threads: int | None) -> None:
        self._cancelled = 0
        self._server = Server(source, device, threads, self._is_cancelled)

    # A plain attribute is enough: one thread writes it, another only compares it.
    def _is_cancelled(self, number: int) -> bool:
        return number <= self._cancelled

    def reply(self, message: bytes) -> bytes:
        """Serve one message, on the worker's one thread for actors."""
        return self._server.reply(message)

    # A coroutine runs on the worker's event loop, also while the thread computes.
    async def cancel(self, number: int) -> None:
        """Cancel all messages up to this number."""
        self._cancelled = max(self._cancelled, number)


class DaskLink:
    """An actor on a worker of a scheduler; it ends with the client of this machine."""

    shares_memory = False
    process_id = None
    beats = 0
    fitted_share = 0.0

    def __init__(self, address: str, source: Source, device: str, threads: int | None) -> None:
        self._client = connect(address)
        self._pending: deque[Any] = deque()
        try:
            workers = private_workers(self._client, address)
            # The actor uses the client that is current at its creation.
            with self._client.as_current():
                self._created = self._client.submit(
                    ServerActor, source, device, threads, actor=True, workers=workers
                )
                self._actor: Any = self._created.result(timeout=dask_map.START_TIMEOUT_S)
                # The first attribute access binds the actor to this client.
                _ = self._actor.cancel
        except Exception as error:  # Dask and the actor's module raise many kinds
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
        """Whether the scheduler is connected and reports no dead worker."""
        is_connected = str(self._client.status) == "running"
        return is_connected and str(self._created.status) == "finished"

    def send(self, message: bytes) -> None:
        """Call the actor; its replies come in order."""
        try:
            self._pending.append(self._actor.reply(message))
        except RuntimeError as fault:
            raise _ended(fault) from fault

    def receive(self, timeout_s: float) -> bytes | None:
        """Wait for the reply to the oldest pending call."""
        try:
            reply: bytes = self._pending[0].result(timeout=timeout_s)
        except TimeoutError:
            return None
        except Exception as fault:  # Dask raises many kinds for a lost worker
            raise _ended(fault) from fault
        self._pending.popleft()
        return reply

    def cancel(self, number: int) -> None:
        """Cancel on the worker's event loop."""
        # A dead worker computes nothing that could be cancelled.
        with suppress(RuntimeError):
            self._actor.cancel(number)

    def close(self) -> None:
        """Close the client; Dask then releases the actor."""
        self._client.close(timeout=2)


def _ended(fault: Exception) -> LinkEndedError:
    return LinkEndedError(f"The Dask worker that held the predictor is gone ({fault}).")
