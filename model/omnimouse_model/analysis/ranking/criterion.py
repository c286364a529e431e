"""Score by which sessions are ranked: a task and a metric, on a tier of one session."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch

from omnimouse_model.analysis.evaluate.evaluate import evaluate
from omnimouse_model.analysis.evaluate.tier_windows import scored_starts
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.metrics.named import METRICS, named_metric
from omnimouse_model.predict.ndt.held_out_rates import (
    N_WINDOWS,
    WINDOW,
    bits_of,
    forward_windows,
    inter_region,
    intra_region,
    one_neuron_out,
)
from omnimouse_model.predict.ndt.predictor import NdtPredictor
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import silent
from omnimouse_model.strategies import find_strategy

BITS = "bits_per_spike"


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
        "intra-region" (`predict.ndt.held_out_rates`), the mean over neurons with
        spikes. Of any family the name of a strategy, as in `om.evaluate`.
    metric
        Name of a metric, as in `om.evaluate`.
    max_windows
        Maximum number of windows or trials, spread over the tier.
    """

    task: str
    metric: str
    max_windows: int | None = None

    def __post_init__(self) -> None:
        named_metric(self.metric)
        if self.task not in NDT_TASKS:
            find_strategy(self.task)
        elif self.metric != BITS:
            raise ValueError(
                f"metric is {self.metric!r}; the task {self.task!r} has {BITS!r}."
            )

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
        if self.task in NDT_TASKS:
            return self._bits(model, session, tier)
        found = evaluate(
            model,
            session,
            self.task,
            tier=tier,
            max_windows=self.max_windows,
            metric=self.metric,
            centred=False,
            progress=silent,
        ).scores[0]
        if found.refusal:
            raise ValueError(f"{self.task}: {found.refusal}")
        return found.value

    def _bits(self, model: Predictor, session: Session, tier: str) -> float:
        """Return the mean bits per spike of a neural data transformer."""
        if not isinstance(model, NdtPredictor):
            raise ValueError(
                f"The task {self.task!r} is one of neural data transformers, and "
                f"{model.predictor_id!r} is none: give the name of a strategy."
            )
        starts = scored_starts(session, tier, self.max_windows, model.spec)
        windows = (session.window(float(start), model.spec) for start in starts)
        # A response that is missing counts as no spike, as in training.
        counts = np.stack([np.nan_to_num(w.responses) for w in windows])
        return NDT_TASKS[self.task](model, session, counts.astype(np.float32))


def criterion_of(metric: str | Criterion, spec: WindowSpec) -> Criterion:
    """Return the criterion of a task, with the default metric of a spec."""
    return TaskScore(metric, spec.metric) if isinstance(metric, str) else metric


def _forward(model: NdtPredictor, session: Session, counts: np.ndarray) -> float:
    """Return the bits per spike of consecutive windows of bins from the onset on."""
    onset = round(-model.spec.trial_offset_s * model.spec.response_rate_hz)
    # Eleven windows in 3-s trials, as in the paper; shorter trials have fewer.
    n_windows = min(N_WINDOWS, (counts.shape[1] - onset) // WINDOW)
    rates = forward_windows(
        model.net,
        session.id,
        torch.from_numpy(counts).to(model.device),
        onset=onset,
        n_windows=n_windows,
    )
    return bits_of(rates, counts[:, onset : onset + n_windows * WINDOW]).mean


def _co_smoothing(model: NdtPredictor, session: Session, counts: np.ndarray) -> float:
    spikes = torch.from_numpy(counts).to(model.device)
    return bits_of(one_neuron_out(model.net, session.id, spikes), counts).mean


def _regions(
    rates_of: Callable[..., np.ndarray],
    model: NdtPredictor,
    session: Session,
    counts: np.ndarray,
) -> float:
    area = session.units.area
    regions = ("",) * session.n_neurons if area is None else tuple(area.tolist())
    spikes = torch.from_numpy(counts).to(model.device)
    return bits_of(rates_of(model.net, session.id, spikes, regions), counts).mean


NDT_TASKS: Final[Mapping[str, Callable[[NdtPredictor, Session, np.ndarray], float]]] = (
    MappingProxyType(
        {
            "forward": _forward,
            "co-smoothing": _co_smoothing,
            "inter-region": partial(_regions, inter_region),
            "intra-region": partial(_regions, intra_region),
        }
    )
)
"""Tasks of neural data transformers: function of model, session and counts."""
