"""Context sweep widget: the panel *Context* in a notebook, with traits and `start`."""

from pathlib import Path
from typing import Any

from traitlets import Bool, Float, Instance
from traitlets import Tuple as TupleTrait

from omnimouse_model.analysis.sweep.contexts import SweepPlan
from omnimouse_model.analysis.sweep.table import ContextSweep as SweepTable
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.sweep.current_point import live_sweeps
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.context.curves import DrawnSweep
from omnimouse_widgets.views.context.view import ContextView


class ContextSweep(RecordPart):
    """Live curves over the tier, background sweeps and saved sweeps.

    Attributes
    ----------
    is_live
        Whether the live curves are computed and drawn.
    sweep
        Table of the filled curves. While `is_live`, these are the curves over the tier;
        before they are drawn, those of the window, or None before their first point.
        Setting a table, such as a result of `om.context_sweep`, draws that table and
        sets `is_live` to False.
    hidden
        Conditions that are not drawn: keys of `palette.CONDITION_COLOURS`.
    progress
        Progress of the background sweep from 0 to 1; read-only.
    """

    is_live = Bool(True).tag(sync=True)
    hidden = TupleTrait().tag(sync=True)
    sweep: Any = Instance(SweepTable, allow_none=True)
    progress = Float(0.0)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._results, self._sweeps = controller.results, controller.sweeps
        self.view = view = ContextView.of(controller)
        self._latest_run: Path | None = None
        super().__init__(view, controller, **traits)
        changed, results = view.changed, controller.results.changed
        self.bind("is_live", changed, lambda: view.is_live, view.set_live)
        self.bind("hidden", changed, lambda: view.hidden, view.hide)
        self.bind("sweep", (changed, results), self._shown_table, view.show)
        self._link(controller.sweeps.changed, self._follow_progress)
        self._follow_progress()

    @property
    def status(self) -> str:
        """Evidence and age of the curves, or why there are none."""
        return self.view.status

    @property
    def mark(self) -> str:
        """The current mask as a point on the curves, as text."""
        return self.view.mark

    def start(self, plan: SweepPlan | None = None, name: str = "", **fields: Any) -> None:
        """Start a sweep of the open session in the background and save its points.

        Pass a plan, or the fields of one: `start(neurons=(0, 16, 64), seeds=(0, 1))`.

        Raises
        ------
        ValueError
            If the plan contains an impossible context, or no sweep can start now.
        """
        sweeps = self._sweeps
        # `error` may be that of an earlier sweep: clear it before reading it below.
        sweeps.clear_error()
        sweeps.start(SweepPlan(**fields) if plan is None else plan, name)
        if sweeps.error is not None:
            raise ValueError(str(sweeps.error))

    def drawn(self) -> list[DrawnSweep]:
        """Return the drawn sweeps: the live ones or `sweep`, then the saved ones."""
        return self.view.drawn()

    def write_csv(self, path: str | Path) -> Path:
        """Write the drawn sweeps as one table.

        Raises
        ------
        ValueError
            If no point is drawn yet.
        """
        return self.view.write_csv(Path(path))

    def _shown_table(self) -> SweepTable | None:
        if not self.view.is_live:
            return self.view.table
        live = live_sweeps(self._state, self._results)
        return next(iter(live.values()), None)

    def _follow_progress(self) -> None:
        sweeps = self._sweeps
        # The latest sweep is remembered, so that `progress` stays 1 after its end.
        self._latest_run = sweeps.running or self._latest_run
        entry = None if self._latest_run is None else sweeps.entry_of(self._latest_run)
        is_finished = not sweeps.is_busy and entry is not None and entry.is_complete
        self.set_trait("progress", 1.0 if is_finished else sweeps.progress.share)

    def __repr__(self) -> str:
        return "Run this cell to see the context curves."
