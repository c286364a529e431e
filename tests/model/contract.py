"""The contract of predictors: what each of their answers promises, for one window and mask."""

from typing import Any

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.session import Window
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.masks import input_cells, scored_cells
from omnimouse_model.predict.predictor import Prediction
from tests.model.other_windows import window_with


def half_mask(predictor: Any, session: om.Session) -> om.Mask:
    """Show a half of the neurons and frames and all behaviour; ask for the other neurons."""
    needs, half = predictor.needs, session.n_neurons // 2
    mask = om.Mask.nothing(session, needs.spec).show(slice(0, half))
    mask = mask.ask(slice(half, None), slice(None))
    if needs.sees_video and needs.spec.n_frames:
        mask = mask.with_frames(slice(0, needs.spec.n_frames // 2))
    if needs.predicts_behavior and not needs.sees_behavior:
        return mask.with_behavior("target")
    return mask.with_behavior("visible") if needs.sees_behavior else mask


def check_contract(predictor: Any, window: Window, mask: om.Mask, *others: Window) -> None:
    """Check where an answer has values, in parts, beside others, and what it depends on."""
    whole = predictor.predict(window, mask)
    scored = scored_cells(mask)[:, whole.neurons] & whole.valid[:, None]
    np.testing.assert_array_equal(np.isfinite(whole.responses), scored)
    assert np.nanmin(window.responses) < 0 or (whole.responses[scored] >= 0).all()
    assert whole.behavior is None or np.isfinite(whole.behavior).all()
    if whole.times_s is not None:
        np.testing.assert_allclose(np.diff(whole.times_s), 1 / window.spec.response_rate_hz)
    encoded = predictor.encode(window, mask)
    parts = [predictor.decode(encoded, part) for part in np.array_split(whole.neurons, 2)]
    joined = np.concatenate([part.responses for part in parts], axis=1)
    np.testing.assert_allclose(joined, whole.responses, rtol=1e-5, atol=1e-5)
    every_other = whole.neurons[::-2]
    requests = [(window, mask, every_other)]
    # A model can refuse to answer with fewer inputs, or without any.
    if _is_answered(predictor, window, smaller := mask.hide([0, mask.n_neurons - 1])):
        requests.append((window, smaller, None))
    requests += [(one, mask, None) for one in (*others, window)]
    for request, found in zip(requests, predictor.predict_many(requests), strict=True):
        assert_same(found, predictor.predict(*request), 1e-4)
    with pytest.raises(StoppedError):
        next(predictor.predict_many(requests, lambda: True))
    masks = [mask]
    if predictor.needs.sees_video or predictor.needs.sees_behavior:
        hidden = mask.with_frames(False)
        hidden = hidden.with_behavior("hidden") if mask.has_visible_behavior else hidden
        if _is_answered(predictor, window, hidden):
            masks.append(hidden)
    for each in masks:
        changed = _changed(predictor, window, each, is_seen=False)
        assert_same(predictor.predict(changed, each), predictor.predict(window, each))
    for name in ("responses", "frames", "behavior", "warmup"):
        changed = _changed(predictor, window, mask, is_seen=True, only=name)
        if changed is not window:
            found = predictor.predict(changed, mask)
            assert not _is_same(found, whole), f"a change of visible {name} has no effect"


def assert_same(found: Prediction, expected: Prediction, tolerance: float = 0.0) -> None:
    """Check that two predictions have the same neurons and, nearly, the same values."""
    np.testing.assert_array_equal(found.neurons, expected.neurons)
    close = {"rtol": tolerance, "atol": tolerance / 10}
    np.testing.assert_allclose(found.responses, expected.responses, **close)
    assert (found.behavior is None) == (expected.behavior is None)
    if expected.behavior is not None:
        np.testing.assert_allclose(found.behavior, expected.behavior, **close)


def _is_answered(predictor: Any, window: Window, mask: om.Mask) -> bool:
    try:
        predictor.encode(window, mask)
    except UnsupportedRequestError:
        return False
    return True


def _is_same(found: Prediction, expected: Prediction) -> bool:
    try:
        assert_same(found, expected, 1e-6)
    except AssertionError:
        return False
    return True


def _changed(
    predictor: Any, window: Window, mask: om.Mask, *, is_seen: bool, only: str = ""
) -> Window:
    """Return the window with other values where the predictor may read them, or may not."""
    needs, before = predictor.needs, window.warmup
    values: dict[str, Any] = {}
    earlier: dict[str, np.ndarray] = {}
    cells = (input_cells(mask) & needs.sees_responses) == is_seen
    if cells.any():
        values["responses"] = np.where(cells, window.responses + 3, window.responses)
    at = mask.frames == is_seen
    if at.any() and (needs.sees_video if is_seen else needs.withholds_video):
        frames = window._frames()[0].copy()
        frames[at] = 255 - frames[at]
        values["frames"] = frames
        if before is not None and at[0]:
            earlier["frames"] = 255 - before._frames()[0]
    if window.spec.n_behavior and (mask.behavior == "visible") == is_seen:
        values["behavior"] = window.behavior + 3
        if before is not None:
            earlier["behavior"] = before.behavior + 3
    if before is not None and earlier:
        # What is hidden in the first sample is hidden before the window.
        values["warmup"] = window_with(before, **earlier)
    kept = {name: value for name, value in values.items() if only in ("", name)}
    return window_with(window, **kept) if kept else window
