"""The manifest: what napari finds, and that every entry of it works."""

import shutil
import threading
from importlib import import_module
from pathlib import Path

import napari
import numpy as np
import pytest
import zarr
from napari.utils.shortcuts import default_shortcuts
from npe2 import PluginManifest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QTextBrowser

from omnimouse_app.field.canvas import FIELD_KEYS, PANEL_KEYS, Canvas, all_keys
from omnimouse_app.tour.hand import settle, wait_for
from omnimouse_app.window import commands
from omnimouse_app.window.docks import BRUSH, find_instrument
from omnimouse_app.window.reader import get_reader, layers_of, read
from omnimouse_model.analysis.stimulus_edits import Blank, Mirror
from omnimouse_model.data.open import open_session
from omnimouse_model.live.state_store import LastSession, write_last_session
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_model.simulate.demo import SimulatedSession
from omnimouse_widgets.qt.style.shortcuts import KEYS
from omnimouse_widgets.views.registry import PANELS, docks
from tests import SUITE2P
from tests.app.windows import wait_for_rest

MANIFEST = Path(import_module("omnimouse_app").__file__).with_name("napari.yaml")


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_file(MANIFEST)


def test_the_manifest_is_valid_and_named_like_the_distribution(manifest):
    manifest.validate_imports()
    assert manifest.name == "omnimouse-app"
    assert MANIFEST.with_name(manifest.icon.split(":")[1]).is_file()
    assert manifest.categories
    assert len(manifest.contributions.widgets) == 1
    assert len(manifest.contributions.sample_data) == 2


def test_the_palette_offers_every_action_and_every_dock(manifest):
    titles = {
        command.id.removeprefix("omnimouse-app."): command.title
        for command in manifest.contributions.commands
        if command.python_name == command.id.replace("omnimouse-app.", f"{commands.__name__}:")
    }
    assert set(titles) == set(commands.ACTIONS)
    for panel, _ in docks():
        assert titles[panel.command] == f"Show the dock {panel.title}"


def test_the_reader_takes_recordings_and_nothing_else(session_folder, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(SUITE2P, tmp_path / "recordings" / name)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "image.tif").touch()
    session, recordings = str(session_folder), str(tmp_path / "recordings")
    predictions = str(tmp_path / "twin.zarr")
    zarr.create_group(predictions, attributes={"format": "omnimouse-predictions"})
    for path in (session, [session], recordings, predictions):
        assert get_reader(path) is read
    others = [tmp_path / name for name in ("images", "nothing", "images/image.tif")]
    for path in ([session] * 2, *map(str, others)):
        assert get_reader(path) is None


def test_without_a_window_the_reader_gives_plain_layers(session_folder):
    (mean, _, image), (labels, _, kind) = layers_of(str(session_folder))
    assert (image, kind) == ("image", "labels")
    assert mean.shape == labels.shape
    assert len(np.unique(labels)) == 151


@pytest.mark.gui
@pytest.mark.slow
def test_samples_are_made_off_the_thread_that_draws_and_recordings_open_through_napari(
    qapp, echo, session_folder, monkeypatch, tmp_path
):
    monkeypatch.setenv("OMNIMOUSE_CONFIG", str(tmp_path))
    loader = "omnimouse_app.window.instrument.WorkerPredictor"
    monkeypatch.setattr(loader, lambda *_: echo)
    write_last_session(LastSession(str(session_folder), "mean"))
    let_on, made_on, opened = threading.Event(), [], []

    def simulate(_sample, job):
        made_on.append(threading.current_thread())
        job.progress(0.4, 1.0)
        assert let_on.wait(60)
        return session_folder

    monkeypatch.setattr(SimulatedSession, "__call__", simulate)
    monkeypatch.setattr(
        "omnimouse_model.live.first_view.open_session",
        lambda path: opened.append(path) or open_session(path),
    )
    viewer = napari.Viewer(show=True)
    viewer.open_sample("omnimouse-app", "demo")
    dock = find_instrument(viewer)
    state, progress = dock.controller.state, dock.control.recording.progress
    assert [*dock.docks] == ["OmniMouse", BRUSH, *(panel.title for panel, _ in docks())]
    wait_for(lambda: "40 %" in progress.text(), "the progress")
    assert not dock.control.recording.summary.isVisible()  # asks for no recording
    assert made_on[0] is not threading.current_thread()
    assert state.session is None
    let_on.set()
    wait_for(lambda: state.session is not None, "the session")
    assert opened == [session_folder]  # and not what is remembered
    for source in (session_folder, "unseen"):
        before = state.session
        if source == "unseen":
            viewer.open_sample("omnimouse-app", source)
        else:
            viewer.open(str(source), plugin="omnimouse-app")
        wait_for(lambda was=before: state.session is not was, str(source), 60)
        wait_for(lambda: len(viewer.layers) == 3, "its layers")
        assert state.session.path == session_folder
    # Another name of the plugin than that of its dock.
    viewer.window.add_plugin_dock_widget("omnimouse-app")
    widgets = viewer.window.dock_widgets
    wait_for(lambda: len(widgets) == len(dock.docks), "the second dock to be removed")
    assert find_instrument(viewer) is dock
    dock.close_viewer()


