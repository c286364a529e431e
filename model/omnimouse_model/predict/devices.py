"""Devices of predictors: the available ones, threads, memory, and what to do when it is full."""

import logging
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from errno import ENOMEM
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from omnimouse_model.errors import UnsupportedRequestError

if TYPE_CHECKING:
    import torch
    from threadpoolctl import ThreadpoolController

_log = logging.getLogger(__name__)
T = TypeVar("T")
DEVICES = ("auto", "cpu")
"""Devices of every machine."""
GPU_IS_FULL = (
    "The memory of the GPU is full. Close other programs that use it (`nvidia-smi` "
    "lists them), or choose the device cpu or a smaller model."
)
MACHINE_IS_FULL = (
    "The memory of this machine is full. Close other programs, show or predict fewer "
    "neurons, or choose a smaller model."
)


@dataclass(frozen=True, slots=True)
class Residence:
    """Where a predictor computes, and its memory there.

    Attributes
    ----------
    hardware
        Text for the user: "CPU, 3 threads", or the name of a GPU.
    n_bytes
        Size of the weights; 0 for predictors without weights.
    process_id
        The predictor's own process on this machine, None if it has none.
    """

    hardware: str
    n_bytes: int = 0
    process_id: int | None = None


LIBRARY_BYTES = 256 * 2**20
"""Free memory of a GPU below which errors of CUDA's libraries mean a full memory."""


def full_memory_text(error: BaseException) -> str:
    """Return what is full and what to do if memory ran out; "" for other errors.

    Besides `MemoryError` and `torch.OutOfMemoryError`, these are errors of CUDA, which
    has no memory for itself, of its libraries, and of allocations on a CPU.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == ENOMEM:
        return MACHINE_IS_FULL
    # Errors of this project have a text of their own.
    is_own = type(error).__module__ == "omnimouse_model.errors"
    if not isinstance(error, RuntimeError) or is_own:
        return ""
    text = str(error)
    if "allocate memory" in text:
        return MACHINE_IS_FULL
    # By name: torch is not imported for programs that do not use it.
    is_full = type(error).__name__ == "OutOfMemoryError"
    is_full |= "out of memory" in text or "ALLOC_FAILED" in text
    # cuDNN and cuBLAS report an "internal error" where they lack memory, too.
    is_of_library = "CUDNN_STATUS_" in text or "CUBLAS_STATUS_" in text
    return GPU_IS_FULL if is_full or (is_of_library and _is_gpu_full()) else ""


def cache_limit(device: str) -> int:
    """Return a limit in bytes for values that can be computed again.

    Half of the free memory of a device ("cpu", "cuda", …), at most 4 GiB; 1 GiB where the
    system does not say how much is free.
    """
    if device == "cuda":
        import torch

        free = torch.cuda.mem_get_info()[0]
    elif "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", ()):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:  # macOS and Windows
        free = 2 * 2**30
    return min(free // 2, 4 * 2**30)


def _is_gpu_full() -> bool:
    """Return whether the GPU has too little free memory for a library of CUDA."""
    import torch

    try:
        free, _ = torch.cuda.mem_get_info()
    except RuntimeError as error:
        return "out of memory" in str(error)
    return free < LIBRARY_BYTES


def on_device(record: T, device: "torch.device | str", kept: Collection[str] = ()) -> T:
    """Return a dataclass with its tensors, and those of dataclasses in it, on a device.

    A copy to a GPU does not block; the fields `kept` stay where they are.
    """
    import torch

    def moved(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.to(device, non_blocking=True)
        return value.to(device) if is_dataclass(value) and hasattr(value, "to") else value

    values: Any = record  # mypy cannot state that a type variable is a dataclass
    names = [one.name for one in fields(values) if one.name not in kept]
    return replace(values, **{name: moved(getattr(values, name)) for name in names})


def devices_of(predictor: object) -> tuple[str, ...]:
    """Return the devices on which a predictor can compute; never imports torch."""
    # A predictor in another process reports the devices of that process.
    reported = getattr(predictor, "devices", None)
    if reported is not None:
        return tuple(reported)
    # Importing torch takes seconds. A predictor that has not imported it computes
    # nothing on a GPU.
    torch = sys.modules.get("torch")
    if torch is None:
        return DEVICES
    backends = {"cuda": torch.cuda, "mps": torch.backends.mps}
    return (*DEVICES, *(name for name, gpu in backends.items() if gpu.is_available()))


def residence_of(predictor: object) -> Residence:
    """Return where a predictor computes; by default the CPU of this process."""
    reported = getattr(predictor, "residence", None)
    return reported if isinstance(reported, Residence) else Residence("CPU")


def hardware_of(device_type: str) -> str:
    """Return the name of a torch device type for the user."""
    import torch

    if device_type == "cuda":
        return torch.cuda.get_device_name()
    if device_type == "mps":
        return "Apple GPU"
    n_threads = torch.get_num_threads()
    return f"CPU, {n_threads} {'thread' if n_threads == 1 else 'threads'}"


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Limit the threads of torch's operations within the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class SingleNumpyThread:
    """Context manager: matrix products of numpy use one thread within the block.

    The threads of OpenBLAS wait in loops between products. For small products, they are
    no faster than one, and take the cores from torch meanwhile. No call of torch should
    be in the block: it may use the same library. The limit is that of the process,
    until the last of several blocks ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_blocks = 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._n_blocks += 1
            if self._n_blocks == 1:
                self._limit = _blas().limit(limits=1)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_blocks -= 1
            if self._n_blocks == 0:
                self._limit.restore_original_limits()


