"""What every predictor is: the transformer, the baselines, a worker, a remote one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.masks import Mask


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
    """Predicted rates, and what they were asked under.

    Attributes
    ----------
    responses
        float32 (60, n), in units of the model's normalised responses; NaN where
        nothing was asked.
    neurons
        int64 (n,): the session's neuron indices of the columns.
    behavior
        float32 (40, C) z-scored, or None when not asked.
    status
        "ok", or what the user should know about how this came about.

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
    """float64 (n,): session units per normalised unit."""

    def to_session_units(self) -> np.ndarray:
        """Return responses (60, n) in the units of the recording.

        Raises
        ------
        ValueError
            The predictor did not say which units those are.
        """
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
