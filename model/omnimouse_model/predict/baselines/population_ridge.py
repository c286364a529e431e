"""Neurons, and behaviour, from the neurons that are visible at the same sample.

The covariances of the whole population are learned once; for any visible set the
ridge is solved when it is asked for, and its factor kept. Solving for the data
instead of for the weights makes the cost independent of how many are asked.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from omnimouse_model.data.clock import N_SAMPLES
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window, without_missing
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.masks import VISIBLE, Mask
from omnimouse_model.predict.baselines.fit_cache import BETWEEN, Fit, training_windows
from omnimouse_model.predict.baselines.ridge import (
    Covariance,
    Sums,
    choose_penalty,
    factor,
    solve_factored,
)
from omnimouse_model.predict.baselines.rules import (
    RulePrediction,
    mean_rates,
    mean_status,
)
from omnimouse_model.predict.baselines.visible_input import (
    BEHAVIOR_LAGS,
    VisibleInput,
    behavior_inputs,
    behavior_of,
)
from omnimouse_model.predict.predictor import Needs

LAGS = (0, -3, 3)
MOST_LAGGED = 1500
"""Populations above this are taken at the same sample only (memory)."""
_JUDGED = 600
"""Neurons the penalties are chosen on."""
_KEPT_FACTORS = 8
_SCORED = slice(30, 60)
_NEEDS = Needs(sees_behavior=True, predicts_behavior=True)


def _lags(n_neurons: int) -> tuple[int, ...]:
    return LAGS if n_neurons <= MOST_LAGGED else LAGS[:1]


def lagged(
    values: np.ndarray, visible: np.ndarray, lags: tuple[int, ...]
) -> np.ndarray:
    """Responses (60, P) at every lag: (60, lags x P).

    Where the lagged sample is not visible, the sample itself stands in for it.
    """
    samples = np.arange(N_SAMPLES)
    parts = []
    for lag in lags:
        row = np.clip(samples + lag, 0, N_SAMPLES - 1)
        parts.append(np.where(visible[row], values[row], values))
    return np.concatenate(parts, axis=1)


def _inputs(seen: VisibleInput, lags: tuple[int, ...]) -> np.ndarray:
    """Context at its lags, then behaviour if it is given: (60, inputs)."""
    context = lagged(seen.responses, seen.visible, lags)
    if seen.behavior is None:
        return context
    return np.concatenate([context, behavior_inputs(seen.behavior)], axis=1)


def _joint(window: Window, neurons: np.ndarray, lags: tuple[int, ...]) -> np.ndarray:
    """Everything of some neurons' scored samples: inputs, then behaviour there."""
    values = without_missing(window.responses[:, neurons])
    behavior = behavior_of(window)
    if behavior is None:
        behavior = np.zeros((40, 0), np.float32)
    seen = VisibleInput(np.ones(values.shape, bool), values, None, behavior)
    now = behavior[np.arange(N_SAMPLES) * len(behavior) // N_SAMPLES]
    return np.concatenate([_inputs(seen, lags), now], axis=1)[_SCORED]


@dataclass(slots=True)
class ContextRidge:
    """Ridge from the visible neurons of the same sample, with behaviour if given."""

    name: str = "context-ridge"
    needs: Needs = _NEEDS
    any_spec: bool = False
    _factors: OrderedDict[tuple[object, ...], np.ndarray] = field(
        default_factory=OrderedDict, repr=False
    )

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Covariance of the context, behaviour and all neurons; the penalties."""
        everyone, lags = np.arange(session.n_neurons), _lags(session.n_neurons)
        judged = np.linspace(0, session.n_neurons - 1, _JUDGED).astype(np.int64)
        judged = np.unique(judged)
        sums: Sums | None = None
        folds: list[Sums] = []
        most = 1800 if len(lags) > 1 else 600
        for fold, window in training_windows(session, stride=30, most=most, spec=spec):
            joint = _joint(window, everyone, lags)
            part = _joint(window, judged, lags)
            if sums is None:
                dtype = np.float64 if len(lags) > 1 else np.float32
                sums = Sums(joint.shape[1], dtype=dtype)
                folds = [Sums(part.shape[1]) for _ in range(2)]
            sums.add(joint)
            if fold != BETWEEN:
                folds[fold].add(part)
        assert sums is not None  # training_windows raises where there is none
        whole = sums.covariance()
        return {
            "mean": mean_rates(session, spec),
            "joint_mean": whole.mean_x,
            "joint": whole.xx.astype(np.float32),
            "penalties": _penalties(folds, len(judged), len(lags)),
        }

    def refusal(self, mask: Mask) -> str:
        """Refuse masks in which nothing is asked beside visible neurons."""
        with_context = (mask.cells == VISIBLE).any(axis=1)
        if mask.has_behavior_target and with_context.any():
            return ""
        if (mask.target.any(axis=1) & with_context).any():
            return ""
        return "needs neurons that are visible at the samples it is asked for."

    def answer(self, fit: Fit, seen: VisibleInput, mask: Mask) -> RulePrediction:
        """Predict sample by sample from whatever neurons are visible there."""
        n_neurons, lags = mask.n_neurons, _lags(mask.n_neurons)
        inputs = _inputs(seen, lags)
        decode = mask.has_behavior_target
        any_shown = np.asarray(seen.visible.any(axis=1))
        used = np.flatnonzero((mask.target.any(axis=1) | decode) & any_shown)
        found = np.tile(fit["joint_mean"], (N_SAMPLES, 1))
        patterns, which = np.unique(seen.visible[used], axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            rows = used[which.reshape(-1) == number]
            context = np.flatnonzero(np.tile(pattern, len(lags)))
            behavior = np.arange(len(lags) * n_neurons, inputs.shape[1])
            columns = np.concatenate([context, behavior])
            penalty = float(fit["penalties"][1 if len(behavior) else 0])
            found[rows] += self._deviation(fit, inputs[rows], columns, penalty)
        without = mask.target & ~any_shown[:, None]
        return RulePrediction(
            np.where(without, fit["mean"], found[:, :n_neurons]),
            _decoded(found, n_neurons, len(lags)) if decode else None,
            mean_status(without),
        )

    def _deviation(
        self, fit: Fit, inputs: np.ndarray, columns: np.ndarray, penalty: float
    ) -> np.ndarray:
        """Expected deviation from the mean of everything, (rows, joint)."""
        lower = self._factor(fit, columns, penalty)
        centred = inputs[:, columns] - fit["joint_mean"][columns]
        # The dual: as many right-hand sides as samples, not as outputs.
        dual = np.zeros((len(inputs), len(fit["joint_mean"])), np.float32)
        dual[:, columns] = solve_factored(lower, centred.T).T
        return np.asarray(dual @ fit["joint"])

    def _factor(self, fit: Fit, used: np.ndarray, penalty: float) -> np.ndarray:
        key = (fit["joint_mean"].tobytes(), used.tobytes(), penalty)
        if key not in self._factors:
            block = fit["joint"][np.ix_(used, used)].astype(np.float64)
            self._factors[key] = factor(block, penalty)
            while len(self._factors) > _KEPT_FACTORS:
                self._factors.popitem(last=False)
        self._factors.move_to_end(key)
        return self._factors[key]


def _penalties(folds: list[Sums], n_neurons: int, n_lags: int) -> np.ndarray:
    """Penalty without and with behaviour, chosen with half of the neurons visible."""
    half = np.random.default_rng(1).random(n_neurons) < 0.5
    if not folds[0].count or not folds[1].count or half.all() or not half.any():
        return np.array([1.0, 1.0])
    context = np.flatnonzero(np.tile(half, n_lags))
    given = len(BEHAVIOR_LAGS)
    channels = (folds[0].n_inputs - n_lags * n_neurons) // (given + 1)
    behavior = n_lags * n_neurons + np.arange(given * channels)
    joint = [fold.covariance() for fold in folds]
    chosen = []
    for inputs in (context, np.concatenate([context, behavior])):
        train, held_out = (_regression(j, inputs, np.flatnonzero(~half)) for j in joint)
        chosen.append(choose_penalty(train, held_out))
    return np.array(chosen)


def _regression(
    joint: Covariance, inputs: np.ndarray, outputs: np.ndarray
) -> Covariance:
    """Some columns of a joint covariance on others."""
    return Covariance(
        joint.mean_x[inputs],
        joint.mean_x[outputs],
        joint.xx[np.ix_(inputs, inputs)],
        joint.xx[np.ix_(inputs, outputs)],
        np.diagonal(joint.xx)[outputs],
    )


def _decoded(found: np.ndarray, n_neurons: int, n_lags: int) -> np.ndarray | None:
    """Behaviour (40, C) from the joint prediction at 30 Hz; None without channels."""
    given = len(BEHAVIOR_LAGS)
    channels = (found.shape[1] - n_lags * n_neurons) // (given + 1)
    if not channels:
        return None
    shown_at = np.arange(40) * N_SAMPLES // 40
    return found[shown_at, -channels:].astype(np.float32)
