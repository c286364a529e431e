"""The Sensorium-2023 baseline as a predictor of recorded windows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.families.parts.video_clips import (
    GrayLevels,
    Inputs,
    core_spec,
    read_window,
)
from omnimouse_model.families.sensorium_factorised.network import (
    FactorisedConfig,
    FactorisedNetwork,
)
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.predictor import (
    NOT_DECODED,
    Encoded,
    Needs,
    Prediction,
    Predictor,
    Request,
    check_known,
    check_request,
    check_responses_asked,
)
from omnimouse_model.predict.request_batches import predict_in_batches
from omnimouse_model.progress import Cancelled, never, stop_if

NOT_READ = "visible responses are not read"
_BATCH = 4
"""Windows predicted at once."""


def factorised_spec(config: FactorisedConfig) -> WindowSpec:
    """Return the spec of windows; video alone needs no behaviour."""
    reads_behavior = config.core.channels > 1 or config.shifter is not None
    return core_spec(config.core, reads_behavior=reads_behavior)


@dataclass(slots=True, eq=False, repr=False)
class FactorisedPredictor(Predictor):
    """Rates from video, gaze and behaviour; never from recorded responses.

    Parameters
    ----------
    name, weights
        Name, and hash of the weights.
    network
        The network of all sessions, in evaluation mode.
    gray
        How frames are normalised.
    device
        Where it computes.
    """

    name: str
    weights: str
    network: FactorisedNetwork
    gray: GrayLevels
    device: torch.device

    @property
    def predictor_id(self) -> str:
        """Name and hash of the weights."""
        return f"{self.name} ({self.weights})"

    @property
    def needs(self) -> Needs:
        """What it can see and predict, and which sessions it knows."""
        spec = factorised_spec(self.network.config)
        return Needs(
            sees_responses=False,
            sees_video=True,
            sees_behavior=spec.behavior is not None,
            spec=spec,
            sessions=frozenset(self.network.n_neurons),
            n_neurons=self.network.n_neurons,
        )

    def prepare(self, session: Session) -> None:
        """Check that the session is known and has video.

        Raises
        ------
        UnsupportedRequestError
            The session is unknown, has another number of neurons, or has no video.
        """
        solution = "A new recording needs a training: omnimouse train --sessions."
        check_known(self.name, self.network.n_neurons, session, solution)
        if session.stimulus is None:
            raise UnsupportedRequestError(
                f"{self.name!r} needs video, which session {session.id} lacks."
            )
        self.network.to(self.device)

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Compute the core's maps of a window and its warm-up."""
        self._check((window, mask, None))
        stop_if(cancelled)
        return self._encoded([(window, mask)])[0]

    @torch.inference_mode()
    def decode(
        self,
        encoded: Encoded,
        neurons: np.ndarray | None = None,
        cancelled: Cancelled = never,
    ) -> Prediction:
        """Read the rates of neurons from the maps."""
        stop_if(cancelled)
        window, mask, cells = encoded.window, encoded.mask, scored_cells(encoded.mask)
        maps, pupil, valid = encoded.state
        if neurons is None:
            neurons = np.flatnonzero(cells.any(axis=0))
        neurons = np.asarray(neurons, np.int64)
        chosen = torch.as_tensor(neurons, device=self.device)
        rates = self.network.rates(maps, window.session.id, pupil, neurons=chosen)[0]
        asked = cells[:, neurons] & valid[:, None]
        found = Prediction(
            responses=np.where(asked, rates.cpu().numpy(), np.float32(np.nan)),
            neurons=neurons,
            behavior=None,
            mask_id=mask.mask_id,
            predictor_id=self.predictor_id,
            scale=window.session.response_scale[neurons],
            times_s=window.sample_times_s,
            valid=valid,
        )
        for is_so, remark in (
            (mask.has_behavior_target, NOT_DECODED),
            (bool(mask.visible.any()), NOT_READ),
        ):
            found = found.with_remark(remark) if is_so else found
        return found

    def predict_many(
        self, requests: Iterable[Request], cancelled: Cancelled = never
    ) -> Iterator[Prediction]:
        """Yield the predictions of requests in order, several windows at once."""

        def predict(batch: list[Request], cancelled: Cancelled) -> Iterator[Prediction]:
            encoded = self._encoded([(window, mask) for window, mask, _ in batch])
            for one, (_, _, neurons) in zip(encoded, batch, strict=True):
                yield self.decode(one, neurons, cancelled)

        yield from predict_in_batches(requests, _BATCH, self._check, predict, cancelled)

    # -- parts ------------------------------------------------------------------------
    def _check(self, request: Request) -> None:
        window, mask, _ = request
        check_request(self.predictor_id, self.needs, window, mask)
        check_responses_asked(self.name, mask)
        self.prepare(window.session)

    @torch.inference_mode()
    def _encoded(self, requests: Sequence[tuple[Window, Mask]]) -> list[Encoded]:
        """Return the maps, gaze and valid samples of windows of one session."""
        read = [read_window(window, mask, self.gray) for window, mask in requests]
        frames, behavior, valid = zip(*read, strict=True)
        has_behavior = behavior[0] is not None
        inputs = Inputs.of(
            np.stack(frames),
            np.stack([x for x in behavior if x is not None]) if has_behavior else None,
            self.network.config.core.channels,
        ).to(self.device)
        maps = self.network.core(inputs.video)
        return [
            Encoded(
                *requests[n],
                (maps[n : n + 1], None if inputs.pupil is None else inputs.pupil[n : n + 1], ok),
            )
            for n, ok in enumerate(valid)
        ]
