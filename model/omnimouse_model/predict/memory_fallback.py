"""Fallbacks when memory runs out: smaller parts, then bf16, then the CPU.

Smaller parts cost only time, bf16 costs some digits, and the CPU much time. A fallback
stays until the predictor is loaded again, and the status of every prediction names it.
"""

from dataclasses import dataclass, replace
from typing import Literal

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
        if is_decoding and (smaller := self._fewer_queries()) is not None:
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

    def _fewer_queries(self) -> int | None:
        # "All at once" counts as a number that one step of a GPU usually holds.
        current = self.queries_per_step or 16 * QUERIES_PER_STEP
        return current // 4 if current // 4 >= FEWEST_QUERIES else None

    @property
    def status(self) -> str:
        """`Prediction.status` under these settings."""
        if not self.fallbacks:
            return "ok"
        return f"memory was full: {', '.join(self.fallbacks)}"


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
