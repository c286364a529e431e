"""Start and end of child processes that do not import the user's script.

`inference` runs predictors in such processes, and `analysis.finetune` fine-tuning.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

# Not fork: a copy of a process with threads (Qt, torch) may deadlock.
SPAWN = multiprocessing.get_context("spawn")


def spawn(
    name: str,
    target: Callable[..., None],
    *arguments: Any,
    environment: Mapping[str, str] | None = None,
) -> tuple[BaseProcess, Connection]:
    """Start a process, and return it with this end of its pipe.

    The other end of the pipe is the first argument of `target`. `environment` has
    variables of the process that its imports read; those of the user take precedence.
    """
    connection, child_end = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(child_end, *arguments), name=name, daemon=True)
    with (
        without_main_module(),
        _added_variables(environment or {}),
        interrupts_kept_from_workers(),
    ):
        process.start()
    # With a copy here, the pipe would not report the end of the process.
    child_end.close()
    return process, connection


def end_process(process: BaseProcess, patience_s: float) -> None:
    """End a process: wait for it, then terminate, then kill it."""
    process.join(patience_s)
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            # A stopped process would not see that it is to end.
            if hasattr(signal, "SIGCONT") and process.pid is not None:
                with suppress(OSError):
                    os.kill(process.pid, signal.SIGCONT)
            process.join(2.0)


def exit_text(process: BaseProcess) -> str:
    """Return the exit code of a process as text for an error message."""
    process.join(1.0)
    code = process.exitcode
    # -9 is SIGKILL, the signal of the kernel's out-of-memory killer.
    killed = " (killed by the system: out of memory?)" if code == -9 else ""
    return f"ended with exit code {code}{killed}"


@contextmanager
def _added_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Add variables to the environment in the block, where they are not set."""
    added = variables.keys() - os.environ.keys()
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def interrupts_kept_from_workers() -> Iterator[None]:
    """Block SIGINT in threads and processes that start meanwhile.

    A terminal sends Ctrl-C to all processes of a command, and workers would print
    tracebacks. One that arrives meanwhile reaches this thread at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    # The first process starts this one, which ends with SIGINT unblocked.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_main_module_lock = threading.Lock()


@contextmanager
def without_main_module() -> Iterator[None]:
    """Start processes within this block that do not import the user's script.

    A spawned process imports the parent's `__main__` again, and with it napari and Qt,
    or a script without a guard. No message needs it.
    """
    # One thread at a time: a second one would restore the substitute of the first.
    with _main_module_lock:
        main = sys.modules["__main__"]
        try:
            sys.modules["__main__"] = ModuleType("__main__")
            yield
        finally:
            sys.modules["__main__"] = main
