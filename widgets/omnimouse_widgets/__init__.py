"""Views of a `Controller`: Qt panels, and widgets for Jupyter notebooks.

The Jupyter widgets are public names of this package, e.g. `Explorer`. They are
imported on first use, so that importing this package does not import a toolkit.
"""

from typing import TYPE_CHECKING

from omnimouse_model.public_names import public_names

if TYPE_CHECKING:
    from omnimouse_widgets.jupyter.behavior import BehaviorDecoder as BehaviorDecoder
    from omnimouse_widgets.jupyter.control_bar import ControlBar as ControlBar
    from omnimouse_widgets.jupyter.explorer import Explorer as Explorer
    from omnimouse_widgets.jupyter.finetune import FineTune as FineTune
    from omnimouse_widgets.jupyter.laboratory import Laboratory as Laboratory
    from omnimouse_widgets.jupyter.neuron import Neuron as Neuron
    from omnimouse_widgets.jupyter.painter import MaskPainter as MaskPainter
    from omnimouse_widgets.jupyter.ranking import Ranking as Ranking
    from omnimouse_widgets.jupyter.raster import Raster as Raster
    from omnimouse_widgets.jupyter.scores import NeuronScores as NeuronScores
    from omnimouse_widgets.jupyter.sweep import ContextSweep as ContextSweep
    from omnimouse_widgets.jupyter.table import NeuronTable as NeuronTable
    from omnimouse_widgets.jupyter.traces import Traces as Traces
    from omnimouse_widgets.jupyter.trials import Repeats as Repeats
    from omnimouse_widgets.jupyter.trials import Trials as Trials
    from omnimouse_widgets.jupyter.video import VideoScrubber as VideoScrubber
    from omnimouse_widgets.jupyter.what_if import WhatIf as WhatIf

_NAMES = {
    "jupyter.behavior": "BehaviorDecoder",
    "jupyter.control_bar": "ControlBar",
    "jupyter.explorer": "Explorer",
    "jupyter.finetune": "FineTune",
    "jupyter.laboratory": "Laboratory",
    "jupyter.neuron": "Neuron",
    "jupyter.painter": "MaskPainter",
    "jupyter.ranking": "Ranking",
    "jupyter.raster": "Raster",
    "jupyter.scores": "NeuronScores",
    "jupyter.sweep": "ContextSweep",
    "jupyter.table": "NeuronTable",
    "jupyter.traces": "Traces",
    "jupyter.trials": "Repeats Trials",
    "jupyter.video": "VideoScrubber",
    "jupyter.what_if": "WhatIf",
}
__getattr__, __dir__ = public_names(__name__, _NAMES)
