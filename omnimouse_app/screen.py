"""A display for machines that have none: Xvfb, started here and stopped here."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SIZE = "1600x1000x24"
_OPTIONS = ("-nolisten", "tcp", "-noreset")
_TIMEOUT_S = 20


def has_display() -> bool:
    """Whether a window could be shown as things are."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextmanager
def virtual_display() -> Iterator[str]:
    """Run the block with a display, starting Xvfb where there is none.

    Must be entered before anything imports Qt. Yields the name of the display.
    """
    if has_display():
        yield os.environ.get("DISPLAY", "")
        return
    program = shutil.which("Xvfb")
    if program is None:
        raise FileNotFoundError(
            "No display and no Xvfb here: install it (apt install xvfb), or run "
            "where there is a screen."
        )
    with _running(program) as display:
        os.environ["DISPLAY"] = display
        try:
            yield display
        finally:
            del os.environ["DISPLAY"]


@contextmanager
def _running(program: str) -> Iterator[str]:
    """Start Xvfb on a display it chooses itself; it says which through a pipe."""
    readable, writable = os.pipe()
    server = subprocess.Popen(
        [program, "-displayfd", str(writable), "-screen", "0", _SIZE, *_OPTIONS],
        pass_fds=(writable,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writable)
    try:
        with os.fdopen(readable) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise OSError("Xvfb ended at once: run `omnimouse doctor`.")
        yield f":{number}"
    finally:
        server.terminate()
        try:
            server.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
