"""Predictions over spans longer than a window, stitched from overlapping windows.

Every window is asked under one mask, which is relative to the window. Only cells that
are asked and scored count, so a gap that one window leaves (its first samples, those
after a visible run) is filled by its neighbours, a stride away. Where two windows
predict the same cell, the one in which it lies later is taken, and no mean is: a cell
then answers one question, of one window that can be named, and has most of that
window's stimulus behind it.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.masks import N_SAMPLES, Mask, asked_cells
from omnimouse_model.masks.token_layout import TOKEN_STRIDE, distinct_columns
from omnimouse_model.metrics import correlation
from omnimouse_model.predict.capabilities import Outdated, stop_if
from omnimouse_model.predict.predictor import Prediction, Predictor, Request

NOWHERE = -1
"""In `SpanPrediction.source`: no window predicts this cell."""


@dataclass(frozen=True, slots=True, eq=False)
class SpanPrediction:
    """A stitched prediction of some neurons.

    Attributes
    ----------
    time
        float64 (T,) seconds on the session clock, 30 a second.
    neurons
        int64 (n,): the session's neuron indices of the columns.
    responses
        float32 (T, n), in units of the model's normalised responses; NaN where no
        window predicts.
    truth
        float32 (T, n), in the same units; NaN where nothing was recorded. A cell's is
        that of the window that predicts it: where a sample lies between two recorded
        ones, windows may round their clocks to different ones.
    source
        int32 (T, n): which of the windows predicted a cell, -1 for none.
    starts_s
        float64 (W,): where the windows begin, seconds on the session clock.
    n_done
        How many of the windows were predicted so far.
    status
        "ok", or what the user should know about how it came about.
    """

    time: Float64[np.ndarray, " time"]
    neurons: np.ndarray
    responses: Float32[np.ndarray, "time neuron"]
    truth: Float32[np.ndarray, "time neuron"]
    source: Int32[np.ndarray, "time neuron"]
    starts_s: Float64[np.ndarray, " window"]
    n_done: int
    mask_id: str
    predictor_id: str = ""
    status: str = "ok"

    @property
    def is_complete(self) -> bool:
        """Whether every window was predicted."""
        return self.n_done == len(self.starts_s)

    @property
    def scores(self) -> np.ndarray:
        """Single-trial correlation per neuron over the predicted samples, (n,).

        NaN where nothing was predicted, or one side is constant.
        """
        return correlation(self.responses, self.truth, axis=0)

    def column(self, neuron: int) -> int | None:
        """The column of a neuron, None where it is not among `neurons`."""
        found = np.flatnonzero(self.neurons == neuron)
        return int(found[0]) if len(found) else None


def window_scores(prediction: Prediction, window: Window) -> np.ndarray:
    """float32 (P,): correlation with the recording, NaN where nothing was asked."""
    scores = np.full(window.responses.shape[1], np.nan, np.float32)
    if len(prediction.neurons):
        truth = window.responses[:, prediction.neurons]
        scores[prediction.neurons] = correlation(prediction.responses, truth, axis=0)
    return scores


def decode_scores(decoded: np.ndarray, window: Window) -> np.ndarray:
    """(C,): correlation of decoded with recorded behaviour where that is valid."""
    counted = window.valid["behavior"][:, None]
    return correlation(decoded, np.where(counted, window.behavior, np.nan), axis=0)


def span_stride(mask: Mask) -> int:
    """The longest stride at which windows under a mask leave no gap, 5 at least.

    Neurons asked in fewer than 5 samples in a row may keep gaps.
    """
    asked, _ = distinct_columns(asked_cells(mask))
    asked = asked[:, asked.any(axis=0)]
    for stride in range(N_SAMPLES, TOKEN_STRIDE, -1):
        shifted = [asked[row::stride].any(axis=0) for row in range(stride)]
        if np.all(shifted):
            return stride
    return TOKEN_STRIDE


class Stitching:
    """A span that is being stitched: what its windows are, and what they gave so far.

    Parameters
    ----------
    session, mask
        What is predicted, under which mask in every window.
    start_s, stop_s
        The span on the session clock; cut to where windows can lie.
    neurons
        Which are predicted, all asked ones by default.
    stride
        Samples from one window to the next; `span_stride(mask)` by default.
    """

    def __init__(
        self,
        session: Session,
        mask: Mask,
        span_s: tuple[float, float],
        neurons: np.ndarray | None = None,
        stride: int | None = None,
    ) -> None:
        grid = session.start_grid
        first, stop = np.searchsorted(grid, np.array(span_s) + session.t0 - 1e-6)
        if stop <= first:
            raise ValueError(
                f"No sample lies in {span_s[0]:g}-{span_s[1]:g} s; windows of session "
                f"'{session.id}' lie in {grid[0] - session.t0:.1f}-"
                f"{grid[-1] - session.t0:.1f} s."
            )
        asked = asked_cells(mask)
        if neurons is None:
            neurons = np.flatnonzero(asked.any(axis=0))
        self.neurons = np.asarray(neurons, np.int64)
        self._session, self._mask = session, mask
        self._first, self._n_samples = int(first), int(stop - first)
        self._asked = asked[:, self.neurons]
        self.starts = self._window_starts(stride or span_stride(mask))
        shape = (self._n_samples, len(self.neurons))
        self._responses = np.full(shape, np.nan, np.float32)
        self._truth = np.full(shape, np.nan, np.float32)
        self._is_read = np.zeros(self._n_samples, bool)
        self._source = np.full(shape, NOWHERE, np.int32)
        self._told = ("", "ok")
        self.n_done = 0

    def _window_starts(self, stride: int) -> np.ndarray:
        """Multiples of the stride and the session's last window, where one asks here.

        They do not depend on where the span begins, so neighbouring spans share them.
        """
        last = len(self._session.start_grid) - N_SAMPLES
        rows = np.flatnonzero(self._asked.any(axis=1))
        if not len(rows) or last < 0:
            return np.empty(0, np.int64)
        starts = np.unique(np.append(np.arange(0, last + 1, stride), last))
        reaches = starts + rows[-1] >= self._first
        reaches &= starts + rows[0] < self._first + self._n_samples
        return np.asarray(starts[reaches])

    @property
    def is_complete(self) -> bool:
        """Whether every window was predicted."""
        return self.n_done == len(self.starts)

    def take(self, window: Window, prediction: Prediction) -> None:
        """Add the next window's prediction; windows come in the order of their starts.

        A cell that lies in two windows lies later in the earlier one, so it stays.
        """
        at, rows = self._places(window.start_index)
        is_new = np.isfinite(prediction.responses[rows]) & self._asked[rows]
        is_new &= self._source[at] == NOWHERE
        self._responses[at][is_new] = prediction.responses[rows][is_new]
        self._truth[at][is_new] = self._recorded(window)[rows][is_new]
        self._source[at][is_new] = self.n_done
        self._told = (prediction.predictor_id, prediction.status)
        self.n_done += 1

    def found(self) -> SpanPrediction:
        """What there is so far; the recording is whole from the beginning."""
        self._read_the_rest()
        native = self._session.start_grid[self._first :][: self._n_samples]
        starts = self._session.start_grid[self.starts]
        return SpanPrediction(
            time=native - self._session.t0,
            neurons=self.neurons,
            responses=self._responses.copy(),
            truth=self._truth.copy(),
            source=self._source.copy(),
            starts_s=starts - self._session.t0,
            n_done=self.n_done,
            mask_id=self._mask.mask_id,
            predictor_id=self._told[0],
            status=self._told[1],
        )

    def _places(self, start: int) -> tuple[slice, slice]:
        """Samples of the span that a window covers, and those of the window."""
        low = max(start, self._first)
        high = min(start + N_SAMPLES, self._first + self._n_samples)
        at = slice(low - self._first, high - self._first)
        return at, slice(low - start, high - start)

    def _recorded(self, window: Window) -> np.ndarray:
        values, valid = window.stream("responses")
        recorded = values[:, self.neurons]
        recorded[~valid] = np.nan
        return np.asarray(recorded)

    def _read_the_rest(self) -> None:
        """Recorded values of cells that no window predicted yet."""
        last = len(self._session.start_grid) - N_SAMPLES
        while not self._is_read.all() and last >= 0:
            missing = self._first + int(np.argmin(self._is_read))
            at, rows = self._places(min(missing, last))
            recorded = self._recorded(Window(self._session, min(missing, last)))[rows]
            is_free = self._source[at] == NOWHERE
            self._truth[at][is_free] = recorded[is_free]
            self._is_read[at] = True


def stitch_span(
    predictor: Predictor,
    session: Session,
    stitching: Stitching,
    mask: Mask,
    outdated: Outdated = lambda: False,
) -> Iterator[Stitching]:
    """Predict a span window by window; yields what is there after each of them.

    Raises
    ------
    StoppedError
        Once `outdated()` is true.
    """
    waiting: deque[Window] = deque()

    def requests() -> Iterator[Request]:
        for start in stitching.starts[stitching.n_done :]:
            waiting.append(Window(session, int(start)))
            yield waiting[-1], mask, stitching.neurons

    for prediction in predictor.predict_many(requests(), outdated):
        stitching.take(waiting.popleft(), prediction)
        yield stitching
        stop_if(outdated)
    stop_if(outdated)


def predict_span(
    predictor: Predictor,
    session: Session,
    mask: Mask,
    start_s: float,
    stop_s: float,
    *,
    neurons: np.ndarray | None = None,
    stride: int | None = None,
    outdated: Outdated = lambda: False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SpanPrediction:
    """Predict a span of a session, stitched from 2-s windows under one mask.

    Parameters
    ----------
    start_s, stop_s
        The span on the session clock; cut to where windows can lie.
    neurons
        Whose responses are predicted, all asked ones by default.
    stride
        Samples from one window to the next; by default the longest that leaves no
        gap, see `span_stride`.
    outdated
        Asked before every batch of windows; ends the work when true.
    progress
        Told the number of windows predicted, and of all, after each.

    Raises
    ------
    ValueError
        No sample of the session lies in the span.
    StoppedError
        Once `outdated()` is true.
    """
    predictor.prepare(session)
    stitching = Stitching(session, mask, (start_s, stop_s), neurons, stride)
    for step in stitch_span(predictor, session, stitching, mask, outdated):
        progress(step.n_done, len(step.starts))
    return stitching.found()
