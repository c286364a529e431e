"""Other processes: libraries that open files themselves, with limits, and messages of our own.

A library runs in a process of its own for each call. The process runs one function of this
project, which imports the library. It gets plain arguments (JSON) and returns plain facts
(JSON) and arrays (`.npy`), which are read like all other files of strangers: nothing is
unpickled. Address space, processor time and file size are limited by the system where it
can (Linux; macOS enforces no address space, Windows none of the three); wall-clock time and
output are limited everywhere.

Messages between a process and those that it started are pickles. Unpickling runs code. It
is right there alone: the pipe of a process has no name, and only its two ends can write to
it; Dask has certificates, and is trusted (SECURITY.md).
"""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from io import BytesIO
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

import numpy as np

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.npy import npy_file
from omnimouse_model.storage.files import open_binary
from omnimouse_model.storage.trees import read_json_mapping
from omnimouse_model.storage.write import write_json

# -- start and end of child processes that do not import the user's script ------------
# `inference` runs predictors in such processes, and `analysis.fit` fine-tuning.
# Not fork: a copy of a process with threads (Qt, torch) may deadlock.
SPAWN = multiprocessing.get_context("spawn")
WAITING: Final = {"GOMP_SPINCOUNT": "3000"}
"""Threads of OpenMP that wait for one another leave the core after a fraction of a millisecond.

By default they compute for long meanwhile, and beside busy programs a waited-for thread of low
priority has no core for long. Leaving it at once makes small steps 1.7 times as long on a quiet
machine.
"""


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
    with without_main_module(), _added_variables(environment or {}), interrupts_kept_from_workers():
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


Report = Callable[[float, str], None]
"""Called with the finished share and the current step; may raise to stop."""
Answer = tuple[Mapping[str, Any], Mapping[str, np.ndarray]]
"""What a function in the process returns: facts for JSON, and arrays by name."""

