"""Criterion of a ranking: the score of a model in one task, on a tier of a session."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isnan, nan
from statistics import fmean
from typing import Any, Protocol, runtime_checkable

from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.analysis.held_out_neurons import HELD_OUT, score_held_out
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import MaskError
from omnimouse_model.masks.strategies import find_strategy
from omnimouse_model.metrics.named import METRICS, named_metric
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET

BITS = "bits_per_spike"
CORRELATION = "correlation"


@runtime_checkable
class Criterion(Protocol):
    """A score of a model on a tier of a session; can be pickled."""

    @property
    def name(self) -> str:
        """Name, for tables."""
        ...

    @property
    def unit(self) -> str:
        """Unit of the score."""
        ...

    @property
    def is_higher_better(self) -> bool:
        """Whether higher scores are better."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that the score depends on, apart from model and session; JSON values."""
        ...

    def score(self, model: Predictor, session: Session, tier: str) -> float:
        """Return the score; NaN if it is not defined."""
        ...


@dataclass(frozen=True, slots=True)
class TaskScore:
    """A task of a model, scored by a metric.

    Attributes
    ----------
    task
        Of a neural data transformer "forward", "co-smoothing", "inter-region" or
        "intra-region" (`om.score_held_out`), the mean over neurons with spikes. Of any
        family the name of a strategy, as in `om.evaluate`; one that decodes behaviour
        is scored by the mean over channels that vary.
    metric
        Name of a metric, as in `om.evaluate`; "correlation" for decoded behaviour.
    max_windows
        Maximum number of windows or trials, spread over the tier.
    """

    task: str
    metric: str
    max_windows: int | None = None

    def __post_init__(self) -> None:
        named_metric(self.metric)
        if self.task not in HELD_OUT:
            try:
                strategy = find_strategy(self.task)
            except MaskError as error:
                raise MaskError(
                    f"There is no task {self.task!r}. Tasks of spikes are "
                    f"{', '.join(HELD_OUT)}. {error}"
                ) from error
            if strategy.behavior_reconstructed and self.metric != CORRELATION:
                raise ValueError(
                    f"metric is {self.metric!r}; the task {self.task!r} decodes "
                    f"behaviour, which has {CORRELATION!r}."
                )
        elif self.metric != BITS:
            raise ValueError(f"metric is {self.metric!r}; the task {self.task!r} has {BITS!r}.")

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.task

    @property
    def unit(self) -> str:
        """Unit of the metric."""
        return METRICS[self.metric].unit

    @property
    def is_higher_better(self) -> bool:
        """Whether higher scores are better."""
        return METRICS[self.metric].direction == "higher"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Task, metric and number of windows."""
        return asdict(self)

    def score(self, model: Predictor, session: Session, tier: str) -> float:
        """Return the score of a model on a tier of a session.

        Raises
        ------
        ValueError
            The tier has no window, or the model refuses the task.
        """
        held_out = [name for name in HELD_OUT if name == self.task]
        if held_out:
            (bits,) = score_held_out(
                model,
                session,
                held_out,
                tier=tier,
                max_trials=self.max_windows,
                job=QUIET,
            )
            value, refusal = bits.mean.value, bits.refusal
        else:
            scores = evaluate(
                model,
                session,
                self.task,
                tier=tier,
                max_windows=self.max_windows,
                metric=self.metric,
                centred=False,
                job=QUIET,
            )
            # Of responses, or of each channel of decoded behaviour.
            found = scores.scores or scores.behavior
            known = [score.value for score in found if not isnan(score.value)]
            value, refusal = fmean(known or [nan]), found[0].refusal
        if refusal:
            raise ValueError(f"{self.task}: {refusal}")
        return value


def criterion_of(metric: str | Criterion, spec: WindowSpec) -> Criterion:
    """Return the criterion of a task, with the default metric of a spec.

    Raises
    ------
    ValueError
        Models of the spec have no such task.
    """
    return task_score(metric, spec) if isinstance(metric, str) else metric


def task_score(
    task: str,
    spec: WindowSpec,
    metric: str | None = None,
    max_windows: int | None = None,
) -> TaskScore:
    """Return the score of a task for models of a spec, which has the default metric.

    Raises
    ------
    ValueError
        Models of the spec have no such task or metric.

    Examples
    --------
    >>> from omnimouse_model.analysis.ranking.criterion import task_score
    >>> task_score("test/video_behavior", om.OMNIMOUSE).metric
    'correlation'
    >>> task_score("forward", om.OMNIMOUSE)
    Traceback (most recent call last):
    ValueError: task is 'forward', which only neural data transformers have. Models of \
this config are scored by a strategy, such as 'test/video_behavior'.
    """
    if task in HELD_OUT and spec.metric != BITS:
        raise ValueError(
            f"task is {task!r}, which only neural data transformers have. Models of "
            "this config are scored by a strategy, such as 'test/video_behavior'."
        )
    return TaskScore(task, metric or spec.metric, max_windows)
