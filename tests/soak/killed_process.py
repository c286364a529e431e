"""Start of a command in a process group of its own, and its kill at one moment.

A forked process has the imports of this process: its whole time is work. A process of
`python -m omnimouse_app` imports, too, as for a user.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 0.001
"""Seconds between two looks at a process."""
_CHANGES = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link",
}  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, slots=True)
class Moment:
    """Moment of a kill: seconds after the start, or before a change of the files.

    Attributes
    ----------
    change
        Number of the change, from 1: an opening for writing, a renaming, a removal, a
        new folder or a shorter file. 0 for a moment in time.
    """

    after_s: float = 0.0
    change: int = 0

    def __str__(self) -> str:
        if self.change:
            return f"before change {self.change} of the files"
        return f"after {self.after_s:.3f} s"


@dataclass(frozen=True, slots=True)
class Ended:
    """End of a process: exit status (negative for a signal), time, and output."""

    status: int
    seconds: float
    text: str

    @property
    def is_killed(self) -> bool:
        """Whether the process was killed; it may have ended before its moment."""
        return self.status == -signal.SIGKILL


def end_of(
    start: Callable[[Path, int], int],
    log: Path,
    moment: Moment | None = None,
    limit_s: float = 600.0,
) -> Ended:
    """Start a process, kill it at a moment, and wait for its end.

    Parameters
    ----------
    start
        Function of the file of its output and the number of the change before which
        it kills itself; returns the process's number.
    limit_s
        Seconds after which the process is said to hang.
    """
    begin_s = time.monotonic()
    process = start(log, 0 if moment is None else moment.change)
    kill_s = moment.after_s if moment is not None and not moment.change else None
    while True:
        number, status = os.waitpid(process, os.WNOHANG)
        passed_s = time.monotonic() - begin_s
        if number:
            break
        if kill_s is not None and passed_s >= kill_s:
            _kill(process)
            kill_s = None
        elif passed_s > limit_s:
            _kill(process)
            os.waitpid(process, 0)
            raise TimeoutError(f"still runs after {limit_s:.0f} s")
        time.sleep(LOOK_S)
    # A process that killed itself may leave children, which are of its group.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    return Ended(os.waitstatus_to_exitcode(status), passed_s, text)


def _kill(process: int) -> None:
    """Kill a process and its children, also before it has a group of its own."""
    os.kill(process, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def forked(
    work: Callable[[], object], environment: dict[str, str], folder: Path
) -> Callable[[Path, int], int]:
    """Return a function that runs `work` in a fork; counts changes below `folder`.

    The fork writes their number into `<log>.changes`.
    """

    def start(log: Path, change: int) -> int:
        sys.stdout.flush()
        process = os.fork()
        if process:
            return process
        status: object = 70
        try:
            os.setsid()
            os.environ.update(environment)
            _redirect(log)
            changes = count_changes(folder, change)
            try:
                status = work() or 0
            except SystemExit as end:
                status = end.code or 0
            log.with_suffix(".changes").write_text(str(next(changes)), "utf-8")
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status if isinstance(status, int) else 1)

    return start


def spawned(words: list[str], environment: dict[str, str]) -> Callable[[Path, int], int]:
    """Return a function that starts `omnimouse WORDS` as a user does."""

    def start(log: Path, change: int) -> int:
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "omnimouse_app", *words],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            ).pid

    return start


def _redirect(log: Path) -> None:
    """Write the output of this process to a file, without input."""
    with log.open("ab") as output, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


def count_changes(folder: Path, last: int) -> Iterator[int]:
    """Count changes of files below a folder; kill this process before the `last` one.

    Changes by libraries that do not use Python's functions, such as HDF5 and
    safetensors, are not counted. The iterator yields the number so far.
    """
    count, root = 0, os.fspath(folder)

    def hook(event: str, details: tuple[object, ...]) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = details
            is_writing = isinstance(flags, int) and bool(flags & _WRITES)
            if not is_writing or not _is_below(path, root):
                return
        elif event not in _CHANGES or not _is_change_below(details, root):
            return
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return iter(lambda: count, -1)


def _is_change_below(details: tuple[object, ...], root: str) -> bool:
    # `shutil.rmtree` names files relative to an open folder.
    relative = isinstance(details[0], str) and not Path(details[0]).is_absolute()
    return relative or any(_is_below(path, root) for path in details[:2])


def _is_below(path: object, root: str) -> bool:
    try:
        return os.fsdecode(path).startswith(root)  # type: ignore[arg-type]
    except TypeError:
        return False
