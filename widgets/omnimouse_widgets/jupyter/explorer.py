"""Explorer: all notebook widgets of one controller in one cell."""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, cast
from weakref import ref

from IPython.core.getipython import get_ipython
from IPython.display import display
from ipywidgets import HBox, Layout, Tab, VBox
from traitlets import link

from omnimouse_model.data.open import check_exists, open_session
from omnimouse_model.data.session import Session
from omnimouse_model.evaluation.tier_score import TierScore
from omnimouse_model.inference.registry import check_predictor
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.session_loader import SAMPLES, OpenRequest
from omnimouse_model.live.state import Device, LiveState
from omnimouse_model.live.state_store import LastSession
from omnimouse_model.masks import Mask
from omnimouse_model.predict.compatibility import FALLBACK
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.storage.write import config_dir
from omnimouse_widgets.jupyter.control_bar import ControlBar
from omnimouse_widgets.jupyter.jobs import JobParts
from omnimouse_widgets.jupyter.painter import MaskPainter
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.jupyter.raster import Raster
from omnimouse_widgets.jupyter.results import ResultParts
from omnimouse_widgets.jupyter.snapshot.saved_view import SavedPicture
from omnimouse_widgets.jupyter.transport.part import Part
from omnimouse_widgets.jupyter.video import VideoScrubber
from omnimouse_widgets.views.registry import PANELS, Panel
from omnimouse_widgets.views.text.tier_score import SCORING, no_score_text

_RUNS: dict[tuple[str, str], tuple[object, int]] = {}
"""(notebook, cell id): the latest run of the cell and its number of explorers."""
_EXPLORERS: "dict[Path, ref[Explorer]]" = {}
"""Explorer of each memory file; closed when its cell runs again."""


def _part_of(panel: Panel, controller: Controller) -> Part:
    """Return the part of a panel: its own widget, or one that draws its view."""
    if panel.dock is None or panel.widget:
        kind = resolve_name(f"omnimouse_widgets.jupyter.{panel.widget}")
        return cast(Part, kind(controller))
    view = resolve_name(f"omnimouse_widgets.{panel.dock.panel}")
    return RecordPart(view.of(controller), controller)


