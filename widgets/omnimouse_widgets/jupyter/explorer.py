"""The whole instrument in a cell: the parts around one controller, and their end."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import ref

from IPython.core.getipython import get_ipython
from IPython.display import display
from ipywidgets import HBox, Layout, Tab, VBox, Widget
from traitlets import link

from omnimouse_model.data.session import Session
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.last_session import Remembered, config_dir, recall
from omnimouse_model.live.recording.loader import Opening
from omnimouse_model.live.recording.samples import SAMPLES
from omnimouse_model.live.state import Device, LiveState
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Predictor
from omnimouse_widgets.jupyter.behavior import BehaviorDecoder
from omnimouse_widgets.jupyter.control_bar import ControlBar
from omnimouse_widgets.jupyter.finetune import FineTune
from omnimouse_widgets.jupyter.painter import MaskPainter
from omnimouse_widgets.jupyter.raster import Raster
from omnimouse_widgets.jupyter.scores import NeuronScores
from omnimouse_widgets.jupyter.snapshot.saved_view import LastState
from omnimouse_widgets.jupyter.sweep import ContextSweep
from omnimouse_widgets.jupyter.table import NeuronTable
from omnimouse_widgets.jupyter.traces import Traces
from omnimouse_widgets.jupyter.video import VideoScrubber

_RUNS: dict[tuple[str, str], tuple[object, int]] = {}
"""Of a notebook's cell: its latest run, and how many explorers that has made."""
_MADE: "dict[Path, ref[Explorer]]" = {}
"""Who has a memory: an explorer ends when its cell runs again, and passes it on."""


class Laid(VBox):  # type: ignore[misc]  # ipywidgets has no types
    """All parts together, and what a page without widgets shows instead of them."""

    def __repr__(self) -> str:
        return "Run this cell to work with it live."


