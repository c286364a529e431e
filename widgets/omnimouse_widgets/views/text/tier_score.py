"""Text of the score over a tier: mean, interval, number of windows, gain."""

from pathlib import Path
from typing import Final

import numpy as np

from omnimouse_model.analysis.evaluate.results import POOLED
from omnimouse_model.analysis.evaluate.tier_score import (
    TierScore,
    has_scored_targets,
    has_tier_score,
)
from omnimouse_model.analysis.evaluate.tier_windows import tiers_at
from omnimouse_model.data.session import Window
from omnimouse_model.live.controller import Controller
from omnimouse_model.metrics import Metric
from omnimouse_model.metrics.time_blocks import Estimate
from omnimouse_model.predict.predictor import is_served
from omnimouse_widgets.views.text.units import channel_text

_TIP: Final = (
    "Mean over the target neurons, for the mask on screen in all windows of the tier, "
    "refined while nothing else is requested. 95 % interval: these neurons in further "
    "windows. "
)
IN_TRAIN: Final = (
    "This window is in the train part of the recording (tier): models were fitted to it."
)
NO_SCORE: Final = "–"
COMPUTING: Final = "◌ computing…"
_CENTRED: Final = (
    "Correlations of responses are about the means of the train tier, so that few "
    "windows give hardly lower values than many; those of behaviour are pooled."
)


def window_tier_text(window: Window) -> str:
    """Return the part of the recording (tier) in which a window lies: "test part of …"."""
    tiers = tiers_at(window.session, window.start_s, window.stop_s)
    return f"{' and '.join(tiers)} part of the recording" if tiers else "no part with a tier"


def train_warning(window: Window) -> str:
    """Return a warning about numbers of a window of the train tier, else ""."""
    is_train = "train" in tiers_at(window.session, window.start_s, window.stop_s)
    return IN_TRAIN if is_train else ""


def tier_score_tip(found: TierScore | None) -> str:
    """Return the tooltip of the score over a tier: how it is defined.

    Decoded channels have their intervals here, because the panel has no room.
    """
    if found is None:
        return _TIP + _CENTRED
    is_pooled = found.score is not None and found.score.is_pooled
    decoded = [
        f"\n{channel_text(one.channel)}: r = {one.value:z.2f} "
        f"[{one.ci_low:z.2f}, {one.ci_high:z.2f}]"
        for one in found.behavior
        if np.isfinite(one.ci_low)
    ]
    return _TIP + (POOLED if is_pooled else _CENTRED) + "".join(decoded)


def shown_tier_score_lines(controller: Controller) -> list[str]:
    """Return the lines of the mask on screen."""
    lines = tier_score_lines(
        controller.results.tier_score,
        controller.state.metric,
        controller.baseline.tier_score,
        Path(controller.state.baseline_name).name,
    )
    if controller.state.scores_tier:
        return lines
    # Not a line of its own: a pause must not move what is below.
    return [*lines[:-1], " · ".join([*lines[-1:], "paused"])]


def no_score_text(controller: Controller) -> str:
    """Return what stands for a score over a tier that is not there yet, or never."""
    state, needs = controller.state, controller.results.needs
    session, mask = state.session, state.mask
    is_stopped = controller.results.error or controller.results.is_cancelled
    if session is None or mask is None or needs is None or is_stopped:
        return NO_SCORE
    is_due = state.scores_tier and has_scored_targets(mask)
    is_due &= is_served(needs.spec, state.spec)
    is_due &= has_tier_score(session, needs.spec, state.metric)
    return COMPUTING if is_due else NO_SCORE


def tier_score_lines(
    found: TierScore | None,
    metric: Metric,
    baseline: TierScore | None,
    baseline_name: str,
) -> list[str]:
    """Return lines: score and interval, windows, gain over the baseline, behaviour.

    Decoded behaviour has one score per channel. No lines without a score.
    """
    if found is None:
        return []
    windows = f"{found.n_windows} of {found.n_total} {found.tier} windows"
    if found.is_preliminary:
        windows += ", preliminary"
    decoded = [
        f"{channel_text(one.channel)}\u00a0{one.value:z.2f}"
        for one in found.behavior
        if np.isfinite(one.value)
    ]
    lines = [
        _score_text(found, metric) if found.score else "",
        windows,
        _gain_text(found, baseline, baseline_name),
        "decoded r: " + ", ".join(decoded) if decoded else "",
    ]
    # Without scored responses, the first line is the score of behaviour.
    return [line for line in (lines if found.score else lines[::-1]) if line]


def _score_text(found: TierScore, metric: Metric) -> str:
    score = found.score
    assert score is not None
    if score.refusal:
        return score.refusal
    mean = found.estimate
    interval = f" [{mean.low:z.2f}, {mean.high:z.2f}]" if np.isfinite(mean.low) else ""
    pooled = "pooled " if score.is_pooled else ""
    return pooled + metric.text(mean.value) + interval


def _gain_text(found: TierScore, baseline: TierScore | None, name: str) -> str:
    if baseline is None or baseline.mask is not found.mask:
        return ""
    gain, n_windows = found.gain(baseline)
    if not np.isfinite(gain.value):
        return ""
    # The baseline may be some batches behind.
    windows = "" if n_windows == found.n_windows else f" ({n_windows} windows)"
    return f"{_gain_number(gain)} over {name}{windows}"


def _gain_number(gain: Estimate) -> str:
    half = gain.half_width
    # A small gain would be rounded away.
    digits = 3 if half < 0.005 else 2
    spread = f" ± {half:z.{digits}f}" if np.isfinite(half) else ""
    return f"{gain.value:+z.{digits}f}{spread}"
