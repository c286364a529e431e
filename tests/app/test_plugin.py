"""The manifest: what napari finds, and that every entry of it works."""

import shutil
from importlib import import_module
from pathlib import Path
from time import thread_time

import numpy as np
import pytest
from npe2 import PluginManifest

from omnimouse_app.reader import get_reader, layers_of, read
from omnimouse_model.analysis.edits import Blank, Mirror
from omnimouse_model.data.open import open_session
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from tests import SUITE2P

MANIFEST = Path(import_module("omnimouse_app").__file__).with_name("napari.yaml")


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_file(MANIFEST)


def test_the_manifest_is_valid_and_named_like_the_distribution(manifest):
    manifest.validate_imports()
    assert manifest.name == "omnimouse-app"
    assert manifest.display_name == "OmniMouse"
    assert [w.display_name for w in manifest.contributions.widgets] == ["OmniMouse"]
    assert [s.display_name for s in manifest.contributions.sample_data] == [
        "OmniMouse demo",
        "unseen mouse",
    ]


def test_the_reader_takes_a_session_folder_and_nothing_else(session_folder, tmp_path):
    assert get_reader(str(session_folder)) is read
    assert get_reader([str(session_folder)]) is read
    assert get_reader([str(session_folder)] * 2) is None
    assert get_reader(str(tmp_path)) is None
    assert get_reader(str(tmp_path / "nothing here")) is None
    for name in ("one", "two"):
        shutil.copytree(SUITE2P, tmp_path / "recordings" / name)
    assert get_reader(str(tmp_path / "recordings")) is read
    (tmp_path / "image.tif").touch()
    assert get_reader(str(tmp_path / "image.tif")) is None


def test_the_reader_decides_in_milliseconds(session_folder, tmp_path):
    crowded = tmp_path / "crowded"
    crowded.mkdir()
    for number in range(500):
        (crowded / f"{number}.tif").touch()
    for path in (session_folder, crowded):
        times = []
        for _ in range(5):
            since = thread_time()
            get_reader(str(path))
            times.append(thread_time() - since)
        assert min(times) < 0.02


def test_without_a_window_the_reader_gives_plain_layers(session_folder):
    (mean, _, image), (labels, _, kind) = layers_of(str(session_folder))
    assert (image, kind) == ("image", "labels")
    assert mean.shape == labels.shape
    assert len(np.unique(labels)) == 151


@pytest.mark.gui
def test_opened_through_napari_the_plugin_brings_all_docks_and_opens_the_session(
    qapp, session_folder, monkeypatch, tmp_path
):
    import napari

    from omnimouse_app.docks import PANELS, OmniMouseDock, find_instrument
    from omnimouse_app.hand import settle, wait_for

    monkeypatch.setenv("OMNIMOUSE_CONFIG", str(tmp_path))
    viewer = napari.Viewer(show=True)
    _, dock = viewer.window.add_plugin_dock_widget("omnimouse-app", "OmniMouse")
    assert isinstance(dock, OmniMouseDock)
    wait_for(lambda: len(dock.docks) == len(PANELS) + 1, "the docks", 20)
    dock.controller.choose_predictor("mean")
    viewer.open(str(session_folder), plugin="omnimouse-app")
    assert find_instrument(viewer) is dock
    wait_for(lambda: dock.controller.state.session is not None, "the session", 60)
    assert dock.controller.state.session.path == session_folder
    results = dock.controller.results
    wait_for(lambda: results.error or results.freshness == "fresh", "an answer", 90)
    assert results.error is None
    for sample in ("demo", "unseen"):
        monkeypatch.setattr(
            f"omnimouse_model.demo.{sample}_session", lambda progress: session_folder
        )
        before = dock.controller.state.session
        viewer.open_sample("omnimouse-app", sample)
        state = dock.controller.state
        wait_for(lambda was=before, state=state: state.session is not was, "it", 60)
        assert len(viewer.layers) == 3
        assert dock.controller.state.session.path == session_folder
    dock.close_viewer()
    settle()


