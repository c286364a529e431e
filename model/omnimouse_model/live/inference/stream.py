"""Requests, and predictions of a window that slides forward from new frames alone.

A predictor with a recurrent state keeps it from window to window. Its streamed
predictions are displayed only: their state reaches further back than the warm-up of a
window, which changes them a little (docs/twin.md). Scores use the prediction of the
window, which follows. Of a window that is moved by less than its length, the predictions
of the shared time stay on screen, as older, until those of the new window replace them:
during playback the traces move and are never empty.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import Edit
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.predictor import Prediction, Predictor, Streaming, of_family, stepped
from omnimouse_model.progress import Cancelled, never


# -- requests to the engine, and the windows that a user is likely to ask for next ----
@dataclass(frozen=True, slots=True)
class LiveRequest:
    """Snapshot of the state that a prediction depends on.

    Attributes
    ----------
    predictor
        Name for `load`, or a predictor.
    sweep
        Whether curves of the context are requested too.
    sweeps_window
        Whether they include a live sweep of the selected neurons in the window: until
        there are curves over a tier.
    step_s
        How far the user steps, signed, in the direction of the latest step.
    edits
        What-if edits, which are predicted too.
    unedited
        Known prediction without the edits; if set, only the what-if is computed.
    maps_to_predictor_spec
        Whether a predictor of another spec predicts the same time span. If false, only
        its needs are returned, so that the window can be changed to its spec.
    metric
        Name of the metric of the scores.
    scores_tier
        Whether the task is scored over a tier while no request arrives; with `sweep`,
        context curves over the tier are computed, too.
    peri_event
        Whether the trials of a tier are predicted for the selected neurons, while no
        request arrives.
    trial_tier
        Tier of these trials; "" is that of the scores.
    """

    session: Session
    window: Window
    mask: Mask
    selection: tuple[int, ...]
    predictor: str | Predictor
    device: str = "auto"
    sweep: bool = False
    sweeps_window: bool = True
    step_s: float | None = None
    edits: tuple[Edit, ...] = ()
    unedited: Prediction | None = None
    maps_to_predictor_spec: bool = False
    metric: str = "correlation"
    scores_tier: bool = True
    peri_event: bool = False
    trial_tier: str = ""

    @property
    def has_sweep(self) -> bool:
        """Whether a live sweep is requested and at least one neuron is selected."""
        return self.sweep and self.sweeps_window and bool(self.selection)


def neighbours(window: Window, step_s: float | None) -> tuple[Window, ...]:
    """Return the next and the previous window; only those inside the recording."""
    if step_s is None:
        step_s = window.spec.duration_s
    windows = (
        window.session.nearest_window(window.start_s + sign * step_s, window.spec, direction=sign)
        for sign in (1, -1)
    )
    return tuple(near for near in windows if near.key != window.key)


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Request to load a predictor before a session is open.

    Starting a worker process takes seconds.
    """

    predictor: str
    device: str = "auto"


# -- predictions of a window that slides forward, computed for the new frames alone ---
logger = logging.getLogger(__name__)

_SLIDES_BEFORE = 2
"""Moves after which a window counts as sliding: a single one would cost a warm-up."""
_ON_SAMPLES = 1e-3
"""Largest distance from a whole number of samples, in samples."""


@dataclass(slots=True)
class Stream:
    """State of a predictor at the end of the window on screen."""

    _predictor: Predictor | None = None
    _window: Window | None = None
    _slides: int = 0
    _state: Any = field(default=None, repr=False)
    _prediction: Prediction | None = field(default=None, repr=False)

    def follow(
        self, predictor: Predictor, window: Window, mask: Mask, cancelled: Cancelled = never
    ) -> Prediction | None:
        """Return the prediction of a window that overlaps with the previous one.

        It has all neurons, NaN outside of the target cells. None after a jump and after
        the first move that follows it, for predictors without a state, and for masks
        that hide video or behaviour. The second move runs the warm-up.
        """
        n_new = self._n_new(predictor, window)
        if n_new == 0:  # a stroke or a selection
            return None
        slides, state, previous = self._slides, self._state, self._prediction
        self._predictor, self._window = predictor, window
        # Also if the predictor stops: a state with half of the frames is lost.
        self._slides, self._state, self._prediction = 0, None, None
        if n_new is None or not shows_everything(mask):
            return None
        self._slides = slides + 1
        if self._slides < _SLIDES_BEFORE:
            return None
        try:
            found: tuple[Prediction, Any] | None = None
            if state is not None and previous is not None:
                # A worker that restarted has lost its state: the warm-up runs again.
                with suppress(UnsupportedRequestError):
                    found = _continued(predictor, window, state, previous, n_new, cancelled)
            prediction, state = found or _begun(predictor, window, cancelled)
        except StoppedError:
            raise
        # Only the display gets faster: the prediction of the window follows, and
        # reports an error that lasts.
        except Exception as error:
            logger.warning("A streamed prediction failed: %s", error)
            self._slides = 0
            return None
        self._state, self._prediction = state, prediction
        values = np.where(scored_cells(mask), prediction.responses, np.float32(np.nan))
        return replace(prediction, responses=values, mask_id=mask.mask_id, behavior=None)

    def _n_new(self, predictor: Predictor, window: Window) -> int | None:
        """Return the samples that follow the previous window; None after a jump."""
        previous = self._window
        if (
            "step" not in predictor.needs.methods
            or previous is None
            or predictor is not self._predictor
            or window.edits
            or previous.edits
        ):
            return None
        # Whole samples of every signal, because each continues where it ended.
        n_new = samples_between(previous, window)
        return None if n_new is None or n_new < 0 else n_new


