"""Context sweep widget: score against context size, live and from saved sweeps.

Live curves are computed only while a page shows them.
"""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ipywidgets import Button, HBox, Label, Layout, VBox
from psygnal import SignalInstance
from traitlets import Bool, Dict, Float, Instance, Unicode
from traitlets import Tuple as TupleTrait

from omnimouse_model.analysis.sweep.plan import SweepPlan
from omnimouse_model.analysis.sweep.table import ContextSweep as SweepTable
from omnimouse_model.analysis.sweep.table import columns_together
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.sweep.current_point import current_point
from omnimouse_model.live.sweep.live_sweeps import live_sweeps
from omnimouse_model.storage.tables import Column, csv_bytes, write_table
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.context.points import DrawnSweep
from omnimouse_widgets.drawn.context.text import (
    entry_text,
    live_problem,
    live_text,
    no_curve_text,
    point_text,
    sweeps_on_screen,
)
from omnimouse_widgets.figures.style import DASHES
from omnimouse_widgets.jupyter.form import SettingsForm, close_tree
from omnimouse_widgets.jupyter.sweep_chart import SweepChart
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing, keep_subshell
from omnimouse_widgets.jupyter.transport.plotly_widget import FigurePart
from omnimouse_widgets.views.form import Form
from omnimouse_widgets.views.sweep import START_TIP, SweepSettings

FROM_CODE: Final = "From code"
"""Name on the figure of a table that was set by code."""
CONSTANTS: Final[dict[str, Any]] = {
    "conditions": [
        [label, colour, palette.CONDITION_SYMBOLS[label]]
        for label, colour in palette.CONDITION_COLOURS.items()
    ],
    "dashes": DASHES,
}


