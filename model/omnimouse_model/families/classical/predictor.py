"""Naive predictors, with which every score is compared, and the ridges on the population.

Each is a rule that is fitted in closed form to the train tier of a session. It reads only
the visible input (`VisibleInput`) and its fit (`Fit`). The file is long because all rules
stand before the predictor that runs them.
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from omnimouse_model.data.session import Session, Window, without_missing
from omnimouse_model.data.window_spec import N_SAMPLES, SCREEN_RATE_HZ, WindowSpec, default_spec
from omnimouse_model.display import and_text
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation.stored_fits import LOWEST, VERSION, Fit, load_or_fit, name_with_spec
from omnimouse_model.evaluation.tier_windows import (
    BETWEEN,
    FITTED,
    HELD_OUT,
    mean_rates,
    training_windows,
)
from omnimouse_model.families.parts.linear_gaussian.fit import LAGS_S, behavior_inputs
from omnimouse_model.families.parts.motion_energy import N_FEATURES, held_frames, motion_energy
from omnimouse_model.families.parts.ridge import (
    PENALTIES,
    Covariance,
    Sums,
    choose_penalty,
    factor,
    solve_factored,
    weights,
)
from omnimouse_model.masks import VISIBLE, Mask, scored_cells
from omnimouse_model.predict.devices import MemoryCache
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction, Predictor, check_request
from omnimouse_model.progress import Cancelled, never, stop_if

# -- the rules of naive prediction that read each neuron alone, and what all rules share
# A rule reads only the visible input (`VisibleInput`) and its fit to the train tier
# (`Fit`).
# -- the visible part of a window ------------------------------------------------------
# Withheld values are replaced before a rule runs, so that no rule can read them.
SCORED = slice(30, 60)
"""Samples of a window that the ridges are fitted to: those that most masks ask for."""


@dataclass(frozen=True, slots=True)
class VisibleInput:
    """The visible part of a window.

    Attributes
    ----------
    visible
        bool (60, P): the visible responses.
    responses
        float32 (60, P), 0 where not visible.
    video
        float32 (60, 36, 64), each hidden frame replaced by the last visible one before
        it (by the first visible one at the start), or None if no frame is visible.
    behavior
        float32 (40, C), or None if it is withheld or missing.
    """

    visible: np.ndarray
    responses: np.ndarray
    video: np.ndarray | None
    behavior: np.ndarray | None

    @classmethod
    def from_window(
        cls, window: Window, mask: Mask, *, responses: bool = True, video: bool = False
    ) -> "VisibleInput":
        """Read the visible part of a window, of the streams that a rule needs."""
        visible = mask.cells == VISIBLE
        if not responses:
            visible = np.zeros_like(visible)
        values = np.zeros(mask.cells.shape, np.float32)
        # Reading responses costs time, and a clip has none.
        if visible.any():
            # Responses that were not recorded are hidden.
            if window.missing is not None:
                visible &= ~window.missing
            values[visible] = window.responses[visible]
        behavior = behavior_of(window) if mask.has_visible_behavior else None
        return cls(
            visible=visible,
            responses=values,
            video=held_frames(window, mask.frames) if video else None,
            behavior=behavior if behavior is not None and behavior.size else None,
        )


def behavior_of(window: Window) -> np.ndarray:
    """Return behaviour (40, C), C 0 without behaviour, missing values at the mean 0."""
    return without_missing(np.asarray(window.behavior, np.float32))


# -- rules ------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class RulePrediction:
    """Prediction of a whole window: rates (60, P), and behaviour (40, C) if decoded."""

    responses: np.ndarray
    behavior: np.ndarray | None = None
    status: str = "ok"


class Rule:
    """One naive way to predict; all that it learns is in its fit, a dict of arrays.

    A subclass inherits a fit of mean rates, for neurons without input, and serves all masks
    with target responses.

    Attributes
    ----------
    name
        The name by which the rule is chosen.
    needs
        What it can see and predict, under OmniMouse's spec.
    any_spec
        Whether it serves windows of any spec, not only of OmniMouse.
    needs_history
        Whether it refuses masks in which no target follows a visible sample.
    """

    name: str
    needs: Needs
    any_spec: bool = True
    needs_history: bool = False

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Fit the rule to the train tier."""
        return {"mean": mean_rates(session, spec)}

    def refusal(self, mask: Mask) -> str:
        """Return why the rule cannot serve a mask, "" if it can."""
        refusal = refuse_behavior(mask)
        if refusal or not self.needs_history:
            return refusal
        # One target with a history is enough: the others are predicted at their mean.
        has_history = last_visible(mask.cells == VISIBLE) >= 0
        if (has_history & mask.target).any():
            return ""
        return "needs visible samples of a neuron before its targets, as in a forecast."

    def predict(self, fit: Fit, inputs: VisibleInput, mask: Mask) -> RulePrediction:
        """Predict every target cell from the visible input."""
        raise NotImplementedError


