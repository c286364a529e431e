"""Map a function over pieces of work, here or on the workers of a Dask scheduler.

Dask unpickles the messages that it receives, so anyone who can write to the connection
can run code at either end. An address must therefore be TLS, or on this machine (for
example the near end of an SSH tunnel). Certificates come from Dask's configuration.

A piece is a frozen value and the function has an importable name, so that both can be
pickled. Dask reassigns the pieces of a worker that dies. The result of a piece does
not depend on the worker. A predictor on a worker is a Dask actor, which holds the same
`Server` as a local process, and gets the same messages. The file is long because both go
through one kind of connection.
"""

import ipaddress
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.extras import named_extras
from omnimouse_model.inference.client import Link, LinkEndedError, WorkerPredictor
from omnimouse_model.inference.registry import Source, resolve_predictor
from omnimouse_model.inference.server import Server
from omnimouse_model.predict.devices import torch_threads
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET, CallbackJob, Job
from omnimouse_model.storage.files import real_path
from omnimouse_model.storage.processes import interrupts_kept_from_workers

# -- dask schedulers: accepted addresses, and connections to them ---------------------
if TYPE_CHECKING:
    from distributed import Client, Security

START_TIMEOUT_S = 30
PLAIN_SCHEDULER = "OMNIMOUSE_PLAIN_SCHEDULER"
"""Variable that allows a scheduler of this machine without TLS, if it is 1."""


def check_address(address: str) -> str:
    """Return a scheduler's address with its scheme, if it is TLS.

    One on this machine without TLS needs the variable `OMNIMOUSE_PLAIN_SCHEDULER=1`.

    Raises
    ------
    ValueError
        The address is refused; the message states why, and what to do.
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
            "would travel in the clear, and who reads the network could run code here. "
            f"Start Dask with certificates and give tls://{parts.hostname}:"
            f"{parts.port}, or tunnel (ssh -L {parts.port}:localhost:{parts.port} "
            f"{parts.hostname}) and give tcp://127.0.0.1:{parts.port}."
        )
    if parts.scheme == "tcp" and os.environ.get(PLAIN_SCHEDULER) != "1":
        raise ValueError(
            f"{full} is refused: without TLS, every account of this machine could run code "
            f"here. Start Dask with certificates and give tls://{parts.hostname}:{parts.port}; "
            f"if nobody else uses this machine, set {PLAIN_SCHEDULER}=1."
        )
    return full


def is_private(address: str) -> bool:
    """Return whether an address is TLS, or on this machine."""
    parts = urlsplit(address)
    # "inproc" is Dask's scheme for a worker in this process.
    if parts.scheme in ("tls", "inproc"):
        return True
    host = parts.hostname or ""
    # Names are not resolved: the answer of a name server could be forged.
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def connect(address: str, security: "Security | None" = None) -> "Client":
    """Return a client of the scheduler at a checked address.

    The certificates are those of Dask's configuration, unless `security` has others.

    Raises
    ------
    ModuleNotFoundError
        Dask is missing.
    WorkerError
        The scheduler does not answer.
    """
    with named_extras():
        from distributed import Client, Security
    is_tls = address.startswith("tls://")
    if is_tls and security is None:
        security = Security(require_encryption=True)
    try:
        return Client(
            address,
            security=security,
            timeout=START_TIMEOUT_S,
            # The user's own client, if there is one, stays the default.
            set_as_default=False,
        )
    except (OSError, TypeError, ValueError) as error:
        keys = "distributed.comm.tls.ca-file and .client.cert, .client.key"
        hint = f"; is Dask's configuration complete ({keys})?" if is_tls else ""
        raise WorkerError(
            f"The Dask scheduler at {address} does not answer: {error}. Is it running "
            f"(dask scheduler, and a dask worker for it){hint}"
        ) from error


def check_connected(client: "Client") -> None:
    """Raise `WorkerError` if the connection of a client is lost."""
    if client.status != "running":
        raise lost_scheduler()


def lost_scheduler() -> WorkerError:
    """Return the error of a connection that is lost."""
    return WorkerError(
        "The connection to the Dask scheduler is lost; finished work is saved. Start "
        "the scheduler and its workers again, and continue."
    )


def private_workers(client: "Client", address: str) -> list[str] | None:
    """Return the workers whose connections are private too, or None if all are.

    Dask does not replace a named worker that dies by another one. Workers are therefore
    named only if some workers must not be used.

    Raises
    ------
    WorkerError
        There are none, or the connection is lost.
    """
    # A worker that restarts needs some seconds.
    with suppress(TimeoutError):
        client.wait_for_workers(1, timeout=START_TIMEOUT_S)
    check_connected(client)
    workers = list(client.scheduler_info(n_workers=-1)["workers"])
    private = [worker for worker in workers if is_private(worker)]
    if not private:
        listed = ", ".join(workers) or "none"
        raise WorkerError(
            f"The scheduler at {address} has no worker that is reached by TLS or on "
            f"its own machine (workers: {listed}). Start one: dask worker {address}."
        )
    return None if len(private) == len(workers) else private


Piece = TypeVar("Piece")
Result = TypeVar("Result")
LOCAL = "local"
"""`local` or `local:4` starts a temporary cluster of processes on this machine."""
_NO_PAGES: dict[str, list[str]] = {
    f"distributed.{part}.http.routes": [] for part in ("scheduler", "worker")
}
"""Dask serves pages about its work, logs included, to everybody who asks, without TLS."""
_POLL_S = 0.02
_LEAST_PENDING = 16


def map_pieces(
    function: Callable[[Piece, Job], Result],
    pieces: Sequence[Piece],
    scheduler: str | None,
    job: Job = QUIET,
    sizes: Sequence[int | float] | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield (number, result) of each piece, in the order in which they finish.

    Parameters
    ----------
    function
        Gets a piece and a job, which is that of the caller here, and quiet on a worker.
        It may raise `StoppedError` if the job is cancelled.
    scheduler
        None computes one piece after the other in this process. Otherwise
        "local", "local:4" (processes; scripts need the usual `if __name__ ==
        "__main__"`), or the address of a Dask scheduler, TLS or this machine's own.
    job
        Progress over all pieces; once it is cancelled, no more results are yielded.
    sizes
        Work of each piece, in the unit of the progress; by default 1.

    Raises
    ------
    WorkerError
        No scheduler or worker responds, or several workers died of the same piece.
    """
    if not pieces:
        return
    sizes = [1.0] * len(pieces) if sizes is None else sizes
    if scheduler is None:
        yield from _map_here(function, pieces, job, sizes)
        return
    with _client(scheduler) as client:
        done = 0.0
        waiting: dict[int, Any] = {}
        numbers = iter(range(len(pieces)))
        try:
            while not job.cancelled():
                check_connected(client)
                # Finished results wait in the memory of the workers: no more pieces
                # are sent than keep all workers busy.
                n_threads = sum(int(n) for n in client.nthreads().values())
                room = max(_LEAST_PENDING, 2 * n_threads) - len(waiting)
                for number in islice(numbers, max(0, room)):
                    # `pure=False`: otherwise Dask hashes each piece, with its session,
                    # to reuse the results of equal pieces.
                    waiting[number] = client.submit(
                        function,
                        pieces[number],
                        QUIET,
                        pure=False,
                        workers=private_workers(client, scheduler),
                    )
                if not waiting:
                    return
                # Polling instead of `as_completed`, which blocks: cancellation and a lost
                # scheduler must be noticed while no future finishes.
                finished = [number for number, future in waiting.items() if future.done()]
                if not finished:
                    time.sleep(_POLL_S)
                for number in finished:
                    result = _result(waiting[number])
                    # Without the future, Dask forgets the result.
                    del waiting[number]
                    yield number, result
                    done += sizes[number]
                    job.progress(done, sum(sizes), f"on {scheduler}")
        except OSError as error:
            raise lost_scheduler() from error
        finally:
            if client.status == "running":
                client.cancel(list(waiting.values()), force=True)


