"""Record of Ctrl-C where its exception does not reach the command.

Extension modules swallow the exception of Ctrl-C that arrives while they are imported,
or raise another error in its place. Qt passes that of a handler to `sys.excepthook`,
Python that of a destructor to `sys.unraisablehook`, and both go on. The record shows
that the user has asked to stop.
"""

import signal
import sys
import threading
from types import FrameType, TracebackType

_is_received = False


def record_interrupts() -> None:
    """Record each Ctrl-C from now on, and raise KeyboardInterrupt as before."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _record)
        _keep_quiet()
        if hasattr(signal, "pthread_sigmask"):  # not on Windows
            # Blocked by the process that started this one.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _keep_quiet() -> None:
    """Print no traceback of an interrupt that no caller can catch."""
    show, show_unraisable = sys.excepthook, sys.unraisablehook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, KeyboardInterrupt):
            show(kind, error, trace)

    def unraisable_hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            show_unraisable(unraisable)

    sys.excepthook, sys.unraisablehook = hook, unraisable_hook


def was_interrupted() -> bool:
    """Return whether a Ctrl-C was recorded."""
    return _is_received


def check_interrupt() -> None:
    """Raise KeyboardInterrupt if a Ctrl-C was recorded."""
    if _is_received:
        raise KeyboardInterrupt


def _record(number: int, frame: FrameType | None) -> None:
    global _is_received
    _is_received = True
    raise KeyboardInterrupt
