"""Predict the time span of a window with a predictor of another spec.

Predictors that are shown side by side predict the same task over the same time. Each
is scored on its own samples.
"""

from dataclasses import dataclass, replace

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.cells import HIDDEN
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction, Predictor
from omnimouse_model.progress import Cancelled, never, stop_if

# Durations and rates are floats; a count of samples must not fall short by rounding.
_TOLERANCE_S = 1e-6


def window_of(window: Window, spec: WindowSpec) -> Window:
    """Return the recorded responses of a window's span at another predictor's rate.

    The span is shortened to a whole number of samples.
    """
    rate_hz = spec.response_rate_hz
    count = int(window.spec.duration_s * rate_hz + _TOLERANCE_S)
    # Without edits: they change the stimulus, not the recorded responses.
    span_spec = WindowSpec(max(count, 1) / rate_hz, rate_hz, spec.responses)
    return Window(window.session, window.start_index, (), span_spec, window.exact_start)


def tiles(window: Window, spec: WindowSpec) -> list[tuple[float, Window]]:
    """Return windows of a spec that cover a window, each with its offset in seconds.

    The last one ends with the window, so that no tile extends past its end unless the
    spec is longer than the window.
    """
    length_s, step_s = window.spec.duration_s, spec.duration_s
    count = max(1, int(np.ceil(length_s / step_s - _TOLERANCE_S)))
    last_s = max(0.0, length_s - step_s)
    offsets_s = [min(number * step_s, last_s) for number in range(count)]
    spec = _on_grid(spec)
    return [(s, _window_at(window, spec, s)) for s in offsets_s]


def _window_at(window: Window, spec: WindowSpec, offset_s: float) -> Window:
    start, session = window.native_start + offset_s, window.session
    # Without an exact start, the samples are bit for bit those of a window of the grid.
    if offset_s == 0 and window.exact_start is None:
        return Window(session, window.start_index, window.edits, spec)
    grid = session.start_grid
    nearest = int(np.clip(np.searchsorted(grid, start), 0, len(grid) - 1))
    return Window(session, nearest, window.edits, spec, start)


def _on_grid(spec: WindowSpec) -> WindowSpec:
    # Tiles begin where the window does, which need not be the onset of a trial.
    return replace(spec, align="grid", trial_offset_s=0.0)


def predict_same_span(
    predictor: Predictor,
    window: Window,
    mask: Mask,
    neurons: np.ndarray | None = None,
    cancelled: Cancelled = lambda: False,
) -> Prediction:
    """Predict a window's task at the rates of a predictor of another spec.

    Parameters
    ----------
    mask
        The task; a mask of another duration is stretched to the window.

    Returns
    -------
    Prediction
        Its samples are those of `window_of(window, predictor.needs.spec)`; `status`
        states how the mask was mapped. Where tiles overlap, the first one counts.
        Decoded behaviour has the samples and channels of the window, NaN where nothing
        was decoded; None without any, and where the window has another rate of behaviour.
    """
    needs = predictor.needs
    spec = needs.spec
    span = window_of(window, spec)
    if neurons is None:
        neurons = np.flatnonzero(mask.target.any(axis=0))
    shape = (span.spec.n_samples, len(neurons))
    responses = np.full(shape, np.nan, np.float32)
    band = np.full((2, *shape), np.nan, np.float32)
    valid = np.ones(len(responses), bool)
    behavior = _no_behavior(window, spec) if needs.predicts_behavior else None
    first: Prediction | None = None
    for offset_s, tile in tiles(window, spec):
        stop_if(cancelled)
        mapped = mask.at(_on_grid(spec), offset_s, window.spec.duration_s)
        # A tile without targets would be refused by some predictors.
        decodes = behavior is not None and mapped.has_behavior_target
        if not (mapped.target.any() or decodes):
            continue
        part = predictor.predict(tile, mapped, neurons, cancelled)
        start = round(offset_s * spec.response_rate_hz)
        stop = min(start + len(part.responses), len(responses))
        # The last tile may overlap the one before it; the first prediction stays.
        count = stop - start
        is_new = np.isnan(responses[start:stop])
        np.copyto(responses[start:stop], part.responses[:count], where=is_new)
        if part.band is not None:
            np.copyto(band[:, start:stop], part.band[:, :count], where=is_new)
        valid[start:stop] &= part.valid[:count]
        if behavior is not None and part.behavior is not None:
            _fill_behavior(behavior, part.behavior, tile, window, offset_s)
        if first is None:
            first = part.with_remark(mapped.note)
    if first is None:
        # No target sample falls into a sample of this spec: nothing is predicted.
        units = "spikes/s" if spec.responses == "count" else "normalised"
        ids = mask.mask_id, predictor.predictor_id
        first = Prediction(responses, neurons, None, *ids, units=units)
    return replace(
        first,
        responses=responses,
        neurons=np.asarray(neurons, np.int64),
        behavior=None if behavior is None or np.isnan(behavior).all() else behavior,
        mask_id=mask.mask_id,
        times_s=span.sample_times_s,
        valid=valid,
        band=None if first.band is None else band,
    )


