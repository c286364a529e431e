"""Memory of the window's process: heaps of the C library, and Python's garbage."""

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_M_ARENA_MAX = -8
"""Parameter of `mallopt` for the largest number of heaps, of glibc's `malloc.h`."""


def share_heap() -> None:
    """Make all threads use one heap; call it before other threads start.

    By default, each thread gets a heap of its own, up to eight per processor core, and
    `return_free_memory` cannot return the end of such a heap: each window would keep
    about 15 MiB of freed arrays more than the one before. Threads seldom wait for the
    heap: times of start, strokes and reading stay the same. Threads that began before
    keep their heaps. Without the GNU C library, do nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        # CDLL(None) is the running process, including the C library it has loaded.
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def return_free_memory() -> None:
    """Return free pages of the GNU C library to the system; elsewhere, do nothing.

    It keeps freed arrays in its heaps, between pieces that are still in use. Only the
    end of a heap that belongs to threads stays; see `share_heap`.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def paused_collection() -> Iterator[None]:
    """Pause Python's search for cyclic garbage, which takes a tenth of the start.

    It looks through all modules and widgets again and again, which all remain in use.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def leave_out_imports(*, is_first: bool) -> None:
    """Leave all objects out of the search for cyclic garbage; nearly all are of imports.

    A full search looks through 220,000 of them, which all remain: 0.2 s, at the start and
    between strokes. Only once, because later the widgets of another viewer are among them.
    Garbage of a viewer that was closed before would remain: unless the viewer to come
    `is_first`, it is searched for.
    """
    if gc.get_freeze_count():
        return
    if not is_first:
        gc.collect()
    gc.freeze()
