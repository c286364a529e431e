"""What every predictor is: the transformer, the baselines, a worker, a remote one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.masks import Mask

UNITS = ("normalised", "session", "spikes/s")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a predictor can see and predict, and which sessions it knows.

    `sessions` is None for a predictor that serves any session.
    """

    sees_responses: bool = True
    sees_video: bool = False
    sees_behavior: bool = False
    predicts_behavior: bool = False
    behavior_channels: int | None = None
    withholds_video: bool = True
    """False for checkpoints whose hidden frames can still inform a prediction."""
    spec: WindowSpec = OMNIMOUSE
    """Duration, rates and sizes of the windows that it reads."""
    sessions: frozenset[str] | None = None
    n_neurons: Mapping[str, int] = field(default_factory=dict, hash=False)
    """How many neurons it knows of each of those sessions."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What does not depend on which targets are asked; `state` is the predictor's."""

    window: Window
    mask: Mask
    state: Any


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted rates of one window, and the request that they answer.

    Attributes
    ----------
    responses
        float32 (n_samples, n) in `units`; NaN where no prediction was requested.
    neurons
        int64 (n,): the session's neuron indices of the columns.
    behavior
        float32 (n_behavior, C) z-scored, or None if it was not requested.
    mask_id, predictor_id
        The mask and the predictor, each with a hash of its content.
    status
        "ok", or a remark for the user, for example on a fallback.
    scale
        float64 (n,): session units per normalised unit; None if unknown.
    units
        "normalised" (responses / max(std, 1)), "session", or "spikes/s".
    times_s
        float64 (n_samples,): times of the samples on the session clock; None if the
        predictor does not give them.
    valid
        bool (n_samples,): False for samples that the predictor could not compute,
        for example without recorded input; None if all are valid.

    Examples
    --------
    >>> predictor = om.load_predictor("last", [session])
    >>> mask = om.mask_from_strategy("causal_response_25_behavior", session)
    >>> prediction = predictor.predict(session.window(20.0), mask)
    >>> prediction.responses.shape, prediction.status
    ((60, 40), 'ok')
    >>> prediction.to_session_units().dtype
    dtype('float32')
    """

    responses: np.ndarray
    neurons: np.ndarray
    behavior: np.ndarray | None
    mask_id: str
    predictor_id: str
    status: str = "ok"
    scale: np.ndarray | None = field(default=None, repr=False)
    units: str = "normalised"
    times_s: np.ndarray | None = field(default=None, repr=False)
    valid: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.units not in UNITS:
            raise ValueError(f"units is {self.units!r}, not {' or '.join(UNITS)}.")

    def to_session_units(self) -> np.ndarray:
        """Return responses (n_samples, n) in the units of the recording.

        Spike counts are recorded without a unit of their own: rates stay in spikes/s.

        Raises
        ------
        ValueError
            The prediction is normalised, and its scale is unknown.
        """
        if self.units != "normalised":
            return self.responses
        if self.scale is None:
            raise ValueError(
                f"{self.predictor_id} gave rates without the recording's scale; use "
                ".responses, in units of the model's normalised responses."
            )
        return np.asarray(self.responses * self.scale, np.float32)

    def with_notice(self, words: str) -> "Prediction":
        """The same, with something more that the user should know."""
        told = words if self.status == "ok" else f"{self.status}; {words}"
        return replace(self, status=told)


Request = tuple[Window, Mask, np.ndarray | None]
"""Window, mask, and the neurons to predict; None for all with target cells."""


def recorded_as(window: Window, units: str) -> np.ndarray:
    """Return the recorded responses in the units of a prediction.

    Parameters
    ----------
    window
        Its responses are normalised, or counts per bin where its spec counts.
    units
        `Prediction.units`.
    """
    if window.spec.responses == "count":
        if units != "spikes/s":
            raise ValueError(f"Counts are compared with spikes/s, not with {units}.")
        return np.asarray(window.responses * np.float32(window.spec.response_rate_hz))
    if units == "session":
        return np.asarray(window.responses * window.session.response_scale)
    return window.responses


def in_window_units(prediction: Prediction, window: Window) -> np.ndarray:
    """Return predicted responses in the units of `window.responses`.

    Spikes/s become counts per bin, and session units are divided by the scale.
    """
    if prediction.units == "spikes/s":
        return np.asarray(prediction.responses / window.spec.response_rate_hz)
    if prediction.units == "session":
        scale = window.session.response_scale[prediction.neurons]
        return np.asarray(prediction.responses / scale)
    return prediction.responses


def require_spec(name: str, own: WindowSpec, window: Window, mask: Mask) -> None:
    """Refuse a window or a mask of another spec than a predictor reads.

    Raises
    ------
    UnsupportedRequestError
        Names both specs and the way to map a window and a mask.
    """
    for what, spec in (("window", window.spec), ("mask", mask.spec)):
        if spec is not own and not is_served(own, spec):
            raise UnsupportedRequestError(
                f"{name!r} reads {_in_words(own)}; this {what} has "
                f"{_in_words(spec)}. Map it with .at(predictor.needs.spec)."
            )


def is_served(own: WindowSpec, spec: WindowSpec) -> bool:
    """Return whether a predictor of one spec can read a window of another.

    The place of a window matters to the session, not to a predictor: alignment to
    trials is ignored.
    """
    one, other = (replace(s, align="grid", trial_offset_s=0.0) for s in (own, spec))
    return one == other


def _in_words(spec: WindowSpec) -> str:
    kind = "counts" if spec.responses == "count" else "samples"
    words = [f"{spec.n_samples} {kind} at {spec.response_rate_hz:g} Hz"]
    if spec.video is not None:
        size = f"{spec.video.height} x {spec.video.width}"
        words.append(f"{spec.n_frames} frames of {size}")
    if spec.warmup_s:
        words.append(f"{spec.warmup_s:g} s of warm-up")
    return ", ".join(words)


@runtime_checkable
class Predictor(Protocol):
    """Anything that maps (window, mask) to predictions.

    Examples
    --------
    >>> predictor = om.load_predictor("last")
    >>> isinstance(predictor, om.Predictor), predictor.predictor_id
    (True, 'last')
    >>> predictor.needs.sees_video
    False
    """

    @property
    def predictor_id(self) -> str:
        """Name and weights hash."""
        ...

    @property
    def needs(self) -> Needs:
        """What it can see and predict."""
        ...

    def prepare(self, session: Session) -> None:
        """Bring a session's data to where the predictor computes."""
        ...

    def encode(self, window: Window, mask: Mask) -> Encoded:
        """Everything that does not depend on which targets are asked."""
        ...

    def decode(self, encoded: Encoded, neurons: np.ndarray | None = None) -> Prediction:
        """Predict the asked cells of `neurons` (all asked ones by default)."""
        ...

    def predict(
        self, window: Window, mask: Mask, neurons: np.ndarray | None = None
    ) -> Prediction:
        """`decode(encode(window, mask), neurons)`."""
        ...

    def predict_many(
        self,
        requests: Iterable[Request],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Prediction]:
        """Answer requests in order until done or cancelled."""
        ...
