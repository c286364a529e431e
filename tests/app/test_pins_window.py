"""Pins and spans in the whole window: real events, and the numbers of the library."""

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_app.hand import settle, wait_for
from omnimouse_model.analysis.spans import predict_span
from omnimouse_model.live.pins import LIVE


def test_a_condition_is_pinned_compared_over_ten_seconds_and_taken_back(dock, echo):
    panel, controller = dock.panels["Traces"], dock.controller
    dock.docks["Traces"].raise_()
    settle(0.2)
    panel.stack.canvas.setFocus()
    QTest.keyClick(panel, Qt.Key.Key_P, Qt.KeyboardModifier.ShiftModifier)
    assert [pin.name for pin in controller.state.pins] == ["Video + behaviour"]
    pinned = controller.state.mask
    controller.apply_preset("random_half_video_behavior")
    panel.bar.span.setFocus()
    QTest.keyClick(panel.bar.span, Qt.Key.Key_Down)
    wait_for(
        lambda: (
            not controller.pins.is_busy
            and {LIVE, 0} <= set(controller.pins.spans)
            and not controller.pins.is_old(controller.pins.spans[LIVE])
        ),
        "the span",
    )
    settle(0.2)
    page, session = controller.pins.page, controller.state.session
    neurons = np.array(controller.state.selection)
    for slot, mask in ((LIVE, controller.state.mask), (0, pinned)):
        expected = predict_span(echo, session, mask, *page, neurons=neurons)
        found = controller.pins.spans[slot]
        np.testing.assert_array_equal(found.span.responses, expected.responses)
        np.testing.assert_array_equal(found.scores, expected.scores)
        for row, score in enumerate(expected.scores):
            words = f"{score:.2f}" if np.isfinite(score) else "–"
            assert words in panel.stack.labels[row]
            drawn = (
                panel.stack.drawn_values(row)[1]
                if slot == LIVE
                else panel.stack.drawn_overlay(row, slot)
            )
            np.testing.assert_allclose(drawn, expected.responses[:, row], atol=1e-4)
    panel.bar.chip_menu(0).actions()[0].trigger()
    assert controller.state.mask is pinned
    controller.undo()
    assert controller.state.preset == "random_half_video_behavior"
    panel.bar.chip_menu(0).actions()[2].trigger()
    QTest.keyClick(panel.bar.span, Qt.Key.Key_Up)
    settle(0.1)
    assert controller.state.pins == ()
    assert controller.state.trace_span == "window"
    assert panel.stack.drawn_values(0)[0].shape == (60,)
