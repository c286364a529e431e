"""The registry: no front end lacks a panel without a reason."""

from pkgutil import resolve_name

from qtpy.QtWidgets import QWidget

from omnimouse_widgets.jupyter.explorer import Explorer
from omnimouse_widgets.jupyter.transport.part import Part
from omnimouse_widgets.views.registry import PANELS, docks


def test_every_dock_names_a_panel_that_exists_once():
    panels = [resolve_name(f"omnimouse_widgets.{dock.panel}") for _, dock in docks()]
    assert all(issubclass(panel, QWidget) or hasattr(panel, "blocks") for panel in panels)
    assert len(set(panels)) == len(panels)
    titles = [panel.title for panel in PANELS]
    assert len(set(titles)) == len(titles)


def test_every_part_of_an_explorer_is_that_of_a_panel(controller):
    explorer = Explorer(controller=controller)
    parts = {name for name, value in vars(explorer).items() if isinstance(value, Part)}
    explorer.close()
    assert {panel.part for panel in PANELS if panel.part} == parts


def test_a_panel_that_a_front_end_lacks_has_a_reason_and_no_other_has_one():
    for panel in PANELS:
        is_everywhere = panel.dock is not None and bool(panel.part)
        assert bool(panel.reason) != is_everywhere, panel.title
        assert panel.help.endswith("."), panel.title
        if panel.is_tab:
            assert panel.part, panel.title


def test_one_dock_of_each_place_is_in_front():
    front = [dock.tabs for _, dock in docks() if dock.is_front]
    assert sorted(front) == ["results", "samples", "stimulus", "time"]
