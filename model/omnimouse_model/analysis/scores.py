"""What an evaluation found, as values: rows per session, condition and predictor."""

from dataclasses import dataclass, field

import numpy as np

from omnimouse_model.metrics import overall_score


@dataclass(frozen=True, slots=True)
class Score:
    """Single-trial correlation of one predictor in one condition of one session.

    Attributes
    ----------
    value
        Mean over neurons, weighted by their scored samples; NaN where refused.
    ci_low, ci_high
        95 % interval of the mean, resampling neurons.
    ceiling
        What the expected response given everything relevant reaches on the same
        samples: known for simulated sessions, else NaN.
    neurons, per_neuron
        The scored neurons, and the correlation of each (NaN: constant).
    refusal
        Why there is no value, "" where there is one.
    note
        How the strategy was adapted to a small population.
    """

    session: str
    strategy: str
    predictor: str
    value: float
    ci_low: float
    ci_high: float
    ceiling: float
    n_windows: int
    neurons: np.ndarray = field(repr=False)
    per_neuron: np.ndarray = field(repr=False)
    refusal: str = ""
    note: str = ""

    @property
    def n_neurons(self) -> int:
        """How many neurons were scored."""
        return len(self.neurons)


@dataclass(frozen=True, slots=True)
class BehaviorScore:
    """Correlation of one decoded channel over all samples of a session.

    Where it was refused the value is NaN and `refusal` says why.
    """

    session: str
    strategy: str
    predictor: str
    channel: str
    value: float
    n_windows: int
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Scores:
    """Everything an evaluation found."""

    scores: tuple[Score, ...]
    behavior: tuple[BehaviorScore, ...]
    tier: str

    def find(self, strategy: str, predictor: str, session: str | None = None) -> Score:
        """Return the one score of a condition and a predictor."""
        for score in self.scores:
            if (score.strategy, score.predictor) == (strategy, predictor) and (
                session in (None, score.session)
            ):
                return score
        raise KeyError(f"No score of {predictor!r} in {strategy!r}.")

    def overall(self, strategy: str, predictor: str) -> float:
        """Mean over sessions weighted by their neurons; NaN where one refused."""
        found = [
            score
            for score in self.scores
            if (score.strategy, score.predictor) == (strategy, predictor)
        ]
        if not found:
            raise KeyError(f"No score of {predictor!r} in {strategy!r}.")
        values = np.array([score.value for score in found])
        return overall_score(values, np.array([s.n_neurons for s in found]))

    @property
    def any_value(self) -> bool:
        """Something was scored, or decoded."""
        values = [s.value for s in self.scores] + [b.value for b in self.behavior]
        return bool(np.isfinite(values).any())

    def rows(self) -> list[dict[str, object]]:
        """Rows of `--json`: `score` and `behavior`, None where there is no value."""
        rows: list[dict[str, object]] = [
            {
                "name": "score",
                "value": number_or_none(score.value),
                "unit": "single-trial correlation",
                "predictor": score.predictor,
                "strategy": score.strategy,
                "session": score.session,
                "tier": self.tier,
                "n_neurons": score.n_neurons,
                "n_windows": score.n_windows,
                "ci_low": number_or_none(score.ci_low),
                "ci_high": number_or_none(score.ci_high),
                "ceiling": number_or_none(score.ceiling),
                "refusal": score.refusal,
                "note": score.note,
            }
            for score in self.scores
        ]
        rows += [
            {
                "name": "behavior",
                "value": number_or_none(score.value),
                "unit": "correlation",
                "predictor": score.predictor,
                "strategy": score.strategy,
                "session": score.session,
                "tier": self.tier,
                "channel": score.channel,
                "n_windows": score.n_windows,
                "refusal": score.refusal,
            }
            for score in self.behavior
        ]
        return rows


def number_or_none(value: float) -> float | None:
    """Give a number as JSON and tables hold it: None where there is none."""
    return float(value) if np.isfinite(value) else None
