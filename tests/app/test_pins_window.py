"""Pins and spans in the whole window: real events, and the numbers of the library."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_app.tour.hand import wait_for
from omnimouse_model.live.pin import LIVE

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def test_a_condition_is_pinned_compared_over_ten_seconds_and_taken_back(dock):
    controller, panel = dock.controller, dock.panels["Traces"]
    pins, state, stack = controller.pins, controller.state, panel.stack
    dock.main_window.activateWindow()
    stack.canvas.setFocus()
    wait_for(stack.canvas.hasFocus, "the keyboard")
    QTest.keyClick(panel, Qt.Key.Key_P, Qt.KeyboardModifier.ShiftModifier)
    assert [pin.name for pin in state.pins] == ["Video + behaviour"]
    pinned = state.mask
    pins.choose_span("window")
    controller.set_traces(common_scale=False, as_large=False)
    controller.apply_preset("random_half_video_behavior")
    panel.bar.span.setFocus()
    QTest.keyClick(panel.bar.span, Qt.Key.Key_Down)

    def is_answered():
        there = not pins.predictions.is_busy and {LIVE, 0} <= set(
            pins.predictions.spans
        )
        return there and not pins.predictions.is_old(pins.predictions.spans[LIVE])

    wait_for(is_answered, "the span")
    n_rows = len(state.selection)
    for slot in (LIVE, 0):
        span = pins.predictions.spans[slot].span

        def is_drawn(row, slot=slot, wanted=span.responses):
            if slot == LIVE:
                drawn = stack.drawn_values(row)[1]
            else:
                drawn = stack.drawn_overlay(row, slot)
            return len(drawn) == len(wanted) and np.allclose(
                drawn, wanted[:, row], atol=1e-4, equal_nan=True
            )

        wait_for(lambda f=is_drawn: all(map(f, range(n_rows))), "the traces")
        for row, score in enumerate(span.scores):
            words = f"{score:.2f}" if np.isfinite(score) else "–"
            wait_for(lambda r=row, w=words: w in stack.labels[r], words)
    panel.bar.chip_menu(0).actions()[0].trigger()
    assert state.mask is pinned
    controller.undo()
    assert state.preset == "random_half_video_behavior"
    panel.bar.chip_menu(0).actions()[2].trigger()
    QTest.keyClick(panel.bar.span, Qt.Key.Key_Up)
    assert state.pins == ()
    assert state.trace_span == "window"
    wait_for(lambda: stack.drawn_values(0)[0].shape == (60,), "the window's traces")
