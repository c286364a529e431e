"""Predictors of responses by a network: checks, kept encodings, batches and remarks.

A family adds what its network computes of windows, and how it reads rates from that.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, ClassVar

import numpy as np
import torch

from omnimouse_model.data.session import Session, Window
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.devices import MemoryCache
from omnimouse_model.predict.predictor import (
    NOT_DECODED,
    NOT_PREDICTED,
    Encoded,
    Prediction,
    Predictor,
    Request,
    check_known,
    check_request,
    check_responses_asked,
)
from omnimouse_model.progress import Cancelled, never, stop_if

MaskedWindow = tuple[Window, Mask]
"""A window, and the mask that says what of it is visible."""
Rates = tuple[np.ndarray, Mapping[str, Any]]
"""Rates of neurons (T, n), and further fields of their `Prediction`."""
NOT_READ = "visible responses are not read"
_KEPT = 8
"""Number of encoded windows in memory: going back to one costs nothing."""


@dataclass(slots=True, weakref_slot=True, eq=False, repr=False)
class NetworkPredictor(Predictor):
    """Rates of responses by a network.

    Parameters
    ----------
    name, weights
        Name, and hash of the weights.
    """

    solution: ClassVar[str] = (
        "Fine-tune it to this recording: omnimouse finetune, or om.finetune(predictor, session, "
        "out)."
    )
    """How the model gets to know a session."""
    name: str
    weights: str
    _encoded: MemoryCache[Any] = field(default_factory=lambda: MemoryCache(_KEPT), init=False)

    @property
    def predictor_id(self) -> str:
        """Name and hash of the weights."""
        return f"{self.name} ({self.weights})"

    # -- of a family -------------------------------------------------------------------
    @abstractmethod
    def _key(self, window: Window, mask: Mask) -> Any:
        """Return what of a window and a mask changes their state."""

    @abstractmethod
    def _states(self, requests: Sequence[MaskedWindow], cancelled: Cancelled) -> Sequence[Any]:
        """Return what the network computes of windows of one session, for all neurons."""

    def _rates(self, state: Any, window: Window, neurons: np.ndarray) -> Rates:
        """Return the rates of neurons (T, n), and the fields of their `Prediction`.

        Rates without fields are in normalised units, and decode no behaviour. Here is what
        a model without responses returns: its state is the decoded behaviour.
        """
        n_samples = window.spec.n_samples
        rates = np.full((n_samples, len(neurons)), np.nan, np.float32)
        fields = {"behavior": state, "valid": np.zeros(n_samples, bool)}
        return rates, fields | ({"status": NOT_PREDICTED} if len(neurons) else {})

    @property
    def at_once(self) -> int:
        """Number of windows, or masks of one window, that `predict_many` computes together."""
        return 8

    # -- the same for all --------------------------------------------------------------
    def prepare(self, session: Session) -> None:
        """Check that the model knows a session, and that it has what the model needs.

        Raises
        ------
        UnsupportedRequestError
            The session is unknown, has another number of neurons, or has no video for a
            model that predicts responses from it.
        """
        needs = self.needs
        check_known(self.name, needs.n_neurons, session, self.solution)
        if needs.sees_video and session.stimulus is None:
            raise UnsupportedRequestError(
                f"{self.name!r} needs video, which session {session.id} lacks."
            )

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Compute what a window gives for all neurons, or take it from an earlier call."""
        self._check((window, mask, None))
        # The parts that change a state: painting others costs nothing.
        key = window.key, self._key(window, mask)
        state = self._encoded.get(key, lambda: self._states([(window, mask)], cancelled)[0])
        return Encoded(window, mask, (state, scored_cells(mask)))

    @torch.inference_mode()
    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        """Read the rates of neurons from what `encode` has computed."""
        stop_if(cancelled)
        window, mask, (state, cells) = encoded.window, encoded.mask, encoded.state
        if neurons is None:
            neurons = np.flatnonzero(cells.any(axis=0))
        # PyTorch takes no array in reverse.
        neurons = np.ascontiguousarray(neurons, np.int64)
        rates, fields = self._rates(state, window, neurons)
        values = np.where(cells[:, neurons], rates, np.float32(np.nan))
        found = self._prediction(window, neurons, values, mask_id=mask.mask_id, **fields)
        needs = self.needs
        is_undecoded = mask.has_behavior_target and not needs.predicts_behavior
        is_unread = bool(mask.visible.any()) and not needs.sees_responses
        for is_so, remark in ((is_undecoded, NOT_DECODED), (is_unread, NOT_READ)):
            found = found.with_remark(remark) if is_so else found
        return found

    def predict_many(
        self, requests: Iterable[Request], cancelled: Cancelled = never
    ) -> Iterator[Prediction]:
        """Yield the predictions of requests in order, several windows at once.

        Small networks spend most of their time between operations, so that several
        windows take little longer than one.
        """

        def key(request: Request) -> tuple[object, ...]:
            # Windows of one recording and spec are computed together.
            window = request[0]
            return window.session.id, window.session.fingerprint, window.spec

        for _, group in groupby(requests, key=key):
            while batch := list(islice(group, self.at_once)):
                stop_if(cancelled)
                # What is before a refused request is predicted first.
                served: list[Request] = []
                refusal = None
                try:
                    for request in batch:
                        self._check(request)
                        served.append(request)
                except UnsupportedRequestError as error:
                    refusal = error
                states = self._states([(w, m) for w, m, _ in served], cancelled) if served else ()
                for state, (window, mask, neurons) in zip(states, served, strict=True):
                    yield self.decode(Encoded(window, mask, (state, scored_cells(mask))), neurons)
                if refusal is not None:
                    raise refusal

    def _check(self, request: Request) -> None:
        window, mask, _ = request
        check_request(self.predictor_id, self.needs, window, mask)
        check_responses_asked(self.name, mask)
        self.prepare(window.session)

    def _prediction(
        self, window: Window, neurons: np.ndarray, rates: np.ndarray, *, mask_id: str, **fields: Any
    ) -> Prediction:
        usual = {"scale": window.session.response_scale[neurons], "behavior": None}
        return Prediction(
            responses=np.asarray(rates, np.float32),
            neurons=neurons,
            mask_id=mask_id,
            predictor_id=self.predictor_id,
            times_s=window.sample_times_s,
            **(usual | fields),
        )