PROBE = """
import json, sys
import napari
run = napari.run

def probed(**options):
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QDockWidget
    [window] = [napari.current_viewer().window._qt_window]
    timer, turns = QTimer(window), []

    def look():
        turns.append(1)
        docks = window.findChildren(QDockWidget)
        shown = [(d.windowTitle(), d.objectName()) for d in docks]
        if any("(OmniMouse)" in name for _, name in shown) or len(turns) > 600:
            timer.stop()
            print(json.dumps(shown), flush=True)
            window.close()

    timer.timeout.connect(look)
    timer.start(100)
    run(**options)

napari.run = probed
from napari.__main__ import main
sys.argv = ["napari", "-w", "omnimouse-app"]
main()
"""
"""The `napari` command as it is, but for a look at its window once that is up."""


@pytest.mark.gui
def test_the_napari_command_of_somebody_else_brings_the_docks(tmp_path):
    import json
    import os
    import subprocess
    import sys

    from omnimouse_app.docks import PANELS

    env = os.environ | {
        "OMNIMOUSE_CONFIG": str(tmp_path),
        "NAPARI_CONFIG": str(tmp_path / "napari.yaml"),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env=env,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout.strip().splitlines()[-1])
    titles = {title for title, _ in shown}
    assert titles >= {"OmniMouse", *(place.title for place in PANELS)}, shown
    assert "Traceback" not in done.stderr


@pytest.mark.gui
def test_a_sample_is_made_off_the_thread_that_draws_and_nothing_else_is_opened(
    qapp, session_folder, monkeypatch, tmp_path
):
    import threading

    import napari

    from omnimouse_app.docks import find_instrument
    from omnimouse_app.hand import settle, wait_for
    from omnimouse_model.live.memory import Remembered, remember

    monkeypatch.setenv("OMNIMOUSE_CONFIG", str(tmp_path))
    remember(Remembered(str(session_folder), "mean"))
    let_on, made_on, opened = threading.Event(), [], []

    def simulated(progress):
        made_on.append(threading.current_thread())
        progress(0.4)
        assert let_on.wait(60)
        return session_folder

    monkeypatch.setattr("omnimouse_model.demo.demo_session", simulated)
    monkeypatch.setattr(
        "omnimouse_model.live.opening.open_session",
        lambda path: opened.append(path) or open_session(path),
    )
    viewer = napari.Viewer(show=True)
    viewer.open_sample("omnimouse-app", "demo")
    dock = find_instrument(viewer)
    progress = dock.control.session.progress
    wait_for(lambda: "40 %" in progress.text(), "the progress", 60)
    assert made_on[0] is not threading.current_thread()
    assert dock.controller.state.session is None
    let_on.set()
    wait_for(lambda: dock.controller.state.session is not None, "the session", 60)
    assert opened == [session_folder]
    wait_for(lambda: len(viewer.layers) == 3, "its layers", 20)
    dock.close_viewer()
    settle()


def test_the_palette_offers_the_table_of_commands(manifest):
    from omnimouse_app.commands import ACTIONS

    offered = {
        command.python_name.partition(":")[2]: command.title
        for command in manifest.contributions.commands
        if command.python_name.startswith("omnimouse_app.commands")
    }
    assert offered == {name: action.title for name, action in ACTIONS.items()}