_ARGUMENTS, _FACTS, _FAULT, _STEP, _LOG = (
    *("arguments.json", "facts.json", "fault.json", "step.json", "log.txt"),
)
_POLL_S = 0.05
_MOST_ARRAYS = 64
_LONGEST_TEXT = 300
_LOG_BYTES = 2000
_ENVIRONMENT = (
    *("PATH", "HOME", "USERPROFILE", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT"),
    *("LD_LIBRARY_PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"),
    *("http_proxy", "https_proxy", "no_proxy", "REQUESTS_CA_BUNDLE"),
)
"""Variables that the process inherits: none with a token."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a call: bytes of memory and of results, and seconds of wall-clock time."""

    memory_bytes: int = 8 * 2**30
    output_bytes: int = 4 * 2**30
    seconds: float = 600.0


class LibraryError(Exception):
    """A call of a library failed; the message has one line.

    Attributes
    ----------
    kind
        Name of the error class in the process; "limit" for a limit that was exceeded,
        "ended" for a process that ended without an answer.
    code
        Code of an error of this project, else "".
    """

    def __init__(self, kind: str, text: str, code: str = "") -> None:
        self.kind, self.text, self.code = kind, " ".join(text.split())[:_LONGEST_TEXT], code
        super().__init__(self.text)


def call_library(
    function: str,
    arguments: Mapping[str, Any],
    *,
    limits: Limits | None = None,
    report: Report | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return facts and arrays that a function returns in a process of its own.

    Parameters
    ----------
    function
        "module:name" of a function `(arguments, report)` that returns an `Answer`.
    arguments
        Values for JSON.
    report
        Called a few times per second with what the function reported last; if it
        raises, the process is ended.

    Raises
    ------
    LibraryError
        The function failed, exceeded a limit, or its process ended.
    SessionFormatError
        Its answer is damaged.
    """
    limits = Limits() if limits is None else limits
    with tempfile.TemporaryDirectory(prefix="omnimouse-library-") as name:
        folder = Path(name)
        request = {"function": function, "arguments": dict(arguments), **asdict(limits)}
        write_json(folder / _ARGUMENTS, request)
        with (folder / _LOG).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(folder)],
                cwd=folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                # A group of its own, so that processes of the library end as well.
                start_new_session=True,
            )
        try:
            _wait(process, folder, limits, report)
        finally:
            _end(process)
        return _answer(folder, process.returncode, limits)


def _environment() -> dict[str, str]:
    """Return the variables of the process: the same packages, one thread, no tokens."""
    inherited = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    paths = [path for path in sys.path if path and Path(path).is_absolute()]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**inherited, **threads, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}


def _wait(
    process: "subprocess.Popen[bytes]", folder: Path, limits: Limits, report: Report | None
) -> None:
    """Wait for the end of the process, and watch its time and its output."""
    began = time.monotonic()
    last = 0.0, "starting"
    while process.poll() is None:
        if time.monotonic() - began > limits.seconds:
            raise LibraryError("limit", f"it took more than {limits.seconds:g} s and was ended")
        if _size(folder) > limits.output_bytes:
            raise LibraryError("limit", f"it wrote more than {limits.output_bytes:,} bytes")
        if report is not None:
            # Again, too: a stop must not wait for a library that says nothing.
            last = _step(folder) or last
            report(*last)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)


def _size(folder: Path) -> int:
    n_bytes = 0
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):  # renamed meanwhile
            n_bytes += entry.stat(follow_symlinks=False).st_size
    return n_bytes


def _step(folder: Path) -> tuple[float, str] | None:
    """Return what the function reported last, None before its first report."""
    with suppress(SessionFormatError, TypeError, ValueError):  # not there, or half written
        step = read_json_mapping(folder / _STEP)
        return float(step["share"]), str(step["text"])[:_LONGEST_TEXT]
    return None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and those that it started."""
    # The group can outlive its first process; on Windows there are no groups.
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    process.wait()


def _answer(
    folder: Path, code: int | None, limits: Limits
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the facts and arrays in the folder; raise if there are none."""
    if (folder / _FAULT).is_file():
        fault = read_json_mapping(folder / _FAULT)
        raise LibraryError(*(str(fault.get(name, "")) for name in ("kind", "text", "code")))
    if code or not (folder / _FACTS).is_file():
        with open_binary(folder / _LOG) as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _LOG_BYTES))
            log = stream.read(_LOG_BYTES).decode("utf-8", "replace").strip()
        last = log.splitlines()[-1] if log else "it wrote no message"
        raise LibraryError("ended", f"its process ended with code {code}: {last}")
    try:
        facts = read_json_mapping(folder / _FACTS)
    except SessionFormatError as error:
        # The file of the answer is nobody's: what is wrong stands after its name.
        text = error.message.partition(": ")[2]
        raise LibraryError("answer", f"its answer cannot be read: {text}") from error
    files = sorted(path for path in folder.iterdir() if path.suffix == ".npy")
    if len(files) > _MOST_ARRAYS or _size(folder) > limits.output_bytes:
        raise LibraryError("limit", f"it returned {len(files)} arrays, or too many bytes")
    # Copies: the folder is removed.
    return facts, {path.stem: np.array(npy_file(path).open()) for path in files}


# -- in the process ------------------------------------------------------------------
def _limit(memory_bytes: int, output_bytes: int, seconds: float) -> None:
    """Set the limits of the system for this process, where there are any."""
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_FSIZE: output_bytes,
        resource.RLIMIT_CPU: int(seconds) + 1,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in wanted.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # macOS refuses a limit of address space
            resource.setrlimit(kind, (most, most))


def _run(folder: Path) -> None:
    """Call the function that the arguments in the folder name; write its answer."""
    request = read_json_mapping(folder / _ARGUMENTS)
    _limit(*(request[name] for name in ("memory_bytes", "output_bytes", "seconds")))

    def report(share: float, text: str) -> None:
        write_json(folder / _STEP, {"share": share, "text": text})

    try:
        module, _, name = str(request["function"]).partition(":")
        facts, arrays = getattr(import_module(module), name)(request["arguments"], report)
        for key, values in arrays.items():
            np.save(folder / f"{key}.npy", np.asarray(values), allow_pickle=False)
        write_json(folder / _FACTS, facts)
    except MemoryError:
        most = f"{request['memory_bytes'] / 2**30:.3g} GiB"
        write_json(folder / _FAULT, {"kind": "limit", "text": f"it needs more memory than {most}"})
    except Exception as error:  # the library may raise anything
        code, text = getattr(error, "code", ""), str(error)[:2000]
        kind = type(error).__name__
        write_json(folder / _FAULT, {"kind": kind, "text": text, "code": str(code)})


# -- messages of our own processes
# Classes of the module: one made for each message would be in a cycle of references, which
# keeps `key_of` and its owner, such as a predictor with a process, until a search for garbage.
class _Packer(pickle.Pickler):
    def __init__(self, file: BytesIO, key_of: Callable[[Any], int | None]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._key_of = key_of

    def persistent_id(self, obj: Any) -> int | None:
        return self._key_of(obj)


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: BytesIO, known: Mapping[int, Any]) -> None:
        super().__init__(file)
        self._known = known

    def persistent_load(self, pid: Any) -> Any:
        return self._known[pid]


def packed(content: Any, key_of: Callable[[Any], int | None] | None = None) -> bytes:
    """Return a message; of objects that the receiver has, only their keys are in it."""
    if key_of is None:
        return pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
    message = BytesIO()
    _Packer(message, key_of).dump(content)
    return message.getvalue()


def unpacked(message: bytes, known: Mapping[int, Any] = MappingProxyType({})) -> Any:
    """Return the content of a message of our own processes, with known objects by key."""
    return _Unpacker(BytesIO(message), known).load()


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
