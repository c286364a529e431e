"""Memory of training steps on a CPU: kept between steps, given back at the end.

The GNU C library gives every large array back to the system when it is freed, and the
next step's are zeroed and mapped anew, page by page: a tenth of a small model's step,
nearly half of a large one's.
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

# Of malloc.h.
_TRIM_THRESHOLD: Final = -1
_MMAP_MAX: Final = -4
_MAPPED: Final = 65536
_TRIMMED: Final = 64 << 20
"""What holds afterwards: the library's own number of mappings, and the most it keeps
free at the end of its heap under its own rule."""


@contextmanager
def kept_heap(device: torch.device | str) -> Iterator[None]:
    """Keep freed memory for the next step in the block, where that is not done anyway.

    Nothing on other devices, and with other C libraries.
    """
    if torch.device(device).type != "cpu" or platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _MAPPED)
        library.mallopt(_TRIM_THRESHOLD, _TRIMMED)
        library.malloc_trim(0)
