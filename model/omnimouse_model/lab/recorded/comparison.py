"""Recorded tuning beside that of a model: the result, and what all comparisons share.

Predicted tuning is a property of the model. How far it agrees with the recorded one can
only be judged beside the difference that the noise of the recording alone gives.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

from omnimouse_model.data.session import Session
from omnimouse_model.lab.experiments import ExperimentResult
from omnimouse_model.lab.recorded.responses import (
    BehaviorInput,
    recorded_responses,
    responses_to_trials,
)
from omnimouse_model.lab.recorded.trials import Where
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import Job

if TYPE_CHECKING:
    from pandas import DataFrame

N_RESAMPLES: Final = 500
Columns = Mapping[str, Shaped[np.ndarray, " neuron"]]


@dataclass(frozen=True, slots=True)
class PopulationValue:
    """A value of a population, its 95 % interval over neurons, and their number.

    The interval resamples neurons: it holds for neurons like these in this recording,
    not for other animals.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class RecordedComparison:
    """Recorded tuning of neurons beside that of a model.

    Predicted values are properties of the model, not of the animal.

    Attributes
    ----------
    name
        "directions" or "places".
    neurons
        Indices of the neurons in the session.
    columns
        Numbers of each neuron, by name; see `compare_directions`, `compare_places`.
    summary
        Values of the population.
    notes
        Properties of the stimulus that limit the comparison.
    about
        Provenance: recording, model, columns and settings.
    levels, recorded, predicted
        Directions that were shown, and mean responses to them; None for places.
    """

    name: str
    neurons: Int64[np.ndarray, " neuron"]
    columns: Columns
    summary: tuple[PopulationValue, ...]
    notes: tuple[str, ...]
    about: Mapping[str, Any]
    levels: Float[np.ndarray, " level"] | None = None
    recorded: Float[np.ndarray, "neuron level"] | None = None
    predicted: Float[np.ndarray, "neuron level"] | None = None

    def to_dataframe(self) -> "DataFrame":
        """Return a table with a row per neuron, its provenance in `attrs`."""
        from pandas import DataFrame

        table = DataFrame({"neuron": self.neurons, **self.columns})
        table.attrs |= dict(self.about)
        return table


# -- responses of both ---------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class BothResponses:
    """Responses to the trials within the recording, and which trials these are.

    `predicted` is that of a predictor; an experiment has its own stimulus.
    """

    neurons: Int64[np.ndarray, " neuron"]
    is_used: Bool[np.ndarray, " trial"]
    recorded: Float[np.ndarray, "used neuron"]
    predicted: Float[np.ndarray, "used neuron"]


def both_responses(
    model: Predictor | ExperimentResult,
    session: Session,
    trials: np.ndarray,
    neurons: np.ndarray | None,
    lag_s: float,
    behavior: BehaviorInput,
    job: Job,
) -> BothResponses:
    """Return recorded and predicted responses to the trials within the recording.

    Raises
    ------
    ValueError
        An experiment was done in another session, or neurons are given beside it.
    """
    if isinstance(model, ExperimentResult):
        if model.session_id != session.id:
            raise ValueError(
                f"The experiment was done in session {model.session_id!r}, not in {session.id!r}."
            )
        if neurons is not None:
            raise ValueError("`neurons` are those of the experiment: leave them out.")
        recorded = recorded_responses(session, trials, model.neurons, lag_s=lag_s)
        is_used = np.isfinite(recorded).any(axis=1)
        used = recorded[is_used]
        return BothResponses(model.neurons, is_used, used, np.full_like(used, np.nan))
    chosen = np.arange(session.n_neurons) if neurons is None else neurons
    found = responses_to_trials(
        model,
        session,
        trials,
        chosen,
        lag_s=lag_s,
        behavior=behavior,
        job=job,
    )
    is_used = np.isfinite(found.recorded).any(axis=1)
    return BothResponses(chosen, is_used, found.recorded[is_used], found.predicted[is_used])


def require_experiment(model: Predictor | ExperimentResult, column: str, name: str) -> None:
    """Raise `ValueError` if the result of an experiment lacks a column."""
    if isinstance(model, ExperimentResult) and column not in model.findings.columns:
        raise ValueError(
            f"The experiment {model.experiment.name!r} has no {column!r}: run the "
            f"experiment {name!r}."
        )


def provenance_of(
    model: Predictor | ExperimentResult,
    session: Session,
    both: BothResponses,
    lag_s: float,
    tier: str | Sequence[str] | None,
    where: Where | None,
    behavior: BehaviorInput,
) -> dict[str, Any]:
    """Return the provenance that all comparisons share."""
    shown = {"behavior": behavior, "stimulus": "recorded video"}
    if isinstance(model, ExperimentResult):
        shown = {"experiment": model.experiment.name, "stimulus": model.stimulus.name}
    return {
        "predictor": str(model.predictor_id),
        **shown,
        "session": session.id,
        "recording": session.fingerprint,
        "n_trials": int(both.is_used.sum()),
        "lag_s": lag_s,
        "tier": tier,
        "where": dict(where or {}),
        "versions": {"omnimouse-app": version("omnimouse-app")},
    }


# -- the population ------------------------------------------------------------------
def share_within_noise(low: np.ndarray, is_chosen: np.ndarray, seed: int) -> PopulationValue:
    """Return the share of neurons whose difference the noise alone can explain."""
    known = low[is_chosen & np.isfinite(low)]
    return _of_population("share_within_noise", known == 0, np.mean, "share", seed)


def median_of(
    name: str, values: np.ndarray, is_chosen: np.ndarray, unit: str, seed: int
) -> PopulationValue:
    """Return the median over the chosen neurons whose value is known."""
    known = values[is_chosen & np.isfinite(values)]
    return _of_population(name, known, np.median, unit, seed)


def _of_population(
    name: str,
    values: np.ndarray,
    statistic: Callable[[np.ndarray], Any],
    unit: str,
    seed: int,
) -> PopulationValue:
    """Return a statistic and its percentile interval over resampled neurons."""
    n = len(values)
    if not n:
        return PopulationValue(name, float("nan"), float("nan"), float("nan"), unit, 0)
    draw = np.random.default_rng(seed)
    drawn = [float(statistic(values[draw.integers(n, size=n)])) for _ in range(N_RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return PopulationValue(name, float(statistic(values)), float(low), float(high), unit, n)