def _map_here(
    function: Callable[[Piece, Job], Result],
    pieces: Sequence[Piece],
    job: Job,
    sizes: Sequence[int | float],
) -> Iterator[tuple[int, Result]]:
    """Yield what `map_pieces` yields, computed in this process."""
    total, done = sum(sizes), 0.0

    def report(size: int | float, n: int | float, of: int | float, text: str) -> None:
        job.progress(done + size * n / max(of, 1), total, text)

    for number, (piece, size) in enumerate(zip(pieces, sizes, strict=True)):
        if job.cancelled():
            return
        of_piece = CallbackJob(partial(report, size), job.cancelled, job.message, job.device)
        try:
            result = function(piece, of_piece)
        except StoppedError:
            return
        yield number, result
        done += size


def _result(future: Any) -> Any:
    """Return the result of a finished piece."""
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except FutureCancelledError as error:
        # A scheduler that is lost takes all pieces with it.
        raise lost_scheduler() from error
    except KilledWorker as error:
        raise WorkerError(
            "Workers died, one after the other, of the same piece of work: out of "
            "memory? Finished work is kept. Use fewer workers, or workers with more "
            "memory, and continue."
        ) from error


@contextmanager
def _client(scheduler: str) -> "Iterator[Client]":
    """Connect to a scheduler, or to a local cluster that is closed afterwards."""
    name, _, count = scheduler.partition(":")
    if name != LOCAL:
        with _silent_dask(), connect(check_address(scheduler)) as client:
            yield client
        return
    n_workers = checked_count(count)
    with named_extras():
        import_module("cryptography")  # Security.temporary needs it
        from dask.config import set as configured
        from distributed import LocalCluster, Security
    # In memory, for this cluster: no other account of the machine can connect.
    security = Security.temporary()
    scratch = TemporaryDirectory(prefix="omnimouse-dask-", ignore_cleanup_errors=True)
    with interrupts_kept_from_workers(), configured(_NO_PAGES):
        cluster = LocalCluster(
            n_workers=n_workers,
            # One process per piece: predictors are not used from several threads.
            threads_per_worker=1,
            host="127.0.0.1",
            protocol="tls://",
            security=security,
            dashboard_address=None,
            # Dask's own place has a name that other accounts know.
            local_directory=scratch.name,
            silence_logs=logging.CRITICAL,  # also of the workers
        )
    with scratch, _silent_dask(), cluster, connect(cluster.scheduler_address, security) as client:
        yield client


