"""A virtual display (Xvfb) for machines without a screen.

It depends on the standard library alone, because `tasks.py` uses it, too. The windows
of a display are open to whoever has its cookie, and to no other account of the machine.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

_OPTIONS = ("-screen", "0", "1600x1000x24", "-nolisten", "tcp", "-noreset")
_TIMEOUT_S = 20


def has_display() -> bool:
    """Return True if this process can show a window."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def run_on_virtual_display(arguments: Sequence[str], stdout: TextIO | None = None) -> int:
    """Run `omnimouse ARGUMENTS` in a new process on a virtual display.

    The process is separate because the display must outlive all Qt objects. Returns the
    exit status. Its standard output is `stdout`, or that of this process.
    """
    # By default, SIGTERM would end this process and leave Xvfb running.
    signal.signal(signal.SIGTERM, _unwind)
    with virtual_display() as variables:
        # The new process begins with SIGINT blocked, until it can report a Ctrl-C.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        process = subprocess.Popen(
            [sys.executable, "-m", "omnimouse_app", *arguments],
            env=os.environ | variables,
            stdout=stdout,
        )
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            return process.wait()
        except KeyboardInterrupt:
            # A terminal sends Ctrl-C to both processes. The other one ends its window,
            # and says that it has stopped.
            with suppress(subprocess.TimeoutExpired):
                if (status := process.wait(_TIMEOUT_S)) >= 0:
                    return status
            raise
        finally:
            process.kill()


def _unwind(number: int, _frame: FrameType | None) -> None:
    """Exit as on Ctrl-C, so that the display and the process on it end too."""
    # 128 + signal number is the shell's exit status for a process ended by a signal.
    sys.exit(128 + number)


@contextmanager
def virtual_display() -> Iterator[dict[str, str]]:
    """Start Xvfb on a display number of its choice.

    Yields the variables of programs that open windows on it.
    """
    program = shutil.which("Xvfb")
    if program is None:
        raise FileNotFoundError(
            "No display and no Xvfb here: install it (apt install xvfb), or run "
            "where there is a screen."
        )
    with ExitStack() as stack:
        # Only its owner can read a temporary file.
        authority = stack.enter_context(tempfile.NamedTemporaryFile(prefix="omnimouse-xauth-"))
        authority.write(_authority(secrets.token_bytes(16)))
        authority.flush()
        # Xvfb writes the number of its display to this pipe when it is ready. A number
        # chosen here could be in use already.
        readable, writable = os.pipe()
        server = subprocess.Popen(
            [*(program, "-displayfd", str(writable), "-auth", authority.name), *_OPTIONS],
            pass_fds=(writable,),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A Ctrl-C in the terminal must not end the display before its windows.
            start_new_session=True,
        )
        stack.callback(_end, server)
        # While this copy is open, the read below would never end if Xvfb failed to
        # start.
        os.close(writable)
        with os.fdopen(readable) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise OSError("Xvfb ended at once: run `omnimouse doctor`.")
        # The environment may name the "offscreen" platform, which has no OpenGL.
        display = {"DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb"}
        yield display | {"XAUTHORITY": authority.name}


def _authority(cookie: bytes) -> bytes:
    """Return the content of an authority file: a cookie for any display (see Xau(3))."""
    any_host, any_display = b"", b""
    fields = (any_host, any_display, b"MIT-MAGIC-COOKIE-1", cookie)
    family = b"\xff\xff"  # "wild"
    return family + b"".join(len(field).to_bytes(2, "big") + field for field in fields)


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()


@contextmanager
def scratch_settings() -> Iterator[None]:
    """Use temporary settings in the block; leave the user's settings unchanged."""
    with tempfile.TemporaryDirectory(prefix="omnimouse-") as scratch:
        temporary = {
            "NAPARI_CONFIG": str(Path(scratch) / "napari.yaml"),
            "OMNIMOUSE_CONFIG": scratch,
        }
        before = {name: os.environ.get(name) for name in temporary}
        os.environ.update(temporary)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