single_numpy_thread: Final = SingleNumpyThread()
"""Limit of the threads of numpy; all predictors of a process share it."""


@cache
def _blas() -> "ThreadpoolController":
    """Return the libraries of matrix products that numpy has loaded."""
    # On first use: the process of the window predicts nothing.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def process_bytes(process_id: int | None) -> int | None:
    """Return the resident memory of a local process; None if it cannot be read."""
    try:
        # Installed with napari and with Jupyter; the library alone does without.
        import psutil
    except ImportError:
        return None
    if process_id is None:
        return None
    try:
        return int(psutil.Process(process_id).memory_info().rss)
    except psutil.Error:  # the process has ended
        return None


def resolve_device(device: str) -> "torch.device":
    """Return the torch device for the name "auto", "cpu", "cuda" or "mps".

    "auto" is a CUDA GPU if there is one that can be used, or the CPU.

    Raises
    ------
    UnsupportedRequestError
        The device does not exist or cannot be used.
    """
    import torch

    # Never "mps" by itself: nobody has compared its results with those of a CPU.
    if device == "auto":
        problem = _why_no_cuda()
        if problem and torch.cuda.is_available():
            _log.warning("The CPU is used. %s", problem)
        return torch.device("cpu" if problem else "cuda")
    if device == "cuda" and (problem := _why_no_cuda()):
        raise UnsupportedRequestError(problem)
    if device == "mps" and not torch.backends.mps.is_available():
        raise UnsupportedRequestError("No Apple GPU was found; choose the device cpu.")
    return torch.device(device)


def _why_no_cuda() -> str:
    """Return why the GPU of this process cannot be used; "" if it can.

    CUDA needs about 500 MiB there for itself, which it keeps until the process ends.
    """
    import torch

    if not torch.cuda.is_available():
        return "No CUDA GPU was found; choose the device cpu (`omnimouse doctor` says more)."
    # Each process of `torchrun` has a GPU of its own.
    rank = int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count()
    try:
        torch.empty(1, device=torch.device("cuda", rank))
    except RuntimeError as error:
        first_line = str(error).partition("\n")[0]
        other = f"The GPU cannot be used ({first_line}); choose the device cpu."
        return full_memory_text(error) or other
    return ""


# -- fallbacks when memory runs out: smaller parts, then bf16, then the CPU -----------
# Smaller parts cost only time, bf16 costs some digits, and the CPU much time. A fallback
# stays until the predictor is loaded again, and the status of every prediction names it.
Precision = Literal["auto", "fp32", "bf16"]

QUERIES_PER_STEP = 512
"""Decoded on a CPU between two checks whether the request is outdated: about 10 ms."""
FEWEST_QUERIES = 32
_IN_PARTS = "decoded "


