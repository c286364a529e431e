"""Naive predictors: the baselines with which every score is compared.

Each is a rule that is fitted in closed form to the train tier of a session.
"""

import threading
from dataclasses import dataclass, field, replace

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation.tier_windows import LOWEST, Fit, load_or_fit
from omnimouse_model.families.classical.autoregressive import HistoryRidge
from omnimouse_model.families.classical.population_ridge import ContextRidge, VideoRidge
from omnimouse_model.families.classical.rules import Interpolation, LastSample, Rule, TrainMean
from omnimouse_model.families.parts.visible_input import VisibleInput
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.predictor import (
    Encoded,
    Needs,
    Prediction,
    Predictor,
    check_request,
)
from omnimouse_model.progress import Cancelled, never, stop_if

RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (
        *(TrainMean, LastSample, Interpolation),
        *(HistoryRidge, ContextRidge, VideoRidge),
    )
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
        """The rule's name."""
        return self.rule.name

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
        self,
        encoded: Encoded,
        neurons: np.ndarray | None = None,
        cancelled: Cancelled = never,
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

    def __getstate__(self) -> dict[str, object]:
        # A lock cannot be pickled.
        return {"rule": self.rule, "spec": self.spec, "_fits": self._fits}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._lock = threading.Lock()


def _refusal(mask: Mask) -> str:
    """Return why no rule can serve a mask, "" if one may."""
    if isinstance(mask.behavior, tuple):
        return "reads all channels of behaviour together: choose one mode for all."
    has_targets = mask.target.any() or mask.has_behavior_target
    return "" if has_targets else "has nothing to predict: the mask has no target."
