"""Tables of scores with one row per neuron, for data frames and export."""

from pathlib import Path

import numpy as np

from omnimouse_model.analysis.evaluate.results import Score, Scores
from omnimouse_model.data.units import Units
from omnimouse_model.metrics import METRICS
from omnimouse_model.metrics.time_blocks import student_quantile
from omnimouse_model.storage.tables import write_table

NOTES = {
    "score": (
        "single-trial Pearson correlation about the means of the train tier, or the "
        "value of the metric that `metric` names, over all scored samples of all "
        "windows, null where it is undefined"
    ),
    "ci_low": "lower end of the 95 % interval of the score over time",
    "ci_high": "upper end of the 95 % interval of the score over time",
    "pooled": "the correlation about the means of the scored windows, as published",
    "n_samples": "samples that it was scored on",
    "status": "ok, constant (scored, but prediction or recording never changed), empty",
    "stimulus": "empty for all samples, else those under this kind of stimulus alone",
}


def neuron_columns(results: Scores) -> dict[str, np.ndarray]:
    """Return columns, one row per session, strategy, predictor, stimulus and neuron."""
    parts = [
        part for score in results.scores if not score.refusal for part in _parts(score, results)
    ]
    names = parts[0] if parts else {}
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def write_neurons(results: Scores, path: str | Path) -> Path:
    """Write `neuron_columns` as Parquet if the name ends so, otherwise as CSV.

    Raises
    ------
    ExportError
        pyarrow is missing.

    Examples
    --------
    >>> last = om.load_predictor("last")
    >>> found = om.evaluate(last, session, "causal_response_25_behavior", max_windows=3)
    >>> om.write_neurons(found, "neurons.parquet").name
    'neurons.parquet'
    """
    return write_table(path, neuron_columns(results), NOTES)


def _parts(score: Score, results: Scores) -> list[dict[str, np.ndarray]]:
    n = len(score.neurons)
    unknown = np.full(n, np.nan)
    pooled = score.pooled_per_neuron if len(score.pooled_per_neuron) else unknown
    error = score.error_per_neuron if len(score.error_per_neuron) else unknown
    width = student_quantile(max(len(score.left_out) - 1, 1)) * error
    each = [("", score.per_neuron, width, pooled, score.counts)]
    each += [(g.group, g.per_neuron, unknown, unknown, g.counts) for g in score.groups]
    where = _facts_of(results.units.get(score.session), score.neurons)
    lowest, highest = METRICS[score.metric].limits
    parts = []
    # One part for all samples (stimulus ""), and one per group of stimuli.
    for stimulus, values, half, of_pooled, counts in each:
        status = np.where(counts == 0, "empty", np.where(np.isnan(values), "constant", "ok"))
        parts.append(
            {
                "session": np.full(n, score.session),
                "tier": np.full(n, results.tier),
                "metric": np.full(n, results.metric),
                "strategy": np.full(n, score.strategy),
                "predictor": np.full(n, score.predictor),
                "stimulus": np.full(n, stimulus),
                "neuron": score.neurons,
                **where,
                "score": values,
                "ci_low": np.maximum(values - half, lowest),
                "ci_high": np.minimum(values + half, highest),
                "pooled": of_pooled,
                "n_samples": np.asarray(counts, np.int64),
                "status": status,
            }
        )
    return parts


def _facts_of(units: Units | None, neurons: np.ndarray) -> dict[str, np.ndarray]:
    """Return name, area, plane and depth of neurons; unknown without their units."""
    n = len(neurons)
    if units is None:
        nothing, unknown = np.full(n, ""), np.full(n, np.nan)
        return {"unit_id": neurons, "area": nothing, "plane": np.full(n, -1), "depth_um": unknown}
    areas = np.full(len(units), "") if units.area is None else units.area.astype(str)
    return {
        "unit_id": np.asarray(units.names)[neurons],
        "area": areas[neurons],
        "plane": np.asarray(units.plane)[neurons],
        "depth_um": np.asarray(units.xyz_um)[neurons, 2],
    }
