"""Views of a `Controller`: Qt panels, and widgets for Jupyter notebooks.

The Jupyter widgets are public names of this package, e.g. `Explorer`. They are
imported on first use, so that importing this package does not import a toolkit.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnimouse_widgets.jupyter.behavior import BehaviorDecoder as BehaviorDecoder
    from omnimouse_widgets.jupyter.control_bar import ControlBar as ControlBar
    from omnimouse_widgets.jupyter.explorer import Explorer as Explorer
    from omnimouse_widgets.jupyter.finetune import FineTune as FineTune
    from omnimouse_widgets.jupyter.painter import MaskPainter as MaskPainter
    from omnimouse_widgets.jupyter.raster import Raster as Raster
    from omnimouse_widgets.jupyter.scores import NeuronScores as NeuronScores
    from omnimouse_widgets.jupyter.sweep import ContextSweep as ContextSweep
    from omnimouse_widgets.jupyter.table import NeuronTable as NeuronTable
    from omnimouse_widgets.jupyter.traces import Traces as Traces
    from omnimouse_widgets.jupyter.video import VideoScrubber as VideoScrubber

# Module of each public name, inside `jupyter`. The imports above are for type checkers
# and editors only.
_HOMES = {
    "BehaviorDecoder": "behavior",
    "ContextSweep": "sweep",
    "ControlBar": "control_bar",
    "Explorer": "explorer",
    "FineTune": "finetune",
    "MaskPainter": "painter",
    "NeuronScores": "scores",
    "NeuronTable": "table",
    "Raster": "raster",
    "Traces": "traces",
    "VideoScrubber": "video",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.jupyter.{_HOMES[name]}"), name)
    # Python calls `__getattr__` only for missing names: the next access is direct.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted({*globals(), *_HOMES})
