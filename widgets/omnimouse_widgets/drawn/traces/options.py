"""Display options of traces, shared by the panel and exported figures."""

from dataclasses import dataclass
from typing import Literal

Scale = Literal["own", "common"]


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Options of trace rows.

    `is_large` scales predictions to the size of the recording. `scale` gives each row
    its own scale or one scale to all rows.
    """

    is_large: bool = True
    scale: Scale = "own"
