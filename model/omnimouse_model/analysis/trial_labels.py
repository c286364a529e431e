"""Decoding of labels of trials, such as the choice, from a model of spikes.

The model gives features of each trial, of which all spikes are visible. A multinomial
logistic regression predicts the label; its L2 penalty is that with the smallest log loss
on the validation trials.

Source: Jiang et al. 2025; the average over bins is an assumption.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from omnimouse_model.analysis.held_out_neurons import checked_held_out, trial_counts
from omnimouse_model.analysis.peri_event import conditions, event_windows
from omnimouse_model.data.session import Session
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation.results import number_or_none
from omnimouse_model.metrics.named import accuracy, accuracy_interval
from omnimouse_model.predict.predictor import Predictor

PENALTIES: Final = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Candidate weights of the sum of squared coefficients, beside the mean log loss."""

FITTED_WITH: Final = ("train", "validation")
"""Tiers that fit the regression and choose its penalty."""


@dataclass(frozen=True, slots=True, eq=False)
class TrialDecoding:
    """Labels of the trials of a tier, decoded.

    Attributes
    ----------
    column, labels
        Column of the trial table, and its labels in the train trials.
    accuracy, interval
        Share of trials that are decoded correctly, and its 95 % interval over trials
        (`accuracy_interval`).
    balanced
        Mean of these shares over the labels.
    chance
        Share of the most frequent label of these trials.
    penalty
        The chosen L2 penalty.
    is_right
        Of each trial of the tier.
    """

    column: str
    labels: tuple[str, ...]
    predictor: str
    session: str
    tier: str
    accuracy: float
    interval: tuple[float, float]
    balanced: float
    chance: float
    penalty: float
    is_right: Bool[np.ndarray, " trial"]

    def row(self) -> dict[str, Any]:
        """Return the row of `--json`; a missing value is None."""
        low, high = self.interval
        return {
            "name": "decoded_label",
            "value": self.accuracy,
            "unit": "share of trials",
            "metric": "accuracy",
            "predictor": self.predictor,
            "strategy": "choice",
            "column": self.column,
            "labels": list(self.labels),
            "session": self.session,
            "tier": self.tier,
            "windows": len(self.is_right),
            "ci_low": number_or_none(low),
            "ci_high": number_or_none(high),
            "resampled": "trials",
            "balanced": self.balanced,
            "chance": self.chance,
            "penalty": self.penalty,
        }


def decode_trial_labels(
    model: Predictor, session: Session, column: str, *, tier: str = "test"
) -> TrialDecoding:
    """Decode a column of the trial table from the spikes of each trial.

    Trials without a label are left out.

    Examples
    --------
    >>> import torch
    >>> from omnimouse_model.families.ndt.network import Ndt, NdtConfig
    >>> from omnimouse_model.families.ndt.predictor import TRIALS, NdtPredictor
    >>> from omnimouse_model.simulate.spiking_laboratory import spiking_arrays
    >>> spiking = om.open_session(spiking_arrays())
    >>> sizes = NdtConfig(d_token=16, d_model=32, n_layers=1, d_inner=32)
    >>> net = Ndt(sizes, {spiking.id: spiking.n_neurons}).eval()
    >>> model = NdtPredictor("untrained", "", TRIALS, net, torch.device("cpu"))
    >>> found = om.decode_trial_labels(model, spiking, "stim_id")
    >>> found.labels, len(found.is_right)
    (('left', 'right'), 6)

    Raises
    ------
    UnsupportedRequestError
        The model predicts no held-out spikes, or does not know the session; the
        column is none with a few labels; a tier has too few of them; or the regression
        itself is fitted with the tier ("train", "validation").
    """
    encoding = _Encoding(model, session, tier)
    known = conditions(session)
    if column not in known:
        raise UnsupportedRequestError(
            f"{session.id!r} has no trial column {column!r} with two or more labels; "
            f"it has {', '.join(known) or 'none'}."
        )
    return _decoding(encoding, column, known[column])


def decode_every_label(
    model: Predictor, session: Session, *, tier: str = "test"
) -> dict[str, TrialDecoding | UnsupportedRequestError]:
    """Decode each column with a few labels; the trials are encoded once for all.

    A column that cannot be decoded has the error of `decode_trial_labels`.
    """
    columns = conditions(session)
    found: dict[str, TrialDecoding | UnsupportedRequestError] = {}
    try:
        encoding = _Encoding(model, session, tier)
    except UnsupportedRequestError as error:
        return dict.fromkeys(columns, error)
    for column, labels in columns.items():
        try:
            found[column] = _decoding(encoding, column, labels)
        except UnsupportedRequestError as error:
            found[column] = error
    return found


