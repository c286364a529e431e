"""Predictions of a window that slides forward, computed for the new frames alone.

A predictor with a recurrent state keeps it from window to window. Its streamed
predictions are displayed only: their state reaches further back than the warm-up of a
window, which changes them a little (docs/twin.md). Scores use the prediction of the
window, which follows.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from omnimouse_model.data.window import Window
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.capabilities import Streaming, take_neurons
from omnimouse_model.predict.predictor import Prediction, Predictor

_ON_SAMPLES = 1e-3
"""Largest distance from a whole number of samples, in samples."""


@dataclass(slots=True)
class Stream:
    """State of a predictor at the end of the window on screen."""

    _predictor: Predictor | None = None
    _window: Window | None = None
    _state: Any = field(default=None, repr=False)
    _prediction: Prediction | None = field(default=None, repr=False)

    def follow(
        self, predictor: Predictor, window: Window, mask: Mask
    ) -> Prediction | None:
        """Return the prediction of a window that overlaps with the previous one.

        It has the target neurons of the mask. None after a jump, for predictors without
        a state, and for masks that hide video or behaviour. The first move after a jump
        runs the warm-up.
        """
        n_new = self._n_new(predictor, window)
        if n_new == 0:  # a stroke or a selection
            return None
        previous, state = self._prediction, self._state
        self._predictor, self._window = predictor, window
        # Also if the predictor stops: a state with half of the frames is lost.
        self._state = self._prediction = None
        if n_new is None or not shows_everything(mask):
            return None
        assert isinstance(predictor, Streaming)
        if state is None or previous is None:
            state = predictor.start(window.session)
            if window.warmup is not None:
                _, state = predictor.step(state, window.warmup)
            found, state = predictor.step(state, window)
        else:
            found, state = predictor.step(state, window.last_samples(n_new))
            responses = np.concatenate([previous.responses[n_new:], found.responses])
            found = replace(found, responses=responses, times_s=window.sample_times_s)
        self._state, self._prediction = state, found
        return _of_targets(found, mask)

    def _n_new(self, predictor: Predictor, window: Window) -> int | None:
        """Return the samples that follow the previous window; None after a jump."""
        previous = self._window
        if (
            "step" not in predictor.needs.methods
            or previous is None
            or predictor is not self._predictor
            or window.session is not previous.session
            or window.spec != previous.spec
            or window.edits
            or previous.edits
        ):
            return None
        moved = (window.native_start - previous.native_start) * (
            window.spec.response_rate_hz
        )
        n_new = round(moved)
        is_on_samples = abs(moved - n_new) < _ON_SAMPLES
        return n_new if is_on_samples and 0 <= n_new < window.spec.n_samples else None


def shows_everything(mask: Mask) -> bool:
    """Whether a mask shows all frames and all behaviour, as `Streaming.step` does."""
    return bool(mask.frames.all()) and set(mask.channel_modes) <= {"visible"}


def _of_targets(prediction: Prediction, mask: Mask) -> Prediction | None:
    cells = scored_cells(mask)
    targets = np.flatnonzero(cells.any(axis=0))
    found = take_neurons(prediction, targets)
    if found is None:
        return None
    responses = np.where(cells[:, targets], found.responses, np.float32(np.nan))
    return replace(found, responses=responses, mask_id=mask.mask_id)
