"""What a user may say where the files of a session do not."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

ALL_ROIS = "--all-rois, or cells_only=False in Python"
"""How to say that regions which are no cells are wanted too."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read a session; a reader passes over what its format says itself.

    Attributes
    ----------
    behavior_names
        Names of the columns of `eye_tracker` or `treadmill`. Only labels change.
    rate_hz
        Samples of the responses per second.
    series
        Which responses, where there are several kinds: a name that the error lists.
    cells_only
        Leave out regions that the files mark as no cells.
    """

    behavior_names: Mapping[str, Sequence[str]] | None = None
    rate_hz: float | None = None
    series: str | None = None
    cells_only: bool = True

    def given(self) -> dict[str, Any]:
        """What differs from the defaults, by keyword."""
        usual = asdict(ReadOptions())
        return {k: v for k, v in asdict(self).items() if v != usual[k]}
