"""Return of freed memory while a window is open, and after it closes.

The GNU C library keeps freed arrays in its heaps, up to eight per processor core, and
between them pieces that are still in use. A window that stays open for hours, with
several threads that draw and compute, would then grow by some 20 MiB in five minutes
although it holds no more.
"""

import ctypes
import platform
from typing import Final

# Parameter numbers from malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_HEAPS: Final = 1
"""Number of heaps above which a new thread shares one that exists."""
_MAPPED_BYTES: Final = 1 << 20
"""Size from which an array is mapped. Mapping zeroes each page anew: with a threshold
of 128 KiB, reading a window of 1,000 neurons takes five times as long."""
_TRIMMED_BYTES: Final = 32 << 20
"""Free memory at the end of a heap that is kept for the next arrays."""


def return_large_arrays() -> None:
    """Return each array of 1 MiB or more when it is freed; share heaps of threads.

    A fixed threshold also ends the library's own rule, which raises it up to 32 MiB
    after larger arrays are freed. No effect without the GNU C library.
    """
    library = _gnu_library()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _TRIMMED_BYTES)
        library.mallopt(_ARENA_MAX, _HEAPS)


def return_free_memory() -> None:
    """Return the free pages of all heaps; no effect without the GNU C library."""
    library = _gnu_library()
    if library is not None:
        library.malloc_trim(0)


def _gnu_library() -> ctypes.CDLL | None:
    # CDLL(None) is the running process itself, including the C library it has loaded.
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