class TrainMean(Rule):
    """Each neuron at its mean rate: correlation 0, the loss to improve on."""

    name = "mean"
    needs = Needs(sees_responses=False)

    def predict(self, fit: Fit, inputs: VisibleInput, mask: Mask) -> RulePrediction:
        """Return mean rates at every sample."""
        return RulePrediction(np.broadcast_to(fit["mean"], mask.cells.shape))


class LastSample(Rule):
    """Each neuron at its last visible sample, or at its mean without one."""

    name = "last"
    needs = Needs()
    needs_history = True

    def predict(self, fit: Fit, inputs: VisibleInput, mask: Mask) -> RulePrediction:
        """Hold the last visible sample."""
        last = last_visible(inputs.visible)
        # -1 is replaced for the indexing, and its value by the mean afterwards.
        held = np.take_along_axis(inputs.responses, np.maximum(last, 0), axis=0)
        rates = np.where(last < 0, fit["mean"], held)
        return RulePrediction(rates, None, mean_remark(mask.target & (last < 0)))


class Interpolation(Rule):
    """Each neuron on the line between its visible samples before and after.

    Before the first and after the last visible sample that one is held. The strongest
    simple baseline for holes in slow recordings, such as fluorescence.
    """

    name = "interpolation"
    needs = Needs()

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
        first, last = (np.where(before < 0, after, before), np.where(after >= n, before, after))
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


def mean_remark(without_input: np.ndarray) -> str:
    """Return a remark on the neurons that are predicted at their mean, or "ok".

    `without_input` bool (60, P): target cells without an input.
    """
    count = int(without_input.any(axis=0).sum())
    return f"mean rate for {count} neurons without input" if count else "ok"


# -- history ridge: an autoregressive ridge per neuron and horizon --------------------
# Inputs are the last visible sample, the means of the last 5, 12 and 25, and behaviour
# around the predicted sample if it is visible.
SPANS = (1, 5, 12, 25)
# Denser where the autocorrelation falls fastest.
HORIZONS = (1, 2, 3, 4, 6, 8, 11, 15, 20, 25, 30, 35)
"""Forecast lengths (samples) that are fitted.

Lengths between two of them are interpolated; longer ones use the last."""
_LAST = max(SPANS) - 1
_CHUNK = 64
# Broadcasts: the sum of nothing has the shape of whatever is added first.
_NOTHING = np.zeros(())


@dataclass(frozen=True, slots=True)
class System:
    """Normal equations of every neuron at one horizon: k inputs, one output."""

    mean_x: np.ndarray  # (P, k)
    mean_y: np.ndarray  # (P,)
    xx: np.ndarray  # (P, k, k)
    xy: np.ndarray  # (P, k)
    yy: np.ndarray  # (P,)

    def solve(self, penalty: float) -> np.ndarray:
        """Return ridge weights (P, k)."""
        diagonal = np.einsum("pkk->pk", self.xx)
        ridge = np.zeros_like(self.xx)
        # The floor keeps a silent neuron's system solvable.
        np.einsum("pkk->pk", ridge)[...] = penalty * diagonal + 1e-6
        solution = np.linalg.solve(self.xx + ridge, self.xy[..., None])
        return np.asarray(solution[..., 0])

    def correlation(self, weight: np.ndarray) -> np.ndarray:
        """Return the correlation (P,) that `weight` reaches on this system's data."""
        power = np.einsum("pk,pkl,pl->p", weight, self.xx, weight)
        scale = np.sqrt(np.maximum(power * self.yy, 0))
        safe = np.where(scale > 0, scale, 1.0)
        return np.asarray((weight * self.xy).sum(axis=1) / safe * (scale > 0))