@contextmanager
def _silent_dask() -> Iterator[None]:
    """Drop the log lines of Dask: what ends the work is raised."""
    # Dask gives these two their own levels when it is imported.
    with suppress(ImportError):  # told by `connect`
        import_module("distributed")
    logs = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)


def checked_count(text: str) -> int:
    """Return the process count of `local:4`; for `local` the number of cores.

    Raises
    ------
    ValueError
        The count is not a positive integer.
    """
    if not text:
        return os.cpu_count() or 1
    if not text.isdigit() or not int(text):
        raise ValueError(f"{LOCAL}:{text} is not like {LOCAL}:4.")
    return int(text)


def checked_scheduler(scheduler: str) -> str:
    """Return a valid scheduler argument of `spread`, or raise an error."""
    name, _, count = scheduler.partition(":")
    if name == LOCAL:
        return f"{LOCAL}:{checked_count(count)}"
    return check_address(scheduler)


# -- on the worker ------------------------------------------------------------------
# A Dask worker may run several tasks in threads, but the number of torch threads is
# one setting per process.
_one_at_a_time = threading.Lock()
_sessions: dict[tuple[str, str], Session] = {}
_cached_predictor = lru_cache(maxsize=2)(resolve_predictor)


@dataclass(frozen=True, slots=True)
class TaskPredictor:
    """A predictor of pieces of work: the loaded one here, on workers its source.

    Attributes
    ----------
    source
        Name, absolute path or factory, from which workers load it.
    threads
        Number of torch threads. Rounding of sums depends on it; equal numbers give
        equal results.
    connect
        Hosts from which members of an ensemble may be downloaded.
    """

    source: Source
    device: str
    threads: int
    here: Predictor | None = None
    connect: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        source: Predictor | Source | Path,
        device: str,
        here: Predictor,
        scheduler: str | None,
        connect: Collection[str] = (),
    ) -> "TaskPredictor":
        """Return the predictor of a map with this scheduler, which is loaded here.

        Raises
        ------
        ValueError
            The source is a predictor object, which cannot be sent to a worker.
        """
        if scheduler is None:
            return cls("", device, 0, here)
        from torch import get_num_threads

        if isinstance(source, str | Path):
            # A name stays a name; the folder of a worker may be another one.
            is_path = isinstance(source, Path) or Path(source).exists()
            source = str(real_path(source)) if is_path else str(source)
        elif isinstance(source, Predictor) and not isinstance(source, type):
            raise ValueError(
                "With a scheduler give the predictor by its name or path: it is loaded "
                "on the workers."
            )
        return cls(source, device, get_num_threads(), connect=tuple(connect))

    @contextmanager
    def loaded(self, session: Session) -> Iterator[tuple[Predictor, Session]]:
        """Yield predictor and session; on a worker, run alone inside the context.

        Predictors are cached, two per process. The session is the instance of this
        recording that the process already has, if any: each piece of work arrives with
        its own unpickled session, and one instance shares open files and caches.
        """
        if self.here is not None:
            yield self.here, session
            return
        with _one_at_a_time, torch_threads(self.threads):
            key = (session.id, session.fingerprint)
            session = _sessions.setdefault(key, session)
            yield _cached_predictor(self.source, self.device, self.connect), session


# -- a predictor on a worker, for a GPU on another machine -----------------------------
def remote_predictor(scheduler: str, source: Source, device: str = "auto") -> WorkerPredictor:
    """Return a predictor on a worker of a Dask scheduler.

    The worker reads recordings and checkpoints from the same paths as this machine.
    """
    link = partial(DaskLink, check_address(scheduler))
    return WorkerPredictor(source, device=device, connect=link)


class ServerActor:
    """A `Server` as a Dask actor."""

    def __init__(self, source: Source, device: str) -> None:
        self._cancelled = 0
        # A plain attribute is enough: one thread writes it, another only compares it.
        self._server = Server(source, device, None, lambda number: number <= self._cancelled)

    def reply(self, message: bytes) -> bytes:
        """Serve one message, on the worker's one thread for actors."""
        return self._server.reply(message)

    # A coroutine runs on the worker's event loop, also while the thread computes.
    async def cancel(self, number: int) -> None:
        """Cancel all messages up to this number."""
        self._cancelled = max(self._cancelled, number)


class DaskLink(Link):
    """An actor on a worker of a scheduler; it ends with the client of this machine."""

    def __init__(self, address: str, source: Source, device: str) -> None:
        self._client = connect(address)
        self._pending: deque[Any] = deque()
        try:
            workers = private_workers(self._client, address)
            # The actor uses the client that is current at its creation.
            with self._client.as_current():
                self._created = self._client.submit(
                    ServerActor, source, device, actor=True, workers=workers
                )
                self._actor: Any = self._created.result(timeout=START_TIMEOUT_S)
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
