"""The registry: no front end lacks a panel without a reason."""

import inspect
import re
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import get_args

import pytest
from ipywidgets import Tab
from psygnal import SignalInstance
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QSlider, QWidget

import omnimouse_widgets
from omnimouse_widgets.jupyter import explorer as explorer_module
from omnimouse_widgets.jupyter.explorer import Explorer
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.jupyter.transport.part import Part
from omnimouse_widgets.qt.control.panel import BrushPanel, ControlPanel
from omnimouse_widgets.qt.form import SettingsForm
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.qt.style.segmented_button import SegmentedButton
from omnimouse_widgets.views.record import (
    Action,
    CellMarks,
    Choice,
    Frames,
    Item,
    Mark,
    Number,
    Place,
    Plot,
    Switch,
    Timeline,
    items_of,
)
from omnimouse_widgets.views.registry import PANELS, docks
from omnimouse_widgets.views.stimulus import StimulusView
from omnimouse_widgets.views.time import TimeView

PAGE = Path(omnimouse_widgets.__file__).parent / "jupyter" / "static"


def test_every_dock_names_a_panel_that_exists_once():
    panels = [resolve_name(f"omnimouse_widgets.{dock.panel}") for _, dock in docks()]
    assert all(hasattr(panel, "blocks") for panel in panels)
    assert len(set(panels)) == len(panels)
    titles = [panel.title for panel in PANELS]
    assert len(set(titles)) == len(titles)