@dataclass(slots=True)
class _Sums:
    """Running sums over windows of history f, target y and behaviour b."""

    count: int = 0
    sums: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, history: np.ndarray, target: np.ndarray, behavior: np.ndarray) -> None:
        """Add windows: history (w, f, P), target (w, h, P), behaviour (w, h, b)."""
        parts = {
            "f": history.sum(axis=0, dtype=np.float64),
            "y": target.sum(axis=0, dtype=np.float64),
            "b": behavior.sum(axis=0, dtype=np.float64),
            "yy": (target * target).sum(axis=0, dtype=np.float64),
            "ff": np.einsum("wfp,wgp->pfg", history, history),
            "fy": np.einsum("wfp,whp->hpf", history, target),
            "fb": np.tensordot(history, behavior, (0, 0)).transpose(2, 1, 0, 3),
            "bb": np.einsum("whb,whc->hbc", behavior, behavior),
            "by": np.matmul(target.transpose(1, 2, 0), behavior.transpose(1, 0, 2)),
        }
        self.add_sums(len(history), parts)

    def add_sums(self, count: int, parts: Mapping[str, np.ndarray]) -> None:
        """Add the sums over further windows."""
        self.count += count
        for name, part in parts.items():
            self.sums[name] = part + self.sums.get(name, _NOTHING)

    def system(self, step: int, *, behavior: bool) -> System:
        """Return covariances at one horizon, with or without behaviour as input."""
        n, total = self.count, self.sums
        mean_x, mean_y = total["f"].T / n, total["y"][step] / n
        xx, xy = total["ff"] / n, total["fy"][step] / n
        if behavior:
            # The history is each neuron's own; behaviour is the same for all neurons.
            neurons = len(mean_x)
            mean_b, bb = total["b"][step] / n, total["bb"][step] / n
            mean_b, bb = (np.broadcast_to(part, (neurons, *part.shape)) for part in (mean_b, bb))
            fb = total["fb"][step] / n
            mean_x = np.concatenate([mean_x, mean_b], axis=1)
            upper = np.concatenate([xx, fb.transpose(0, 2, 1)], axis=1)
            xx = np.concatenate([upper, np.concatenate([fb, bb], axis=1)], axis=2)
            xy = np.concatenate([xy, total["by"][step] / n], axis=1)
        return System(
            mean_x,
            mean_y,
            xx - mean_x[:, :, None] * mean_x[:, None, :],
            xy - mean_x * mean_y[:, None],
            np.maximum(total["yy"][step] / n - mean_y**2, 0.0),
        )


