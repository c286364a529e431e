"""Commands of the napari manifest, as offered by the command palette, in one table.

The manifest names a command `omnimouse_app.window.commands:NAME`; NAME is a key of
`ACTIONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from omnimouse_app.field import keys
from omnimouse_app.field.brush import Tool
from omnimouse_app.window.docks import PANELS, OmniMouseDock, find_instrument
from omnimouse_model.analysis.in_silico.stimulus_edits import Blank, Mirror
from omnimouse_model.data.edit_protocol import Edit
from omnimouse_model.live.mask.presets import PRESETS
from omnimouse_model.live.pin import LETTERS, MAX_PINS
from omnimouse_model.live.spans import SPAN_CHOICES, SpanChoice
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE, BehaviorMode
from omnimouse_widgets.drawn.model.task import video_span
from omnimouse_widgets.qt.control import selection as control_view
from omnimouse_widgets.qt.neurons.panel import NeuronsPanel
from omnimouse_widgets.qt.style.shortcuts import KEYS, Key, toggle_pin


@dataclass(frozen=True, slots=True)
class Action:
    """Title of a command and its effect on the open OmniMouse."""

    title: str
    act: Callable[[OmniMouseDock], object]


def _toggle(tool: Tool, dock: OmniMouseDock) -> None:
    dock.instrument.brush.toggle(tool)


def _step_window(n: int, dock: OmniMouseDock) -> None:
    dock.controller.step_window(n)


def _step_frame(n: int, dock: OmniMouseDock) -> None:
    dock.controller.step_cursor(n)


def _step_trial(n: int, dock: OmniMouseDock) -> None:
    dock.controller.trials.step(n)


def _preset(name: str, dock: OmniMouseDock) -> None:
    dock.controller.apply_preset(name)


def _video(name: str, dock: OmniMouseDock) -> None:
    n_frames = dock.controller.state.spec.n_frames
    dock.controller.set_frames(video_span(name, n_frames))


def _behavior(mode: BehaviorMode, dock: OmniMouseDock) -> None:
    dock.controller.set_behavior(mode)


def _filter(dock: OmniMouseDock) -> None:
    dock.bring_up("Neurons")
    panel = dock.panels["Neurons"]
    assert isinstance(panel, NeuronsPanel)
    panel.filter.setFocus()


def _toggle_pin(slot: int, dock: OmniMouseDock) -> None:
    toggle_pin(slot, dock.controller)


def _span(choice: SpanChoice, dock: OmniMouseDock) -> None:
    dock.controller.pins.choose_span(choice)


def _press(key: Key, dock: OmniMouseDock) -> None:
    key.action(dock.controller)


def _finetune(dock: OmniMouseDock) -> None:
    dock.control.model.finetune.open_up()


def _bring_up(title: str, dock: OmniMouseDock) -> None:
    dock.bring_up(title)


def _neuron(n: int, dock: OmniMouseDock) -> None:
    dock.bring_up("Neuron")
    dock.controller.neuron_info.step(n)


def _what_if(edit: Edit, dock: OmniMouseDock) -> None:
    dock.bring_up("What if")
    dock.controller.stimulus_edits.put(edit)


MODES: tuple[BehaviorMode, ...] = ("visible", "target", "hidden")
VIDEO_TITLES = {
    "all": "every frame",
    "none": "no frame",
    "first": "the first second",
    "last": "the last second",
}
KEYED = {
    "A": "toggle_areas",
    "Shift+D": "toggle_space",
    "G": "grow_painted",
    "Shift+G": "shrink_painted",
    "Alt+PgUp": "previous_plane",
    "Alt+PgDown": "next_plane",
}
"""Names of the commands that do the same as a key, by key."""
# A lambda looks its objects up when it runs: the table exists before any window.
ACTIONS: dict[str, Action] = {
    "undo": Action("Undo the last stroke", lambda d: d.controller.undo()),
    "redo": Action("Redo the last stroke", lambda d: d.controller.redo()),
    "toggle_brush": Action(
        "Take up the brush, or put it down",
        partial(_toggle, "brush"),
    ),
    "toggle_lasso": Action(
        "Take up the lasso, or put it down",
        partial(_toggle, "lasso"),
    ),
    "select": Action(
        "Select neurons by clicking",
        lambda d: setattr(d.instrument.brush, "tool", "select"),
    ),
    "grow_brush": Action("Brush: larger radius", lambda d: d.instrument.brush.grow()),
    "shrink_brush": Action(
        "Brush: smaller radius", lambda d: d.instrument.brush.shrink()
    ),
    "paint_visible": Action("Paint visible", lambda d: d.controller.set_brush(VISIBLE)),
    "paint_hidden": Action("Paint hidden", lambda d: d.controller.set_brush(HIDDEN)),
    "paint_target": Action("Paint target", lambda d: d.controller.set_brush(TARGET)),
    "colour_by": Action(
        "Colour neurons by state, or by what was chosen last",
        lambda d: d.controller.colouring.toggle(),
    ),
    **{
        name: Action(
            key.description[0].upper() + key.description[1:], partial(_press, key)
        )
        for key in KEYS
        for name in [KEYED.get(key.key)]
        if name is not None
    },
    "next_window": Action("Next window", partial(_step_window, 1)),
    "previous_window": Action("Previous window", partial(_step_window, -1)),
    "next_trial": Action("Next trial", partial(_step_trial, 1)),
    "previous_trial": Action("Previous trial", partial(_step_trial, -1)),
    "next_frame": Action("Next frame", partial(_step_frame, 1)),
    "previous_frame": Action("Previous frame", partial(_step_frame, -1)),
    "play": Action("Play or pause", lambda d: d.play()),
    "stop": Action("Stop predicting", lambda d: d.controller.cancel()),
    "ask_again": Action("Ask again", lambda d: d.controller.request_again()),
    "finetune": Action("Fine-tune the model to this recording", _finetune),
    "copy_score": Action(
        "Copy the score with its definition",
        lambda d: control_view.copy_score(d.controller),
    ),
    "pin": Action("Pin this condition", lambda d: d.controller.pins.pin_or_notify()),
    **{
        f"toggle_pin_{n}": Action(
            f"Pins: show or hide {LETTERS[n - 1]}", partial(_toggle_pin, n - 1)
        )
        for n in range(1, MAX_PINS + 1)
    },
    **{
        f"span_{choice.replace(' ', '_')}": Action(
            f"Traces: show the {choice}", partial(_span, choice)
        )
        for choice in SPAN_CHOICES
    },
    "show_context": Action(
        "Context: the score against how much is given",
        lambda d: d.bring_up("Context"),
    ),
    "filter_neurons": Action(
        "Choose neurons by words: the filter of the table, and paint them",
        lambda d: _filter(d),
    ),
    **{
        f"show_{title.lower().replace(' ', '_')}": Action(
            f"Show the dock {title}", partial(_bring_up, title)
        )
        for title in (place.title for place in PANELS)
        if title != "Context"
    },
    "next_neuron": Action("Neuron: the next selected one", partial(_neuron, 1)),
    "previous_neuron": Action("Neuron: the selected one before", partial(_neuron, -1)),
    "what_if_blank": Action("What if: a blank screen", partial(_what_if, Blank())),
    "what_if_mirror": Action("What if: mirrored video", partial(_what_if, Mirror())),
    "what_if_reset": Action(
        "What if: all as recorded", lambda d: d.controller.stimulus_edits.reset()
    ),
    "save_analysis": Action("Save the analysis", lambda d: d.control.analysis.save()),
    "save_analysis_as": Action(
        "Save the analysis as…", lambda d: d.control.analysis.save_as()
    ),
    "open_analysis": Action(
        "Open an analysis…", lambda d: d.control.analysis.open_analysis()
    ),
    "export_table": Action(
        "Export the table of neurons…", lambda d: d.control.analysis.export_table()
    ),
    "export_arrays": Action(
        "Export the arrays of the window…",
        lambda d: d.control.analysis.export_arrays(),
    ),
    "export_figure": Action(
        "Export a figure of the traces…", lambda d: d.control.analysis.export_figure()
    ),
    "export_report": Action(
        "Report of what is on screen…", lambda d: d.control.analysis.export_report()
    ),
    "copy_as_python": Action(
        "Copy as Python", lambda d: d.control.analysis.copy_as_python()
    ),
    "show_keys": Action("Show the keys", lambda _: keys.show_keys()),
    **{
        f"preset_{preset.name}": Action(
            f"Preset: {preset.label}", partial(_preset, preset.name)
        )
        for preset in PRESETS
    },
    **{
        f"video_{name}": Action(f"Video: the model sees {words}", partial(_video, name))
        for name, words in VIDEO_TITLES.items()
    },
    **{
        f"behavior_{mode}": Action(f"Behaviour: {mode}", partial(_behavior, mode))
        for mode in MODES
    },
}


def __getattr__(name: str) -> Callable[[], Any]:
    """Return the command of a name: its action, applied to the open OmniMouse."""
    if name not in ACTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def command() -> None:
        ACTIONS[name].act(_open())

    # The manifest refers to plain functions without arguments, so each action becomes
    # one on first access.
    command.__name__, command.__doc__ = name, ACTIONS[name].title
    return command


def _open() -> OmniMouseDock:
    from napari import current_viewer

    viewer = current_viewer()
    dock = None if viewer is None else find_instrument(viewer)
    if dock is None:
        raise RuntimeError("OmniMouse is not open: choose Plugins > OmniMouse first.")
    return dock
