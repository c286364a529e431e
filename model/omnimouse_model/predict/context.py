"""Neurons, and behaviour, from the neurons that are visible at the same sample.

The covariances of the whole population are learned once; for any visible set the
ridge is solved when it is asked for, and its factor kept. Solving for the data
instead of for the weights makes the cost independent of how many are asked.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.windows import Window
from omnimouse_model.masks import N_SAMPLES, VISIBLE, Mask
from omnimouse_model.predict.fitted import Fit, training_windows
from omnimouse_model.predict.predictor import Needs
from omnimouse_model.predict.ridge import (
    Sums,
    choose_penalty,
    factor,
    solve_factored,
)
from omnimouse_model.predict.rules import Answer, mean_rates, mean_status
from omnimouse_model.predict.seen import Seen, behavior_inputs, behavior_of

LAGS = (0, -3, 3)
MOST_LAGGED = 1500
"""Populations above this are taken at the same sample only (memory)."""
MOST_CONTEXT = 4000
"""Of larger populations a fixed random subset can serve as context."""
_KEPT_FACTORS = 8
_SCORED = slice(30, 60)
_NEEDS = Needs(sees_behavior=True, predicts_behavior=True)


def _pool(n_neurons: int) -> np.ndarray:
    """Neurons that can serve as context, sorted."""
    if n_neurons <= MOST_CONTEXT:
        return np.arange(n_neurons)
    drawn = np.random.default_rng(0).choice(n_neurons, MOST_CONTEXT, replace=False)
    return np.sort(drawn)


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


def _inputs(
    values: np.ndarray, visible: np.ndarray, pool: np.ndarray, behavior: np.ndarray
) -> np.ndarray:
    lags = _lags(values.shape[1])
    context = lagged(values[:, pool], visible[:, pool], lags)
    return np.concatenate([context, behavior_inputs(behavior)], axis=1)


def _training_sample(window: Window, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and outputs: every neuron, then every behaviour channel."""
    values = np.nan_to_num(window.responses)
    behavior = behavior_of(window)
    if behavior is None:
        behavior = np.zeros((40, 0), np.float32)
    inputs = _inputs(values, np.ones(values.shape, bool), pool, behavior)
    now = behavior[np.arange(N_SAMPLES) * len(behavior) // N_SAMPLES]
    outputs = np.concatenate([values, now], axis=1)
    return inputs[_SCORED], outputs[_SCORED]


@dataclass(slots=True)
class ContextRidge:
    """Ridge from the visible neurons of the same sample, with behaviour if given."""

    name: str = "context-ridge"
    needs: Needs = _NEEDS
    _factors: OrderedDict[tuple[object, ...], np.ndarray] = field(
        default_factory=OrderedDict, repr=False
    )

    def fit(self, session: Session) -> Fit:
        """Covariances of context and outputs, and the penalties."""
        pool = _pool(session.n_neurons)
        folds: list[Sums] = []
        for fold, window in training_windows(session, stride=30, most=1800):
            inputs, outputs = _training_sample(window, pool)
            if not folds:
                folds = [Sums(inputs.shape[1], outputs.shape[1]) for _ in range(2)]
            folds[fold].add(inputs, outputs)
        context = len(pool) * len(_lags(session.n_neurons))
        penalties = _penalties(folds, pool, context, session.n_neurons)
        folds[0].absorb(folds[1])
        whole = folds[0].covariance()
        return {
            "pool": pool,
            "mean": mean_rates(session),
            "mean_x": whole.mean_x,
            "mean_y": whole.mean_y,
            "xx": whole.xx.astype(np.float32),
            "xy": whole.xy.astype(np.float32),
            "penalties": penalties,
        }

    def refusal(self, mask: Mask) -> str:
        """Refuse masks in which nothing is asked beside visible neurons."""
        with_context = (mask.cells == VISIBLE).any(axis=1)
        if mask.behavior == "target" and with_context.any():
            return ""
        if (mask.target.any(axis=1) & with_context).any():
            return ""
        return "needs neurons that are visible at the samples it is asked for."

    def answer(self, fit: Fit, seen: Seen, mask: Mask) -> Answer:
        """Predict sample by sample from whatever neurons are visible there."""
        n_neurons = mask.n_neurons
        decode = mask.behavior == "target"
        behavior = seen.behavior if seen.behavior is not None else np.zeros((40, 0))
        inputs = _inputs(seen.responses, seen.visible, fit["pool"], behavior)
        shown = seen.visible[:, fit["pool"]]
        any_shown = np.asarray(shown.any(axis=1))
        asked = mask.target.any(axis=1) | decode
        found = np.broadcast_to(fit["mean_y"], (N_SAMPLES, len(fit["mean_y"]))).copy()
        used = asked & any_shown
        patterns, which = np.unique(shown[used], axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            rows = np.flatnonzero(used)[which.reshape(-1) == number]
            found[rows] += self._deviation(fit, inputs[rows], pattern, n_neurons)
        without = mask.target & ~any_shown[:, None]
        rates = np.where(without, fit["mean"], found[:, :n_neurons])
        decoded = (
            found[:, n_neurons:] if decode and found.shape[1] > n_neurons else None
        )
        return Answer(
            rates,
            None if decoded is None else _to_behavior_rate(decoded),
            mean_status(without),
        )

    def _deviation(
        self, fit: Fit, inputs: np.ndarray, shown: np.ndarray, n_neurons: int
    ) -> np.ndarray:
        """Predicted deviation from the mean of every output, (rows, outputs)."""
        lags = len(_lags(n_neurons))
        context = len(fit["pool"]) * lags
        behavior = np.arange(context, inputs.shape[1])
        used = np.concatenate([np.flatnonzero(np.tile(shown, lags)), behavior])
        penalty = float(fit["penalties"][1 if len(behavior) else 0])
        lower = self._factor(fit, used, penalty)
        centred = inputs[:, used] - fit["mean_x"][used]
        dual = solve_factored(lower, centred.T)
        return np.asarray(dual.T @ fit["xy"][used])

    def _factor(self, fit: Fit, used: np.ndarray, penalty: float) -> np.ndarray:
        key = (fit["mean_x"].tobytes(), used.tobytes(), penalty)
        if key not in self._factors:
            block = fit["xx"][np.ix_(used, used)].astype(np.float64)
            self._factors[key] = factor(block, penalty)
            while len(self._factors) > _KEPT_FACTORS:
                self._factors.popitem(last=False)
        self._factors.move_to_end(key)
        return self._factors[key]


def _penalties(
    folds: list[Sums], pool: np.ndarray, context: int, n_neurons: int
) -> np.ndarray:
    """Penalty without and with behaviour, chosen with half of the pool visible."""
    if not folds[0].count or not folds[1].count:
        return np.array([0.3, 0.3])
    half = np.random.default_rng(1).random(len(pool)) < 0.5
    outputs = pool[~half]
    if not half.any() or not len(outputs):
        return np.array([0.3, 0.3])
    shown = np.flatnonzero(np.tile(half, context // len(pool)))
    behavior = np.arange(context, folds[0].n_inputs)
    both = [fold.covariance() for fold in folds]
    chosen = []
    for used in (shown, np.concatenate([shown, behavior])):
        train, held_out = (covariance.of(used, outputs) for covariance in both)
        chosen.append(choose_penalty(train, held_out))
    return np.array(chosen)


def _to_behavior_rate(decoded: np.ndarray) -> np.ndarray:
    """(60, C) at 30 Hz to (40, C) at 20 Hz: the sample shown at each time."""
    return decoded[np.arange(40) * N_SAMPLES // 40].astype(np.float32)