def _batches(session: Session, spec: WindowSpec) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield fold and [history, target, behaviour] in chunks of one fold."""
    later = _LAST + np.array(HORIZONS)
    pending: dict[int, list[tuple[np.ndarray, ...]]] = {
        fold: [] for fold in (FITTED, HELD_OUT, BETWEEN)
    }
    # One matrix product per chunk is faster than one per window.
    for fold, window in training_windows(session, stride=6, most=4000, spec=spec):
        values = window.filled_responses
        past = values[: _LAST + 1]
        history = np.stack([past[-span:].mean(axis=0) for span in SPANS])
        behavior = behavior_inputs(behavior_of(window), spec)[later]
        pending[fold].append((history, values[later], behavior))
        if len(pending[fold]) == _CHUNK:
            yield fold, [np.stack(part) for part in zip(*pending[fold], strict=True)]
            pending[fold] = []
    for fold, rest in pending.items():
        if rest:
            yield fold, [np.stack(part) for part in zip(*rest, strict=True)]


def _choose(train: _Sums, held_out: _Sums, *, behavior: bool) -> float:
    """Return the penalty with the best held-out correlation, near and far ahead."""
    if not held_out.count or not train.count:
        return PENALTIES[len(PENALTIES) // 2]
    # One penalty for all horizons: chosen for each, it would follow the noise.
    steps = (HORIZONS.index(6), HORIZONS.index(20))
    systems = [
        (train.system(s, behavior=behavior), held_out.system(s, behavior=behavior)) for s in steps
    ]
    scores = [
        sum(float(test.correlation(fit.solve(p)).mean()) for fit, test in systems)
        for p in PENALTIES
    ]
    return PENALTIES[int(np.argmax(scores))]


class HistoryRidge(Rule):
    """Autoregressive ridge per neuron, with behaviour if it is visible."""

    name = "ridge"
    needs = Needs(sees_behavior=True)
    any_spec = False
    needs_history = True

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Fit weights per horizon and neuron, with and without behaviour."""
        folds = {fold: _Sums() for fold in (FITTED, HELD_OUT, BETWEEN)}
        for fold, parts in _batches(session, spec):
            folds[fold].add(*parts)
        # The penalty is chosen on a split; the weights then use every window.
        sums = _Sums()
        for part in folds.values():
            sums.add_sums(part.count, part.sums)
        fit: Fit = {"mean": mean_rates(session, spec)}
        for key, behavior in (("alone", False), ("behavior", True)):
            penalty = _choose(folds[FITTED], folds[HELD_OUT], behavior=behavior)
            systems = (sums.system(k, behavior=behavior) for k in range(len(HORIZONS)))
            solved = [(system, system.solve(penalty)) for system in systems]
            fit[f"{key}_weight"] = np.array([w for _, w in solved], np.float32)
            fit[f"{key}_intercept"] = np.array(
                [s.mean_y - (s.mean_x * weight).sum(axis=1) for s, weight in solved]
            )
            fit[f"{key}_penalty"] = np.array(penalty)
        return fit

    def predict(self, fit: Fit, inputs: VisibleInput, mask: Mask) -> RulePrediction:
        """Predict from each neuron's last visible samples, or its mean without any."""
        rates = np.broadcast_to(fit["mean"], mask.cells.shape).copy()
        last = last_visible(inputs.visible)
        key, behavior = "alone", np.zeros((N_SAMPLES, 0))
        if inputs.behavior is not None:
            key, behavior = "behavior", behavior_inputs(inputs.behavior, default_spec())
        weight, intercept = fit[f"{key}_weight"], fit[f"{key}_intercept"]
        cells = mask.target & (last >= 0)
        # Neurons whose history ends at the same sample have the same horizons.
        for newest in np.unique(last[cells]):
            history = _recent_means(inputs, int(newest))
            for sample in np.flatnonzero((cells & (last == newest)).any(axis=1)):
                columns = np.flatnonzero(cells[sample] & (last[sample] == newest))
                # Weights are interpolated between fitted horizons, not predictions.
                near, far, share = _between(int(sample - newest))
                line = weight[near] * (1 - share) + weight[far] * share
                offset = intercept[near] * (1 - share) + intercept[far] * share
                means, line = history[columns], line[columns]
                rates[sample, columns] = (
                    (means * line[:, : len(SPANS)]).sum(axis=1)
                    + line[:, len(SPANS) :] @ behavior[sample]
                    + offset[columns]
                )
        return RulePrediction(rates, None, mean_remark(mask.target & (last < 0)))


def _recent_means(inputs: VisibleInput, newest: int) -> np.ndarray:
    """Return means (P, f) of the visible samples in the spans that end at `newest`."""
    means = []
    for span in SPANS:
        rows = slice(max(newest - span + 1, 0), newest + 1)
        count = np.maximum(inputs.visible[rows].sum(axis=0), 1)
        # In float64, as in the fit; the window may begin with hidden samples.
        means.append(inputs.responses[rows].sum(axis=0, dtype=np.float64) / count)
    return np.stack(means, axis=1)


def _between(horizon: int) -> tuple[int, int, float]:
    """Return the fitted horizons around `horizon`, and its share of the way to the far.

    Beyond the fitted ones, both are the nearest.
    """
    far = int(np.searchsorted(HORIZONS, horizon))
    if far == 0 or far == len(HORIZONS):
        edge = min(far, len(HORIZONS) - 1)
        return edge, edge, 0.0
    near = far - 1
    return near, far, (horizon - HORIZONS[near]) / (HORIZONS[far] - HORIZONS[near])


