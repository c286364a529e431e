"""Facts that the user states because the files of a session do not."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

ALL_ROIS = "--all-rois, or cells_only=False in Python"
"""Option that also reads regions that are no cells, for messages."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read a session; a reader ignores options that its format decides.

    Attributes
    ----------
    behavior_names
        Names of the columns of `eye_tracker` or `treadmill`. Only labels change.
    rate_hz
        Samples of the responses per second.
    recording_rate_hz
        Samples per second at which the responses were recorded, if the files hold
        responses that were upsampled later.
    series
        Kind of responses, if there are several; the error message lists the names.
    cells_only
        Leave out regions that the files mark as no cells.
    unit_tables
        CSV file with the column `unit_id`, or folder of such files: properties that
        are joined to the neurons, such as those of the released digital twins.
    """

    behavior_names: Mapping[str, Sequence[str]] | None = None
    rate_hz: float | None = None
    recording_rate_hz: float | None = None
    series: str | None = None
    cells_only: bool = True
    unit_tables: str | None = None

    def changed(self) -> dict[str, Any]:
        """Return the options that differ from the defaults, by name."""
        default = asdict(ReadOptions())
        return {k: v for k, v in asdict(self).items() if v != default[k]}
