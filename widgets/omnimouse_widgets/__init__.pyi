"""Public names of `omnimouse_widgets`, by the module that defines them."""

from .jupyter.behavior import BehaviorDecoder as BehaviorDecoder
from .jupyter.control_bar import ControlBar as ControlBar
from .jupyter.explorer import Explorer as Explorer
from .jupyter.files import Files as Files
from .jupyter.finetune import FineTune as FineTune
from .jupyter.laboratory import Laboratory as Laboratory
from .jupyter.neuron import Neuron as Neuron
from .jupyter.painter import MaskPainter as MaskPainter
from .jupyter.ranking import Ranking as Ranking
from .jupyter.raster import Raster as Raster
from .jupyter.scores import NeuronScores as NeuronScores
from .jupyter.sweep import ContextSweep as ContextSweep
from .jupyter.table import NeuronTable as NeuronTable
from .jupyter.traces import Traces as Traces
from .jupyter.trials import Repeats as Repeats
from .jupyter.trials import Trials as Trials
from .jupyter.video import VideoScrubber as VideoScrubber
from .jupyter.what_if import WhatIf as WhatIf
