"""Trials as coloured, lettered bars: of their tiers, and of what was shown in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from omnimouse_model.data.overview import Overview
from omnimouse_widgets import palette

JOIN_S: Final = 1.0
"""Trials of one tier closer than this are drawn as one bar."""
_HEIGHTS: Final = {"train": 0.45, "none": 0.2}


@dataclass(frozen=True, slots=True)
class TierBar:
    """A stretch of one tier, seconds on the session clock."""

    start_s: float
    stop_s: float
    tier: str

    @property
    def colour(self) -> str:
        """By kind of tier."""
        return palette.TIER_COLOURS[palette.tier_kind(self.tier)]

    @property
    def letter(self) -> str:
        """V, O or T for held-out tiers, so that colour is not all that tells."""
        return palette.TIER_LETTERS.get(palette.tier_kind(self.tier), "")

    @property
    def height(self) -> float:
        """Held-out tiers stand taller than training, blanks are low."""
        return _HEIGHTS.get(palette.tier_kind(self.tier), 1.0)


def tier_bars(overview: Overview) -> list[TierBar]:
    """Bars in the order of time."""
    bars: list[TierBar] = []
    for at in np.argsort(overview.trial_on, kind="stable"):
        tier = str(overview.trial_tier[at])
        start, stop = float(overview.trial_on[at]), float(overview.trial_off[at])
        last = bars[-1] if bars else None
        if last and last.tier == tier and start - last.stop_s <= JOIN_S:
            bars[-1] = TierBar(last.start_s, max(stop, last.stop_s), tier)
        elif stop > start:
            bars.append(TierBar(start, stop, tier))
    return bars


@dataclass(frozen=True, slots=True)
class KindBar:
    """A stretch in which stimuli of one kind were shown, session seconds."""

    start_s: float
    stop_s: float
    kind: str
    letter: str = ""

    @property
    def colour(self) -> str:
        """By kind; what is not known is drawn as nothing is."""
        return palette.KIND_COLOURS.get(self.kind, palette.KIND_COLOURS["none"])

    @property
    def height(self) -> float:
        """Videos stand full, images half, blanks are low."""
        return palette.KIND_HEIGHTS.get(self.kind, 0.2)


def kind_bars(overview: Overview) -> list[KindBar]:
    """Bars in the order of time; trials of one kind on end are one bar."""
    bars: list[KindBar] = []
    for at in np.argsort(overview.trial_on, kind="stable"):
        start, stop = float(overview.trial_on[at]), float(overview.trial_off[at])
        kind = str(overview.trial_kind[at])
        last = bars[-1] if bars else None
        if last and last.kind == kind and start - last.stop_s <= JOIN_S:
            bars[-1] = KindBar(last.start_s, max(stop, last.stop_s), kind)
        elif stop > start:
            bars.append(KindBar(start, stop, kind))
    return bars


def letters_in(bars: Sequence[TierBar]) -> str:
    """What the letters on the bars stand for, such as `T test · O oracle`."""
    on_screen = {bar.letter for bar in bars}
    return " · ".join(
        f"{letter}\N{NO-BREAK SPACE}{kind}"
        for kind, letter in palette.TIER_LETTERS.items()
        if letter and letter in on_screen
    )


def tier_at(bars: list[TierBar], time_s: float) -> str:
    """Tier of the bar at a time, "" between bars."""
    for bar in bars:
        if bar.start_s <= time_s < bar.stop_s:
            return bar.tier
    return ""
