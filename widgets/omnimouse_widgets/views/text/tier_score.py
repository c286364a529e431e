"""Text of the score over a tier: mean, interval, number of windows, gain."""

from typing import Final

import numpy as np

from omnimouse_model.analysis.sweep.contexts import inputs_label
from omnimouse_model.data.session import Window
from omnimouse_model.display import (
    and_text,
    channel_text,
    difference_text,
    interval_text,
    is_no_difference,
    number_text,
)
from omnimouse_model.evaluation.results import POOLED
from omnimouse_model.evaluation.tier_score import TierScore, has_scored_targets, has_tier_score
from omnimouse_model.evaluation.tier_windows import tiers_at
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import TARGET, Mask, scored_cells
from omnimouse_model.metrics import Metric
from omnimouse_model.predict.compatibility import FALLBACK
from omnimouse_model.predict.predictor import Needs, is_served
from omnimouse_widgets.views.text.model import MEANINGS

_TIP: Final = (
    "Mean over the target neurons, for the mask on screen in all windows of that part (tier), "
    "refined while nothing else is requested. 95 % interval: these neurons in further "
    "windows. A gain over the baseline is over the windows that both have, with the 95 % "
    "interval of the paired difference. "
)
IN_TRAIN: Final = (
    "This window is in the train part of the recording (tier): models were fitted to it."
)
SCORING: Final = "scoring…"
NO_TARGET: Final = "not a target of this mask"
UNSCORED: Final = "none of its samples is scored"
CONSTANT: Final = "recording or prediction does not vary"
_OF_SAMPLE: Final = (
    "Of so many targets, a random sample is scored first; all of them are in {} windows so far. "
)
_CENTRED: Final = (
    "Correlations of responses are about the means of the train part, so that few "
    "windows give hardly lower values than many; those of behaviour are pooled."
)


def window_tier_text(window: Window) -> str:
    """Return the parts of the recording (tiers) in which a window lies: "test part of …"."""
    tiers = tiers_at(window.session, window.start_s, window.stop_s)
    if not tiers:
        return "outside the parts of the recording"
    return f"{and_text(tiers)} part{'s' * (len(tiers) > 1)} of the recording"


def train_warning(window: Window) -> str:
    """Return a warning about numbers of a window of the train tier, else ""."""
    is_train = "train" in tiers_at(window.session, window.start_s, window.stop_s)
    return IN_TRAIN if is_train else ""


def shown_score_tip(state: LiveState, results: Results, colouring: Colouring) -> str:
    """Return the tooltip of the score of the mask on screen, with that of its ceiling."""
    tip = tier_score_tip(results.tier_score)
    notes = () if state.session is None else state.session.warnings
    known = next((note.message for note in notes if note.code == "known_clips"), "")
    if known:
        tip += f"\n⚠ {known[0].upper()}{known[1:]}."
    ceiling, n_known, n_targets = stimulus_ceiling(state, results, colouring)
    found = colouring.ceiling
    if not np.isfinite(ceiling) or found is None:
        return tip
    return (
        f"{tip}\nStimulus alone, at most: the ceiling of models that see only the stimulus. "
        "One that also sees behaviour or neurons can exceed it. It is the correlation of a "
        "perfect prediction of the mean response to a clip with single repeats, "
        f"{number_text(ceiling)} over {n_known:,} of {n_targets:,} target neurons "
        f"({found.description})."
    )


def tier_score_tip(found: TierScore | None) -> str:
    """Return the tooltip of the score over a tier: how it is defined.

    Decoded channels have their intervals here, because the panel has no room.
    """
    if found is None:
        return _TIP + _CENTRED
    is_pooled = found.score is not None and found.score.is_pooled
    decoded = [
        f"\n{channel_text(one.channel)}: r = {interval_text(one.value, one.ci_low, one.ci_high, 2)}"
        for one in found.behavior
        if np.isfinite(one.ci_low)
    ]
    of_sample = "" if found.sample is None else _OF_SAMPLE.format(found.sample.n_windows)
    return _TIP + of_sample + (POOLED if is_pooled else _CENTRED) + "".join(decoded)


