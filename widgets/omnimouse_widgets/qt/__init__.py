"""Qt panels: each takes a Controller, none knows napari.

qtpy is imported first, here, so that pyqtgraph takes the binding qtpy has chosen.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import qtpy as qtpy

if TYPE_CHECKING:
    from omnimouse_widgets.qt.behavior import BehaviorPanel as BehaviorPanel
    from omnimouse_widgets.qt.context import ContextPanel as ContextPanel
    from omnimouse_widgets.qt.control import ControlPanel as ControlPanel
    from omnimouse_widgets.qt.hop import qt_post as qt_post
    from omnimouse_widgets.qt.neuron_facts import NeuronFactsPanel as NeuronFactsPanel
    from omnimouse_widgets.qt.neurons import NeuronsPanel as NeuronsPanel
    from omnimouse_widgets.qt.playback import Playback as Playback
    from omnimouse_widgets.qt.raster import RasterPanel as RasterPanel
    from omnimouse_widgets.qt.recordings import RecordingsPanel as RecordingsPanel
    from omnimouse_widgets.qt.stimulus import StimulusPanel as StimulusPanel
    from omnimouse_widgets.qt.time import TimePanel as TimePanel
    from omnimouse_widgets.qt.traces import TracesPanel as TracesPanel
    from omnimouse_widgets.qt.what_if import WhatIfPanel as WhatIfPanel

_HOMES = {
    "BehaviorPanel": "behavior",
    "ContextPanel": "context",
    "ControlPanel": "control",
    "NeuronFactsPanel": "neuron_facts",
    "NeuronsPanel": "neurons",
    "Playback": "playback",
    "RasterPanel": "raster",
    "RecordingsPanel": "recordings",
    "RepeatsPanel": "repeats",
    "StimulusPanel": "stimulus",
    "TimePanel": "time",
    "TracesPanel": "traces",
    "WhatIfPanel": "what_if",
    "qt_post": "hop",
}
__all__ = [
    "BehaviorPanel",
    "ContextPanel",
    "ControlPanel",
    "NeuronFactsPanel",
    "NeuronsPanel",
    "Playback",
    "RasterPanel",
    "RecordingsPanel",
    "RepeatsPanel",
    "StimulusPanel",
    "TimePanel",
    "TracesPanel",
    "WhatIfPanel",
    "qt_post",
]


def __getattr__(name: str) -> Any:
    """Import a panel when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
