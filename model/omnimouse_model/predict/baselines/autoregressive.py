"""Every neuron from its own past: an autoregressive ridge per neuron and horizon.

Inputs are the last visible sample and the means of the last 5, 12 and 25, and
behaviour around the predicted sample where it is given.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from omnimouse_model.data.clock import N_SAMPLES
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import without_missing
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.masks import Mask
from omnimouse_model.predict.baselines.fit_cache import (
    BETWEEN,
    FITTED,
    HELD_OUT,
    Fit,
    training_windows,
)
from omnimouse_model.predict.baselines.ridge import PENALTIES
from omnimouse_model.predict.baselines.rules import (
    RulePrediction,
    last_seen,
    mean_rates,
    mean_status,
    needs_history,
)
from omnimouse_model.predict.baselines.visible_input import (
    VisibleInput,
    behavior_inputs,
    behavior_of,
)
from omnimouse_model.predict.predictor import Needs

SPANS = (1, 5, 12, 25)
HORIZONS = (1, 2, 3, 4, 6, 8, 11, 15, 20, 25, 30, 35)
"""Fitted samples ahead; weights between them are interpolated, beyond them held."""
_LAST = max(SPANS) - 1
_CHUNK = 64
_NONE = np.zeros(())
_NEEDS = Needs(sees_behavior=True)


@dataclass(frozen=True, slots=True)
class System:
    """Normal equations of every neuron at one horizon: k inputs, one output."""

    mean_x: np.ndarray  # (P, k)
    mean_y: np.ndarray  # (P,)
    xx: np.ndarray  # (P, k, k)
    xy: np.ndarray  # (P, k)
    yy: np.ndarray  # (P,)

    def solve(self, penalty: float) -> np.ndarray:
        """Ridge weights (P, k)."""
        diagonal = np.einsum("pkk->pk", self.xx)
        ridge = np.zeros_like(self.xx)
        np.einsum("pkk->pk", ridge)[...] = penalty * diagonal + 1e-6
        solution = np.linalg.solve(self.xx + ridge, self.xy[..., None])
        return np.asarray(solution[..., 0])

    def correlation(self, weight: np.ndarray) -> np.ndarray:
        """Correlation (P,) that `weight` reaches on this system's data."""
        power = np.einsum("pk,pkl,pl->p", weight, self.xx, weight)
        scale = np.sqrt(np.maximum(power * self.yy, 0))
        safe = np.where(scale > 0, scale, 1.0)
        return np.asarray((weight * self.xy).sum(axis=1) / safe * (scale > 0))


@dataclass(slots=True)
class _Sums:
    """Running sums over windows of history F, target Y and behaviour B."""

    count: int = 0
    sums: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, history: np.ndarray, target: np.ndarray, given: np.ndarray) -> None:
        """Add windows: history (w, f, P), target (w, h, P), behaviour (w, h, b)."""
        self.count += len(history)
        parts = {
            "f": history.sum(axis=0, dtype=np.float64),
            "y": target.sum(axis=0, dtype=np.float64),
            "b": given.sum(axis=0, dtype=np.float64),
            "yy": (target * target).sum(axis=0, dtype=np.float64),
            "ff": np.einsum("wfp,wgp->pfg", history, history),
            "fy": np.einsum("wfp,whp->hpf", history, target),
            "fb": np.tensordot(history, given, (0, 0)).transpose(2, 1, 0, 3),
            "bb": np.einsum("whb,whc->hbc", given, given),
            "by": np.matmul(target.transpose(1, 2, 0), given.transpose(1, 0, 2)),
        }
        for name, part in parts.items():
            self.sums[name] = part + self.sums.get(name, _NONE)

    def merged(self, other: "_Sums") -> "_Sums":
        names = set(self.sums) | set(other.sums)
        return _Sums(
            self.count + other.count,
            {k: self.sums.get(k, _NONE) + other.sums.get(k, _NONE) for k in names},
        )

    def system(self, step: int, *, behavior: bool) -> System:
        """Covariances at one horizon, with or without behaviour as an input."""
        n, total = self.count, self.sums
        mean_f, mean_y = total["f"].T / n, total["y"][step] / n
        xx = total["ff"] / n
        xy = total["fy"][step] / n
        mean_x = mean_f
        if behavior:
            neurons = len(mean_f)
            mean_b = np.broadcast_to(
                total["b"][step] / n, (neurons, total["b"].shape[1])
            )
            mean_x = np.concatenate([mean_f, mean_b], axis=1)
            fb, bb = total["fb"][step] / n, total["bb"][step] / n
            bb = np.broadcast_to(bb, (neurons, *bb.shape))
            left = np.concatenate([xx, fb.transpose(0, 2, 1)], axis=1)
            xx = np.concatenate([left, np.concatenate([fb, bb], axis=1)], axis=2)
            xy = np.concatenate([xy, total["by"][step] / n], axis=1)
        return System(
            mean_x,
            mean_y,
            xx - mean_x[:, :, None] * mean_x[:, None, :],
            xy - mean_x * mean_y[:, None],
            np.maximum(total["yy"][step] / n - mean_y**2, 0.0),
        )


