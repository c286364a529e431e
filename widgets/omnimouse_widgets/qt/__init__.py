"""Qt panels for a `Controller`; this package does not import napari.

qtpy is imported here, before pyqtgraph, so that pyqtgraph uses the same Qt binding.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import qtpy as qtpy

if TYPE_CHECKING:
    from omnimouse_widgets.qt.context.panel import ContextPanel as ContextPanel
    from omnimouse_widgets.qt.control.panel import ControlPanel as ControlPanel
    from omnimouse_widgets.qt.neurons.info_panel import (
        NeuronFactsPanel as NeuronFactsPanel,
    )
    from omnimouse_widgets.qt.neurons.panel import NeuronsPanel as NeuronsPanel
    from omnimouse_widgets.qt.neurons.repeats_panel import RepeatsPanel as RepeatsPanel
    from omnimouse_widgets.qt.raster.panel import RasterPanel as RasterPanel
    from omnimouse_widgets.qt.recordings.panel import RecordingsPanel as RecordingsPanel
    from omnimouse_widgets.qt.style.ui_thread import qt_post as qt_post
    from omnimouse_widgets.qt.timeline.panel import TimePanel as TimePanel
    from omnimouse_widgets.qt.timeline.playback import Playback as Playback
    from omnimouse_widgets.qt.timeline.stimulus_panel import (
        StimulusPanel as StimulusPanel,
    )
    from omnimouse_widgets.qt.traces.behavior_panel import (
        BehaviorPanel as BehaviorPanel,
    )
    from omnimouse_widgets.qt.traces.panel import TracesPanel as TracesPanel
    from omnimouse_widgets.qt.what_if.panel import WhatIfPanel as WhatIfPanel

# Module of each public name, relative to this package. Panels are imported on first
# use (PEP 562), so that one panel does not load the others.
_HOMES = {
    "BehaviorPanel": "traces.behavior_panel",
    "ContextPanel": "context.panel",
    "ControlPanel": "control.panel",
    "NeuronFactsPanel": "neurons.info_panel",
    "NeuronsPanel": "neurons.panel",
    "Playback": "timeline.playback",
    "RasterPanel": "raster.panel",
    "RecordingsPanel": "recordings.panel",
    "RepeatsPanel": "neurons.repeats_panel",
    "StimulusPanel": "timeline.stimulus_panel",
    "TimePanel": "timeline.panel",
    "TracesPanel": "traces.panel",
    "WhatIfPanel": "what_if.panel",
    "qt_post": "style.ui_thread",
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
    """Import a panel on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