# -- context ridge: neurons and behaviour from the neurons visible at the same sample -
# The covariances of the whole population are fitted once. For each visible set the ridge
# is solved on request, and its Cholesky factor is cached.
LAGS = (0, -3, 3)
MAX_LAGGED = 1500
"""Larger populations enter at the same sample only: memory grows with the square."""
_N_TEST = 600
"""Neurons on which the penalties are chosen."""
_CACHED_FACTORS = 8


def _lags(n_neurons: int) -> tuple[int, ...]:
    return LAGS if n_neurons <= MAX_LAGGED else LAGS[:1]


def lagged(values: np.ndarray, visible: np.ndarray, lags: tuple[int, ...]) -> np.ndarray:
    """Return responses (60, P) at every lag, (60, lags x P).

    Where the lagged sample is not visible, the sample itself replaces it.
    """
    samples = np.arange(N_SAMPLES)
    parts = []
    # At the borders of the window, the first or last sample is used.
    for lag in lags:
        row = np.clip(samples + lag, 0, N_SAMPLES - 1)
        parts.append(np.where(visible[row], values[row], values))
    return np.concatenate(parts, axis=1)


def _inputs(inputs: VisibleInput, lags: tuple[int, ...]) -> np.ndarray:
    """Return context at its lags, then behaviour if visible: (60, inputs)."""
    context = lagged(inputs.responses, inputs.visible, lags)
    if inputs.behavior is None:
        return context
    return np.concatenate([context, behavior_inputs(inputs.behavior, default_spec())], axis=1)


