"""The rules of naive prediction: the visible input, what they share, the two simplest.

A rule reads only the visible input (`VisibleInput`) and its fit to the train tier
(`Fit`).
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.evaluation.tier_windows import Fit, mean_rates
from omnimouse_model.families.parts.visible_input import VisibleInput
from omnimouse_model.masks import VISIBLE, Mask
from omnimouse_model.predict.predictor import Needs

# -- the visible part of a window: the only input of a baseline's rule ----------------


# -- the rules of naive prediction: what they share, and the two simplest ones --------


@dataclass(frozen=True, slots=True)
class RulePrediction:
    """Prediction of a whole window: rates (60, P), and behaviour (40, C) if decoded."""

    responses: np.ndarray
    behavior: np.ndarray | None = None
    status: str = "ok"


@runtime_checkable
class Rule(Protocol):
    """One naive way to predict; all that it learns is in its fit, a dict of arrays.

    Attributes
    ----------
    name
        The name by which the rule is chosen.
    needs
        What it can see and predict, under OmniMouse's spec.
    any_spec
        Whether it serves windows of any spec, not only of OmniMouse.
    """

    name: str
    needs: Needs
    any_spec: bool

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Fit the rule to the train tier."""
        ...

    def refusal(self, mask: Mask) -> str:
        """Return why the rule cannot serve a mask, "" if it can."""
        ...

    def predict(self, fit: Fit, inputs: VisibleInput, mask: Mask) -> RulePrediction:
        """Predict every target cell from the visible input."""
        ...


class TrainMean:
    """Each neuron at its mean rate: correlation 0, the loss to improve on."""

    name = "mean"
    needs = Needs(sees_responses=False)
    any_spec = True

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Compute mean rates."""
        return {"mean": mean_rates(session, spec)}

    def refusal(self, mask: Mask) -> str:
        """Refuse behaviour."""
        return refuse_behavior(mask)

    def predict(self, fit: Fit, inputs: VisibleInput, mask: Mask) -> RulePrediction:
        """Return mean rates at every sample."""
        return RulePrediction(np.broadcast_to(fit["mean"], mask.cells.shape))


class LastSample:
    """Each neuron at its last visible sample, or at its mean without one."""

    name = "last"
    needs = Needs()
    any_spec = True

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Compute mean rates, for neurons without history."""
        return {"mean": mean_rates(session, spec)}

    def refusal(self, mask: Mask) -> str:
        """Refuse masks without any history."""
        return refuse_without_history(mask)

    def predict(self, fit: Fit, inputs: VisibleInput, mask: Mask) -> RulePrediction:
        """Hold the last visible sample."""
        last = last_visible(inputs.visible)
        # -1 is replaced for the indexing, and its value by the mean afterwards.
        held = np.take_along_axis(inputs.responses, np.maximum(last, 0), axis=0)
        rates = np.where(last < 0, fit["mean"], held)
        return RulePrediction(rates, None, mean_remark(mask.target & (last < 0)))


class Interpolation:
    """Each neuron on the line between its visible samples before and after.

    Before the first and after the last visible sample that one is held. The strongest
    simple baseline for holes in slow recordings, such as fluorescence.
    """

    name = "interpolation"
    needs = Needs()
    any_spec = True

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Compute mean rates, for neurons without visible samples."""
        return {"mean": mean_rates(session, spec)}

    def refusal(self, mask: Mask) -> str:
        """Refuse masks in which no target neuron has a visible sample."""
        refusal = refuse_behavior(mask)
        if refusal or (mask.visible.any(axis=0) & mask.target.any(axis=0)).any():
            return refusal
        return "needs visible samples of its target neurons, as in a hole."

    def predict(self, fit: Fit, inputs: VisibleInput, mask: Mask) -> RulePrediction:
        """Interpolate between visible samples."""
        visible, n = inputs.visible, len(inputs.visible)
        samples = np.arange(n)[:, None]
        before = last_visible(visible)
        after = n - 1 - last_visible(visible[::-1])[::-1]  # n where there is none
        first, last = (
            np.where(before < 0, after, before),
            np.where(after >= n, before, after),
        )
        # Without any visible sample both are outside, and the mean replaces the value.
        without = (first < 0) | (first >= n)
        first, last = (np.clip(place, 0, n - 1) for place in (first, last))
        low, high = (np.take_along_axis(inputs.responses, place, axis=0) for place in (first, last))
        share = (samples - first) / np.maximum(last - first, 1)
        rates = np.where(without, fit["mean"], low + np.clip(share, 0, 1) * (high - low))
        return RulePrediction(rates, None, mean_remark(mask.target & without))


# -- shared by rules ------------------------------------------------------------------


def last_visible(visible: np.ndarray) -> np.ndarray:
    """Return the last visible sample at or before each, int (60, P), or -1."""
    samples = np.arange(len(visible))[:, None]
    return np.maximum.accumulate(np.where(visible, samples, -1), axis=0)


def refuse_behavior(mask: Mask) -> str:
    """Return the refusal of a rule that predicts responses only, "" with targets."""
    return "" if mask.target.any() else "predicts responses, not behaviour."


def refuse_without_history(mask: Mask) -> str:
    """Return the refusal of a mask without visible samples before a target."""
    refusal = refuse_behavior(mask)
    if refusal:
        return refusal
    # One target with a history is enough: the others are predicted at their mean.
    has_history = last_visible(mask.cells == VISIBLE) >= 0
    if (has_history & mask.target).any():
        return ""
    return "needs visible samples of a neuron before its targets, as in a forecast."


def mean_remark(without_input: np.ndarray) -> str:
    """Return a remark on the neurons that are predicted at their mean, or "ok".

    `without_input` bool (60, P): target cells without an input.
    """
    count = int(without_input.any(axis=0).sum())
    return f"mean rate for {count} neurons without input" if count else "ok"
