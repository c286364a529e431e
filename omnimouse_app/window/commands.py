"""Commands of the napari manifest, as offered by the command palette, in one table.

The manifest has their titles. It names a command `omnimouse_app.window.commands:NAME`;
NAME is a key of `ACTIONS`. The module must not define a function of the same name,
because Python calls `__getattr__` only for missing names.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from napari.utils.notifications import show_warning

from omnimouse_app.window.docks import OmniMouseDock, find_instrument
from omnimouse_model.analysis.stimulus_edits import Blank, Mirror
from omnimouse_model.data.window_spec import Edit
from omnimouse_model.errors import MaskError
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.mask.presets import PRESETS
from omnimouse_model.live.pin import MAX_PINS, SPAN_CHOICES, SpanChoice
from omnimouse_model.masks import BehaviorMode
from omnimouse_widgets.qt.control import view
from omnimouse_widgets.qt.control.project import AnalysisSection
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.qt.style.shortcuts import KEYS
from omnimouse_widgets.views.files import CONTENTS
from omnimouse_widgets.views.registry import docks
from omnimouse_widgets.views.text.model import VIDEO_NAMES, video_span

Action = Callable[[OmniMouseDock], object]

MODES: Final[tuple[BehaviorMode, ...]] = ("visible", "target", "hidden")
KEYED: Final = {
    "undo": "Ctrl+Z",
    "redo": "Ctrl+Shift+Z",
    "paint_visible": "1",
    "paint_hidden": "2",
    "paint_target": "3",
    "colour_by": "C",
    "toggle_areas": "A",
    "toggle_space": "Shift+D",
    "grow_painted": "G",
    "shrink_painted": "Shift+G",
    "previous_plane": "Alt+PgUp",
    "next_plane": "Alt+PgDown",
    "previous_trial": "PgUp",
    "next_trial": "PgDown",
    "previous_frame": ",",
    "next_frame": ".",
    "pin": "Shift+P",
    **{f"toggle_pin_{n}": f"Alt+{n}" for n in range(1, MAX_PINS + 1)},
    "what_if_reset": "Shift+W",
}
"""Keyboard shortcut of each command that has one."""


def _export(content: str, section: AnalysisSection) -> None:
    section.export(content)


ANALYSIS: Final[dict[str, Callable[[AnalysisSection], object]]] = {
    "save_analysis": AnalysisSection.save,
    "save_analysis_as": AnalysisSection.save_as,
    "open_analysis": AnalysisSection.open_analysis,
    **{f"export_{content}": partial(_export, content) for content in CONTENTS},
    "copy_as_python": AnalysisSection.copy_as_python,
}
"""Commands of the analysis section."""


# The functions below bind their argument, because a lambda in a comprehension would use
# the last value of the loop.
def _on_controller(action: Callable[[Controller], object]) -> Action:
    return lambda dock: action(dock.controller)


def _on_analysis(action: Callable[[AnalysisSection], object]) -> Action:
    return lambda dock: action(dock.control.analysis)


def _bring_up(title: str) -> Action:
    return lambda dock: dock.bring_up(title)


def _apply_preset(name: str) -> Action:
    def apply(dock: OmniMouseDock) -> None:
        # The palette offers all presets, whichever the session can have.
        try:
            dock.controller.editor.apply_preset(name)
        except MaskError as error:
            show_warning(f"OmniMouse: {error}")

    return apply


def _set_behavior(mode: BehaviorMode) -> Action:
    return lambda dock: dock.controller.editor.set_behavior(mode)


def _choose_span(choice: SpanChoice) -> Action:
    return lambda dock: dock.controller.pins.choose_span(choice)


def _show_video(name: str) -> Action:
    def show(dock: OmniMouseDock) -> None:
        n_frames = dock.controller.state.spec.n_frames
        dock.controller.editor.set_frames(video_span(name, n_frames))

    return show


def _filter_neurons(dock: OmniMouseDock) -> None:
    dock.bring_up("Neurons")
    panel = dock.panels["Neurons"]
    assert isinstance(panel, RecordPanel)
    panel.widgets["filter"].controls["text"].native.setFocus()


def _step_neuron(dock: OmniMouseDock, n: int) -> None:
    dock.bring_up("Neuron")
    dock.controller.neuron_info.step(n)


def _edit(dock: OmniMouseDock, edit: Edit) -> None:
    dock.bring_up("What if")
    dock.controller.stimulus_edits.put(edit)


_PRESS: Final = {key.key: key.action for key in KEYS}
# A lambda looks its objects up when it runs: the table exists before any window.
ACTIONS: Final[dict[str, Action]] = {
    **{name: _on_controller(_PRESS[key]) for name, key in KEYED.items()},
    **{name: _on_analysis(action) for name, action in ANALYSIS.items()},
    "toggle_brush": lambda dock: dock.instrument.brush.toggle("brush"),
    "toggle_lasso": lambda dock: dock.instrument.brush.toggle("lasso"),
    "restore_layers": lambda dock: dock.instrument.layers.restore(),
    "select": lambda dock: setattr(dock.instrument.brush, "tool", "select"),
    "grow_brush": lambda dock: dock.instrument.brush.grow(),
    "shrink_brush": lambda dock: dock.instrument.brush.shrink(),
    "next_window": lambda dock: dock.controller.navigation.step_window(1),
    "previous_window": lambda dock: dock.controller.navigation.step_window(-1),
    "play": lambda dock: dock.play(),
    "stop": lambda dock: dock.controller.requests.cancel(),
    "ask_again": lambda dock: dock.controller.requests.send_again(),
    "copy_score": _on_controller(lambda c: view.copy_score(c.state, c.results)),
    "filter_neurons": _filter_neurons,
    "next_neuron": lambda dock: _step_neuron(dock, 1),
    "previous_neuron": lambda dock: _step_neuron(dock, -1),
    "what_if_blank": lambda dock: _edit(dock, Blank()),
    "what_if_mirror": lambda dock: _edit(dock, Mirror()),
    "show_keys": OmniMouseDock.show_keys,
    "reset_layout": OmniMouseDock.reset_layout,
    **{panel.command: _bring_up(panel.title) for panel, _ in docks()},
    **{f"span_{choice.replace(' ', '_')}": _choose_span(choice) for choice in SPAN_CHOICES},
    **{f"preset_{preset.name}": _apply_preset(preset.name) for preset in PRESETS},
    **{f"behavior_{mode}": _set_behavior(mode) for mode in MODES},
    **{f"video_{name}": _show_video(name) for name in VIDEO_NAMES},
}


def __getattr__(name: str) -> Callable[[], Any]:
    """Return the command of a name: its action, applied to the open OmniMouse."""
    if name not in ACTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    # The manifest refers to plain functions without arguments, so each action becomes
    # one on first access.
    def command() -> None:
        ACTIONS[name](_open_dock())

    command.__name__ = name
    return command


def _open_dock() -> OmniMouseDock:
    from napari import current_viewer

    viewer = current_viewer()
    dock = None if viewer is None else find_instrument(viewer)
    if dock is None:
        raise RuntimeError("OmniMouse is not open: choose Plugins > OmniMouse first.")
    return dock