class _Encoding:
    """Encoder of the trials of a session; it encodes each tier once.

    Parameters
    ----------
    tier
        Tier whose labels are decoded.

    Raises
    ------
    UnsupportedRequestError
        The model predicts no held-out spikes, or does not know the session; or the
        regression itself is fitted with the tier.
    """

    def __init__(self, model: Predictor, session: Session, tier: str) -> None:
        self.model, self.session = checked_held_out(model, session), session
        if tier in FITTED_WITH:
            raise UnsupportedRequestError(
                "Labels are decoded with a regression that is fitted on the tier "
                f"'train' and a penalty chosen on 'validation': {tier!r} holds nothing "
                "back. Choose another tier, such as 'test'."
            )
        self.tier = tier
        self._encoded: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def labelled(self, labels: np.ndarray, tier: str) -> tuple[Tensor, np.ndarray]:
        """Return features and labels of the trials of a tier that have a label."""
        if tier not in self._encoded:
            self._encoded[tier] = self._encode(tier)
        trials, features = self._encoded[tier]
        has_label = labels[trials] != ""
        if not has_label.any():
            raise UnsupportedRequestError(
                f"No trial of tier {tier!r} of {self.session.id!r} has a label."
            )
        return torch.from_numpy(features[has_label]), labels[trials][has_label]

    def _encode(self, tier: str) -> tuple[np.ndarray, np.ndarray]:
        """Encode a tier: row numbers of its trials, and features (trial, d_model)."""
        trials, windows = event_windows(self.session, self.model.needs.spec, tier)
        starts = np.array([window.start_s for window in windows])
        if not len(starts):
            return trials, np.zeros((0, 0))
        counts = trial_counts(self.session, self.model, starts)
        return trials, self.model.trial_features(self.session, counts)


def _decoding(encoding: _Encoding, column: str, labels: np.ndarray) -> TrialDecoding:
    """Fit the regression of a column, and decode the labels of the tier."""
    model, session, tier = encoding.model, encoding.session, encoding.tier
    x, of_train = encoding.labelled(labels, "train")
    x_validation, of_validation = encoding.labelled(labels, "validation")
    x_test, true = encoding.labelled(labels, tier)
    names, y = np.unique(of_train, return_inverse=True)
    if len(names) < 2:
        raise UnsupportedRequestError(
            f"The train trials of {session.id!r} have the labels "
            f"{', '.join(names.tolist()) or '(none)'} in {column!r}; expected two."
        )
    target = torch.from_numpy(y.reshape(-1))
    # A label that no train trial has cannot be predicted, and tells no penalty.
    is_known = np.isin(of_validation, names)
    if not is_known.any():
        raise UnsupportedRequestError(
            f"{session.id!r} has no validation trial with a label in {column!r}, on "
            "which the penalty could be chosen."
        )
    held_out = torch.from_numpy(np.searchsorted(names, of_validation[is_known]))
    fits = {p: fit_logistic(x, target, p, len(names)) for p in PENALTIES}
    losses = {
        p: float(torch.nn.functional.cross_entropy(fit(x_validation[is_known]), held_out))
        for p, fit in fits.items()
    }
    penalty = min(PENALTIES, key=losses.__getitem__)
    chosen = names[fits[penalty](x_test).argmax(1).numpy()]
    right = chosen == true
    return TrialDecoding(
        column,
        tuple(names.tolist()),
        model.predictor_id,
        session.id,
        tier,
        accuracy(chosen, true, balanced=False).value,
        accuracy_interval(right),
        accuracy(chosen, true, balanced=True).value,
        float(np.unique(true, return_counts=True)[1].max() / len(true)),
        penalty,
        right,
    )


def fit_logistic(
    x: Tensor,
    y: Tensor,
    penalty: float,
    n_classes: int,
    *,
    weights: Tensor | None = None,
    max_steps: int = 500,
) -> Callable[[Tensor], Tensor]:
    """Fit a regression to standardised features; return a function to logits.

    Parameters
    ----------
    x, y
        float64 (sample, feature), and the class of each sample.
    penalty
        Weight of the sum of squared coefficients, beside the mean log loss.
    weights
        Weight of each class; equal by default.
    """
    mean, sd = x.mean(0), x.std(0, correction=0)
    sd = torch.where(sd > 0, sd, torch.ones_like(sd))
    z = (x - mean) / sd
    slopes = torch.zeros(x.shape[1], n_classes, dtype=torch.float64)
    bias = torch.zeros(n_classes, dtype=torch.float64)
    optimiser = torch.optim.LBFGS(
        [slopes.requires_grad_(), bias.requires_grad_()],
        max_iter=max_steps,
        line_search_fn="strong_wolfe",
        tolerance_change=1e-7,
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value: Tensor = torch.nn.functional.cross_entropy(z @ slopes + bias, y, weights)
        value = value + penalty * (slopes**2).sum()
        torch.autograd.backward(value)
        return value

    optimiser.step(loss)
    w, b = slopes.detach(), bias.detach()
    return lambda other: (other - mean) / sd @ w + b
