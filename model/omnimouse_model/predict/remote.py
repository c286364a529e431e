"""A predictor on a Dask worker, for a GPU elsewhere: the messages of `worker`.

An actor there holds what a process of `worker_process` holds. Dask unpickles what it
is sent, so whoever can read or write the connection can run code at either end: the
address must be TLS, or this machine's own (such as the near end of an SSH tunnel).
Certificates come from Dask's own configuration.
"""

import contextlib
import ipaddress
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from omnimouse_model.data.session import Session
from omnimouse_model.errors import WorkerError
from omnimouse_model.predict.link import LinkEndedError
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.worker import WorkerPredictor
from omnimouse_model.predict.worker_process import Server, Source

if TYPE_CHECKING:
    from distributed import Client

START_TIMEOUT_S = 30
LOCAL_NAMES = ("localhost",)


def checked_address(address: str) -> str:
    """A scheduler's address in full, if it is TLS or this machine's own.

    Raises
    ------
    ValueError
        Why it is refused, and what to do.
    """
    full = address if "://" in address else f"tcp://{address}"
    parts = urlsplit(full)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or not parts.port:
        raise ValueError(
            f"{address!r} is not the address of a Dask scheduler; give one such as "
            "tls://host:8786 or tcp://127.0.0.1:8786."
        )
    if not is_private(full):
        raise ValueError(
            f"{full} is refused: it is neither TLS nor this machine, so recordings "
            "would travel in the clear, and whoever listens could run code here. "
            f"Start Dask with certificates and give tls://{parts.hostname}:"
            f"{parts.port}, or tunnel (ssh -L {parts.port}:localhost:{parts.port} "
            f"{parts.hostname}) and give tcp://127.0.0.1:{parts.port}."
        )
    return full


def is_private(address: str) -> bool:
    """Whether an address is TLS, or does not leave this machine."""
    parts = urlsplit(address)
    if parts.scheme in ("tls", "inproc"):
        return True
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOCAL_NAMES


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
        self._client = _client(address)
        self._asked: deque[Any] = deque()
        try:
            workers = _private_workers(self._client, address)
            with self._client.as_current():  # which the actor talks through
                self._made = self._client.submit(
                    ServerActor, source, device, threads, actor=True, workers=workers
                )
                self._actor: Any = self._made.result(timeout=START_TIMEOUT_S)
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
        """Whether the scheduler still talks to us."""
        return str(self._client.status) == "running"

    def send(self, message: bytes) -> None:
        """Call the actor; its answers come in order."""
        self._asked.append(self._actor.answered(message))

    def receive(self, timeout_s: float) -> bytes | None:
        """Wait for the oldest call that is not answered yet."""
        try:
            answer: bytes = self._asked[0].result(timeout=timeout_s)
        except TimeoutError:
            return None
        except Exception as fault:
            raise LinkEndedError(
                f"The Dask worker that held the predictor is gone ({fault})."
            ) from fault
        self._asked.popleft()
        return answer

    def stop(self, number: int) -> None:
        """Tell the worker's event loop."""
        self._actor.stop(number)

    def close(self) -> None:
        """Stop what runs, and let the actor go with the client."""
        self._client.close(timeout=2)


def _client(address: str) -> "Client":
    try:
        from distributed import Client, Security
    except ImportError as error:
        raise ModuleNotFoundError(
            'A predictor on a scheduler needs Dask: pip install "omnimouse-app[dask]".'
        ) from error
    is_tls = address.startswith("tls://")
    try:
        return Client(
            address,
            security=Security(require_encryption=True) if is_tls else None,
            timeout=START_TIMEOUT_S,
            set_as_default=False,
        )
    except (OSError, TypeError, ValueError) as error:
        keys = "distributed.comm.tls.ca-file and .client.cert, .client.key"
        hint = f"; is Dask's configuration complete ({keys})?" if is_tls else ""
        raise WorkerError(
            f"The Dask scheduler at {address} does not answer: {error}. Is it running "
            f"(dask scheduler, and a dask worker for it){hint}"
        ) from error


def _private_workers(client: "Client", address: str) -> list[str]:
    """Workers whose own connections are private too.

    Raises
    ------
    WorkerError
        There are none.
    """
    with contextlib.suppress(TimeoutError):  # one that restarts takes seconds
        client.wait_for_workers(1, timeout=START_TIMEOUT_S)
    workers = list(client.scheduler_info(n_workers=-1)["workers"])
    private = [worker for worker in workers if is_private(worker)]
    if not private:
        found = ", ".join(workers) or "none"
        raise WorkerError(
            f"The scheduler at {address} has no worker that is reached by TLS or on "
            f"its own machine (workers: {found}). Start one: dask worker {address}."
        )
    return private