ABOUT_LAYERS = """
labels label brush points shapes shape image polygon vectors tracks surface vertex
contrast plane direct select_all select_append select_mode ellipse line path rectangle
pan_zoom
"""


def test_no_key_is_taken_twice_nor_from_the_viewer():
    listed = [key.key for key in KEYS] + [*PANEL_KEYS, *FIELD_KEYS]
    single = [key for group in listed for key in group.split(" ")]
    assert len(set(single)) == len(single)
    assert list(all_keys()) == listed
    everywhere = {
        str(key)
        for action, keys in default_shortcuts.items()
        if not any(word in action for word in ABOUT_LAYERS.split())
        for key in keys
    }
    assert {"Ctrl+R", "V", "Ctrl+G"} <= everywhere
    assert not everywhere & set(single)


def command_effects(dock) -> dict:
    """What each command leaves behind, in words of the state."""
    controller, brush = dock.controller, dock.instrument.brush
    state = controller.state
    return {
        "toggle_lasso": lambda: brush.tool == "lasso",
        "toggle_brush": lambda: brush.tool == "brush",
        "select": lambda: brush.tool == "select",
        "paint_hidden": lambda: (state.brush_code, brush.tool) == (HIDDEN, "brush"),
        "paint_target": lambda: (state.brush_code, brush.tool) == (TARGET, "brush"),
        "paint_visible": lambda: (state.brush_code, brush.tool) == (VISIBLE, "brush"),
        "grow_brush": lambda: brush.radius == pytest.approx(14 * 1.25),
        "shrink_brush": lambda: brush.radius == pytest.approx(14),
        "colour_by": lambda: state.colour_by == "score",
        "next_frame": lambda: state.cursor == 1,
        "previous_frame": lambda: state.cursor == 0,
        "preset_video_only": lambda: state.preset == "video_only",
        "video_none": lambda: not state.mask.frames.any(),
        "video_first": lambda: state.mask.frames.sum() == 30,
        "video_last": lambda: state.mask.frames[30:].all(),
        "video_all": lambda: state.mask.frames.all(),
        "show_neurons": lambda: not dock.panels["Neurons"].visibleRegion().isEmpty(),
        "filter_neurons": lambda: (
            dock.main_window.focusWidget()
            is dock.panels["Neurons"].widgets["filter"].controls["text"].native
        ),
        "what_if_blank": lambda: state.edits == (Blank(),),
        "what_if_mirror": lambda: state.edits == (Blank(), Mirror()),
        "what_if_reset": lambda: state.edits == (),
        "pin": lambda: len(state.pins) == 1,
        "toggle_pin_1": lambda: not state.pins[0].is_shown,
        "span_10_s": lambda: state.trace_span == "10 s",
        "span_window": lambda: state.trace_span == "window",
        "toggle_areas": lambda: state.areas_shown,
        "toggle_space": lambda: state.in_space,
        "next_neuron": lambda: controller.neuron_info.focus in state.selection,
        "behavior_hidden": lambda: state.mask.behavior == "hidden",
        "behavior_target": lambda: state.mask.behavior == "target",
        "behavior_visible": lambda: state.mask.behavior == "visible",
    }