def _batches(
    session: Session, spec: WindowSpec
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """(fold, [history, target, behaviour]) in chunks of one fold."""
    later = _LAST + np.array(HORIZONS)
    waiting: dict[int, list[tuple[np.ndarray, ...]]] = {
        fold: [] for fold in (FITTED, HELD_OUT, BETWEEN)
    }
    for fold, window in training_windows(session, stride=6, most=4000, spec=spec):
        values = without_missing(window.responses)
        past = values[: _LAST + 1]
        history = np.stack([past[-span:].mean(axis=0) for span in SPANS])
        behavior = behavior_of(window)
        if behavior is None:
            behavior = np.zeros((40, 0), np.float32)
        waiting[fold].append((history, values[later], behavior_inputs(behavior)[later]))
        if len(waiting[fold]) == _CHUNK:
            yield fold, [np.stack(part) for part in zip(*waiting[fold], strict=True)]
            waiting[fold] = []
    for fold, rest in waiting.items():
        if rest:
            yield fold, [np.stack(part) for part in zip(*rest, strict=True)]


def _choose(train: _Sums, held_out: _Sums, *, behavior: bool) -> float:
    """Penalty with the best held-out correlation at a near and a far horizon."""
    if not held_out.count or not train.count:
        return PENALTIES[len(PENALTIES) // 2]
    steps = (HORIZONS.index(6), HORIZONS.index(20))
    systems = [
        (train.system(s, behavior=behavior), held_out.system(s, behavior=behavior))
        for s in steps
    ]
    scores = [
        sum(float(test.correlation(fit.solve(p)).mean()) for fit, test in systems)
        for p in PENALTIES
    ]
    return PENALTIES[int(np.argmax(scores))]


@dataclass(frozen=True, slots=True)
class HistoryRidge:
    """Autoregressive ridge per neuron, with behaviour if it is given."""

    name: str = "ridge"
    needs: Needs = _NEEDS
    any_spec: bool = False

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Weights and intercepts per horizon and neuron, with and without behaviour."""
        folds = {fold: _Sums() for fold in (FITTED, HELD_OUT, BETWEEN)}
        for fold, parts in _batches(session, spec):
            folds[fold].add(*parts)
        train, held_out = folds[FITTED], folds[HELD_OUT]
        whole = train.merged(held_out).merged(folds[BETWEEN])
        fit: Fit = {"mean": mean_rates(session, spec)}
        for key, behavior in (("alone", False), ("given", True)):
            penalty = _choose(train, held_out, behavior=behavior)
            systems = (whole.system(k, behavior=behavior) for k in range(len(HORIZONS)))
            solved = [(system, system.solve(penalty)) for system in systems]
            fit[f"{key}_weight"] = np.array(
                [weight for _, weight in solved], np.float32
            )
            fit[f"{key}_intercept"] = np.array(
                [s.mean_y - (s.mean_x * weight).sum(axis=1) for s, weight in solved]
            )
            fit[f"{key}_penalty"] = np.array(penalty)
        return fit

    def refusal(self, mask: Mask) -> str:
        """Refuse masks in which no asked neuron has a past."""
        return needs_history(mask)

    def answer(self, fit: Fit, seen: VisibleInput, mask: Mask) -> RulePrediction:
        """Predict from each neuron's last visible samples; its mean where none."""
        rates = np.broadcast_to(fit["mean"], mask.cells.shape).copy()
        last = last_seen(seen.visible)
        key = "alone" if seen.behavior is None else "given"
        weight, intercept = fit[f"{key}_weight"], fit[f"{key}_intercept"]
        given = (
            np.zeros((N_SAMPLES, 0))
            if seen.behavior is None
            else behavior_inputs(seen.behavior)
        )
        asked = mask.target & (last >= 0)
        for newest in np.unique(last[asked]):
            history = _recent_means(seen, int(newest))
            for sample in np.flatnonzero((asked & (last == newest)).any(axis=1)):
                columns = np.flatnonzero(asked[sample] & (last[sample] == newest))
                near, far, share = _between(int(sample - newest))
                line = weight[near] * (1 - share) + weight[far] * share
                offset = intercept[near] * (1 - share) + intercept[far] * share
                inputs, line = history[columns], line[columns]
                rates[sample, columns] = (
                    (inputs * line[:, : len(SPANS)]).sum(axis=1)
                    + line[:, len(SPANS) :] @ given[sample]
                    + offset[columns]
                )
        return RulePrediction(rates, None, mean_status(mask.target & (last < 0)))


def _recent_means(seen: VisibleInput, newest: int) -> np.ndarray:
    """Means (P, f) of the visible samples in the spans that end at `newest`."""
    means = []
    for span in SPANS:
        rows = slice(max(newest - span + 1, 0), newest + 1)
        count = np.maximum(seen.visible[rows].sum(axis=0), 1)
        means.append(seen.responses[rows].sum(axis=0, dtype=np.float64) / count)
    return np.stack(means, axis=1)


def _between(horizon: int) -> tuple[int, int, float]:
    """Fitted horizons around `horizon`, and how far it lies towards the second."""
    far = int(np.searchsorted(HORIZONS, horizon))
    if far == 0 or far == len(HORIZONS):
        edge = min(far, len(HORIZONS) - 1)
        return edge, edge, 0.0
    near = far - 1
    return near, far, (horizon - HORIZONS[near]) / (HORIZONS[far] - HORIZONS[near])
