"""Predictions over spans longer than a window, stitched from overlapping windows.

All windows use one mask, which is relative to the window. Only target cells that are
scored are used. The cells that one window does not predict (its first samples, those
after a visible run) are filled by neighbouring windows. If two windows predict the same
cell, the earlier window is used, in which the cell lies later and most of the stimulus
precedes it. Predictions are not averaged, so that each cell belongs to one window.
"""

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64, Int32

from omnimouse_model.data.clock import GRID_RATE_HZ
from omnimouse_model.data.recording import cached, grid_stretches
from omnimouse_model.data.session import Session, Window
from omnimouse_model.errors import NotStoredError
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.cells import distinct_columns
from omnimouse_model.metrics import correlation
from omnimouse_model.predict.predictor import Prediction, Predictor, Request, predictions_of
from omnimouse_model.progress import QUIET, Cancelled, Job, stop_if

MIN_STRIDE = 5
"""Samples between windows; smaller strides are slow and fill few more gaps."""
KEPT_BYTES = 2**24
"""Largest recorded span in bytes that a session keeps in memory, as each stroke reads it."""
_SPAN = "recorded span"
NOWHERE = -1
"""Value in `SpanPrediction.source` of cells that no window predicts."""


@dataclass(frozen=True, slots=True, eq=False)
class SpanPrediction:
    """A stitched prediction of some neurons.

    Attributes
    ----------
    time
        float64 (T,) seconds on the session clock, 30 per second, without pauses of the
        recording.
    neurons
        int64 (n,): session neuron index of each column.
    responses
        float32 (T, n), in units of the model's normalised responses; NaN where no
        window predicts.
    truth
        float32 (T, n), in the same units; NaN where nothing was recorded. The value is
        read by the window that predicts the cell, because two windows may round a time
        between two recorded samples differently.
    source
        int32 (T, n): index of the window that predicted a cell, -1 for none.
    starts_s
        float64 (W,): starts of the windows, seconds on the session clock.
    n_done
        Number of windows predicted so far, with those that are missing.
    n_missing
        Number of windows that a file of predictions does not have.
    status
        "ok", or remarks on the last prediction for the user.
    band
        float32 (2, T, n): limits of the interval that holds 95 % of recorded responses,
        in the same units; None if the predictor gives none.
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
    n_missing: int = 0
    band: Float32[np.ndarray, "limit time neuron"] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all windows were predicted or are missing."""
        return self.n_done == len(self.starts_s)

    @property
    def scores(self) -> np.ndarray:
        """(n,): single-trial correlation of each neuron over the predicted samples.

        NaN if nothing was predicted, or if one side is constant.
        """
        return correlation(self.responses, self.truth, axis=0)

    def column(self, neuron: int) -> int | None:
        """Return the column of a neuron, None if it is not in `neurons`."""
        columns = np.flatnonzero(self.neurons == neuron)
        return int(columns[0]) if len(columns) else None


def span_stride(mask: Mask) -> int:
    """Return the longest stride without gaps between windows, at least 5 samples.

    Gaps may remain for neurons with fewer than 5 target samples in a row.
    """
    # A mask has few distinct columns, even for a large population.
    scored, _ = distinct_columns(scored_cells(mask))
    scored = scored[:, scored.any(axis=0)]
    for stride in range(mask.n_samples, MIN_STRIDE, -1):
        # No gap remains if every residue modulo the stride has a target sample.
        if all(scored[row::stride].any(axis=0).all() for row in range(stride)):
            return stride
    return MIN_STRIDE