def _joint(window: Window, neurons: np.ndarray, lags: tuple[int, ...]) -> np.ndarray:
    """Return all inputs of some neurons, then behaviour, of the scored samples.

    Inputs and outputs are columns of one matrix, because every neuron is an input
    under some masks and an output under others.
    """
    values = window.filled_responses[:, neurons]
    behavior = behavior_of(window)
    all_visible = VisibleInput(np.ones(values.shape, bool), values, None, behavior)
    now = behavior[np.arange(N_SAMPLES) * len(behavior) // N_SAMPLES]
    return np.concatenate([_inputs(all_visible, lags), now], axis=1)[SCORED]


class ContextRidge(Rule):
    """Ridge from the visible neurons of the same sample, with behaviour if visible."""

    name = "context-ridge"
    needs = Needs(sees_behavior=True, predicts_behavior=True)
    any_spec = False

    def __init__(self) -> None:
        self._factors = MemoryCache[np.ndarray](_CACHED_FACTORS)

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Compute the covariance of context, behaviour and all neurons; penalties."""
        all_neurons, lags = np.arange(session.n_neurons), _lags(session.n_neurons)
        test = np.unique(np.linspace(0, session.n_neurons - 1, _N_TEST).astype(np.int64))
        sums: Sums | None = None
        folds: list[Sums] = []
        # A large population costs more per window, and needs fewer of them.
        most = 1800 if len(lags) > 1 else 600
        for fold, window in training_windows(session, stride=30, most=most, spec=spec):
            joint = _joint(window, all_neurons, lags)
            part = _joint(window, test, lags)
            if sums is None:
                # Of 10,000 neurons the covariance has 800 MB in float64.
                dtype = np.float64 if len(lags) > 1 else np.float32
                sums = Sums(joint.shape[1], dtype=dtype)
                folds = [Sums(part.shape[1]) for _ in range(2)]
            sums.add(joint)
            if fold != BETWEEN:
                folds[fold].add(part)
        assert sums is not None  # training_windows raises if there is no window
        covariance = sums.covariance()
        return {
            "mean": mean_rates(session, spec),
            "joint_mean": covariance.mean_x,
            "joint": covariance.xx.astype(np.float32),
            "penalties": _penalties(folds, len(test), len(lags)),
        }

    def refusal(self, mask: Mask) -> str:
        """Refuse masks without a target at a sample with visible neurons."""
        with_context = (mask.cells == VISIBLE).any(axis=1)
        if mask.has_behavior_target and with_context.any():
            return ""
        if (mask.target.any(axis=1) & with_context).any():
            return ""
        return "needs neurons that are visible at the samples of the targets."

    def predict(self, fit: Fit, inputs: VisibleInput, mask: Mask) -> RulePrediction:
        """Predict sample by sample from the neurons that are visible there."""
        n_neurons, lags = mask.n_neurons, _lags(mask.n_neurons)
        values, decodes = _inputs(inputs, lags), mask.has_behavior_target
        any_visible = np.asarray(inputs.visible.any(axis=1))
        used = np.flatnonzero((mask.target.any(axis=1) | decodes) & any_visible)
        joint = np.tile(fit["joint_mean"], (N_SAMPLES, 1))
        # Samples with the same visible neurons share one solution.
        patterns, which = np.unique(inputs.visible[used], axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            rows = used[which.reshape(-1) == number]
            context = np.flatnonzero(np.tile(pattern, len(lags)))
            behavior = np.arange(len(lags) * n_neurons, values.shape[1])
            columns = np.concatenate([context, behavior])
            penalty = float(fit["penalties"][1 if len(behavior) else 0])
            joint[rows] += self._deviation(fit, values[rows], columns, penalty)
        without_input = mask.target & ~any_visible[:, None]
        return RulePrediction(
            np.where(without_input, fit["mean"], joint[:, :n_neurons]),
            _decoded(joint, n_neurons, len(lags)) if decodes else None,
            mean_remark(without_input),
        )

    def _deviation(
        self, fit: Fit, inputs: np.ndarray, columns: np.ndarray, penalty: float
    ) -> np.ndarray:
        """Return the expected deviation from the joint mean, (rows, joint)."""
        # The mean stands for the session: comparing the covariance would cost more.
        key = fit["joint_mean"].tobytes(), columns.tobytes(), penalty
        block = np.ix_(columns, columns)
        lower = self._factors.get(
            key, lambda: factor(fit["joint"][block].astype(np.float64), penalty)
        )
        centred = inputs[:, columns] - fit["joint_mean"][columns]
        # Solved for the data and not for the weights (the dual problem): there are as
        # many right-hand sides as samples, and not as outputs.
        dual = np.zeros((len(inputs), len(fit["joint_mean"])), np.float32)
        dual[:, columns] = solve_factored(lower, centred.T).T
        return np.asarray(dual @ fit["joint"])


def _penalties(folds: list[Sums], n_neurons: int, n_lags: int) -> np.ndarray:
    """Return penalties without and with behaviour, for half of the neurons visible."""
    # A fixed seed: the same session must have the same fit on every machine.
    half = np.random.default_rng(1).random(n_neurons) < 0.5
    # Too little data to choose: the middle of the candidates.
    if not folds[0].count or not folds[1].count or half.all() or not half.any():
        return np.array([1.0, 1.0])
    context = np.flatnonzero(np.tile(half, n_lags))
    channels = _n_channels(folds[0].n_inputs, n_neurons, n_lags)
    behavior = n_lags * n_neurons + np.arange(len(LAGS_S) * channels)
    joint = [fold.covariance() for fold in folds]
    best_penalties = []
    for inputs in (context, np.concatenate([context, behavior])):
        train, held_out = (_regression(j, inputs, np.flatnonzero(~half)) for j in joint)
        best_penalties.append(choose_penalty(train, held_out))
    return np.array(best_penalties)


def _n_channels(n_joint: int, n_neurons: int, n_lags: int) -> int:
    """Return the number of behaviour channels in a joint matrix."""
    # Behaviour is there at each of its lags, as input, and once more as output.
    return (n_joint - n_lags * n_neurons) // (len(LAGS_S) + 1)


def _regression(joint: Covariance, inputs: np.ndarray, outputs: np.ndarray) -> Covariance:
    """Return the covariance of some columns of the joint matrix with others."""
    return Covariance(
        joint.mean_x[inputs],
        joint.mean_x[outputs],
        joint.xx[np.ix_(inputs, inputs)],
        joint.xx[np.ix_(inputs, outputs)],
        np.diagonal(joint.xx)[outputs],
    )


def _decoded(joint: np.ndarray, n_neurons: int, n_lags: int) -> np.ndarray | None:
    """Return behaviour (40, C) from the joint prediction at 30 Hz, if it has any."""
    channels = _n_channels(joint.shape[1], n_neurons, n_lags)
    if not channels:
        return None
    n_behavior = default_spec().n_behavior
    samples = np.arange(n_behavior) * N_SAMPLES // n_behavior
    return joint[samples, -channels:].astype(np.float32)


# -- baseline `video-ridge`: ridge regression of responses on motion energy and behaviour
class VideoRidge(Rule):
    """Ridge from motion energy, behaviour, or both, whichever are visible."""

    name = "video-ridge"
    needs = Needs(sees_responses=False, sees_video=True, sees_behavior=True)
    any_spec = False

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Fit weights from video, from behaviour, and from both."""
        folds: list[Sums] = []
        for fold, window in training_windows(session, stride=30, most=1800, spec=spec):
            features = motion_energy(without_missing(window.video), SCREEN_RATE_HZ)
            behavior = behavior_inputs(behavior_of(window), spec)
            inputs = np.concatenate([features, behavior], axis=1)
            if not folds:
                folds = [Sums(inputs.shape[1], session.n_neurons) for _ in range(3)]
            folds[fold].add(inputs[SCORED], window.filled_responses[SCORED])
        train, held_out = (folds[k].covariance() for k in (FITTED, HELD_OUT))
        # The penalty is chosen on a split; the weights then use every window.
        for fold in (HELD_OUT, BETWEEN):
            folds[FITTED].absorb(folds[fold])
        covariance = folds[FITTED].covariance()
        everything = np.arange(folds[0].n_inputs)
        fit: Fit = {"mean": covariance.mean_y}
        for key, columns in {
            "video": everything[:N_FEATURES],
            "behavior": everything[N_FEATURES:],
            "both": everything,
        }.items():
            # A session without behaviour has no inputs of this kind.
            if len(columns):
                penalty = choose_penalty(train.part(columns), held_out.part(columns))
                part = covariance.part(columns)
                weight = weights(part, penalty)
                fit[f"{key}_weight"] = weight.astype(np.float32)
                fit[f"{key}_intercept"] = part.mean_y - part.mean_x @ weight
                fit[f"{key}_penalty"] = np.array(penalty)
        return fit

    def refusal(self, mask: Mask) -> str:
        """Refuse masks that show neither video nor behaviour."""
        if not mask.frames.any() and not mask.has_visible_behavior:
            return "needs visible video frames or visible behaviour."
        return refuse_behavior(mask)

    def predict(self, fit: Fit, inputs: VisibleInput, mask: Mask) -> RulePrediction:
        """Weigh the features of the visible streams."""
        features = {}
        if inputs.video is not None:
            features["video"] = motion_energy(inputs.video, SCREEN_RATE_HZ)
        if inputs.behavior is not None:
            features["behavior"] = behavior_inputs(inputs.behavior, default_spec())
        if not features:
            rates = np.broadcast_to(fit["mean"], mask.cells.shape)
            return RulePrediction(rates, None, "mean rate: the session has no behaviour")
        # Weights fitted to both streams are wrong if one is missing, so each
        # combination has its own fit.
        key = "both" if len(features) == 2 else next(iter(features))
        weight, intercept = fit[f"{key}_weight"], fit[f"{key}_intercept"]
        joined = np.concatenate(list(features.values()), axis=1)
        return RulePrediction(joined @ weight + intercept)


RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (*(TrainMean, LastSample, Interpolation), *(HistoryRidge, ContextRidge, VideoRidge))
}