def on_page(widget):
    """Yield a notebook widget and all that it contains."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from on_page(child)


def test_every_panel_has_its_part_on_the_page_of_an_explorer(controller):
    explorer = Explorer(controller=controller)
    parts = {name: value for name, value in vars(explorer).items() if isinstance(value, Part)}
    assert {panel.part for panel in PANELS if panel.part} == set(parts)
    shown = list(on_page(explorer.widget))
    assert [name for name, part in parts.items() if part not in shown] == []
    (tabs,) = (widget for widget in shown if isinstance(widget, Tab))
    named = [panel for panel in PANELS if panel.is_tab]
    assert list(tabs.titles) == [panel.title for panel in named]
    for panel, child in zip(named, tabs.children, strict=True):
        assert parts[panel.part] in list(on_page(child))
    explorer.close()


def test_a_panel_without_traits_needs_no_class_in_notebooks(controller, monkeypatch):
    (scores,) = (panel for panel in PANELS if panel.part == "neuron_scores")
    plain = replace(scores, part="plain", widget="", title="Plain")
    monkeypatch.setattr(explorer_module, "PANELS", (*PANELS, plain))
    explorer = Explorer(controller=controller)
    assert isinstance(explorer.plain, RecordPart)
    assert not isinstance(explorer.plain, type(explorer.neuron_scores).__bases__)
    assert type(explorer.plain._panel) is type(explorer.neuron_scores._panel)
    assert explorer.plain in list(on_page(explorer.widget))
    explorer.close()


def test_both_front_ends_draw_the_same_view_of_a_panel(controller):
    explorer = Explorer(controller=controller)
    views: dict[str, list[str]] = {}
    for panel, dock in docks():
        views.setdefault(panel.part, []).append(dock.panel)
    # The page plays frames that it keeps; all else is of the two views.
    video = views.pop("video")
    assert [type(explorer.video._session), type(explorer.video._stimulus)] == [
        resolve_name(f"omnimouse_widgets.{path}") for path in video
    ]
    for name, (path,) in views.items():
        part = getattr(explorer, name)
        assert isinstance(part, RecordPart)
        assert type(part._panel) is resolve_name(f"omnimouse_widgets.{path}")
    explorer.close()


def test_the_page_of_the_video_has_each_field_and_action_of_its_views(controller):
    views = StimulusView.of(controller), TimeView.of(controller)
    page = (PAGE / "video.js").read_text("utf-8")
    (listed,) = re.findall(r"buttons = new Map\(\[([^\]]*)\]", page)
    for item in items_of([*views[0].bar(), *views[1].steps()]):
        if isinstance(item, (Choice, Number)):
            assert re.search(rf"items\.{item.name}\b", page), item.name
        is_stride = item.name.startswith("stride")  # of a list that the page fills
        if isinstance(item, (Action, Switch)) and item.label and not is_stride:
            assert f'"{item.name}"' in listed, item.name


# The page draws these in parts of its own, `video.js` and `raster.js`.
OF_OTHERS = {Frames, Timeline, Place, CellMarks}


@pytest.mark.parametrize(
    "kind", sorted(set(get_args(Item)) - OF_OTHERS, key=str), ids=lambda kind: kind.__name__
)
def test_the_page_draws_each_kind_of_item(kind):
    page = (PAGE / "panel.js").read_text("utf-8")
    name = kind.__name__.lower()
    # Marks are no items of a column: they move over what is drawn.
    is_mark = kind in get_args(Mark) and f'"{name}"' in page
    assert is_mark or re.search(rf"^ +{name}[:(]", page, re.MULTILINE)


@pytest.mark.parametrize("kind", get_args(Item), ids=lambda kind: kind.__name__)
def test_napari_draws_each_kind_of_item(kind):
    if kind in get_args(Mark):
        drawn = [(rf"isinstance\(mark, record\.{kind.__name__}\)", RecordPanel._show_mark)]
    else:
        case = rf"(case|\|) record\.{kind.__name__}\("
        # Plots are all made by the last lines.
        makes = [] if kind in get_args(Plot) else [RecordPanel._make]
        drawn = [(case, function) for function in (*makes, RecordPanel._show)]
    for pattern, function in drawn:
        assert re.search(pattern, inspect.getsource(function)), function.__name__


MAIN = {
    "bar": "model.model=predictor task.preset=preset task.region=preset task.video=video "
    "task.behavior=behavior model.cancel=stop model.download.stop=stop model.again=repeat "
    "model.connect_button=connect model.wait=wait model.restart=restart model.refine=refine "
    "model.stored=file_mask model.info.instead=predictor",
    "painter": "brush.code=code brush.start=span brush.stop=span brush.tool=tool "
    "brush.radius=radius brush.undo=undo brush.redo=redo view.areas=areas_shown "
    "view.colour_by=colour_by view.clear=selection view.legend.compute=compute "
    "view.planes.plane=plane",
    "files": "recording.series=reading recording.rate=rate recording.use_rate=rate "
    "advanced.rate=reading analysis.more=export",
    "finetune": "model.finetune=train model.info.finetune=train",
}
"""Part of an `Explorer`: control of the main panel = its trait, message or form there."""
IN_CODE = {
    "advanced.cuts advanced.start advanced.stop advanced.guarded": "Explorer.mask",
    "analysis.save_button analysis.connect_button analysis.find_button": "controller.project",
    "recording.open model.download.resume": "Explorer.open",
    "baseline.choice model.device": "Explorer(baseline=, device=)",
    "brush.grow brush.shrink brush.distance": "controller.painted_region",
    "clock_check.button": "om.check_alignment",
    "view.copy": "Explorer.scores",
    "view.planes.space": "3-D is napari's",
    "analysis.dismiss analysis.stop_button recording.dismiss recording.notes_button "
    "model.download.dismiss": "what they close or open is always shown, or an exception",
}
"""Controls that notebooks lack, because a line of code is shorter."""
MENUS = {
    "recording.open": "Folder…|File (NWB, npz)…|Recordings in a folder…|"
    "Address (https, model hub)…|Sample|Recent||Properties of neurons (CSV)…|"
    "Options of the reader…",
    "analysis.more": "Save analysis|Save analysis as…|Open analysis…|Recent analyses|"
    "Backups of unsaved work…||Export…|Copy as Python",
}
"""Entries of the menus of the main panel, with their separators."""


def controls_of(panel, name=""):
    """Names and widgets of the controls of a widget and of its own parts."""
    kinds = QAbstractButton, QComboBox, QAbstractSpinBox, QSlider, QLineEdit
    for key, value in vars(panel).items():
        if isinstance(value, (*kinds, SegmentedButton, SettingsForm)):
            yield f"{name}{key}", value
        elif isinstance(value, QWidget) and type(value).__module__.startswith("omnimouse_"):
            yield from controls_of(value, f"{name}{key}.")


@pytest.mark.gui
def test_each_control_of_the_main_panel_is_in_notebooks_or_a_line_of_code(qapp, controller):
    class FieldBrush:
        tool, radius = "brush", 3.0
        tool_changed, radius_changed = SignalInstance(), SignalInstance()

    panels = ControlPanel.of(controller), BrushPanel.of(controller, FieldBrush())
    pairs = {name: dict(pair.split("=") for pair in text.split()) for name, text in MAIN.items()}
    listed = [control for found in pairs.values() for control in found]
    listed += [control for controls in IN_CODE for control in controls.split()]
    drawn = {}
    for panel in panels:
        found = {name: one for name, one in controls_of(panel) if "_section." not in name}
        assert [name for name, one in found.items() if not panel.isAncestorOf(one)] == []
        drawn |= found
    assert sorted(listed) == sorted(drawn)
    for name, entries in MENUS.items():
        found = [action.text().partition("\t")[0] for action in drawn[name].menu().actions()]
        assert found == entries.split("|"), name
    explorer = Explorer(controller=controller)
    for name, found in pairs.items():
        part = getattr(explorer, name)
        for target in found.values():
            is_form = hasattr(getattr(part, "_panel", None), target)
            assert part.has_trait(target) or hasattr(part, f"on_{target}") or is_form, target
            # Fields and actions of a record are drawn by their kind.
            is_drawn = is_form or isinstance(part, RecordPart)
            asked = (
                rf'(set|send|follow|switches)\("{target}|, "{target}"\)|"{target}"[^\n]*buttonOf'
            )
            assert is_drawn or re.search(asked, part._esm), target
    explorer.close()


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