class Stitching:
    """Stitching of a span: its windows, and the predictions added so far.

    Parameters
    ----------
    session, mask
        Session, and mask of all windows.
    start_s, stop_s
        Span on the session clock in seconds, clipped to the range of windows.
    neurons
        Neurons to predict; by default all with target cells.
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
        # The tolerance of 1 µs keeps a sample that rounding puts just before the span.
        first, stop = np.searchsorted(grid, np.array(span_s) + session.t0 - 1e-6)
        if stop <= first:
            raise ValueError(
                f"No sample lies in {span_s[0]:g}-{span_s[1]:g} s; windows of session "
                f"'{session.id}' lie in {grid[0] - session.t0:.1f}-"
                f"{grid[-1] - session.t0:.1f} s."
            )
        scored = scored_cells(mask)
        if neurons is None:
            neurons = np.flatnonzero(scored.any(axis=0))
        self.neurons = np.asarray(neurons, np.int64)
        self._session, self._mask = session, mask
        self._first, self._n_samples = int(first), int(stop - first)
        self._scored = scored[:, self.neurons]
        self.starts = self._window_starts(stride or span_stride(mask))
        # Predictions arrive window by window; NaN marks cells without one so far.
        shape = (self._n_samples, len(self.neurons))
        self._responses = np.full(shape, np.nan, np.float32)
        self._truth = np.full(shape, np.nan, np.float32)
        self._source = np.full(shape, NOWHERE, np.int32)
        self._band: np.ndarray | None = None
        self._predictor_id, self._status = "", "ok"
        self.n_done = self.n_missing = 0

    def _window_starts(self, stride: int) -> np.ndarray:
        """Return the starts of windows with target cells inside the span.

        Starts are multiples of the stride, counted from the beginning of each stretch
        without a pause, and the last window of the stretch. They do not depend on the
        span, so neighbouring spans share windows.
        """
        rows = np.flatnonzero(self._scored.any(axis=1))
        parts = [np.empty(0, np.int64)]
        for begin, end in grid_stretches(self._session).tolist():
            last = end - self._mask.n_samples
            # The last window covers samples that no multiple reaches.
            if last >= begin:
                parts += [np.arange(begin, last, stride), np.array([last])]
        starts = np.concatenate(parts)
        if not len(rows):
            return np.empty(0, np.int64)
        reaches = starts + rows[-1] >= self._first
        reaches &= starts + rows[0] < self._first + self._n_samples
        return np.asarray(starts[reaches])

    @property
    def is_complete(self) -> bool:
        """Whether all windows were predicted or are missing."""
        return self.n_done == len(self.starts)

    def add(self, window: Window, prediction: Prediction) -> None:
        """Add the prediction of the next window, in the order of starts.

        A cell that is already predicted keeps its value, see the module docstring.
        """
        prediction = self._with_all_neurons(prediction)
        at, rows = self._places(window.start_index)
        is_new = np.isfinite(prediction.responses[rows]) & self._scored[rows]
        is_new &= (self._source[at] == NOWHERE) & prediction.valid[rows, None]
        # `at` is a slice, so `[at]` is a view and the assignment changes the array.
        self._responses[at][is_new] = prediction.responses[rows][is_new]
        self._truth[at][is_new] = self._recorded(window)[rows][is_new]
        if prediction.band is not None:
            if self._band is None:
                self._band = np.full((2, *self._responses.shape), np.nan, np.float32)
            self._band[:, at][:, is_new] = prediction.band[:, rows][:, is_new]
        self._source[at][is_new] = self.n_done
        self._predictor_id = prediction.predictor_id
        self._status = prediction.status
        self.n_done += 1

    def _with_all_neurons(self, prediction: Prediction) -> Prediction:
        """Return a prediction in columns of `neurons`; NaN for those that it lacks."""
        if np.array_equal(prediction.neurons, self.neurons):
            return prediction
        columns = {neuron: at for at, neuron in enumerate(self.neurons.tolist())}
        places = np.array([columns[n] for n in prediction.neurons.tolist()], np.int64)

        def spread(values: np.ndarray) -> np.ndarray:
            out = np.full((*values.shape[:-1], len(columns)), np.nan, np.float32)
            out[..., places] = values
            return out

        band = None if prediction.band is None else spread(prediction.band)
        responses = spread(prediction.responses)
        return replace(
            prediction,
            responses=responses,
            neurons=self.neurons,
            band=band,
            scale=None,  # a stitching does not use it
        )

    def skip(self) -> None:
        """Count the next window as missing: the file has no prediction of it."""
        self.n_done += 1
        self.n_missing += 1

    def result(self) -> SpanPrediction:
        """Return the predictions so far; recorded values are complete."""
        native = self._session.start_grid[self._first :][: self._n_samples]
        starts = self._session.start_grid[self.starts]
        return SpanPrediction(
            time=native - self._session.t0,
            neurons=self.neurons,
            responses=self._responses.copy(),
            truth=np.where(self._source == NOWHERE, self._recording(), self._truth),
            source=self._source.copy(),
            starts_s=starts - self._session.t0,
            n_done=self.n_done,
            mask_id=self._mask.mask_id,
            predictor_id=self._predictor_id,
            status=self._status,
            n_missing=self.n_missing,
            band=None if self._band is None else self._band.copy(),
        )

    def _places(self, start: int, stop: int | None = None) -> tuple[slice, slice]:
        """Return the overlap of span and window, up to a point, as slices of both."""
        low = max(start, self._first)
        high = min(start + self._mask.n_samples, self._first + self._n_samples)
        high = high if stop is None else min(high, stop)
        at = slice(low - self._first, high - self._first)
        return at, slice(low - start, high - start)

    def _recorded(self, window: Window) -> np.ndarray:
        values, valid = window.stream("responses")
        recorded = values[:, self.neurons]
        recorded[~valid] = np.nan
        return np.asarray(recorded)

    def _recording(self) -> np.ndarray:
        """Return the recorded values (T, n), also of cells that a window predicts."""
        key = self._mask.spec, self._first, self._n_samples, self.neurons.tobytes()
        kept: dict[Hashable, np.ndarray] = cached(self._session, _SPAN, dict)
        values = kept.get(key)
        if values is None:
            values = self._read_recording()
            if values.nbytes <= KEPT_BYTES:
                kept.clear()
                kept[key] = values
        return values

    def _read_recording(self) -> np.ndarray:
        grid = self._session.start_grid
        # Ends of stretches of evenly spaced points: a pause has none.
        ends = np.flatnonzero(np.diff(grid, append=np.inf) > 1.5 / GRID_RATE_HZ) + 1
        values = np.full(self._truth.shape, np.nan, np.float32)
        done = 0
        while done < self._n_samples:
            missing = self._first + done
            number = int(np.searchsorted(ends, missing, side="right"))
            begin, end = int(ends[number - 1]) if number else 0, int(ends[number])
            # The last window ends with the stretch and covers all samples after its
            # start.
            start = min(missing, max(begin, end - self._mask.n_samples))
            at, rows = self._places(start, end)
            window = Window(self._session, start, spec=self._mask.spec)
            values[at] = self._recorded(window)[rows]
            done = at.stop
        return values


def stitch_span(
    predictor: Predictor,
    session: Session,
    stitching: Stitching,
    mask: Mask,
    cancelled: Cancelled = lambda: False,
) -> Iterator[Stitching]:
    """Predict a span window by window and yield the stitching after each window.

    Windows that a file of predictions does not have are left out.

    Raises
    ------
    UnsupportedRequestError
        The predictor cannot serve a window, or the file has none of them.
    StoppedError
        `cancelled()` returned true.
    """
    waiting: deque[Window] = deque()

    def requests() -> Iterator[Request]:
        # An interrupted stitching continues after its last predicted window.
        for start in stitching.starts[stitching.n_done :]:
            # `predict_many` may read ahead: remember the windows whose predictions are
            # due.
            waiting.append(Window(session, int(start), spec=mask.spec))
            yield waiting[-1], mask, stitching.neurons

    is_ended = False
    while not is_ended:
        try:
            for prediction in predictions_of(predictor, requests(), cancelled):
                stitching.add(waiting.popleft(), prediction)
                yield stitching
                stop_if(cancelled)
            is_ended = True
        except NotStoredError:
            # It is about the first window that waits: predictions come in order.
            waiting.clear()
            stitching.skip()
            if stitching.n_missing == len(stitching.starts):
                raise
            yield stitching


def predict_span(
    predictor: Predictor,
    session: Session,
    mask: Mask,
    start_s: float,
    stop_s: float,
    *,
    neurons: np.ndarray | None = None,
    stride: int | None = None,
    cancelled: Cancelled = lambda: False,
    job: Job = QUIET,
) -> SpanPrediction:
    """Predict a span of a session, stitched from windows under one mask.

    Windows that a file of predictions does not have are left out.

    Parameters
    ----------
    start_s, stop_s
        Span on the session clock in seconds, clipped to the range of windows.
    neurons
        Neurons to predict; by default all with target cells.
    stride
        Samples from one window to the next; by default the longest that leaves no
        gap, see `span_stride`.
    cancelled
        Polled before every batch of windows; once true, the work ends.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    ValueError
        No sample of the session lies in the span.
    UnsupportedRequestError
        The predictor cannot serve the windows.
    StoppedError
        `cancelled()` returned true.
    """
    stitching = Stitching(session, mask, (start_s, stop_s), neurons, stride)
    for step in stitch_span(predictor, session, stitching, mask, cancelled):
        job.progress(step.n_done, len(step.starts))
    return stitching.result()
