"""Processes forked from one that has loaded the libraries: one for each case."""

import faulthandler
import json
import multiprocessing
import os
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import NoReturn

import psutil

PROCESSOR_S = 20.0
"""Most seconds of processor time of a case."""
PATIENCE_S = 120.0
"""Most seconds of a case on a clock, which runs on while other programs work."""
MOST_BYTES = 2 * 2**30
"""Most resident memory of a case."""
_MOST_ADDRESSES = 6 * 2**30
"""Most bytes that a case may ask for: more raises MemoryError, on any machine."""
_LOOK_S = 0.05
"""Seconds between looks at the resident memory."""
_SHOW_STACKS = getattr(signal, "SIGUSR1", signal.SIGTERM)  # not on Windows
_STACKS_S = 0.5
"""Seconds in which a case that is over its limits prints its stacks."""


class FaultError(BaseException):
    """Fault of a reader: anything except a valid result or a typed error.

    It is no `Exception`: readers must not catch it.
    """


class _LimitError(Exception):
    """A case needs too much time or memory."""


@contextmanager
def case_servers(n_processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that have loaded the libraries and fork one for each case.

    Their temporary files lie in one folder, which is removed at the end.
    """
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
        ProcessPoolExecutor(n_processes, context, _prepare_server, (folder,)) as pool,
    ):
        yield pool


def _prepare_server(folder: str) -> None:
    # PyTorch loads its compiler with the first network on "meta", and makes a folder:
    # before files are watched.
    import torch._dynamo

    tempfile.tempdir = folder
    # Files of `huggingface_hub` lie in the cache too, where writing is allowed.
    os.environ["OMNIMOUSE_CACHE"] = f"{folder}/cache"
    os.environ["HF_HOME"] = f"{folder}/cache/hub"
    # A forked process has none of the threads of its parent.
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()


def _end_with_parent(folder: str) -> NoReturn:
    """End this server when its parent has been killed, and remove their files."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def in_fork(
    work: Callable[[], str],
    processor_s: float = PROCESSOR_S,
    patience_s: float = PATIENCE_S,
    most_bytes: int = MOST_BYTES,
) -> str:
    """Return what `work` returns in a forked process.

    Raises
    ------
    FaultError
        `work` raised an error, printed a traceback, or needed too much time or memory,
        or its process died.
    """
    with tempfile.TemporaryFile() as output:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            _run(work, output.fileno(), writing)
        os.close(writing)
        answer, excess = b"", ""
        try:
            answer = _answer(child, reading, processor_s, patience_s, most_bytes)
        except _LimitError as error:
            excess = str(error)
            os.kill(child, _SHOW_STACKS)
            time.sleep(_STACKS_S)
        finally:
            os.close(reading)
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        output.seek(0)
        printed = output.read().decode(errors="replace")
    if excess:
        raise FaultError(f"{excess}: {printed.strip()[-2000:]}")
    if "Traceback" in printed:
        raise FaultError(f"printed a traceback: {printed.strip()[-500:]}")
    if not answer:
        raise FaultError(f"died by signal {os.waitstatus_to_exitcode(status)}")
    outcome, fault = json.loads(answer)
    if fault:
        raise FaultError(fault)
    return str(outcome)


def _answer(
    child: int, reading: int, processor_s: float, patience_s: float, most_bytes: int
) -> bytes:
    """Return what a process writes until it closes its pipe; watch it meanwhile."""
    began, answer = time.monotonic(), b""
    while True:
        is_ready, _, _ = select.select([reading], [], [], _LOOK_S)
        if is_ready:
            block = os.read(reading, 2**16)
            if not block:
                return answer
            answer += block
            continue
        process = psutil.Process(child)
        n_bytes, used = process.memory_info().rss, process.cpu_times()
        used_s = used.user + used.system
        if n_bytes > most_bytes:
            raise _LimitError(f"holds {n_bytes / 2**30:.1f} GiB of memory")
        passed_s = time.monotonic() - began
        if used_s > processor_s or passed_s > patience_s:
            raise _LimitError(
                f"still running after {passed_s:.1f} s, {used_s:.1f} s of them on a processor"
            )


def _run(work: Callable[[], str], output: int, writing: int) -> NoReturn:
    import resource  # not on Windows

    fault = outcome = ""
    try:
        for stream in (1, 2):
            os.dup2(output, stream)
        faulthandler.register(_SHOW_STACKS, output)
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_ADDRESSES, _MOST_ADDRESSES))
        outcome = work()
    except FaultError as error:
        fault = str(error)
    except BaseException as error:  # the case is judged by its parent
        fault = f"raised {type(error).__name__}: {error}"
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with open(writing, "wb") as stream:
            stream.write(json.dumps([outcome, fault]).encode())
        # Without the clean-up of a process that is not its own.
        os._exit(0)