def stimulus_ceiling(
    state: LiveState, results: Results, colouring: Colouring
) -> tuple[float, int, int]:
    """Return the ceiling of the stimulus alone, and of how many of the scored neurons.

    It is the mean correlation of a perfect prediction of the responses to a clip with
    single repeats of the clip: NaN without repeats, or for another metric.
    """
    found, ceiling = results.tier_score, colouring.ceiling
    if found is None or found.score is None or ceiling is None or found.score.is_pooled:
        return float("nan"), 0, 0
    of_targets = ceiling.single_trial_max[np.asarray(found.score.neurons)]
    known = of_targets[np.isfinite(of_targets)]
    is_known = len(known) and state.metric.symbol == "r"
    return float(known.mean()) if is_known else float("nan"), len(known), len(of_targets)


def guide_text(state: LiveState, results: Results, baseline: Results, colouring: Colouring) -> str:
    """Return for a new user: who predicts what from what, how well, and what to try."""
    needs, mask = results.needs, state.mask
    if mask is None:
        return ""
    name = model_name(state.predictor_name)
    model = f"{name} ({MEANINGS[name]})" if name in MEANINGS else name or "The model"
    if results.error:
        reason = "The line of the model says why, and what to do."
        return f"{model} has no prediction in this window.\n{reason}"
    if needs is None:  # another model may answer in its place
        is_fit = state.predictor_name == FALLBACK and results.is_predicting
        return f"{model} is {'being fitted to this recording' if is_fit else 'not loaded yet'}."
    tip = "Drag over neurons to show them to the model, too."
    source = f"from {_inputs(mask, needs)}"
    if not needs.sees_responses:
        tip = "This model reads no neurons: hide video or behaviour."
        # A mean, or predictions of a file.
        if not needs.sees_video and not needs.sees_behavior:
            source, tip = "whatever the mask shows", "No mask changes it: choose another model."
    score, *others = _compared_score(state, results, baseline, colouring)
    # Short lines: the canvas of a small screen has room for about 50 letters.
    # Orange are the targets where the colour is that of the states.
    which = "orange" if state.colour_by == "state" else "target"
    lines = [f"{model} predicts the {which} neurons", f"{source}: {score}"]
    lines += [f"({text})" for text in others]
    # A page joins the lines to sentences.
    end = "" if lines[-1].endswith((".", "…")) else "."
    return "\n".join([*lines[:-1], lines[-1] + end, tip])


def _inputs(mask: Mask, needs: Needs | None) -> str:
    """Return what a mask shows that a predictor reads: "neurons + video", "nothing"."""
    # Not known before a model is loaded, and of one that is not fitted yet.
    if needs is None or not needs.is_fitted:
        needs = Needs(sees_video=True, sees_behavior=True)
    inputs = inputs_label(
        bool(mask.frames.any()) and needs.sees_video,
        mask.has_visible_behavior and needs.sees_behavior,
    )
    if not (mask.visible.any() and needs.sees_responses):
        return inputs
    return "neurons" if inputs == "nothing" else f"neurons + {inputs}"


def _compared_score(
    state: LiveState, results: Results, baseline: Results, colouring: Colouring
) -> list[str]:
    """Return the score, and a line with that of the baseline and the ceiling, if known."""
    found = results.tier_score
    if found is None or found.score is None or found.score.refusal:
        return [no_score_text(state, results)]
    texts, other = [], baseline.tier_score
    if other is not None and other.mask is found.mask and not found.is_ahead_of(other):
        gain, _ = found.gain(other)
        name = model_name(state.baseline_name)
        if np.isfinite(gain.value):
            texts.append(f"{name} {number_text(found.estimate.value - gain.value)}")
    ceiling = stimulus_ceiling(state, results, colouring)[0]
    if np.isfinite(ceiling):
        texts.append(f"stimulus alone: at most {number_text(ceiling)}")
    score = state.metric.text(found.estimate.value)
    return [score, " · ".join(texts)] if texts else [score]