def naive_predictor(name: str, spec: WindowSpec | None = None) -> "NaivePredictor":
    """Return one of the naive predictors, by the names of `RULES`.

    Parameters
    ----------
    name
        A key of `RULES`.
    spec
        Rates and sizes of its windows. The ridges read windows of OmniMouse only.

    Raises
    ------
    UnsupportedRequestError
        The rule cannot read windows of this spec.

    Examples
    --------
    >>> from omnimouse_model.families.classical.predictor import naive_predictor
    >>> spec = om.WindowSpec(duration_s=2.0, response_rate_hz=10.0)
    >>> predictor = naive_predictor("mean", spec)
    >>> mask = om.Mask.nothing(session, spec).ask([0, 1])
    >>> predictor.predict(session.window(20.0, spec), mask).responses.shape
    (20, 2)
    """
    spec, rule = spec or default_spec(), RULES[name]
    if spec != default_spec() and not rule.any_spec:
        general = and_text([n for n, other in RULES.items() if other.any_spec])
        raise UnsupportedRequestError(
            f"{name!r} reads windows of OmniMouse only; {general} read any."
        )
    return NaivePredictor(rule(), spec)


@dataclass(slots=True)
class NaivePredictor(Predictor):
    """A rule as a `Predictor`: fits on `prepare`, refuses what the rule cannot do."""

    rule: Rule
    spec: WindowSpec
    _fits: dict[str, Fit] = field(default_factory=dict, repr=False)
    # Views may prepare a session while the live engine does.
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def predictor_id(self) -> str:
        """The rule's name, with its spec if it is another than OmniMouse's."""
        return name_with_spec(self.rule.name, self.spec)

    @property
    def needs(self) -> Needs:
        """What the rule can see and predict."""
        return replace(self.rule.needs, spec=self.spec)

    def prepare(self, session: Session) -> None:
        """Fit to the session's train tier, or read an earlier fit."""
        self._fit_of(session)

    def _fit_of(self, session: Session) -> Fit:
        key = session.fingerprint  # two exports may share an id
        with self._lock:
            if key not in self._fits:
                name, version = self.rule.name, self.rule.needs.fits or VERSION
                self._fits[key] = load_or_fit(session, name, self.spec, self.rule.fit, version)
            return self._fits[key]

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Predict the whole window; `decode` only selects neurons."""
        # Rules are cheap, and all neurons cost hardly more than some of them.
        stop_if(cancelled)
        needs = self.needs
        check_request(self.rule.name, needs, window, mask)
        reason = _refusal(mask) or self.rule.refusal(mask)
        if reason:
            raise UnsupportedRequestError(f"{self.rule.name!r} {reason}")
        fit = self._fit_of(window.session)
        inputs = VisibleInput.from_window(
            window, mask, responses=needs.sees_responses, video=needs.sees_video
        )
        prediction = self.rule.predict(fit, inputs, mask)
        # A rate is not negative, unless the recording has negative responses (dF/F).
        lowest = 0.0 if fit[LOWEST] >= 0 else -np.inf
        rates = np.maximum(prediction.responses, lowest)
        # Target cells are found once, and not for each part that is decoded.
        return Encoded(window, mask, (replace(prediction, responses=rates), scored_cells(mask)))

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        """Return the target cells of `neurons`, by default of all with targets."""
        stop_if(cancelled)
        window, mask = encoded.window, encoded.mask
        prediction, cells = encoded.state
        if neurons is None:
            neurons = np.flatnonzero(cells.any(axis=0))
        neurons = np.asarray(neurons, np.int64)
        rates, counts = prediction.responses[:, neurons], self.spec.responses == "count"
        if counts:
            # From counts per bin.
            rates = rates * self.spec.response_rate_hz
        return Prediction(
            responses=np.where(cells[:, neurons], rates, np.nan).astype(np.float32),
            neurons=neurons,
            behavior=prediction.behavior if mask.has_behavior_target else None,
            mask_id=mask.mask_id,
            predictor_id=self.predictor_id,
            status=prediction.status,
            scale=None if counts else window.session.response_scale[neurons],
            units="spikes/s" if counts else "normalised",
            times_s=window.sample_times_s,
        )

    def __reduce__(self) -> tuple[object, ...]:
        # A lock cannot be pickled.
        return NaivePredictor, (self.rule, self.spec, self._fits)


def _refusal(mask: Mask) -> str:
    """Return why no rule can serve a mask, "" if one may."""
    if isinstance(mask.behavior, tuple):
        return "reads all channels of behaviour together: choose one mode for all."
    has_targets = mask.target.any() or mask.has_behavior_target
    return "" if has_targets else "has nothing to predict: the mask has no target."
