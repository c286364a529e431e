"""Tables of scores with one row per neuron, for export."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from omnimouse_model.analysis.evaluate.results import Score, Scores
from omnimouse_model.data.session import Session
from omnimouse_model.storage.tables import write_table

NOTES = {
    "r": (
        "single-trial Pearson correlation about the means of the train tier, or the "
        "value of the metric that `metric` names, over all scored samples of all "
        "windows, null where it is undefined"
    ),
    "pooled": "the correlation about the means of the scored windows, as published",
    "n_samples": "samples that it was scored on",
    "status": "ok, constant (scored, but prediction or recording never changed), empty",
    "stimulus": "empty for all samples, else those under this kind of stimulus alone",
}


def neuron_columns(results: Scores, sessions: Sequence[Session] = ()) -> dict[str, np.ndarray]:
    """Return columns, one row per session, strategy, predictor, stimulus and neuron.

    Parameters
    ----------
    sessions
        If given, the columns include the id and the brain area of each neuron.
    """
    by_id = {session.id: session for session in sessions}
    parts = [
        part
        for score in results.scores
        if not score.refusal
        for part in _parts(score, results, by_id.get(score.session))
    ]
    # All parts have the same columns if `sessions` holds all sessions or none.
    names = parts[0] if parts else {}
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def write_neurons(results: Scores, path: str | Path, sessions: Sequence[Session] = ()) -> Path:
    """Write `neuron_columns` as Parquet if the name ends so, otherwise as CSV.

    Raises
    ------
    ExportError
        pyarrow is missing.

    Examples
    --------
    >>> last = om.load_predictor("last")
    >>> found = om.evaluate(last, session, "causal_response_25_behavior", max_windows=3)
    >>> om.write_neurons(found, "neurons.parquet", [session]).name
    'neurons.parquet'
    """
    return write_table(path, neuron_columns(results, sessions), NOTES)


def _parts(score: Score, results: Scores, session: Session | None) -> list[dict[str, np.ndarray]]:
    n = len(score.neurons)
    unknown = np.full(n, np.nan)
    pooled = score.pooled_per_neuron if len(score.pooled_per_neuron) else unknown
    each = [("", score.per_neuron, pooled, score.counts)]
    each += [(part.group, part.per_neuron, unknown, part.counts) for part in score.groups]
    parts = []
    # One part for all samples (stimulus ""), and one per group of stimuli.
    for stimulus, values, of_pooled, counts in each:
        status = np.where(counts == 0, "empty", np.where(np.isnan(values), "constant", "ok"))
        columns = {
            "session": np.full(n, score.session),
            "tier": np.full(n, results.tier),
            "metric": np.full(n, results.metric),
            "strategy": np.full(n, score.strategy),
            "predictor": np.full(n, score.predictor),
            "stimulus": np.full(n, stimulus),
            "neuron": score.neurons,
            "r": values,
            "pooled": of_pooled,
            "n_samples": np.asarray(counts, np.int64),
            "status": status,
        }
        if session is not None:
            area = session.units.area
            areas = np.full(session.n_neurons, "") if area is None else area.astype(str)
            columns["unit_id"] = np.asarray(session.units.unit_id)[score.neurons]
            columns["area"] = areas[score.neurons]
        parts.append(columns)
    return parts