class Explorer:
    """Session, masks, predictions, sweeps and decodes of one recording, live.

    Parameters
    ----------
    session
        What to open: "demo", "unseen", a path, an address, or an open `Session`.
    predictor
        A name, file or folder that `load_predictor` takes, or a predictor.
    device
        Where a predictor chosen by name computes.
    controller
        One to show instead of a new one; nothing is opened or chosen then.

    Attributes
    ----------
    controller
        The verbs, the state and the results: everything on screen is there.
    bar, finetune, painter, raster, video, traces, sweep, behavior, table, neuron_scores
        The parts. Each works alone as well, made from the same `controller`.
    widget
        All of them together, as an ipywidget.

    Examples
    --------
    >>> explorer = Explorer("demo")            # doctest: +SKIP
    >>> explorer.painter.paint_area("V1", 1)   # doctest: +SKIP
    >>> explorer.settled()                     # doctest: +SKIP
    >>> explorer.scores                        # doctest: +SKIP
    """

    def __init__(
        self,
        session: str | Path | Session | Opening = "demo",
        predictor: str | Path | Predictor = "demo",
        *,
        device: Device = "auto",
        controller: Controller | None = None,
    ) -> None:
        self._owns = controller is None
        self._before: Remembered | None = None
        if controller is None:
            controller = self._new_controller(device)
        self.controller = controller
        self.bar = ControlBar(controller)
        self.finetune = FineTune(controller)
        self.painter = MaskPainter(controller)
        self.raster = Raster(controller)
        self.video = VideoScrubber(controller)
        self.traces = Traces(controller, height=460)
        self.sweep = ContextSweep(controller)
        self.behavior = BehaviorDecoder(controller, height=460)
        self.table = NeuronTable(controller)
        self.neuron_scores = NeuronScores(controller)
        link((self.table, "filter"), (self.neuron_scores, "filter"))
        self.widget = self._laid_out()
        self._last = LastState(controller, is_live=lambda: self.painter.is_watched)
        if self._owns:
            controller.choose_predictor(predictor)
            self.open(session)
        if self._before is not None:
            self.bar.offer("Take up what was painted here before", self.take_up)

    def _new_controller(self, device: Device) -> Controller:
        memory = _memory_file()
        if memory is not None:
            if memory in _MADE and (former := _MADE[memory]()) is not None:
                former.close()
            _MADE[memory] = ref(self)
            was = recall(memory)
            self._before = was if was is not None and was.analysis else None
        state = LiveState(device=device)
        return Controller(state=state, memory=memory or False)

    def _laid_out(self) -> VBox:
        tabs = {
            "Traces": self.traces,
            "Context": self.sweep.widget,
            "Behaviour": self.behavior,
            "Neurons": self.table,
            "Scores": self.neuron_scores.widget,
        }
        beside = Layout(flex="1 1 42%", min_width="380px", overflow="hidden")
        right = Tab(children=tuple(tabs.values()), titles=tuple(tabs), layout=beside)
        left = VBox([self.painter], layout=Layout(flex="1 1 54%", min_width="380px"))
        stimulus = VBox([self.video], layout=Layout(flex="1 1 34%", min_width="320px"))
        raster = VBox([self.raster], layout=Layout(flex="1 1 62%", min_width="380px"))
        rows = Layout(flex_flow="row wrap", width="100%", grid_gap="8px")
        return Laid(
            [
                self.bar,
                self.finetune,
                HBox([left, right], layout=rows),
                HBox([stimulus, raster], layout=rows),
            ],
            layout=Layout(width="100%"),
        )

    # -- what one does with it --------------------------------------------------------
    def open(self, session: str | Path | Session | Opening) -> None:
        """Open another recording; what takes time is read beside, see `settled`."""
        if isinstance(session, Session):
            self.controller.open_session(session)
        else:
            known = SAMPLES.get(session) if isinstance(session, str) else None
            self.controller.opener.open(known or session)

    def settled(self, timeout_s: float = 120.0) -> "Explorer":
        """Wait until recording and model are here and everything asked is answered.

        Raises
        ------
        TimeoutError
            It has not come to rest in time.
        Exception
            Why one of them could not be had, or the question not answered.
        """
        controller = self.controller
        begun = (controller.opener, controller.models)
        if not all(one.wait(timeout_s) for one in (*begun, controller)):
            raise TimeoutError(f"Not settled after {timeout_s:.0f} s; see the bar.")
        for one in begun:
            if one.fault is not None:
                raise one.fault
        if controller.results.error is not None:
            raise RuntimeError(controller.results.error)
        self._last.draw()
        return self

    def take_up(self) -> None:
        """Go back to what was painted here before the kernel ended, if anything was."""
        if self._before is not None:
            before, self._before = self._before, None
            self.bar.offer("", lambda: None)
            self.controller.analyses.restore(was=before)

    def to_html(self, path: str | Path) -> Path:
        """Write the report of what is on screen: one interactive page, offline."""
        from omnimouse_widgets.report.page import write_report

        return write_report(self.controller, Path(path))

    def close(self) -> None:
        """Take it off the page; a controller of its own ends with it."""
        self._last.close()
        _close(self.widget)
        if self._owns:
            self.controller.close()

    # -- what is on screen ------------------------------------------------------------
    @property
    def session(self) -> Session | None:
        """The open recording."""
        return self.controller.state.session

    @property
    def mask(self) -> Mask | None:
        """What is asked; set it to ask something else, as one step for undo."""
        return self.controller.state.mask

    @mask.setter
    def mask(self, mask: Mask) -> None:
        self.controller.set_mask(mask)

    @property
    def selection(self) -> tuple[int, ...]:
        """Indices of the selected neurons, at most 64."""
        return self.controller.state.selection

    @selection.setter
    def selection(self, neurons: Sequence[int]) -> None:
        self.controller.select(neurons)

    @property
    def start_s(self) -> float | None:
        """Where the window begins on the session's clock; set it to go elsewhere."""
        window = self.controller.state.window
        return None if window is None else window.start_s

    @start_s.setter
    def start_s(self, start_s: float) -> None:
        self.controller.seek(start_s)

    @property
    def window(self) -> Any:
        """The two seconds on screen: a `Window`, or None."""
        return self.controller.state.window

    @property
    def prediction(self) -> Any:
        """The population's `Prediction`, or None before the first answer."""
        return self.controller.results.population

    @property
    def scores(self) -> Any:
        """float32 (P,): correlations over the window's targets, NaN where none."""
        return self.controller.results.scores

    def _ipython_display_(self) -> None:
        """Show the instrument, and beside it what a saved notebook keeps of it."""
        display(self.widget)  # type: ignore[no-untyped-call]  # IPython
        self._last.show()

    def __repr__(self) -> str:
        session = self.controller.state.session
        name = "no recording" if session is None else session.id
        return f"Explorer({name}, {self.controller.state.predictor_name})"


def _close(widget: Widget) -> None:
    """Take a widget and all it holds off the page, and off the kernel's list."""
    for child in getattr(widget, "children", ()):
        _close(child)
    layout = getattr(widget, "layout", None)
    widget.close()
    if isinstance(layout, Layout):  # plotly's own is no widget
        layout.close()


def _memory_file() -> Path | None:
    """Where this cell's explorers remember what was painted; None outside notebooks."""
    notebook = os.environ.get("JPY_SESSION_NAME")
    if not notebook:
        return None
    cell, run = _running_cell()
    latest, number = _RUNS.get((notebook, cell), (run, 0))
    number = number + 1 if run == latest else 1
    _RUNS[notebook, cell] = run, number
    name = hashlib.sha256(f"{notebook}{cell}".encode()).hexdigest()[:16]
    return config_dir() / "notebooks" / f"{name}-{number}.json"


def _running_cell() -> tuple[str, object]:
    """The cell that runs and which run of it this is; ("", None) where none is told."""
    told: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
    cell = (told.get("metadata") or {}).get("cellId") or ""
    return (cell, told["header"]["msg_id"]) if cell else ("", None)
