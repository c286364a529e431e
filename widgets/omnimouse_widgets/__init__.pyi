"""Public names of `omnimouse_widgets`, by the module that defines them."""

from .jupyter.control_bar import ControlBar as ControlBar
from .jupyter.explorer import Explorer as Explorer
from .jupyter.jobs import ContextSweep as ContextSweep
from .jupyter.jobs import Files as Files
from .jupyter.jobs import FineTune as FineTune
from .jupyter.jobs import Laboratory as Laboratory
from .jupyter.jobs import Ranking as Ranking
from .jupyter.jobs import Sources as Sources
from .jupyter.painter import MaskPainter as MaskPainter
from .jupyter.raster import Raster as Raster
from .jupyter.results import BehaviorDecoder as BehaviorDecoder
from .jupyter.results import Neuron as Neuron
from .jupyter.results import NeuronScores as NeuronScores
from .jupyter.results import NeuronTable as NeuronTable
from .jupyter.results import Repeats as Repeats
from .jupyter.results import Traces as Traces
from .jupyter.results import Trials as Trials
from .jupyter.results import WhatIf as WhatIf
from .jupyter.video import VideoScrubber as VideoScrubber
