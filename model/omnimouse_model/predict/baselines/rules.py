"""The rules of naive prediction: what they share, and the two simplest ones.

A rule reads only what a mask lets through (`VisibleInput`), and what it learned
(`Fit`).
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.masks import VISIBLE, Mask
from omnimouse_model.predict.baselines.fit_cache import Fit, training_windows
from omnimouse_model.predict.baselines.visible_input import VisibleInput
from omnimouse_model.predict.predictor import Needs


@dataclass(frozen=True, slots=True)
class RulePrediction:
    """What a rule says of a whole window: (60, P), and behaviour (40, C) if it can."""

    responses: np.ndarray
    behavior: np.ndarray | None = None
    status: str = "ok"


@runtime_checkable
class Rule(Protocol):
    """One naive way to predict; state lives in its fit, a dict of arrays.

    A rule whose needs have OmniMouse's spec serves any spec if `any_spec` is true.
    """

    @property
    def any_spec(self) -> bool:
        """Whether the rule serves windows of any spec, not only of OmniMouse."""
        ...

    @property
    def name(self) -> str:
        """The name it is chosen by."""
        ...

    @property
    def needs(self) -> Needs:
        """What it can see and predict."""
        ...

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Everything it learns from the train tier."""
        ...

    def refusal(self, mask: Mask) -> str:
        """Why it cannot serve a mask, "" if it can."""
        ...

    def answer(self, fit: Fit, seen: VisibleInput, mask: Mask) -> RulePrediction:
        """Predict every asked cell from what is seen."""
        ...


def asks_for_responses(mask: Mask) -> str:
    """Refusal of a rule that predicts responses only, "" if it is asked for some."""
    return "" if mask.target.any() else "predicts responses, not behaviour."


def mean_rates(session: Session, spec: WindowSpec = OMNIMOUSE) -> np.ndarray:
    """Return the mean response (P,) over the train tier: normalised, or counts."""
    total, count = np.zeros(session.n_neurons), np.zeros(session.n_neurons)
    stride = grid_points(spec.duration_s)
    for _, window in training_windows(session, stride=stride, most=2000, spec=spec):
        finite = np.isfinite(window.responses)
        total += np.where(finite, window.responses, 0).sum(axis=0, dtype=np.float64)
        count += finite.sum(axis=0)
    return total / np.maximum(count, 1)


_BLIND = Needs(sees_responses=False)
_RESPONSES = Needs()


@dataclass(frozen=True, slots=True)
class TrainMean:
    """Every neuron at its mean rate: correlation 0, the loss to beat."""

    name: str = "mean"
    needs: Needs = _BLIND
    any_spec: bool = True

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Mean rates."""
        return {"mean": mean_rates(session, spec)}

    def refusal(self, mask: Mask) -> str:
        """Refuse behaviour."""
        return asks_for_responses(mask)

    def answer(self, fit: Fit, seen: VisibleInput, mask: Mask) -> RulePrediction:
        """Mean rates at every sample."""
        return RulePrediction(np.broadcast_to(fit["mean"], mask.cells.shape))


def last_seen(visible: np.ndarray) -> np.ndarray:
    """Index (60, P) of the last visible sample at or before each; -1 where none."""
    samples = np.arange(len(visible))[:, None]
    return np.maximum.accumulate(np.where(visible, samples, -1), axis=0)


def needs_history(mask: Mask) -> str:
    """Refuse a mask in which no asked neuron has a visible sample before."""
    refused = asks_for_responses(mask)
    if refused:
        return refused
    before = last_seen(mask.cells == VISIBLE) >= 0
    if (before & mask.target).any():
        return ""
    return (
        "needs visible samples of a neuron before those it is asked for: ask for a "
        "forecast."
    )


@dataclass(frozen=True, slots=True)
class LastSample:
    """Every neuron stays at its last visible sample, at its mean where it has none."""

    name: str = "last"
    needs: Needs = _RESPONSES
    any_spec: bool = True

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Mean rates, for neurons without history."""
        return {"mean": mean_rates(session, spec)}

    def refusal(self, mask: Mask) -> str:
        """Refuse masks without any history."""
        return needs_history(mask)

    def answer(self, fit: Fit, seen: VisibleInput, mask: Mask) -> RulePrediction:
        """Hold the last visible sample."""
        last = last_seen(seen.visible)
        held = np.take_along_axis(seen.responses, np.maximum(last, 0), axis=0)
        without = mask.target & (last < 0)
        return RulePrediction(
            np.where(last < 0, fit["mean"], held), None, mean_status(without)
        )


def mean_status(without: np.ndarray) -> str:
    """Say how many asked neurons were given their mean for want of an input."""
    count = int(without.any(axis=0).sum())
    return f"mean rate for {count} neurons without input" if count else "ok"
