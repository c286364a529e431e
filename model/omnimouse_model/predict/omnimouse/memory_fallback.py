"""How much memory an answer may take, and what is given up when there is too little.

Smaller parts cost time only, bf16 some digits, the CPU a lot of time: in that order.
What was given up stays so until the predictor is loaded again, and every answer says
so in its status.
"""

from dataclasses import dataclass, replace
from typing import Literal

Precision = Literal["auto", "fp32", "bf16"]

QUERIES_PER_STEP = 512
"""Decoded on a CPU between two looks at whether the answer is wanted: some 10 ms."""
FEWEST_QUERIES = 32


@dataclass(frozen=True, slots=True)
class Effort:
    """One rung of the ladder.

    Attributes
    ----------
    device
        "cpu", "cuda" or another of torch's device types.
    is_bf16
        Compute in bfloat16.
    queries_per_step
        Decoded at once; None is all.
    given_up
        What was given up so far, in words for the user.
    """

    device: str
    is_bf16: bool
    queries_per_step: int | None = None
    given_up: tuple[str, ...] = ()

    def lower(self, *, is_decoding: bool, can_move: bool) -> "Effort | None":
        """The next rung that needs less memory, None where there is none."""
        if is_decoding and (smaller := self._smaller()) is not None:
            words = f"decoded {smaller:,} queries at a time"
            kept = tuple(w for w in self.given_up if not w.startswith("decoded "))
            return replace(self, queries_per_step=smaller, given_up=(*kept, words))
        if not self.is_bf16:
            return replace(self, is_bf16=True, given_up=(*self.given_up, "in bf16"))
        if self.device != "cpu" and can_move:
            return Effort("cpu", False, QUERIES_PER_STEP, ("computed on the CPU",))
        return None

    def _smaller(self) -> int | None:
        now = self.queries_per_step or 16 * QUERIES_PER_STEP
        return now // 4 if now // 4 >= FEWEST_QUERIES else None

    @property
    def status(self) -> str:
        """`Prediction.status` of what is computed so."""
        if not self.given_up:
            return "ok"
        return f"memory was full: {', '.join(self.given_up)}"


def computes_in_bf16(device: str, precision: Precision) -> bool:
    """Whether a device computes in bf16: by "auto" a GPU does, a CPU does not.

    Many CPUs have no bf16 products, and imitate them slowly.
    """
    return precision == "bf16" or (precision == "auto" and device == "cuda")


def first_effort(device: str, precision: Precision) -> Effort:
    """What a predictor begins with.

    A GPU decodes everything at once; a CPU in parts, so that newer questions cut in.
    """
    is_bf16 = computes_in_bf16(device, precision)
    return Effort(device, is_bf16, None if device == "cuda" else QUERIES_PER_STEP)
