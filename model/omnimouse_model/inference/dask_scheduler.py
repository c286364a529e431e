"""Dask schedulers: accepted addresses, and connections to them.

Dask unpickles the messages that it receives, so anyone who can write to the connection
can run code at either end. An address must therefore be TLS, or on this machine (for
example the near end of an SSH tunnel). Certificates come from Dask's configuration.
"""

import contextlib
import ipaddress
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from omnimouse_model.errors import WorkerError
from omnimouse_model.extras import named_extras

if TYPE_CHECKING:
    from distributed import Client, Security

START_TIMEOUT_S = 30
LOCAL_NAMES = ("localhost",)
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
        return host in LOCAL_NAMES


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


def private_workers(client: "Client", address: str) -> list[str]:
    """Return the workers whose connections are private too.

    Raises
    ------
    WorkerError
        There are none, or the connection is lost.
    """
    # A worker that restarts needs some seconds.
    with contextlib.suppress(TimeoutError):
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
    return private