def test_no_key_is_taken_twice_nor_from_the_viewer():
    from napari.utils.shortcuts import default_shortcuts

    from omnimouse_app.keys import FIELD_KEYS, PANEL_KEYS, all_keys
    from omnimouse_widgets.qt.keys import KEYS

    listed = [key.key for key in KEYS] + [*PANEL_KEYS, *FIELD_KEYS]
    single = [key for group in listed for key in group.split(" ")]
    assert len(set(single)) == len(single)
    assert list(all_keys()) == listed
    of_layers = ("labels", "label", "brush", "points", "shapes", "shape", "image",
                 "polygon", "vectors", "tracks", "surface", "vertex", "contrast",
                 "plane", "direct", "select_all", "select_append", "select_mode",
                 "ellipse", "line", "path", "rectangle", "pan_zoom")  # fmt: skip
    everywhere = {
        str(key)
        for action, keys in default_shortcuts.items()
        if not any(word in action for word in of_layers)
        for key in keys
    }
    assert {"Ctrl+R", "V", "Ctrl+G"} <= everywhere
    assert not everywhere & set(single)


COMMANDS = {
    "1": "paint_visible",
    "2": "paint_hidden",
    "3": "paint_target",
    ",": "previous_frame",
    ".": "next_frame",
    "PgUp": "previous_trial",
    "PgDown": "next_trial",
    "Alt+PgUp": "previous_plane",
    "Alt+PgDown": "next_plane",
    "C": "colour_by",
    "A": "toggle_areas",
    "Shift+D": "toggle_space",
    "G": "grow_painted",
    "Shift+G": "shrink_painted",
    "Shift+P": "pin",
    "Alt+1": "toggle_pin_1",
    "Alt+2": "toggle_pin_2",
    "Alt+3": "toggle_pin_3",
    "Alt+4": "toggle_pin_4",
    "N": "next_neuron",
    "Shift+N": "previous_neuron",
    "Shift+W": "what_if_reset",
    "Ctrl+Z": "undo",
    "Ctrl+Shift+Z": "redo",
    "Ctrl+S": "save_analysis",
    "P": "toggle_brush",
    "L": "toggle_lasso",
    "[": "shrink_brush",
    "]": "grow_brush",
    "K": "play",
    "?": "show_keys",
}
HELD_OR_MOUSE = {"H", "Space", "Ctrl-click", "Alt-drag"}


def test_every_key_has_a_command_unless_it_is_held_or_the_mouses():
    from omnimouse_app.commands import ACTIONS
    from omnimouse_app.keys import all_keys

    single = {key for group in all_keys() for key in group.split(" ")}
    assert single - HELD_OR_MOUSE == COMMANDS.keys()
    assert set(COMMANDS.values()) <= ACTIONS.keys()


def test_titles_cannot_be_taken_for_each_other():
    from omnimouse_app.commands import ACTIONS

    titles = [action.title for action in ACTIONS.values()]
    assert len(set(titles)) == len(titles)
    for name in ("grow", "shrink"):
        assert "radius" in ACTIONS[f"{name}_brush"].title
        assert "painted, by a distance" in ACTIONS[f"{name}_painted"].title


def states_after(dock) -> dict:
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
        "what_if_blank": lambda: state.edits == (Blank(),),
        "what_if_mirror": lambda: state.edits == (Blank(), Mirror()),
        "what_if_reset": lambda: state.edits == (),
        "pin": lambda: len(state.pins) == 1,
        "toggle_pin_1": lambda: not state.pins[0].is_shown,
        "span_10_s": lambda: state.trace_span == "10 s",
        "span_window": lambda: state.trace_span == "window",
        "toggle_areas": lambda: state.areas_shown,
        "toggle_space": lambda: state.in_space,
        "next_neuron": lambda: controller.facts.focus in state.selection,
        "behavior_hidden": lambda: state.mask.behavior == "hidden",
        "behavior_target": lambda: state.mask.behavior == "target",
        "behavior_visible": lambda: state.mask.behavior == "visible",
    }


