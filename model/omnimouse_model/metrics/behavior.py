"""Averages of decoded behaviour over the channel groups of the paper."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

BEHAVIOR_GROUPS: Final = MappingProxyType(
    {
        "location": ("pupil_x", "pupil_y"),
        "size": ("pupil_size", "pupil_dsize"),
        "running": ("running",),
    }
)
"""Decoded channels of each group over which the paper averages."""


def behavior_groups(correlations: Mapping[str, float]) -> dict[str, float]:
    """Average the correlations of decoded channels within the groups of the paper.

    "location" is the mean of pupil x and y, "size" of pupil size and its change,
    "average" the mean of the three groups.
    """
    groups = {
        group: sum(correlations[channel] for channel in channels) / len(channels)
        for group, channels in BEHAVIOR_GROUPS.items()
    }
    # The paper's average is over the three groups, not over the five channels: running
    # alone weighs as much as both pupil positions together.
    return groups | {"average": sum(groups.values()) / 3}
