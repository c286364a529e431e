"""Work in pieces: one after the other here, or over the workers of a Dask scheduler.

A piece is a frozen value and the function that answers it has an importable name, so
both can travel. Dask gives the pieces of a worker that dies to others; what they
answer does not depend on who answers.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from omnimouse_model.data.session import Session
from omnimouse_model.errors import WorkerError
from omnimouse_model.predict.devices import torch_threads
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.registry import load_predictor
from omnimouse_model.predict.worker.dask_scheduler import (
    checked_address,
    connected,
    private_workers,
)
from omnimouse_model.predict.worker.server import Source

if TYPE_CHECKING:
    from distributed import Client

Piece = TypeVar("Piece")
Answer = TypeVar("Answer")
LOCAL = "local"
"""`local` or `local:4` is a cluster of processes of this machine, made for the work."""
_POLL_S = 0.02


def spread(
    answer: Callable[[Piece], Answer],
    pieces: Sequence[Piece],
    scheduler: str,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, Answer]]:
    """Answer pieces on a scheduler's workers, each with its number, as they come.

    Parameters
    ----------
    scheduler
        "local", "local:4" (processes; scripts need the usual `if __name__ ==
        "__main__"`), or the address of a Dask scheduler, TLS or this machine's own.
    cancelled
        Polled while waiting; once true, nothing more comes.

    Raises
    ------
    WorkerError
        No scheduler or worker answers, or several workers died of the same piece.
    """
    with _client(scheduler) as client:
        futures = [
            client.submit(
                answer, piece, pure=False, workers=_allowed(client, scheduler)
            )
            for piece in pieces
        ]
        numbers = {future.key: number for number, future in enumerate(futures)}
        try:
            for future in _finished(client, futures, cancelled):
                yield numbers[future.key], future.result()
        finally:
            client.cancel(futures, force=True)


def _finished(
    client: "Client", futures: Sequence[Any], cancelled: Callable[[], bool]
) -> Iterator[Any]:
    """Futures as they finish, until all have or it is cancelled."""
    from distributed.scheduler import KilledWorker

    waiting = list(futures)
    while waiting and not cancelled():
        if client.status in ("closing", "closed"):
            raise WorkerError("The Dask scheduler is gone; what was finished is kept.")
        finished = [future for future in waiting if future.done()]
        for future in finished:
            if isinstance(future.exception(), KilledWorker):
                raise WorkerError(
                    "Workers died, one after the other, of the same piece of work: out "
                    "of memory? What was finished is kept; give fewer workers, or "
                    "ones with more memory, and go on."
                ) from future.exception()
            waiting.remove(future)
            yield future
        if not finished:
            time.sleep(_POLL_S)


def _allowed(client: "Client", scheduler: str) -> list[str] | None:
    """Workers that are reached in private, None for all of them.

    Named workers are not replaced by others when they die, so they are only named where
    there are some that must not be used.
    """
    private = private_workers(client, scheduler)
    known = client.scheduler_info(n_workers=-1)["workers"]
    return None if len(private) == len(known) else private


@contextmanager
def _client(scheduler: str) -> "Iterator[Client]":
    """A client of a scheduler, or of a cluster made here that ends with it."""
    name, _, count = scheduler.partition(":")
    if name != LOCAL:
        with connected(checked_address(scheduler)) as client:
            yield client
        return
    n_workers = checked_count(count)
    try:
        from distributed import LocalCluster
    except ImportError as error:
        raise ModuleNotFoundError(
            'Spreading work needs Dask: pip install "omnimouse-app[dask]".'
        ) from error
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
        ) as cluster,
        connected(cluster.scheduler_address) as client,
    ):
        yield client


def checked_count(text: str) -> int:
    """Processes of `local:4`, the processor's cores for `local`.

    Raises
    ------
    ValueError
        It is no number, or less than one.
    """
    if not text:
        return os.cpu_count() or 1
    if not text.isdigit() or not int(text):
        raise ValueError(f"{LOCAL}:{text} is not like {LOCAL}:4.")
    return int(text)


def checked_scheduler(scheduler: str) -> str:
    """A scheduler as `spread` takes it, refused at once where it is none."""
    name, _, count = scheduler.partition(":")
    if name == LOCAL:
        return f"{LOCAL}:{checked_count(count)}"
    return checked_address(scheduler)


# -- on the worker ------------------------------------------------------------------
_one_at_a_time = threading.Lock()
_sessions: dict[tuple[str, str], Session] = {}


@contextmanager
def at_work(threads: int) -> Iterator[None]:
    """Compute alone in this process, with as many threads as the caller would.

    Sums depend on how they are split: with equal threads the answers are equal.
    """
    with _one_at_a_time, torch_threads(threads):
        yield


@lru_cache(maxsize=2)
def held_predictor(source: Source, device: str) -> Predictor:
    """A predictor that stays with this process; the two used last do."""
    return made_predictor(source, device)


def made_predictor(source: Predictor | Source | Path, device: str) -> Predictor:
    """A predictor as it is, by its name or path, or of a function that makes it."""
    if isinstance(source, str | Path):
        return load_predictor(source, device=device)
    if isinstance(source, Predictor) and not isinstance(source, type):
        return source
    return source()


def travelling(source: Predictor | Source | Path) -> Source:
    """A predictor as its name, path or maker: what workers are sent.

    Raises
    ------
    ValueError
        It is the predictor itself, which cannot travel.
    """
    if isinstance(source, Path):
        return str(source.resolve())
    if isinstance(source, str):
        return str(Path(source).resolve()) if Path(source).exists() else source
    if isinstance(source, type) or not isinstance(source, Predictor):
        return source
    raise ValueError(
        "With a scheduler give the predictor by its name or path: it is loaded on the "
        "workers."
    )


def held_session(session: Session) -> Session:
    """The same recording, opened once by this process."""
    key = (session.id, session.fingerprint)
    return _sessions.setdefault(key, session)
