"""Hint on the canvas of a first start."""

from dataclasses import replace

import pytest
from napari.components import ViewerModel

from omnimouse_app.window.instrument import FirstHint
from omnimouse_model.data.open import open_session
from omnimouse_model.live.state_store import StateStore
from tests.predictors import NoisyPredictor, open_controller


@pytest.fixture
def controller(session_folder):
    # Not `session`: its one instance is that of the other folders of tests.
    with open_controller(open_session(session_folder), NoisyPredictor()) as made:
        yield made


def test_it_names_the_inputs_until_the_first_stroke(controller):
    viewer = ViewerModel()
    hint = FirstHint.of(viewer, controller)
    shown = viewer.canvas.overlays.text
    assert shown.visible
    assert "from video + behaviour:" in shown.text
    controller.editor.paint([0], 1)
    assert not shown.visible
    controller.editor.undo()
    assert not shown.visible
    hint.close()


def test_it_ends_with_other_colours_than_it_explains(controller):
    viewer = ViewerModel()
    hint = FirstHint.of(viewer, controller)
    controller.colouring.choose("depth")
    assert not viewer.canvas.overlays.text.visible
    hint.close()


def test_no_line_is_wider_than_the_canvas(controller):
    viewer = ViewerModel()
    hint = FirstHint.of(viewer, controller)
    shown = viewer.canvas.overlays.text
    for width in (900, 330):
        viewer.canvas.size = (300, width)
        assert max(map(len, shown.text.split("\n"))) <= width / 9
    hint.close()
    viewer.canvas.size = (300, 500)
    assert not shown.visible


def test_a_later_start_and_another_text_stay_as_they_are(controller, monkeypatch):
    viewer = ViewerModel()
    shown = viewer.canvas.overlays.text
    shown.text, shown.visible = "frame 3", True
    FirstHint.of(viewer, controller).close()
    assert (shown.text, shown.visible) == ("frame 3", True)
    last = replace(controller.store.load(), session="mouse")
    monkeypatch.setattr(StateStore, "load", lambda _: last)
    viewer = ViewerModel()
    FirstHint.of(viewer, controller)
    assert not viewer.canvas.overlays.text.visible