def shown_tier_score_lines(
    state: LiveState, results: Results, baseline: Results, colouring: Colouring
) -> list[str]:
    """Return the lines of the mask on screen."""
    found = results.tier_score
    lines = tier_score_lines(
        found, state.metric, baseline.tier_score, model_name(state.baseline_name)
    )
    ceiling = stimulus_ceiling(state, results, colouring)[0]
    # Beside a sample of the targets there is no room.
    has_room = found is not None and not found.is_preliminary and found.sample is None
    if np.isfinite(ceiling) and has_room:
        lines[1] += f" · stimulus alone: at most {number_text(ceiling)}"
    if state.scores_tier:
        return lines
    # Not a line of its own: a pause must not move what is below.
    return [*lines[:-1], " · ".join([*lines[-1:], "paused"])]


def no_score_text(state: LiveState, results: Results) -> str:
    """Return `SCORING`, or the reason why there is no score over a tier."""
    needs, session, mask = results.needs, state.session, state.mask
    if session is None or mask is None:
        # It may be about to be opened.
        return "no recording yet"
    if results.error or results.is_cancelled:
        return "no prediction" if results.error else "stopped"
    if not has_scored_targets(mask):
        return "nothing is a target of this mask"
    if not state.scores_tier:
        return "paused"
    if needs is not None and not is_served(needs.spec, state.spec):
        return "the model predicts other windows"
    if needs is not None and not has_tier_score(session, needs.spec, state.metric):
        is_of_repeats = state.metric.per_neuron is None
        return "this metric needs whole repeats" if is_of_repeats else "no test part is recorded"
    return SCORING


def no_score_of(state: LiveState, results: Results, neuron: int) -> str:
    """Return `SCORING`, or the reason why a neuron has no score over a tier."""
    mask, found = state.mask, results.tier_score
    if mask is None:
        return no_score_text(state, results)
    if not (mask.cells[:, neuron] == TARGET).any():
        return NO_TARGET
    if found is None or found.score is None or found.score.refusal:
        return no_score_text(state, results)
    if not scored_cells(mask)[:, neuron].any():
        return UNSCORED
    # Windows that follow may have responses, and these may vary.
    if not found.is_complete:
        return no_score_text(state, results)
    counts = found.score.counts[found.score.neurons == neuron]
    return CONSTANT if counts.any() else UNSCORED


def tier_score_lines(
    found: TierScore | None, metric: Metric, baseline: TierScore | None, baseline_name: str
) -> list[str]:
    """Return lines: score and interval, windows, gain over the baseline, behaviour.

    Decoded behaviour has one score per channel. No lines without a score.
    """
    if found is None:
        return []
    windows = found.windows + ", preliminary" * found.is_preliminary
    decoded = [
        f"{channel_text(one.channel)}\u00a0{number_text(one.value)}"
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
    pooled = "pooled " if score.is_pooled else ""
    return pooled + metric.named(interval_text(mean.value, mean.low, mean.high, 2))


def _gain_text(found: TierScore, baseline: TierScore | None, name: str) -> str:
    if baseline is None or baseline.mask is not found.mask:
        return ""
    gain, n_windows = found.gain(baseline)
    if not np.isfinite(gain.value):
        return ""
    # The baseline may be some batches behind, or still at the sample of the targets.
    targets = ", sample of targets" if found.is_ahead_of(baseline) else ""
    is_same = n_windows == found.n_windows and not targets
    windows = "" if is_same else f" ({n_windows} windows{targets})"
    if is_no_difference(gain.low, gain.high):
        return f"no difference from {name}{windows}"
    return f"{difference_text(gain.value, gain.low, gain.high)} over {name}{windows}"
