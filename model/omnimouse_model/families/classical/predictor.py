"""Naive predictors, with which every score is compared, and the ridges on the population.

Each is a rule that is fitted in closed form to the train tier of a session.
"""

import threading
from dataclasses import dataclass, field, replace

import numpy as np

from omnimouse_model.data.session import Session, Window, without_missing
from omnimouse_model.data.window_spec import N_SAMPLES, SCREEN_RATE_HZ, WindowSpec, default_spec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation.stored_fits import LOWEST, Fit, load_or_fit, name_with_spec
from omnimouse_model.evaluation.tier_windows import (
    BETWEEN,
    FITTED,
    HELD_OUT,
    mean_rates,
    training_windows,
)
from omnimouse_model.families.classical.rules import (
    BEHAVIOR_LAGS,
    N_BEHAVIOR,
    SCORED,
    HistoryRidge,
    Interpolation,
    LastSample,
    Rule,
    RulePrediction,
    TrainMean,
    VisibleInput,
    behavior_inputs,
    behavior_of,
    behavior_rows,
    mean_remark,
    refuse_behavior,
)
from omnimouse_model.families.parts.motion_energy import N_FEATURES, motion_energy
from omnimouse_model.families.parts.ridge import (
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
    return np.concatenate([context, behavior_inputs(inputs.behavior)], axis=1)


def _joint(window: Window, neurons: np.ndarray, lags: tuple[int, ...]) -> np.ndarray:
    """Return all inputs of some neurons, then behaviour, of the scored samples.

    Inputs and outputs are columns of one matrix, because every neuron is an input
    under some masks and an output under others.
    """
    values = window.filled_responses[:, neurons]
    behavior = behavior_of(window)
    all_visible = VisibleInput(np.ones(values.shape, bool), values, None, behavior)
    now = behavior[behavior_rows(len(behavior))]
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
        test = np.linspace(0, session.n_neurons - 1, _N_TEST).astype(np.int64)
        test = np.unique(test)
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
    behavior = n_lags * n_neurons + np.arange(len(BEHAVIOR_LAGS) * channels)
    joint = [fold.covariance() for fold in folds]
    best_penalties = []
    for inputs in (context, np.concatenate([context, behavior])):
        train, held_out = (_regression(j, inputs, np.flatnonzero(~half)) for j in joint)
        best_penalties.append(choose_penalty(train, held_out))
    return np.array(best_penalties)


def _n_channels(n_joint: int, n_neurons: int, n_lags: int) -> int:
    """Return the number of behaviour channels in a joint matrix."""
    # Behaviour is there at each of its lags, as input, and once more as output.
    return (n_joint - n_lags * n_neurons) // (len(BEHAVIOR_LAGS) + 1)


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
    samples = np.arange(N_BEHAVIOR) * N_SAMPLES // N_BEHAVIOR
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
            behavior = behavior_inputs(behavior_of(window))
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
                fit |= _fitted(key, columns, train, held_out, covariance)
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
            features["behavior"] = behavior_inputs(inputs.behavior)
        if not features:
            rates = np.broadcast_to(fit["mean"], mask.cells.shape)
            return RulePrediction(rates, None, "mean rate: the session has no behaviour")
        # Weights fitted to both streams are wrong if one is missing, so each
        # combination has its own fit.
        key = "both" if len(features) == 2 else next(iter(features))
        weight, intercept = fit[f"{key}_weight"], fit[f"{key}_intercept"]
        joined = np.concatenate(list(features.values()), axis=1)
        return RulePrediction(joined @ weight + intercept)


def _fitted(
    key: str, columns: np.ndarray, train: Covariance, held_out: Covariance, covariance: Covariance
) -> Fit:
    """Return weights and intercept of some of the inputs."""
    penalty = choose_penalty(train.part(columns), held_out.part(columns))
    part = covariance.part(columns)
    weight = weights(part, penalty)
    return {
        f"{key}_weight": weight.astype(np.float32),
        f"{key}_intercept": part.mean_y - part.mean_x @ weight,
        f"{key}_penalty": np.array(penalty),
    }


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
        general = " and ".join(n for n, other in RULES.items() if other.any_spec)
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
                fit = self.rule.fit
                self._fits[key] = load_or_fit(session, self.rule.name, self.spec, fit)
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
