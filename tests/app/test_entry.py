"""Entries from napari: an unsuitable napari gets one line; docks come to the front."""

import gc
import re
from importlib.metadata import PackageNotFoundError
from weakref import ref

import pytest

from omnimouse_app.tour.hand import wait_for
from omnimouse_app.window import launch as opening
from omnimouse_app.window import memory
from omnimouse_app.window.docks import DOCK_NAME
from omnimouse_app.window.entry import PluginWidget, instrument_of
from omnimouse_model.errors import SessionFormatError


def older(name):
    return "0.6.6"


def absent(name):
    raise PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("version", "line"),
    [
        (
            older,
            r'napari 0\.9\.2 or newer, and this is 0\.6\.6: pip install "omnimouse-app\[napari',
        ),
        (absent, r'napari is not installed: pip install "omnimouse-app\[napari,pyqt6\]"'),
    ],
)
def test_an_older_or_missing_napari_is_one_line_from_every_entry(monkeypatch, version, line):
    monkeypatch.setattr(opening, "version", version)
    for entry in (PluginWidget, instrument_of, opening.launch):
        with pytest.raises(ModuleNotFoundError, match=line) as caught:
            entry(None)
        assert "\n" not in str(caught.value)


class Cycle:
    """Garbage that only a search for cycles finds."""

    def __init__(self):
        self.me = self


@pytest.fixture
def unfrozen():
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("is_first", [True, False])
def test_garbage_of_a_viewer_that_was_closed_before_goes_and_imports_are_left_out(
    unfrozen, is_first
):
    # Before the first viewer, a search would take a tenth of the start.
    with memory.paused_collection():
        left = ref(Cycle())
        memory.leave_out_imports(is_first=is_first)
        assert (left() is None) != is_first
    assert gc.get_freeze_count() > 0


@pytest.mark.gui
@pytest.mark.slow
def test_menu_launch_and_sample_show_one_main_panel_in_front_each_time(dock, tmp_path, monkeypatch):
    from napari._app_model import get_app_model

    main = dock.docks["OmniMouse"]
    assert main.name == DOCK_NAME
    for _ in range(3):
        dock.bring_up("What if")
        for is_shown in (False, True):
            get_app_model().commands.execute_command("omnimouse-app.open").result(10)
            assert main.isVisible() == is_shown
        wait_for(lambda: not main.visibleRegion().isEmpty(), "the main panel in front")
    dock.bring_up("What if")
    with pytest.raises(SessionFormatError):
        opening.launch(tmp_path, viewer=dock.viewer)
    wait_for(lambda: not main.visibleRegion().isEmpty(), "the main panel in front")
    dock.bring_up("What if")
    monkeypatch.setattr(dock.controller.loader, "open", lambda sample: None)
    dock.viewer.open_sample("omnimouse-app", "demo")
    wait_for(lambda: not main.visibleRegion().isEmpty(), "the main panel in front")
    names = [name for name in dock.viewer.window.dock_widgets if re.match(r"OmniMouse\b", name)]
    assert names == [DOCK_NAME]
