"""Predict the time span of a window with a predictor of another spec.

Predictors that are shown side by side predict the same task over the same time. Each
is scored on its own samples.
"""

from dataclasses import replace

import numpy as np

from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Prediction, Predictor
from omnimouse_model.progress import Cancelled, stop_if

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
