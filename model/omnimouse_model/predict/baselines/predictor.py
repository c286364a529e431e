"""Naive predictors: what every score is to be compared with.

Each is a rule fitted in closed form to the train tier of a session.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.baselines.autoregressive import HistoryRidge
from omnimouse_model.predict.baselines.fit_cache import Fit, load_or_fit
from omnimouse_model.predict.baselines.population_ridge import ContextRidge
from omnimouse_model.predict.baselines.rules import (
    LastSample,
    Rule,
    RulePrediction,
    TrainMean,
)
from omnimouse_model.predict.baselines.video_ridge import VideoRidge
from omnimouse_model.predict.baselines.visible_input import VisibleInput
from omnimouse_model.predict.predictor import (
    Encoded,
    Needs,
    Prediction,
    Request,
    require_spec,
)

RULES: dict[str, Callable[[], Rule]] = {
    "mean": TrainMean,
    "last": LastSample,
    "ridge": HistoryRidge,
    "context-ridge": ContextRidge,
    "video-ridge": VideoRidge,
}


def naive_predictor(name: str, spec: WindowSpec = OMNIMOUSE) -> "NaivePredictor":
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
    >>> from omnimouse_model.predict.baselines.predictor import naive_predictor
    >>> spec = om.WindowSpec(duration_s=2.0, response_rate_hz=10.0)
    >>> predictor = naive_predictor("mean", spec)
    >>> mask = om.Mask.nothing(session, spec).ask([0, 1])
    >>> predictor.predict(session.window(20.0, spec), mask).responses.shape
    (20, 2)
    """
    rule = RULES[name]()
    if spec != OMNIMOUSE and not rule.any_spec:
        general = " and ".join(n for n, made in RULES.items() if made().any_spec)
        raise UnsupportedRequestError(
            f"{name!r} reads windows of OmniMouse only; {general} read any."
        )
    return NaivePredictor(rule, spec)


@dataclass(slots=True)
class NaivePredictor:
    """A rule as a `Predictor`: fits on `prepare`, refuses what the rule cannot do."""

    rule: Rule
    spec: WindowSpec = OMNIMOUSE
    _fits: dict[str, Fit] = field(default_factory=dict, repr=False)
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
        """Fit to the session's train tier, or read the fit made before."""
        self._fit_of(session)

    def _fit_of(self, session: Session) -> Fit:
        key = session.fingerprint  # two exports may share an id
        with self._lock:
            if key not in self._fits:
                self._fits[key] = load_or_fit(
                    session,
                    self.rule.name,
                    self.spec,
                    lambda found: self.rule.fit(found, self.spec),
                )
            return self._fits[key]

    def encode(self, window: Window, mask: Mask) -> Encoded:
        """Predict the whole window: naive rules are cheap enough."""
        require_spec(self.rule.name, self.spec, window, mask)
        reason = _empty(mask) or self.rule.refusal(mask)
        if reason:
            raise UnsupportedRequestError(f"{self.rule.name!r} {reason}")
        fit = self._fit_of(window.session)
        needs = self.rule.needs
        seen = VisibleInput.through(
            window, mask, responses=needs.sees_responses, video=needs.sees_video
        )
        answer = self.rule.answer(fit, seen, mask)
        return Encoded(window, mask, (answer, scored_cells(mask)))

    def decode(self, encoded: Encoded, neurons: np.ndarray | None = None) -> Prediction:
        """Cut the asked cells of `neurons` (all asked ones by default) out."""
        answer: RulePrediction = encoded.state[0]
        cells: np.ndarray = encoded.state[1]
        if neurons is None:
            neurons = np.flatnonzero(cells.any(axis=0))
        neurons = np.asarray(neurons, np.int64)
        rates = np.maximum(answer.responses[:, neurons], 0.0)
        window, counts = encoded.window, self.spec.responses == "count"
        if counts:
            rates = rates * self.spec.response_rate_hz
        asked = encoded.mask.has_behavior_target
        return Prediction(
            responses=np.where(cells[:, neurons], rates, np.nan).astype(np.float32),
            neurons=neurons,
            behavior=answer.behavior if asked else None,
            mask_id=encoded.mask.mask_id,
            predictor_id=self.predictor_id,
            status=answer.status,
            scale=None if counts else window.session.response_scale[neurons],
            units="spikes/s" if counts else "normalised",
            times_s=window.sample_times_s,
        )

    def predict(
        self, window: Window, mask: Mask, neurons: np.ndarray | None = None
    ) -> Prediction:
        """`decode(encode(window, mask), neurons)`."""
        return self.decode(self.encode(window, mask), neurons)

    def predict_many(
        self,
        requests: Iterable[Request],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Prediction]:
        """Answer requests in order until done or cancelled."""
        for window, mask, neurons in requests:
            if cancelled():
                return
            yield self.predict(window, mask, neurons)

    def __getstate__(self) -> dict[str, object]:
        return {"rule": self.rule, "spec": self.spec, "_fits": self._fits}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._lock = threading.Lock()


def _empty(mask: Mask) -> str:
    if isinstance(mask.behavior, tuple):
        return "reads all channels of behaviour together: choose one mode for all."
    asks = mask.target.any() or mask.has_behavior_target
    return "" if asks else "was asked for nothing: the mask has no target."
