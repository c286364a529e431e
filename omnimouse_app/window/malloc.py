"""Return of freed memory after a window closes."""

import ctypes
import platform


def return_free_memory() -> None:
    """Return the free pages of all heaps of the GNU C library; elsewhere, do nothing.

    It keeps freed arrays in its heaps, up to eight per processor core, and between them
    pieces that are still in use. Limits of the heaps would keep less, but a window then
    opens a quarter of a second later and reads recordings more slowly.
    """
    if platform.libc_ver()[0] == "glibc":
        # CDLL(None) is the running process, including the C library it has loaded.
        ctypes.CDLL(None).malloc_trim(0)
