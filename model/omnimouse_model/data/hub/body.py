"""Bodies of a hub's answers: of a limited size, without encodings, not too slow.

A hub is not trusted: a short answer can decode to any size, an answer can go on without
end, and single bytes can keep a connection open for ever.
"""

import time
from collections.abc import Iterator
from typing import Any

from omnimouse_model.data.hub.exchange import Deadline
from omnimouse_model.display import printable
from omnimouse_model.errors import FetchError

# Bytes per second below which a download is given up, and the seconds over which this
# is measured.
_SLOWEST = 1024
_MEASURED_S = 30.0


def blocks_of(response: Any, name: str, n_bytes: int) -> Iterator[bytes]:
    """Yield the body of a streamed answer, at most `n_bytes`.

    Parameters
    ----------
    response
        Answer of `huggingface_hub`'s session.
    name
        Name of the file or list, for messages.
    n_bytes
        Most bytes that are accepted.

    Raises
    ------
    FetchError
        The body is encoded, longer, or arrives below the least rate.
    """
    name = printable(name)  # the hub's own
    # Decoded bytes could be many times as many as those sent.
    encoding = str(response.headers.get("content-encoding") or "identity").lower()
    if encoding != "identity":
        raise FetchError(
            "refused",
            f"{name} is sent as {printable(encoding)!r}, which is refused.",
        )
    n_received, n_before, since_s = 0, 0, time.monotonic()
    with Deadline(f"{name}: the next block") as deadline:
        for block in response.iter_raw():
            deadline.pause()
            n_received += len(block)
            if n_received > n_bytes:
                raise FetchError(
                    "damaged",
                    f"{name} is longer than the {n_bytes:,} bytes that are accepted; "
                    "the rest is refused.",
                )
            yield block
            deadline.renew()
            passed_s = time.monotonic() - since_s
            if passed_s < _MEASURED_S:
                continue
            if n_received - n_before < _SLOWEST * passed_s:
                raise FetchError(
                    "interrupted",
                    f"{name} arrives with less than {_SLOWEST:,} bytes/s; the "
                    "downloaded part is saved, and the same command continues.",
                )
            n_before, since_s = n_received, time.monotonic()
