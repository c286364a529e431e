"""Self-contained text about scores: definition, neurons, condition, predictor."""

import numpy as np

from omnimouse_model.live.mask.presets import preset_named
from omnimouse_model.live.neuron_scores import ScoresOnScreen
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask
from omnimouse_model.metrics.named import Metric
from omnimouse_model.predict.predictor import Prediction

CORRELATION = (
    "single-trial Pearson correlation of the predicted with the recorded responses "
    "over the target samples of the window"
)


def definition_of(metric: Metric) -> str:
    """Return how the scores of a window are defined."""
    if metric.name == "correlation":
        return CORRELATION
    return f"{metric.unit}, {metric.definition}; over the target samples of the window"


def definition_of_shown(metric: Metric, scores: ScoresOnScreen) -> str:
    """Return how the scores on screen are defined, with their windows."""
    if not scores.tier:
        return definition_of(metric)
    means = ""
    if metric.name == "correlation":
        of = "these windows" if scores.is_pooled else "the train tier"
        means = f", about the means of {of}"
    return f"{metric.unit}{means}, {scores.evidence}"


def score_text(state: LiveState, results: Results) -> str:
    """Return several lines about the scores on screen; "" without scores.

    Condition and predictor are those of the prediction that was scored, which can be
    older than the mask on screen.
    """
    shown, population = results.neuron_scores, results.population
    if shown is None or population is None or state.window is None:
        return ""
    scores = shown.values
    scored = np.flatnonzero(np.isfinite(scores))
    if not len(scored) or state.session is None or state.mask is None:
        return ""
    lines = [
        *_mean_lines(state, results),
        f"median: {state.metric.text(float(np.median(scores[scored])), 3)} over "
        f"{len(scored):,} neurons",
        f"definition: {definition_of_shown(state.metric, shown)}",
        condition_text(state, state.mask, population),
    ]
    selected = [n for n in state.selection if np.isfinite(scores[n])]
    if selected:
        names = state.session.units.names
        values = ", ".join(f"{names[n]}: {scores[n]:z.3f}" for n in selected)
        lines.append(f"selected neurons: {values}")
    return "\n".join(lines)


def _mean_lines(state: LiveState, results: Results) -> list[str]:
    """Return a line with the mean over the tier and its interval; none without it."""
    found = results.tier_score
    if found is None or found.score is None or found.score.refusal:
        return []
    mean = found.estimate
    interval = ""
    if np.isfinite(mean.low):
        interval = f", 95 % interval {mean.low:z.3f} to {mean.high:z.3f}"
    return [f"score: mean {state.metric.text(mean.value, 3)}{interval}"]


def condition_text(state: LiveState, mask: Mask, prediction: Prediction | None) -> str:
    """Return one line each about predictor, session and condition."""
    assert state.session is not None
    assert state.window is not None
    predictor = "none" if prediction is None else prediction.predictor_id
    mask_id = mask.mask_id if prediction is None else prediction.mask_id
    lines = [
        f"predictor: {predictor}",
        f"session: {state.session.id}, window from {state.window.start_s:z.2f} s",
        f"condition: {_condition(state, mask, mask_id)}",
    ]
    return "\n".join(lines)


def _condition(state: LiveState, mask: Mask, mask_id: str) -> str:
    """Return the inputs of the predictor; of an older mask, only its id is known."""
    # The counts below would be those of the newer mask.
    if mask.mask_id != mask_id:
        return f"a previous mask, {mask_id}"
    name = preset_named(state.preset).label if state.preset else "made by hand"
    note = f" ({mask.note})" if mask.note else ""
    visible = int(mask.visible.any(axis=0).sum())
    return (
        f"{name}{note}; {visible:,} neurons visible, {int(mask.frames.sum())} of "
        f"{len(mask.frames)} frames visible, behaviour {mask.behavior_mode}; mask "
        f"{mask_id}"
    )