@pytest.mark.gui
@pytest.mark.slow
def test_commands_do_what_their_titles_say(dock, monkeypatch):
    controller, results = dock.controller, dock.controller.results
    monkeypatch.setattr("napari.current_viewer", lambda: dock.viewer)
    for name, is_so in command_effects(dock).items():
        if name.startswith("paint"):
            dock.instrument.brush.tool = "select"
        getattr(commands, name)()
        wait_for(is_so, name)
    commands.toggle_areas()
    commands.toggle_space()
    state = controller.state
    assert not state.areas_shown
    assert not state.in_space
    mask = state.mask
    commands.undo()
    assert state.mask != mask
    commands.redo()
    assert state.mask == mask
    start = state.window.start_s
    commands.next_window()
    assert state.window.start_s == pytest.approx(start + 2, abs=0.1)
    commands.previous_window()
    assert state.window.start_s == pytest.approx(start, abs=0.1)
    dock.docks["Stimulus"].hide()
    commands.play()
    assert dock.panels["Stimulus"].view.playback.is_playing
    assert dock.docks["Stimulus"].isVisible()
    dock.docks["Stimulus"].hide()  # before it is drawn
    assert not dock.panels["Stimulus"].view.playback.is_playing
    commands.play()
    commands.play()
    assert not dock.panels["Stimulus"].view.playback.is_playing
    commands.stop()
    asked = results.newest_request
    commands.ask_again()
    assert results.newest_request == asked + 1
    wait_for(lambda: results.population_freshness == "fresh", "scores")
    QApplication.clipboard().clear()
    commands.copy_score()
    copied = QApplication.clipboard().text()
    for words in ("correlation", "echo", "neurons visible", "80001"):
        assert words in copied
    for _ in range(2):  # and no second window
        commands.show_keys()
        (box,) = visible_key_windows()
    panels = [text for panel in PANELS for text in (panel.title, panel.help)]
    shown = box.findChild(QTextBrowser).toPlainText()
    for text in ("1\n", "Ctrl+Z", "Alt-drag", "?\n", "paint hidden", "Highest", *panels):
        assert text in shown
    box.close()
    settle()
    assert not visible_key_windows()
    window = dock.main_window
    dock.docks["Traces"].close()
    dock.docks["Raster"].setFloating(True)
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock.docks["Time"])
    commands.reset_layout()
    wait_for_rest(dock)
    assert dock.docks["Traces"].isVisible()
    assert not dock.docks["Raster"].isFloating()
    assert window.dockWidgetArea(dock.docks["Time"]) == Qt.DockWidgetArea.BottomDockWidgetArea
    commands.preset_nothing()
    controller.editor.paint([20], VISIBLE)
    controller.painted_region.set_distance(80.0)
    n_visible = []
    for act in (lambda: None, commands.grow_painted, commands.shrink_painted):
        act()
        n_visible.append(int((state.mask.state_in(state.active_span) == VISIBLE).sum()))
    assert n_visible[0] == 1
    assert n_visible[1] > max(n_visible[0], n_visible[2])


def visible_key_windows():
    windows = QApplication.topLevelWidgets()
    keys = [one for one in windows if one.objectName() == "omnimouse-keys"]
    return [one for one in keys if one.isVisible()]


@pytest.mark.gui
@pytest.mark.slow
def test_page_keys_step_trials_anywhere_and_with_alt_planes(dock, monkeypatch):
    steps, controller = [], dock.controller
    planes, navigation = type(controller.planes), type(controller.navigation)
    for what, owner, name in (("planes", planes, "step"), ("trials", navigation, "step_trial")):
        monkeypatch.setattr(owner, name, lambda _, n, what=what: steps.append((what, n)))
    dock.viewer.window.activate()
    dock.viewer.layers.selection.active = dock.instrument.layers.neurons
    page_up, page_down = Qt.Key.Key_PageUp, Qt.Key.Key_PageDown
    none, alt = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.AltModifier
    wanted = [("trials", -1), ("trials", 1), ("planes", -1), ("planes", 1)]

    def seen(widget):
        wait_for(lambda: not widget.visibleRegion().isEmpty(), "the widget")
        widget.setFocus()
        return widget

    field = Canvas(dock.viewer, dock.main_window).widget
    for title, widget in (("field", field), *dock.panels.items()):
        if title != "field":
            dock.bring_up(title)
        seen(widget)
        for keys in (none, alt):
            QTest.keyClick(widget, page_up, keys)
            QTest.keyClick(widget, page_down, keys)
        assert steps == wanted, title
        steps.clear()
    dock.bring_up("Neurons")
    view = seen(dock.panels["Neurons"].tables["rows"].widget)
    wait_for(lambda: view.verticalScrollBar().maximum() > 0, "the rows")
    view.setCurrentIndex(view.model().index(0, 0))
    view.scrollToTop()
    top = view.verticalScrollBar().value()
    QTest.keyClick(view, page_down)
    QTest.keyClick(view, page_down)
    assert not steps
    assert view.verticalScrollBar().value() > top
