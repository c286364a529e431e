"""Predict the time span of a window with a predictor of another spec.

Predictors that are shown side by side predict the same task over the same time. Each
is scored on its own samples.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from omnimouse_model.data.window import Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.masks import Mask
from omnimouse_model.predict.capabilities import stop_if
from omnimouse_model.predict.predictor import Prediction, Predictor

_TOLERANCE_S = 1e-6


def window_of(window: Window, spec: WindowSpec) -> Window:
    """Return the recorded responses of a window's span at another predictor's rate.

    The span is shortened to a whole number of samples.
    """
    rate_hz = spec.response_rate_hz
    count = int(window.spec.duration_s * rate_hz + _TOLERANCE_S)
    own = WindowSpec(max(count, 1) / rate_hz, rate_hz, spec.responses)
    return Window(window.session, window.start_index, (), own, window.exact_start)


def tiles(window: Window, spec: WindowSpec) -> list[tuple[float, Window]]:
    """Return windows of a spec that cover a window, each with its offset in seconds.

    The last one ends with the window, so that no tile reaches over its end unless the
    spec is longer than the window.
    """
    length, step = window.spec.duration_s, spec.duration_s
    count = max(1, int(np.ceil(length / step - _TOLERANCE_S)))
    last = max(0.0, length - step)
    offsets = [min(number * step, last) for number in range(count)]
    spec = replace(spec, align="grid", trial_offset_s=0.0)
    found = []
    for offset_s in offsets:
        start = window.native_start + offset_s
        grid = window.session.start_grid
        nearest = int(np.clip(np.searchsorted(grid, start), 0, len(grid) - 1))
        # a window that begins on the grid must stay bit for bit the one of the grid
        exact = None if offset_s == 0 and window.exact_start is None else start
        if exact is None:
            nearest = window.start_index
        found.append(
            (offset_s, Window(window.session, nearest, window.edits, spec, exact))
        )
    return found


def predict_same_span(
    predictor: Predictor,
    window: Window,
    mask: Mask,
    neurons: np.ndarray | None = None,
    outdated: Callable[[], bool] = lambda: False,
) -> Prediction:
    """Predict a window's task at the rates of a predictor of another spec.

    Returns
    -------
    Prediction
        Its samples are those of `window_of(window, predictor.needs.spec)`; `status`
        says how the mask was mapped. Where tiles overlap, the first one counts.
    """
    spec = predictor.needs.spec
    span = window_of(window, spec)
    if neurons is None:
        neurons = np.flatnonzero(mask.target.any(axis=0))
    shape = (span.spec.n_samples, len(neurons))
    responses = np.full(shape, np.nan, np.float32)
    first: Prediction | None = None
    for offset_s, tile in tiles(window, spec):
        stop_if(outdated)
        mapped = mask.at(replace(spec, align="grid", trial_offset_s=0.0), offset_s)
        if not mapped.target.any():
            continue
        found = predictor.predict(tile, mapped, neurons)
        start = round(offset_s * spec.response_rate_hz)
        stop = min(start + len(found.responses), len(responses))
        part, values = responses[start:stop], found.responses[: stop - start]
        part[...] = np.where(np.isnan(part), values, part)
        if first is None:
            first = found.with_notice(mapped.note)
    if first is None:
        # no target sample falls into a sample of this spec: nothing is predicted
        empty = predictor.predictor_id
        units = "spikes/s" if spec.responses == "count" else "normalised"
        return Prediction(
            responses, neurons, None, mask.mask_id, empty, units=units,
            times_s=span.sample_times_s,
        )  # fmt: skip
    return replace(
        first,
        responses=responses,
        neurons=np.asarray(neurons, np.int64),
        behavior=None,
        times_s=span.sample_times_s,
    )