@pytest.mark.gui
def test_commands_do_what_their_titles_say(dock):
    from qtpy.QtWidgets import QApplication

    from omnimouse_app import commands
    from omnimouse_app.hand import settle, wait_for

    controller, results = dock.controller, dock.controller.results
    dock.viewer.window.activate()
    for name, is_so in states_after(dock).items():
        if name.startswith("paint"):
            dock.instrument.brush.tool = "select"
        getattr(commands, name)()
        assert is_so(), name
    commands.toggle_areas()
    commands.toggle_space()
    state = controller.state
    assert not state.areas_shown
    assert not state.in_space
    mask = controller.state.mask
    commands.undo()
    assert controller.state.mask != mask
    commands.redo()
    assert controller.state.mask == mask
    start = controller.state.window.start_s
    commands.next_window()
    assert controller.state.window.start_s == pytest.approx(start + 2, abs=0.1)
    commands.previous_window()
    assert controller.state.window.start_s == pytest.approx(start, abs=0.1)
    dock.docks["Stimulus"].hide()
    commands.play()
    assert dock.panels["Stimulus"].playback.is_playing
    assert dock.docks["Stimulus"].isVisible()
    commands.play()
    commands.stop()
    asked = results.asked
    commands.ask_again()
    assert results.asked == asked + 1
    wait_for(lambda: results.population_freshness == "fresh", "scores")
    QApplication.clipboard().clear()
    commands.copy_score()
    copied = QApplication.clipboard().text()
    for words in ("Pearson", "echo", "neurons visible", "80001", "made by hand"):
        assert words in copied
    commands.show_keys()
    (box,) = find_boxes()
    for key in ("<b>1<", "Ctrl+Z", "Alt-drag", "<b>?<", "paint hidden"):
        assert key in box.text()
    commands.show_keys()
    assert find_boxes() == [box]
    box.close()
    settle()
    assert not find_boxes()
    commands.preset_nothing()
    controller.paint([20], VISIBLE)
    controller.reaching.set_distance(80.0)
    n_visible = []
    for act in (lambda: None, commands.grow_painted, commands.shrink_painted):
        act()
        n_visible.append(int((state.mask.state_in(state.active_span) == VISIBLE).sum()))
    assert n_visible[0] == 1
    assert n_visible[1] > max(n_visible[0], n_visible[2])


@pytest.mark.gui
def test_page_keys_step_trials_wherever_the_focus_is_and_with_alt_planes(
    dock, monkeypatch
):
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    from omnimouse_app.canvas import Canvas
    from omnimouse_app.hand import settle

    controller = dock.controller
    stepped = []
    monkeypatch.setattr(
        type(controller.planes), "step", lambda _, n: stepped.append(("plane", n))
    )
    monkeypatch.setattr(
        type(controller.trials), "step", lambda _, n: stepped.append(("trial", n))
    )
    field = Canvas(dock.viewer, dock.main_window).widget
    dock.viewer.window.activate()
    dock.viewer.layers.selection.active = dock.instrument.layers.neurons
    page_up, page_down = Qt.Key.Key_PageUp, Qt.Key.Key_PageDown
    alt = Qt.KeyboardModifier.AltModifier
    wanted = [("trial", -1), ("trial", 1), ("plane", -1), ("plane", 1)]
    for title, widget in (("field", field), *dock.panels.items()):
        if title != "field":
            dock.bring_up(title)
            settle(0.1)
        widget.setFocus()
        for keys in (Qt.KeyboardModifier.NoModifier, alt):
            QTest.keyClick(widget, page_up, keys)
            QTest.keyClick(widget, page_down, keys)
        assert stepped == wanted, title
        stepped.clear()
    view = dock.panels["Neurons"].view
    dock.bring_up("Neurons")
    settle(0.2)
    view.setFocus()
    view.setCurrentIndex(view.model().index(0, 0))
    view.scrollToTop()
    top = view.verticalScrollBar().value()
    QTest.keyClick(view, page_down)
    QTest.keyClick(view, page_down)
    assert not stepped
    assert view.verticalScrollBar().value() > top
    dock.bring_up("Traces")


def find_boxes():
    from qtpy.QtWidgets import QApplication

    return [
        widget
        for widget in QApplication.topLevelWidgets()
        if widget.objectName() == "omnimouse-keys" and widget.isVisible()
    ]
