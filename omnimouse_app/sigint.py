"""Record of Ctrl-C during the imports.

Extension modules swallow the exception of Ctrl-C that arrives while they are imported,
or raise another error in its place. The record shows that the user has asked to stop.
"""

import signal
import threading
from types import FrameType

_is_received = False


def record_interrupts() -> None:
    """Record each Ctrl-C from now on, and raise KeyboardInterrupt as before."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _record)


def was_interrupted() -> bool:
    """Return whether a Ctrl-C was recorded."""
    return _is_received


def _record(number: int, frame: FrameType | None) -> None:
    global _is_received
    _is_received = True
    raise KeyboardInterrupt
