"""The manifest: what napari finds, and that every entry of it works."""

from importlib import import_module
from pathlib import Path
from time import thread_time

import numpy as np
import pytest
from npe2 import PluginManifest

from omnimouse_app.reader import get_reader, layers_of, read

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

    from omnimouse_app.docks import OmniMouseDock, find_instrument
    from omnimouse_app.hand import settle, wait_for

    monkeypatch.setenv("OMNIMOUSE_CONFIG", str(tmp_path))
    viewer = napari.Viewer(show=True)
    _, dock = viewer.window.add_plugin_dock_widget("omnimouse-app", "OmniMouse")
    assert isinstance(dock, OmniMouseDock)
    wait_for(lambda: len(dock.docks) == 7, "the docks", 20)
    dock.controller.choose_predictor("mean")
    viewer.open(str(session_folder), plugin="omnimouse-app")
    assert find_instrument(viewer) is dock
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
        wait_for(lambda was=before, state=state: state.session is not was, "it", 20)
        assert len(viewer.layers) == 2
        assert dock.controller.state.session.path == session_folder
    dock.close_viewer()
    settle()


@pytest.mark.gui
def test_every_command_of_the_palette_does_what_its_title_says(dock, manifest):
    from omnimouse_app import commands
    from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE

    controller, brush = dock.controller, dock.instrument.brush
    dock.viewer.window.activate()
    before = controller.state.mask
    controller.paint([0], HIDDEN)
    controller.paint([1], TARGET)
    painted = controller.state.mask
    commands.undo()
    assert controller.state.mask != painted
    commands.redo()
    assert controller.state.mask == painted
    assert before != painted
    for command, code in (
        (commands.paint_hidden, HIDDEN),
        (commands.paint_target, TARGET),
        (commands.paint_visible, VISIBLE),
    ):
        command()
        assert controller.state.brush_code == code
    commands.toggle_lasso()
    assert brush.tool == "lasso"
    commands.toggle_brush()
    assert brush.tool == "brush"
    commands.colour_by()
    assert controller.state.colour_by == "score"
    start = controller.state.window.start_s
    commands.next_window()
    assert controller.state.window.start_s == pytest.approx(start + 2, abs=0.1)
    commands.previous_window()
    assert controller.state.window.start_s == pytest.approx(start, abs=0.1)
    commands.play()
    assert dock.panels["Stimulus"].playback.is_playing
    commands.play()
    commands.show_keys()
    tested = {
        command.python_name.split(":")[1]
        for command in manifest.contributions.commands
        if command.python_name.startswith("omnimouse_app.commands")
    }
    assert tested == {n for n in dir(commands) if callable(getattr(commands, n))} - {
        "OmniMouseDock",
        "find_instrument",
        "toggle_colour",
        "_open",
    }
