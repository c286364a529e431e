"""Messages between a process and those that it started, as pickles.

Unpickling runs code. It is right here alone: the pipe of a process has no name, and only its
two ends can write to it; Dask has certificates, and is trusted (SECURITY.md).
"""

import pickle
from typing import Any


def packed(content: Any) -> bytes:
    """Return a message."""
    return pickle.dumps(content, pickle.HIGHEST_PROTOCOL)


def unpacked(message: bytes) -> Any:
    """Return the content of a message of our own processes."""
    return pickle.loads(message)