def shows_everything(mask: Mask) -> bool:
    """Whether a mask shows all frames and all behaviour, as `Streaming.step` does."""
    return bool(mask.frames.all()) and set(mask.channel_modes) <= {"visible"}


def _begun(predictor: Predictor, window: Window, cancelled: Cancelled) -> tuple[Prediction, Any]:
    """Return the prediction of a window after its warm-up, and the state after it."""
    assert isinstance(predictor, Streaming)
    with of_family(predictor.predictor_id, cancelled):
        state = predictor.start(window.session, cancelled)
    if window.warmup is not None:
        _, state = stepped(predictor, state, window.warmup, cancelled)
    return stepped(predictor, state, window, cancelled)


def _continued(
    predictor: Predictor,
    window: Window,
    state: Any,
    previous: Prediction,
    n_new: int,
    cancelled: Cancelled,
) -> tuple[Prediction, Any]:
    """Return the prediction of a window of which the last samples are new."""
    new, state = stepped(predictor, state, window.last_samples(n_new), cancelled)

    def joined(before: np.ndarray, after: np.ndarray, axis: int = 0) -> np.ndarray:
        kept = before[(slice(None),) * axis + (slice(n_new, None),)]
        return np.concatenate([kept, after], axis)

    band = None
    if previous.band is not None and new.band is not None:
        band = joined(previous.band, new.band, 1)
    found = replace(
        new,
        responses=joined(previous.responses, new.responses),
        valid=joined(previous.valid, new.valid),
        band=band,
        times_s=window.sample_times_s,
        behavior=None,
    )
    return found, state


def samples_between(before: Window, after: Window) -> int | None:
    """Return by how many response samples a window moved, negative if backwards.

    None if the windows share no sample, or if the samples of one lie between those of
    the other, in any of their signals.
    """
    if after.session is not before.session or after.spec != before.spec:
        return None
    spec = after.spec
    moved_s = after.native_start - before.native_start
    rates = [spec.response_rate_hz]
    rates += [part.rate_hz for part in (spec.video, spec.behavior) if part]
    if any(abs(moved_s * r - round(moved_s * r)) > _ON_SAMPLES for r in rates):
        return None
    n = round(moved_s * spec.response_rate_hz)
    return n if abs(n) < spec.n_samples else None


def moved_prediction(
    prediction: Prediction, before: Window, after: Window, mask: Mask
) -> Prediction | None:
    """Return a prediction in a window that overlaps with its own, without behaviour.

    NaN where the other window ends and outside of the targets of the mask, which moves
    with the window. None if `samples_between` is, or if nothing is left to show.
    """
    n = samples_between(before, after)
    if n is None or len(prediction.responses) != after.spec.n_samples:
        return None
    targets = scored_cells(mask)[:, prediction.neurons]
    responses = np.where(targets, _moved(prediction.responses, n, np.nan), np.nan)
    if not np.isfinite(responses).any():
        return None
    band = prediction.band
    if band is not None:
        band = np.stack([_moved(limit, n, np.nan) for limit in band])
    return replace(
        prediction,
        responses=responses.astype(np.float32),
        valid=_moved(prediction.valid, n, True),
        band=band,
        times_s=after.sample_times_s,
        behavior=None,
    )


def _moved(values: np.ndarray, n: int, fill: float | bool) -> np.ndarray:
    """Return values (T, …) n samples earlier, with `fill` where nothing is known."""
    out = np.full_like(values, fill)
    if n >= 0:
        out[: len(values) - n] = values[n:]
    else:
        out[-n:] = values[:n]
    return out
