"""Which devices a predictor can compute on here, where it is, and with what threads."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DEVICES = ("auto", "cpu")
"""Those that are always there."""


@dataclass(frozen=True, slots=True)
class Residence:
    """Where a predictor computes, and what it holds there.

    Attributes
    ----------
    hardware
        For people: "CPU, 3 threads", or the name of a GPU.
    n_bytes
        Of its weights; 0 where it has none to speak of.
    process_id
        Of its own process on this machine, None where it has none.
    """

    hardware: str
    n_bytes: int = 0
    process_id: int | None = None


def devices_of(predictor: object) -> tuple[str, ...]:
    """Devices where a predictor computes, as far as they are known without torch.

    A predictor in another process tells its own; one that has not imported torch has
    nothing to compute on a GPU.
    """
    told = getattr(predictor, "devices", None)
    if told is not None:
        return tuple(told)
    torch = sys.modules.get("torch")
    has_cuda = torch is not None and torch.cuda.is_available()
    return (*DEVICES, "cuda") if has_cuda else DEVICES


def residence_of(predictor: object) -> Residence:
    """Where a predictor is; one that does not say is on the processor, here."""
    told = getattr(predictor, "residence", None)
    return told if isinstance(told, Residence) else Residence("CPU")


def hardware_of(kind: str) -> str:
    """What to call a device of torch that a net computes on."""
    import torch

    if kind == "cuda":
        return torch.cuda.get_device_name()
    n = torch.get_num_threads()
    return f"CPU, {n} {'thread' if n == 1 else 'threads'}"


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch's operations use so many threads within, and as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def process_bytes(process_id: int | None) -> int | None:
    """Memory that a process of this machine holds now, None where it cannot be told."""
    if process_id is None:
        return None
    try:
        import psutil
    except ImportError:
        return _resident_bytes(process_id)
    try:
        return int(psutil.Process(process_id).memory_info().rss)
    except psutil.Error:  # it has ended
        return None


def _resident_bytes(process_id: int) -> int | None:
    """The same from Linux's own files."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text("ascii").splitlines()
    except (OSError, ValueError):
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(sizes[0]) * 1024 if sizes else None