class ContextSweep(FigurePart):
    """Live curves over the tier, background sweeps and saved sweeps.

    To place controls and figure in a box, use `widget`.

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
    status, mark
        Age of the curves, and the current mask as a point on them, as text; read-only.
    widget
        Controls above the figure, as an ipywidget.
    """

    _esm = script("sweep")
    _css = style()
    INTERVAL_S = 0.1  # plotly draws no faster and queues earlier updates

    is_live = Bool(True).tag(sync=True)
    hidden = TupleTrait().tag(sync=True)
    status = Unicode("").tag(sync=True)
    mark = Unicode("").tag(sync=True)
    sweep: Any = Instance(SweepTable, allow_none=True)
    progress = Float(0.0)
    _is_form_open = Bool(False).tag(sync=True)
    _constants = Dict(CONSTANTS).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self.chart = SweepChart()
        self._options_changed = SignalInstance()
        self._form = Form(SweepSettings, lambda: controller.state)
        # Re-entrant: an observer of `sweep` may set `is_live`, which locks again.
        self._following = threading.RLock()
        self._live_sweep: SweepTable | None = None
        self._latest_run: Path | None = None
        super().__init__(controller, **traits)
        signals = [controller.state.events.session, self.spec_changed]
        self.form = SettingsForm(self._form, signals, self._start_from_page)
        self.estimate = Label()
        self.start_button = Button(description="Start", tooltip=START_TIP)
        self.start_button.on_click(lambda _: self._start_from_page())
        self.form_box = VBox(
            [self.form, HBox([self.start_button, self.estimate])], layout=Layout(display="none")
        )
        for control in (self.start_button, self.form_box):
            keep_subshell(control)
        self.add_figure(self.chart.figure, self.form_box)
        self.observe(lambda _: self._show_form(), "_is_form_open")
        self._link(controller.results.changed, self._follow_live)
        self._link(controller.sweeps.changed, self._follow_progress)
        self.observe(self._on_sweep, "sweep")
        self.observe(self._on_live, "is_live")
        self.observe(lambda _: self._options_changed.emit(), ["hidden", "sweep"])
        self._follow_live()
        self._follow_progress()

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions of figure, saved sweeps and form."""
        controller, events = self._controller, self._controller.state.events
        results, sweeps = controller.results, controller.sweeps
        requests = [events.window, events.mask, events.selection, results.changed]
        costs = [results.changed, events.predictor_name, events.device]
        return (
            Drawing(self._draw_curves, [*requests, events.predictor_name,
                                        sweeps.changed, self._options_changed]),
            Drawing(self._draw_mark, requests),
            Drawing(self._draw_running, [sweeps.changed]),
            Drawing(self._draw_saved, [sweeps.changed]),
            Drawing(self._draw_estimate, [*costs, events.session, sweeps.changed,
                                   self.spec_changed, self._form.changed]),
            *super().drawings(),
        )  # fmt: skip

    def activate(self) -> None:
        """Start computing live curves, and list the saved sweeps if not yet done."""
        # `self` identifies this viewer: the sweep runs while any viewer shows it.
        self._controller.requests.show_sweep(self.is_live, self)
        if not self._controller.sweeps.entries:
            self._controller.sweeps.reload_folder()

    def deactivate(self) -> None:
        """Stop computing live curves for this widget."""
        self._controller.requests.show_sweep(False, self)

    # -- what code may call -----------------------------------------------------------
    def start(self, plan: SweepPlan | None = None, name: str = "", **fields: Any) -> None:
        """Start a sweep of the open session in the background and save its points.

        Pass a plan, or the fields of one: `start(neurons=(0, 16, 64), seeds=(0, 1))`.

        Raises
        ------
        ValueError
            If the plan contains an impossible context, or no sweep can start now.
        """
        sweeps = self._controller.sweeps
        # `fault` may be that of an earlier sweep: clear it before reading it below.
        sweeps.clear_error()
        sweeps.start(SweepPlan(**fields) if plan is None else plan, name)
        if sweeps.error is not None:
            raise ValueError(str(sweeps.error))

    def drawn(self) -> list[DrawnSweep]:
        """Return the drawn sweeps: the live ones or `sweep`, then the saved ones."""
        controller = self._controller
        state, results, sweeps = controller.state, controller.results, controller.sweeps
        drawn = sweeps_on_screen(state, results, sweeps, is_live=self.is_live)
        # First in the list: a table set by code is drawn in place of the live sweep.
        if not self.is_live and self.sweep is not None:
            drawn.insert(0, DrawnSweep(FROM_CODE, self.sweep))
        return drawn

    def write_csv(self, path: str | Path) -> Path:
        """Write the drawn sweeps as one table.

        Raises
        ------
        ValueError
            If no point is drawn yet.
        """
        return write_table(path, self._table())

    def _table(self) -> dict[str, Column]:
        sweeps = {drawn.name: drawn.sweep for drawn in self.drawn() if drawn.sweep.rows}
        if not sweeps:
            reason = " ".join(self._obstacle().split()) or "Wait for the first points"
            raise ValueError(f"No point is drawn that could be saved. {reason}.")
        return columns_together(sweeps)

    # -- from the page ----------------------------------------------------------------
    def _show_form(self) -> None:
        self.form_box.layout.display = None if self._is_form_open else "none"

    def _start_from_page(self) -> None:
        """Start a sweep with the settings of the form."""
        with self.showing_problems() as successes:
            settings = self._form.read()
            self.start(settings.plan(), settings.name.strip())
            successes.append("start")
        if successes:
            self._is_form_open = False

    def on_pause(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Pause or resume the background sweep."""
        sweeps = self._controller.sweeps
        (sweeps.resume if sweeps.is_paused else sweeps.pause)()

    def on_cancel(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Stop the background sweep; its points remain saved."""
        self._controller.sweeps.cancel()

    def on_reload(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Read the folder of saved sweeps again."""
        self._controller.sweeps.reload_folder()

    def on_compare(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Add a saved sweep to the figure, or remove it."""
        path = self._saved_path(content)
        self._controller.sweeps.compare(path, bool(content["is_drawn"]))

    def on_resume(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Compute the missing points of a saved sweep."""
        self._controller.sweeps.continue_saved(self._saved_path(content))

    def on_delete(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Delete a saved sweep; the page requires a confirmation first."""
        self._controller.sweeps.remove(self._saved_path(content))

    def on_export(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Send the drawn sweeps to the page as a CSV file for download."""
        self.send_now("csv", [csv_bytes(self._table())], name="context.csv")

    def _saved_path(self, content: Mapping[str, Any]) -> Path:
        # Only listed files: a name from the page must not reach other paths.
        for entry in self._controller.sweeps.entries:
            if entry.path.name == content["file"]:
                return entry.path
        raise ValueError(f"There is no saved sweep {content['file']}.")

    # -- from state to traits ---------------------------------------------------------
    def _follow_live(self) -> None:
        with self._following:  # results arrive on several threads
            if self.is_live:
                results = self._controller.results
                live = live_sweeps(self._controller.state, results)
                self._live_sweep = next(iter(live.values()), None)
                self.set_trait("sweep", self._live_sweep)

    def _follow_progress(self) -> None:
        sweeps = self._controller.sweeps
        # The latest sweep is remembered, so that `progress` stays 1 after its end.
        self._latest_run = sweeps.running or self._latest_run
        entry = None if self._latest_run is None else sweeps.entry_of(self._latest_run)
        is_finished = not sweeps.is_busy and entry is not None and entry.is_complete
        self.set_trait("progress", 1.0 if is_finished else sweeps.progress.share)

    def _on_sweep(self, change: Any) -> None:
        # Set by code, not by `_follow_live`: the user wants to see another table.
        if self.is_live and change["new"] is not self._live_sweep:
            self.is_live = False

    def _on_live(self, _: Any) -> None:
        self._controller.requests.show_sweep(bool(self._views) and self.is_live, self)
        self._follow_live()
        self._options_changed.emit()

    # -- to the page ------------------------------------------------------------------
    def _draw_curves(self) -> None:
        state, results = self._controller.state, self._controller.results
        drawn, obstacle = self.drawn(), self._obstacle()
        self.chart.show_sweeps(drawn, self.hidden)
        missing = obstacle or no_curve_text(results)
        self.chart.show_message("" if self.chart.has_points else missing)
        # The figure shows the obstacle in two lines, the status in one.
        text = " ".join(obstacle.split()) or live_text(state, results)
        self.set_trait("status", text)
        self.add_point_counts(self.chart.figure)

    def _draw_mark(self) -> None:
        mark = current_point(self._controller.state, self._controller.results)
        self.chart.show_mark(mark)
        self.set_trait("mark", point_text(mark))
        self.add_point_counts(self.chart.figure)

    def _draw_running(self) -> None:
        sweeps = self._controller.sweeps
        self.add_if_changed(
            "running",
            is_busy=sweeps.is_busy,
            is_paused=sweeps.is_paused,
            text=f"Sweep: {sweeps.message}",
            share=sweeps.progress.share,
            error="" if sweeps.error is None else str(sweeps.error),
        )

    def _draw_saved(self) -> None:
        sweeps = self._controller.sweeps
        entries = [
            {
                "file": entry.path.name,
                "text": entry_text(entry, is_running=entry.path == sweeps.running),
                "problem": entry.problem,
                "line": sweeps.compared.index(entry.path) + 1
                if entry.path in sweeps.compared
                else 0,
                "is_running": entry.path == sweeps.running,
                "can_resume": entry.sweep is not None
                and not entry.is_complete
                and not sweeps.is_busy,
            }
            for entry in sweeps.entries
        ]
        self.add_if_changed("saved", entries=entries)

    def _draw_estimate(self) -> None:
        sweeps, session = self._controller.sweeps, self._controller.state.session
        text, is_possible = "", session is not None and not sweeps.is_busy
        # An incomplete form is normal while the user types: show what is wrong.
        try:
            estimate = sweeps.estimate(self._form.read().plan())
            text = "" if estimate is None else estimate.text
        except ValueError as error:
            # A reason stands at its field already.
            text, is_possible = str(error) if self._form.is_valid else "", False
        self.estimate.value = text
        self.start_button.disabled = not is_possible

    def close(self) -> None:
        """Remove controls, form and figure from every page."""
        close_tree(self.form_box)
        super().close()

    def _obstacle(self) -> str:
        if not self.is_live and self.sweep is not None:
            return ""
        state, results = self._controller.state, self._controller.results
        return live_problem(state, results, is_live=self.is_live)
