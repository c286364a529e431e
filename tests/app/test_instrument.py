"""Title and frames of a window, hint of a first start, preferences."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QWidget

from omnimouse_app.field.canvas import OneFrame
from omnimouse_app.window import instrument
from omnimouse_app.window.instrument import FirstHint, Instrument, Preferences, preferences
from omnimouse_model.data.open import open_session
from omnimouse_model.live.state_store import StateStore
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.views.field.probes import LEFT
from tests.predictors import NoisyPredictor, open_controller
from tests.small_sessions import write_session
from tests.widgets.pointer import next_turn, pass_time, stop_clock


@pytest.fixture
def controller(session_folder):
    # Not `session`: its one instance is that of the other folders of tests.
    with open_controller(open_session(session_folder), NoisyPredictor()) as made:
        yield made


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def hint(viewer, controller):
    made = FirstHint.of(controller, viewer=viewer)
    yield made
    made.close()


def test_it_names_the_inputs_until_the_first_stroke(hint, viewer, controller):
    shown = viewer.canvas.overlays.text
    assert shown.visible
    assert "from video + behaviour:" in shown.text
    controller.editor.paint([0], 1)
    assert not shown.visible
    controller.editor.undo()
    assert not shown.visible


def test_it_ends_with_other_colours_than_it_explains(hint, viewer, controller):
    controller.colouring.choose("depth")
    assert not viewer.canvas.overlays.text.visible


def test_no_line_is_wider_than_the_canvas(hint, viewer):
    shown = viewer.canvas.overlays.text
    for width in (900, 330):
        viewer.canvas.size = (300, width)
        assert max(map(len, shown.text.split("\n"))) <= width / 9
    hint.close()
    viewer.canvas.size = (300, 500)
    assert not shown.visible


def test_a_text_of_more_lines_is_placed_anew(hint, viewer, controller, monkeypatch):
    shown, placed = viewer.canvas.overlays.text, []
    shown.events.position.connect(lambda: placed.append(shown.text))
    monkeypatch.setattr(instrument, "guide_text", lambda *_: "four\nlines\nof\nwords")
    controller.results.changed.emit()
    # napari moves it at this event; without one, its last line is below the canvas.
    assert placed[-1] == shown.text == "four\nlines\nof\nwords"


def test_it_covers_no_depth_of_a_recording_from_probes(viewer, tmp_path):
    path = tmp_path / "probes.npz"
    np.savez(path, **spiking_arrays(SpikingSpec(n_trials=8)))
    with open_controller(open_session(path), NoisyPredictor()) as controller:
        hint, shown = FirstHint.of(controller, viewer=viewer), viewer.canvas.overlays.text
        height, width = viewer.canvas.size = (325, 520)
        assert shown.position == "bottom_right"
        # The field is a square in the middle, and the depths are on the left in it.
        free = width - (width - height) / 2 - LEFT * height
        assert max(map(len, shown.text.split("\n"))) <= free / 9
        hint.close()


def test_a_later_start_and_another_text_stay_as_they_are(viewer, controller, monkeypatch):
    shown = viewer.canvas.overlays.text
    shown.text, shown.visible = "frame 3", True
    FirstHint.of(controller, viewer=viewer).close()
    assert (shown.text, shown.visible) == ("frame 3", True)
    last = replace(controller.store.load(), session="mouse")
    monkeypatch.setattr(StateStore, "load", lambda _: last)
    viewer = ViewerModel()
    FirstHint.of(controller, viewer=viewer)
    assert not viewer.canvas.overlays.text.visible


# -- title and frames of a window ----------------------------------------------------
@pytest.mark.parametrize("first", ["napari", "mine"])
def test_each_instrument_of_a_viewer_names_its_recording(qapp, session_folder, tmp_path, first):
    model = NoisyPredictor()
    viewer, folders = ViewerModel(title=first), [session_folder, write_session(tmp_path / "b", 12)]
    for folder in folders:
        with open_controller(open_session(folder), model) as controller:
            instrument = Instrument(viewer, controller)
            name = controller.state.session.id
            titles = {"napari": f"{name} · {model.predictor_id} · OmniMouse Studio"}
            assert viewer.title == titles.get(first, first)
            instrument.close()
            assert viewer.title == first


class Window(QWidget):
    """A window whose frames take 0.02 s."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.n_frames = clock, 0

    def event(self, event):
        if event.type() == QEvent.Type.UpdateRequest:
            self.n_frames += 1
            self.clock[0] += 0.02
            return True
        return super().event(event)


@pytest.mark.parametrize(("panels_s", "n_waits"), [(0.02, 3), (0.01, 0)])
def test_a_frame_waits_at_most_three_turns_after_long_panels(qtbot, monkeypatch, panels_s, n_waits):
    clock = stop_clock(monkeypatch)
    monkeypatch.setattr("omnimouse_app.field.canvas.monotonic", lambda: clock[0])
    monkeypatch.setattr("omnimouse_app.field.canvas.TURN_MS", 3_600_000)
    window = Window(clock)
    qtbot.addWidget(window)
    frame = OneFrame(window)
    pass_time(clock, Redraw.panels, panels_s)
    for _ in range(5):
        QCoreApplication.sendEvent(window, QEvent(QEvent.Type.UpdateRequest))
    for _ in range(n_waits):
        next_turn(frame)
        assert window.n_frames == 0
    next_turn(frame)
    assert window.n_frames == 1
    assert Redraw.frames.is_long
    next_turn(frame)
    assert window.n_frames == 1


# -- preferences of the plugin: defaults, and what napari has stored -----------------
@pytest.fixture
def config(monkeypatch, tmp_path):
    """Folder of napari's settings, and the plugins whose settings were read."""
    reads: list[str] = []
    saved = SimpleNamespace(predictor="mean", in_process=True, brush_radius=3)

    def get_plugin_settings(name):
        reads.append(name)
        return SimpleNamespace(opening=saved)

    own = SimpleNamespace(config_path=tmp_path / "settings.yaml")
    monkeypatch.setattr("napari.settings.get_settings", lambda: own)
    monkeypatch.setattr("napari.settings.get_plugin_settings", get_plugin_settings)
    return tmp_path, reads


def test_defaults_need_no_manifest_of_any_plugin(config):
    assert preferences() == Preferences()
    assert config[1] == []


def test_stored_preferences_are_read(config):
    (config[0] / "omnimouse-app.yaml").write_text("opening:\n  in_process: true\n")
    assert preferences() == Preferences("mean", True, 3.0)
    assert config[1] == ["omnimouse-app"]
