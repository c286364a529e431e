"""Comparisons of the values on screen with a new computation by the library.

Each check reads the screen (canvas pixels, curves of a plot) and computes the same
request with the library in this process.
"""

import numpy as np

from omnimouse_app.field.canvas import Canvas, states_on_screen
from omnimouse_app.tour.hand import settle, wait_for
from omnimouse_app.tour.page import Check
from omnimouse_app.window.docks import OmniMouseDock
from omnimouse_model.data.session import Window
from omnimouse_model.metrics import correlation
from omnimouse_model.predict.predictor import Prediction
from omnimouse_model.predict.registry import load_predictor
from omnimouse_widgets.palette import STATE_NAMES
from omnimouse_widgets.qt.panel import RecordPanel

CLOSE = 1e-4
"""Maximum difference between two runs of the same model."""


def library_prediction(dock: OmniMouseDock, model: str) -> tuple[Window, Prediction]:
    """Return the window, and the library's prediction for the request on screen."""
    state = dock.controller.state
    assert state.session is not None
    assert state.window is not None
    assert state.mask is not None
    predictor = load_predictor(model, [state.session])
    return state.window, predictor.predict(state.window, state.mask)


def check_states(dock: OmniMouseDock, model: str) -> Check:
    """Compare the colours on the canvas with the mask."""
    controller, layers = dock.controller, dock.instrument.layers
    mask, selection = controller.state.mask, controller.state.selection
    assert mask is not None
    assert layers.field is not None
    # Selected neurons have a white rim, which would change the measured colours.
    controller.selection.select([])
    settle(0.3)
    on_screen = states_on_screen(Canvas(dock.viewer, dock.main_window), layers.field)
    controller.selection.select(selection)
    # Neurons without a pixel have no colour to compare.
    has_pixel = on_screen >= 0
    states = mask.state_in(controller.state.active_span)[has_pixel]
    return Check(
        "State of each neuron, from the colours of the canvas",
        _counts(on_screen[has_pixel]),
        _counts(states),
        bool((on_screen[has_pixel] == states).all()),
    )


def check_traces(dock: OmniMouseDock, model: str) -> Check:
    """Compare the curves of the traces with the library's prediction."""
    controller, panel = dock.controller, dock.panels["Traces"]
    assert isinstance(panel, RecordPanel)
    _, expected = library_prediction(dock, model)
    state = controller.state
    span, options = state.trace_span, (state.common_scale, state.as_large)
    # Of the window alone, and not scaled to the recording: the numbers of the library.
    controller.pins.choose_span("window")
    controller.state.common_scale, controller.state.as_large = False, False
    panel.redraw.flush()
    check = _compared(panel, expected, state.selection)
    controller.state.common_scale, controller.state.as_large = options[0], options[1]
    controller.pins.choose_span(span)
    wait_for(lambda: not controller.pins.predictions.is_busy, "the span")
    return check


def _compared(panel: RecordPanel, expected: Prediction, selection: tuple[int, ...]) -> Check:
    column = {int(neuron): k for k, neuron in enumerate(expected.neurons)}
    largest, n_samples = 0.0, 0
    for row, neuron in enumerate(selection):
        curve = panel.stacks["traces"].drawn_values(row)[1]
        if neuron not in column or not len(curve):
            continue
        # Predictions are NaN at samples that are not targets.
        values = expected.responses[:, column[neuron]]
        is_target = np.isfinite(values)
        difference = np.abs(curve[is_target] - values[is_target])
        largest = max(largest, float(difference.max(initial=0)))
        n_samples += int(is_target.sum())
    # Without any target sample, nothing was compared.
    return Check(
        "Predicted traces of the selected neurons",
        f"{n_samples} samples drawn",
        f"largest difference {largest:.1e}",
        largest <= CLOSE and n_samples > 0,
    )


def check_scores(dock: OmniMouseDock, model: str) -> Check:
    """Compare the displayed scores with newly computed correlations."""
    window, expected = library_prediction(dock, model)
    scores = dock.controller.results.scores
    assert scores is not None
    truth = window.responses[:, expected.neurons]
    computed = correlation(expected.responses, truth, axis=0)
    on_screen = scores[expected.neurons]
    return Check(
        "Mean score of the target neurons",
        f"{np.nanmean(on_screen):z.4f}",
        f"{np.nanmean(computed):z.4f}",
        # Scores travel as float32, hence the wider tolerance.
        bool(np.allclose(on_screen, computed, atol=1e-3, equal_nan=True)),
    )


def check_behavior(dock: OmniMouseDock, model: str) -> Check:
    """Compare the displayed decoded behaviour with the library's."""
    results, (_, expected) = dock.controller.results, library_prediction(dock, model)
    n_samples = f"{dock.controller.state.spec.n_behavior} samples per channel"
    if expected.behavior is None or results.behavior is None:
        # No values on both sides are correct only for a model that does not decode.
        decodes = results.needs is None or results.needs.predicts_behavior
        is_same = not decodes and expected.behavior is results.behavior is None
        return Check("Decoded behaviour", n_samples, "not decoded", is_same)
    largest = float(np.nanmax(np.abs(results.behavior - expected.behavior)))
    text = f"largest difference {largest:.1e}"
    return Check("Decoded behaviour", n_samples, text, largest <= CLOSE)


def _counts(states: np.ndarray) -> str:
    return ", ".join(
        f"{int((states == code).sum()):,} {name}" for code, name in enumerate(STATE_NAMES)
    )
