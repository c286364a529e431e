"""Reuse of memory between training steps on a CPU.

The GNU C library returns each large array to the system when it is freed. The arrays
of the next step are then mapped and zeroed again, page by page. This takes a tenth of
a step of a small model, and nearly half of a step of a large one.
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

# Parameter numbers from malloc.h: M_TRIM_THRESHOLD and M_MMAP_MAX.
_TRIM_THRESHOLD: Final = -1
_MMAP_MAX: Final = -4
_MAPPED: Final = 65536
_TRIMMED: Final = 64 << 20
"""Values set afterwards: the library's default number of mappings, and the largest trim
threshold of its own dynamic rule."""


@contextmanager
def reused_heap(device: torch.device | str) -> Iterator[None]:
    """Keep freed memory for reuse within the block.

    Has no effect on devices other than the CPU, or without the GNU C library.
    """
    if torch.device(device).type != "cpu" or platform.libc_ver()[0] != "glibc":
        yield
        return
    # CDLL(None) is the running process itself, including the C library it has loaded.
    library = ctypes.CDLL(None)
    # No mappings: large arrays come from the heap. -1: the heap is never trimmed.
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _MAPPED)
        library.mallopt(_TRIM_THRESHOLD, _TRIMMED)
        # New settings act on later calls only; this returns the memory held so far.
        library.malloc_trim(0)
