"""Facts that the user states because the files of a session do not."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

ALL_ROIS = "--all-rois, or cells_only=False in Python"
"""Option that also reads regions that are no cells, for messages."""

OPTION_NOTES = {
    **dict.fromkeys(("quality", "min_rate_hz", "min_presence"), "unit_selection"),
    "trial_event": "trial_event",
    "split_seed": "trial_split",
}
"""Options of spiking recordings -> code of the assumption of a reader that uses it."""


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
    quality
        Least quality label of the units of a spiking recording, or the text that the
        label must be.
    min_rate_hz
        Least number of spikes per second of a unit.
    min_presence
        Least share of the recording, 0 to 1, in which a unit has spikes.
    trial_event
        Column of the trial table at whose times trials begin, such as `stimOn_times`.
    split_seed
        Seed that divides the trials of a recording without tiers 8:1:1.
    """

    behavior_names: Mapping[str, Sequence[str]] | None = None
    rate_hz: float | None = None
    recording_rate_hz: float | None = None
    series: str | None = None
    cells_only: bool = True
    unit_tables: str | None = None
    quality: float | str | None = None
    min_rate_hz: float | None = None
    min_presence: float | None = None
    trial_event: str | None = None
    split_seed: int | None = None

    def changed(self) -> dict[str, Any]:
        """Return the options that differ from the defaults, by name."""
        default = asdict(ReadOptions())
        return {k: v for k, v in asdict(self).items() if v != default[k]}