@dataclass(frozen=True, slots=True)
class ComputeSettings:
    """How a predictor computes: the normal way, or one of the fallbacks.

    Attributes
    ----------
    device
        "cpu", "cuda" or another of torch's device types.
    is_bf16
        Compute in bfloat16.
    queries_per_step
        Number of queries that are decoded at once; None for all.
    fallbacks
        Texts for the user, one per fallback in use.
    """

    device: str
    is_bf16: bool
    queries_per_step: int | None = None
    fallbacks: tuple[str, ...] = ()

    def reduced(self, *, is_decoding: bool, can_move: bool) -> "ComputeSettings | None":
        """Return the next settings that need less memory, None if there are none."""
        # Only decoding is done in parts; an encoding has no use for smaller ones.
        # "All at once" counts as a number that one step of a GPU usually holds.
        smaller = (self.queries_per_step or 16 * QUERIES_PER_STEP) // 4
        if is_decoding and smaller >= FEWEST_QUERIES:
            others = [t for t in self.fallbacks if not t.startswith(_IN_PARTS)]
            text = f"{_IN_PARTS}{smaller:,} queries at a time"
            return replace(self, queries_per_step=smaller, fallbacks=(*others, text))
        # bf16 halves the activations; the weights stay in float32.
        if not self.is_bf16:
            return replace(self, is_bf16=True, fallbacks=(*self.fallbacks, "in bf16"))
        if self.device != "cpu" and can_move:
            # Earlier fallbacks no longer apply: the CPU has memory of its own.
            fallbacks = ("computed on the CPU",)
            return ComputeSettings("cpu", False, QUERIES_PER_STEP, fallbacks)
        return None

    @property
    def status(self) -> str:
        """`Prediction.status` under these settings."""
        return f"memory was full: {', '.join(self.fallbacks)}" if self.fallbacks else "ok"


def computes_in_bf16(device: str, precision: Precision) -> bool:
    """Return whether a device computes in bf16; by "auto", only GPUs do."""
    # Many CPUs have no bf16 products, and emulate them slowly.
    return precision == "bf16" or (precision == "auto" and device == "cuda")


def first_settings(device: str, precision: Precision) -> ComputeSettings:
    """Return the settings without any fallback."""
    is_bf16 = computes_in_bf16(device, precision)
    # A CPU decodes in parts, so that a newer request can interrupt it.
    queries_per_step = None if device == "cuda" else QUERIES_PER_STEP
    return ComputeSettings(device, is_bf16, queries_per_step)


# -- cache with a limit, for tensors on the device and values in memory -----------------
def _one(value: object) -> int:
    # A lambda could not be pickled, and predictors can.
    return 1


class MemoryCache(Generic[T]):
    """Values by key; the least recently used are dropped above a limit.

    Parameters
    ----------
    limit
        Maximum size; the newest value stays even if it is larger.
    bytes_of
        Function from a value to its memory; by default each counts 1.

    Attributes
    ----------
    n_bytes
        Bytes in the cache.
    """

    def __init__(self, limit: int, bytes_of: Callable[[T], int] = _one) -> None:
        self._limit = limit
        self._bytes_of = bytes_of
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self.n_bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key, made now if it is not in the cache."""
        if key not in self._values:
            self._values[key] = value = make()
            self.n_bytes += self._bytes_of(value)
        # The order of the dict is that of the last use.
        self._values.move_to_end(key)
        # The value itself stays: the caller is about to use it.
        while self.n_bytes > self._limit and len(self._values) > 1:
            _, oldest = self._values.popitem(last=False)
            self.n_bytes -= self._bytes_of(oldest)
        return self._values[key]

    def peek(self, key: Hashable) -> T | None:
        """Return the value of a key, None without one; it counts as no use."""
        return self._values.get(key)

    @property
    def latest(self) -> T | None:
        """The value that was used last, None without any."""
        return next(reversed(self._values.values()), None)

    def values(self) -> Iterable[T]:
        """Return all values, the one that was used last at the end."""
        return self._values.values()

    def drop(self, key: Hashable) -> None:
        """Drop the value of a key that is in the cache."""
        self.n_bytes -= self._bytes_of(self._values.pop(key))

    def clear(self) -> None:
        """Drop all values."""
        self._values.clear()
        self.n_bytes = 0