def _no_behavior(window: Window, spec: WindowSpec) -> np.ndarray | None:
    """Return room for decoded behaviour; None if window and spec have different rates."""
    own, decoded = window.spec.behavior, spec.behavior
    if own is None or decoded is None or own.rate_hz != decoded.rate_hz:
        return None
    return np.full((window.spec.n_behavior, len(window.behavior_names)), np.nan, np.float32)


def _fill_behavior(
    behavior: np.ndarray, decoded: np.ndarray, tile: Window, window: Window, offset_s: float
) -> None:
    """Write what was decoded in a tile, where nothing is, by the names of the channels."""
    assert tile.spec.behavior is not None
    start = round(offset_s * tile.spec.behavior.rate_hz)
    # A model may decode more channels than a recording in stored order has.
    columns = dict(zip(tile.behavior_names, decoded.T, strict=False))
    for name, own in zip(window.behavior_names, behavior.T, strict=True):
        room = own[start : start + len(decoded)]
        found = columns.get(name, room)[: len(room)]
        np.copyto(room, found, where=np.isnan(room))


# -- a predictor whose windows have the length of another spec --------------------------
@dataclass(slots=True, eq=False, repr=False)
class SpanPredictor(Predictor):
    """A predictor that is asked about windows of another length, which its own ones tile.

    Attributes
    ----------
    inner
        The predictor.
    spec
        The windows: its own rates, and the length of the span.
    refusal
        Why its windows cannot cover the span, "" if they can.
    """

    inner: Predictor
    spec: WindowSpec
    refusal: str = ""

    @property
    def predictor_id(self) -> str:
        """Id of the predictor."""
        return self.inner.predictor_id

    @property
    def needs(self) -> Needs:
        """What the predictor can see and predict, in the windows of the span."""
        return replace(self.inner.needs, spec=self.spec, methods=frozenset())

    def prepare(self, session: Session) -> None:
        """Prepare the predictor.

        Raises
        ------
        UnsupportedRequestError
            Its windows cannot cover the span.
        """
        if self.refusal:
            raise UnsupportedRequestError(f"{self.predictor_id!r} {self.refusal}")
        self.inner.prepare(session)

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Keep the request: each tile is predicted as a whole."""
        return Encoded(window, mask, None)

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        """Predict the tiles of the window."""
        mask = encoded.mask
        # What neighbours reveal is left out of the span once, not of each tile again.
        is_lost = mask.target & ~scored_cells(mask)
        cells = np.where(is_lost, np.uint8(HIDDEN), mask.cells)
        asked = replace(mask, cells=cells, guarded=False)
        found = predict_same_span(self.inner, encoded.window, asked, neurons, cancelled)
        is_empty = asked.target[:, found.neurons] & np.isnan(found.responses)
        return replace(found, valid=found.valid & ~is_empty.any(axis=1), mask_id=mask.mask_id)


def over_span(predictor: Predictor, span: WindowSpec) -> Predictor:
    """Return a predictor of windows of the duration of a spec, on the grid.

    That is the predictor itself if its windows are so. One that counts events, or whose
    samples do not fill the span, refuses every session.
    """
    own = predictor.needs.spec
    if own.responses != span.responses:
        kind, asked = ("counts", "traces") if own.responses == "count" else ("traces", "counts")
        return SpanPredictor(predictor, span, f"predicts {kind}, and {asked} are compared.")
    if own.align == "grid" and own.duration_s == span.duration_s:
        return predictor
    try:
        behavior = own.behavior or span.behavior
        rate_hz = own.response_rate_hz
        spec = WindowSpec(span.duration_s, rate_hz, own.responses, span.video, behavior)
    except ValueError:
        reason = f"has no whole number of samples in {span.duration_s:g} s."
        return SpanPredictor(predictor, span, reason)
    return SpanPredictor(predictor, spec)
