"""Runs of a scaling analysis: evaluate a trained model, and save its scores.

A results store (see `results_store`) holds one row per run and condition. Several
processes may add runs while other runs are still in training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.data.session import Session
from omnimouse_model.errors import ResultsFileError
from omnimouse_model.evaluation.results import Score, Scores, number_or_none
from omnimouse_model.evaluation.results_store import (
    JsonRow,
    ResultsFile,
    RowFormat,
    number,
    row_key,
)
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET

SUFFIX = ".scaling.jsonl"


@dataclass(frozen=True, slots=True)
class ScalingRun:
    """Size and training data of one trained model; 0 for an unknown number.

    Attributes
    ----------
    model, parameters
        Name of the size, such as "5M"; parameters without per-neuron embeddings.
    sessions, neuron_samples, trials
        Training data: recordings, neurons times samples, and trials.
    compute
        Floating-point operations of the training, without those of the embeddings.
    seed, order
        Seed of the training, and order in which sessions were chosen, such as
        "random 0". Runs with the same order form one nested series.
    """

    model: str
    parameters: int = 0
    sessions: int = 0
    neuron_samples: int = 0
    trials: int = 0
    compute: float = 0.0
    seed: int = 0
    order: str = "random 0"


@dataclass(frozen=True, slots=True)
class RunScore:
    """Score of a run in one condition.

    Attributes
    ----------
    scores, n_neurons
        Score, and number of neurons in its mean, by evaluated session.
    loss
        Test loss over all sessions; NaN if not measured.
    """

    run: ScalingRun
    predictor: str
    condition: str
    scores: Mapping[str, float]
    n_neurons: Mapping[str, int]
    loss: float = float("nan")


def _plain(row: RunScore) -> JsonRow:
    return {
        "run": asdict(row.run),
        "predictor": row.predictor,
        "condition": row.condition,
        # NaN is not JSON.
        "scores": {name: number_or_none(value) for name, value in row.scores.items()},
        "n_neurons": dict(row.n_neurons),
        "loss": number_or_none(row.loss),
    }


def _parsed(values: JsonRow) -> RunScore:
    scores = {str(name): number(value) for name, value in values["scores"].items()}
    run, loss = ScalingRun(**values["run"]), number(values.get("loss"))
    return RunScore(**(values | {"run": run, "scores": scores, "loss": loss}))


SCALING: RowFormat[RunScore] = RowFormat("scaling", "a scaling analysis", _plain, _parsed)
WHAT = "scores of runs of several sizes"
# Constant, so that runs of any size and condition share a file.
_DEFINITION = {"what": WHAT}


def add_run(
    results: str | Path,
    run: ScalingRun,
    predictor: Predictor,
    sessions: Session | Sequence[Session],
    strategies: str | Sequence[str],
    *,
    tier: str = "test",
    max_windows: int | None = None,
    losses: Mapping[str, float] | None = None,
) -> list[RunScore]:
    """Evaluate a trained model and add one row per condition that it does not refuse.

    Parameters
    ----------
    losses
        Test loss by condition, if training measured it.
    """
    scores = evaluate(
        predictor,
        sessions,
        strategies,
        tier=tier,
        max_windows=max_windows,
        centred=False,
        job=QUIET,
    )
    rows = run_scores(run, scores, losses or {})
    add_rows(results, rows)
    return rows


def run_scores(run: ScalingRun, results: Scores, losses: Mapping[str, float]) -> list[RunScore]:
    """Return one row per condition of an evaluation of one model, without refusals."""
    # A condition that the model refuses has no row, so that it can be added later.
    by_condition: dict[str, list[Score]] = {}
    for score in results.scores:
        if not score.refusal:
            by_condition.setdefault(score.strategy, []).append(score)
    return [
        RunScore(
            run,
            scores[0].predictor,
            condition,
            {score.session: score.value for score in scores},
            {score.session: score.n_neurons for score in scores},
            losses.get(condition, float("nan")),
        )
        for condition, scores in by_condition.items()
    ]


def add_rows(results: str | Path, rows: Sequence[RunScore]) -> None:
    """Add rows to a results file; create it if it does not exist."""
    file = ResultsFile(SCALING, Path(results), _DEFINITION)
    for row in rows:
        # Evaluated sessions and tier are not in the key: one row per run and condition.
        key = row_key(run=asdict(row.run), condition=row.condition, predictor=row.predictor)
        file.add(key, row)


def read_runs(results: str | Path) -> tuple[RunScore, ...]:
    """Read the rows of a results file, even while it is written.

    Raises
    ------
    ResultsFileError
        The file is not a results file of a scaling analysis.
    """
    path = Path(results)
    try:
        return tuple(SCALING.read(path)[1])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsFileError(
            f"{path} is not the results file of a scaling analysis: {repr(error)[:200]}."
        ) from error
