"""How the traces are drawn, by their panel's switches; figures are drawn so, too."""

from dataclasses import dataclass
from typing import Literal

Scale = Literal["own", "common"]


@dataclass(frozen=True, slots=True)
class Look:
    """How rows are drawn: predictions as large as the recording, and on which scale."""

    is_large: bool = False
    scale: Scale = "own"