class ExplorerBox(VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Box with all parts; its `repr` is the text shown by a page without widgets."""

    def __repr__(self) -> str:
        return "Run this cell to work with it live."


class Explorer(ResultParts, JobParts):
    """Interactive view of one recording: masks, predictions, sweeps and decoding.

    Examples
    --------
    >>> explorer = Explorer("demo")            # doctest: +SKIP
    >>> explorer.painter.paint_area("V1", 1)   # doctest: +SKIP
    >>> explorer.settled()                     # doctest: +SKIP
    >>> explorer.scores  # after some seconds  # doctest: +SKIP
    r = 0.40 [0.33, 0.51] over 96 of 172 test windows

    Parameters
    ----------
    session
        Recording to open: "demo", "unseen", "spikes", "unseen-spikes", a path, a URL,
        or an open `Session`.
    predictor
        Name, file or folder for `load_predictor`, or a predictor. By default "demo", or
        the baseline that is fitted to any recording where "demo" does not know it.
    baseline
        Name of the baseline that the predictor is compared with, "" for none; it is
        fitted after the first prediction.
    device
        Device of a predictor that is loaded by name.
    controller
        Existing controller to show; the other arguments are then ignored.

    Attributes
    ----------
    controller
        The controller, which contains the state and the results.
    bar, painter, raster, video, …
        The parts, each with the name in the table of panels. Each can also be used alone
        with the same `controller`.
    widget
        All parts in one ipywidget.

    Raises
    ------
    SessionFormatError
        The recording does not exist.
    CheckpointError
        No model has the name of the predictor; the message lists the names.
    """

    # For type checkers; the table of panels says which parts there are.
    bar: ControlBar
    painter: MaskPainter
    raster: Raster
    video: VideoScrubber

    def __init__(
        self,
        session: str | Path | Session | Mapping[str, Any] | OpenRequest = "demo",
        predictor: str | Path | Predictor | None = None,
        *,
        baseline: str = FALLBACK,
        device: Device = "auto",
        controller: Controller | None = None,
    ) -> None:
        self._owns_controller = controller is None
        self._last_session: LastSession | None = None
        if controller is None:
            # Before threads and processes are started.
            session = _recording(session)
            if isinstance(predictor, str | Path):
                check_predictor(str(predictor))
            controller = self._new_controller(device)
        self.controller = controller
        for panel in PANELS:
            if panel.part and panel.part not in vars(self):
                setattr(self, panel.part, _part_of(panel, controller))
        self.traces.height = self.behavior.height = 460
        # Both parts validate the filter, so an invalid one is rejected on either side.
        link((self.table, "filter"), (self.neuron_scores, "filter"))
        self.widget = self._layout()
        # The painter is always on the page, unlike the parts in the tabs.
        self._picture = SavedPicture(controller, is_live=lambda: self.painter.is_visible)
        if self._owns_controller:
            controller.model.choose(predictor or "demo", is_default=predictor is None)
            controller.model.choose_baseline(baseline)
            self.open(session)
        if self._last_session is not None:
            self.bar.offer("Restore the mask of the last run of this cell", self.restore)

    def _new_controller(self, device: Device) -> Controller:
        memory = _memory_file()
        if memory is not None:
            # Close the explorer of the previous run first: it writes its mask to the
            # file that the new one reads.
            if memory in _EXPLORERS and (former := _EXPLORERS[memory]()) is not None:
                former.close()
            _EXPLORERS[memory] = ref(self)
        controller = Controller(state=LiveState(device=device), session_file=memory or False)
        last = controller.store.load()
        # Without an analysis, there is nothing to restore.
        self._last_session = last if last.analysis else None
        return controller

    def _layout(self) -> VBox:
        tabs = {
            panel.title: getattr(getattr(self, panel.part), "widget", getattr(self, panel.part))
            for panel in PANELS
            if panel.is_tab
        }
        # The minimum widths make the two columns wrap on a narrow page.
        column = Layout(flex="1 1 42%", min_width="380px", overflow="hidden")
        right = Tab(children=tuple(tabs.values()), titles=tuple(tabs), layout=column)
        right.add_class("omnimouse-tabs")
        left = VBox([self.painter], layout=Layout(flex="1 1 54%", min_width="380px"))
        stimulus = VBox([self.video], layout=Layout(flex="1 1 34%", min_width="320px"))
        raster = VBox([self.raster], layout=Layout(flex="1 1 62%", min_width="380px"))
        rows = Layout(flex_flow="row wrap", width="100%", grid_gap="8px")
        return ExplorerBox(
            [
                self.bar,
                self.finetune,
                HBox([left, right], layout=rows),
                HBox([stimulus, raster], layout=rows),
            ],
            layout=Layout(width="100%"),
        )

    # -- actions ----------------------------------------------------------------------
    def open(self, session: str | Path | Session | Mapping[str, Any] | OpenRequest) -> None:
        """Open another recording; files are read in the background, see `settled`.

        Arrays by name are a recording as well; see `om.open_session`.

        Raises
        ------
        SessionFormatError
            A local path does not exist, or the arrays are no recording.
        """
        session = _recording(session)
        if isinstance(session, Session):
            self.controller.loader.open_now(session)
        else:
            # Names of sample recordings have priority over paths.
            sample = SAMPLES.get(session) if isinstance(session, str) else None
            self.controller.loader.open(sample or session)

    def settled(self, timeout_s: float = 120.0, *, scores: bool = False) -> "Explorer":
        """Wait until recording and model are loaded and the prediction has arrived.

        Parameters
        ----------
        scores
            Wait for `scores` of all windows of the test part, too, if the mask has any.

        Raises
        ------
        TimeoutError
            If this takes longer than `timeout_s`.
        RuntimeError
            If the request failed.
        Exception
            If the recording or the model could not be loaded.
        """
        controller = self.controller
        # In this order: a loaded recording or model starts a request to the controller.
        tasks = (controller.loader, controller.downloads)
        if not all(task.wait(timeout_s) for task in (*tasks, controller.requests)):
            raise TimeoutError(f"Not settled after {timeout_s:z.0f} s; see the bar.")
        for task in tasks:
            if task.error is not None:
                raise task.error
        end_s = time.monotonic() + timeout_s
        if scores:
            controller.requests.finish_scores()
        while scores and self._is_scoring:
            if time.monotonic() > end_s:
                raise TimeoutError(f"Not scored after {timeout_s:z.0f} s: {self.scores}.")
            time.sleep(0.05)
        if controller.results.error is not None:
            raise RuntimeError(controller.results.error)
        # Without a page, e.g. under nbconvert, this is the time to draw the picture.
        self._picture.draw()
        return self

    def restore(self) -> None:
        """Restore the view that this cell had before the kernel ended, if any."""
        if self._last_session is not None:
            # Cleared first: a second click must not restore an older mask again.
            last, self._last_session = self._last_session, None
            self.bar.offer("", lambda: None)
            self.controller.model.restore_baseline(last)
            self.controller.project.restore(last=last)

    def to_html(self, path: str | Path) -> Path:
        """Write a report of the current view: one interactive page, usable offline."""
        from omnimouse_widgets.report.page import write_report

        return write_report(self.controller, Path(path))

    def close(self) -> None:
        """Remove the widgets; close the controller if the explorer created it."""
        self._picture.close()
        _close_tree(self.widget)
        if self._owns_controller:
            self.controller.close()

    # -- current view -----------------------------------------------------------------
    @property
    def session(self) -> Session | None:
        """The open recording."""
        return self.controller.state.session

    @property
    def mask(self) -> Mask | None:
        """The current mask; setting it is one undo step."""
        return self.controller.state.mask

    @mask.setter
    def mask(self, mask: Mask) -> None:
        self.controller.editor.set_mask(mask)

    @property
    def selection(self) -> tuple[int, ...]:
        """Indices of the selected neurons, at most 64."""
        return self.controller.state.selection

    @selection.setter
    def selection(self, neurons: Sequence[int]) -> None:
        self.controller.selection.select(neurons)

    @property
    def start_s(self) -> float | None:
        """Start of the window on the session clock in seconds; set it to move there.

        A time outside the recording is refused with `TimeRangeError`.
        """
        window = self.controller.state.window
        return None if window is None else window.start_s

    @start_s.setter
    def start_s(self, start_s: float) -> None:
        self.controller.navigation.seek(start_s)

    @property
    def window(self) -> Any:
        """The current `Window`, or None."""
        return self.controller.state.window

    @property
    def prediction(self) -> Any:
        """The `Prediction` of the population, or None before the first result."""
        return self.controller.results.population

    @property
    def scores(self) -> TierScore | None:
        """Score of the mask over the windows of the test tier so far, as in the bar.

        None while the bar says "scoring…": the first windows follow the prediction, with
        the demo model after some ten seconds of a busy machine; `settled(scores=True)` waits
        for all. `estimate` is the mean over
        the target neurons with its 95 % interval, `score.per_neuron` has the neurons.
        """
        return self.controller.results.tier_score

    @property
    def _is_scoring(self) -> bool:
        results = self.controller.results
        is_complete = self.scores is not None and self.scores.is_complete
        # Paused, stopped or failed, no window is scored any more.
        return not is_complete and no_score_text(self.controller.state, results) == SCORING

    @property
    def window_scores(self) -> Any:
        """float32 (P,): correlations over the samples of this window alone; NaN without one.

        A score of one window is dominated by noise.
        """
        return self.controller.results.scores

    def _ipython_display_(self) -> None:
        """Display the widgets, and the static picture for the saved notebook."""
        # Two outputs: the style sheet hides the picture while the widgets are live.
        display(self.widget)
        self._picture.show()

    def __repr__(self) -> str:
        session = self.controller.state.session
        name = "no recording" if session is None else session.id
        return f"Explorer({name}, {self.controller.state.predictor_name})"


def _close_tree(widget: Any) -> None:
    """Close a widget, its children, and the layouts and styles of all.

    ipywidgets keeps every open widget in a global table, so an unclosed child is never
    deleted.
    """
    for child in getattr(widget, "children", ()):
        _close_tree(child)
    parts = [getattr(widget, name, None) for name in ("layout", "style")]
    widget.close()
    for part in parts:
        if part is not None:
            part.close()


def _recording(
    session: str | Path | Session | Mapping[str, Any] | OpenRequest,
) -> str | Path | Session | OpenRequest:
    """Return the session of arrays, and all else as it is.

    Raises `SessionFormatError` for no path, and for a local one that does not exist.
    """
    if isinstance(session, Mapping):
        return open_session(session)
    if not isinstance(session, Session | OpenRequest) and session not in SAMPLES:
        check_exists(session)
    return session


def _memory_file() -> Path | None:
    """Return the memory file of the next explorer of this cell; None in a script."""
    notebook = os.environ.get("JPY_SESSION_NAME")
    if not notebook:
        return None
    cell, run = _running_cell()
    # A cell may create several explorers. Counting them within a run gives each one the
    # same file in every run of the cell.
    latest, number = _RUNS.get((notebook, cell), (run, 0))
    number = number + 1 if run == latest else 1
    _RUNS[notebook, cell] = run, number
    # A hash, because notebook paths can contain characters that file names cannot.
    name = hashlib.sha256(f"{notebook}{cell}".encode()).hexdigest()[:16]
    return config_dir() / "notebooks" / f"{name}-{number}.json"


def _running_cell() -> tuple[str, object]:
    """Return the id and the run of the current cell; ("", None) if unknown."""
    # `get_parent` is the request message being executed; plain IPython has none.
    request: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
    cell = (request.get("metadata") or {}).get("cellId") or ""
    return (cell, request["header"]["msg_id"]) if cell else ("", None)
