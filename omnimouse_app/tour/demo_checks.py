"""Comparisons of the values on screen with a new computation by the library.

Each check reads the screen (canvas pixels, curves of a plot) and computes the same
request with the library in this process.
"""

import numpy as np

from omnimouse_app.field.canvas import Canvas, states_on_screen
from omnimouse_app.tour.hand import settle
from omnimouse_app.tour.page import Check
from omnimouse_app.window.docks import OmniMouseDock
from omnimouse_model.metrics import correlation
from omnimouse_model.predict.predictor import Prediction
from omnimouse_model.predict.registry import load_predictor
from omnimouse_widgets.palette import STATE_NAMES
from omnimouse_widgets.qt.traces.panel import TracesPanel

CLOSE = 1e-4
"""Maximum difference between two runs of the same model."""


def computed(dock: OmniMouseDock, model: str) -> Prediction:
    """Return the library's prediction for the request on screen, computed here."""
    state = dock.controller.state
    assert state.session is not None
    assert state.window is not None
    assert state.mask is not None
    predictor = load_predictor(model, [state.session])
    return predictor.predict(state.window, state.mask)


def check_states(dock: OmniMouseDock, model: str) -> Check:
    """Compare the colours on the canvas with the mask."""
    controller, layers = dock.controller, dock.instrument.layers
    mask, selection = controller.state.mask, controller.state.selection
    assert mask is not None
    assert layers.field is not None
    # Selected neurons have a white rim, which would change the measured colours.
    controller.select([])
    settle(0.3)
    shown = states_on_screen(Canvas(dock.viewer, dock.main_window), layers.field)
    controller.select(selection)
    states = mask.state_in(controller.state.active_span)
    seen = shown >= 0
    return Check(
        "State of each neuron, from the colours of the canvas",
        _counts(shown[seen]),
        _counts(states[seen]),
        bool((shown[seen] == states[seen]).all()),
    )


def check_traces(dock: OmniMouseDock, model: str) -> Check:
    """Compare the curves of the traces with the library's prediction."""
    panel, answer = dock.panels["Traces"], computed(dock, model)
    assert isinstance(panel, TracesPanel)
    column = {int(neuron): k for k, neuron in enumerate(answer.neurons)}
    worst, compared = 0.0, 0
    for row, neuron in enumerate(dock.controller.state.selection):
        drawn = panel.stack.drawn_values(row)[1]
        if neuron not in column or not len(drawn):
            continue
        expected = answer.responses[:, column[neuron]]
        # Predictions are NaN at samples that are not targets.
        known = np.isfinite(expected)
        worst = max(worst, float(np.abs(drawn[known] - expected[known]).max(initial=0)))
        compared += int(known.sum())
    return Check(
        "Predicted traces of the selected neurons",
        f"{compared} samples drawn",
        f"largest difference {worst:.1e}",
        worst <= CLOSE and compared > 0,
    )


def check_scores(dock: OmniMouseDock, model: str) -> Check:
    """Compare the displayed scores with newly computed correlations."""
    state, results = dock.controller.state, dock.controller.results
    answer = computed(dock, model)
    assert state.window is not None
    assert results.scores is not None
    truth = state.window.responses[:, answer.neurons]
    fresh = correlation(answer.responses, truth, axis=0)
    shown = results.scores[answer.neurons]
    return Check(
        "Mean score of the neurons asked for",
        f"{np.nanmean(shown):.4f}",
        f"{np.nanmean(fresh):.4f}",
        bool(np.allclose(shown, fresh, atol=1e-3, equal_nan=True)),
    )


def check_behavior(dock: OmniMouseDock, model: str) -> Check:
    """Compare the displayed decoded behaviour with the library's."""
    results, answer = dock.controller.results, computed(dock, model)
    n_behavior = dock.controller.state.spec.n_behavior
    if answer.behavior is None or results.behavior is None:
        # No values on both sides are correct only for a model that does not decode.
        decodes = results.needs is None or results.needs.predicts_behavior
        same = not decodes and answer.behavior is results.behavior is None
        worst = "not decoded by this model"
    else:
        difference = np.abs(results.behavior - answer.behavior)
        same, worst = (
            float(np.nanmax(difference)) <= CLOSE,
            f"{np.nanmax(difference):.1e}",
        )
    words = f"{n_behavior} samples a channel"
    return Check("Decoded behaviour", words, f"largest {worst}", same)


def _counts(states: np.ndarray) -> str:
    return ", ".join(
        f"{int((states == code).sum()):,} {word}"
        for code, word in enumerate(STATE_NAMES)
    )
