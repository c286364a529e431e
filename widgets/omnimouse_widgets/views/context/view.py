"""Panel *Context*: score against the amount of context, live and in the background.

Live curves are computed only while a panel shows them.

The file is long because a panel is one file: its content, actions, form and texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, cast
from weakref import ref

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.sweep.contexts import AXES, ContextAxis, inputs_label
from omnimouse_model.analysis.sweep.live_sweep import TierCurves, is_of_mask
from omnimouse_model.analysis.sweep.run import CELLS_TOGETHER
from omnimouse_model.analysis.sweep.table import (
    ContextSweep,
    SavedSweep,
    bars_text,
    columns_together,
)
from omnimouse_model.data.session import Session
from omnimouse_model.display import and_text, count
from omnimouse_model.evaluation.shard import BATCH
from omnimouse_model.evaluation.tier_score import PRELIMINARY
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.current_point import (
    WINDOW_SWEEP,
    CurrentPoint,
    current_point,
    live_sweeps,
    selected_sweep,
)
from omnimouse_model.live.inference.client import Requests
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.live.sweeps import MAX_COMPARED, WAITING, Sweeps
from omnimouse_model.metrics.time_blocks import MIN_BLOCKS
from omnimouse_model.predict.compatibility import check_compatibility
from omnimouse_model.storage.tables import Column, write_table
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.context.curves import (
    COPIED_TITLES,
    DASHES,
    POINT_TITLES,
    TIP,
    DrawnSweep,
    ceilings_text,
    context_plots,
    copied_rows,
    place_on,
    point_rows,
    points_of,
    sign_of,
    targets_text,
)
from omnimouse_widgets.views.context.settings import (
    SweepSettings,
    fitting_neurons,
    fitting_plan,
    usual_neurons,
)
from omnimouse_widgets.views.form import Form
from omnimouse_widgets.views.text.model import failure_text, model_title
from omnimouse_widgets.views.text.tier_score import train_warning, window_tier_text

Page = Literal["", "sweep", "saved", "table"]
FROM_CODE: Final = "From code"
"""Name in the plots of a table that was set by code."""
TITLES: Final = (
    "line", "started", "points", "name", "inputs", "neurons", "history", "draws", "windows",
    "model", "targets", "pool",
)  # fmt: skip
"""Of saved sweeps: where names are equal, the other columns tell them apart."""
POINTS: Final = (
    "Points of the curves: mean over draws; ceiling, what the simulator's expected response would "
    f"score; interval over time, which fewer than {MIN_BLOCKS} windows do not have, and of one "
    "window over neurons; gain over the smallest context of the curve, paired, with its interval "
    "over draws; s.e.m. over draws of neurons"
)
NO_SAVED: Final = "No saved sweeps. Start one under Sweep…"
OTHER: Final = "the curves are of other neurons"
OTHER_RECORDING: Final = "the curves are of another recording"
ELSEWHERE: Final = (OTHER, OTHER_RECORDING)
"""Reasons for which the score of a mask is not drawn beside curves."""
BOTH: Final = "no ★: its score is with neurons and history"
OTHER_QUESTION: Final = "no ★: curves of other targets or windows"
"""Reasons for which a mask with a score is no point of the curves."""
IN_WINDOW: Final = "one window is scored: switch Live on"
SELECTED_LINE: Final = MAX_COMPARED + 1
"""Line style of the selected neurons beside all held-out ones, which have 0."""
NO_SELECTION: Final = "Select neurons: Ctrl-click on the field,\nor a row of the table"
NO_MODEL: Final = "Choose a model"
NO_TARGET: Final = "There is no target: paint targets,\nor choose a preset"
NO_RESPONSES: Final = "This model reads no neurons: curves are flat"
NOT_LIVE: Final = "Switch Live on, or draw a saved sweep"
AWAITED: Final = "◌ computing the first points of the sweep…"
PAUSED: Final = "The sweep is paused, before its first points"


class ContextView(OfController):
    """Live curves, a form for background sweeps, and saved sweeps.

    Attributes
    ----------
    hidden
        Conditions that are not drawn: keys of `palette.CONDITION_COLOURS`.
    page
        What is open: "sweep" for the form, "table" for the values of the points, both in
        place of the plots; "saved" for the list above them; or "".
    table
        Table that code has set, which is drawn in place of the live curves.
    form
        Settings of a background sweep.
    """

    name = "context"
    changed = Signal()

    def __init__(
        self, state: LiveState, results: Results, sweeps: Sweeps, requests: Requests
    ) -> None:
        self._state, self._results = state, results
        self._sweeps, self._requests = sweeps, requests
        self._is_live = True
        # The recording whose live curves made room for a sweep of other neurons.
        self._made_room: ref[Session] | None = None
        self.hidden: tuple[str, ...] = ()
        self._offered = tuple(palette.CONDITION_COLOURS)
        self.page: Page = ""
        self.table: ContextSweep | None = None
        self.form = Form(SweepSettings, lambda: state)
        self._suggested: tuple[int, ...] | None = None
        self.form.changed.connect(self._suggest)
        self._saved: Path | None = None
        self._unconfirmed: Path | None = None
        self._plots: tuple[list[object], tuple[record.Curves, ...]] = ([], ())
        self._bars = self._ceilings = ""

    def blocks(self) -> Sequence[record.Block]:
        """Return the record: controls, saved sweeps, plots, table or form, mark and texts."""
        events, results, sweeps = self._state.events, self._results, self._sweeps
        mask = [events.window, events.mask, events.selection, results.changed]
        curves = [self.changed, *mask, events.predictor_name, sweeps.changed]
        costs = [events.session, events.device, self.form.changed]
        return [
            record.Block(tuple, [self.changed, events.session], follow=self._follow),
            record.Block(self._controls, curves, grows=True),
            # Above the plots: in a low window, what is below them needs scrolling.
            record.Block(self._running, [sweeps.changed], grows=True),
            record.Block(self._list, [self.changed, sweeps.changed], grows=True),
            record.Block(self._content, [*curves, *costs], grows=True),
            record.Block(self._marks, curves, grows=True),
            record.Block(self._texts, curves, grows=True),
        ]

    # -- what the user does -----------------------------------------------------------
    def _follow(self, is_visible: bool) -> None:
        self._requests.show_sweep(is_visible and self.is_live, self)
        if is_visible and not self._sweeps.entries:
            self._sweeps.reload_folder()

    @property
    def is_live(self) -> bool:
        """Whether the live curves are computed and drawn."""
        has_made_room = self._made_room is not None and self._made_room() is self._state.session
        return self._is_live and not has_made_room

    def set_live(self, is_live: bool) -> None:
        """Compute and draw the live curves, or not."""
        self._is_live, self._made_room = is_live, None
        self.changed.emit()

    def show(self, table: ContextSweep | None) -> None:
        """Draw a table, such as one from `om.context_sweep`, in place of the live curves."""
        self.table, self._is_live = table, False
        self.changed.emit()

    def hide(self, labels: Sequence[str]) -> None:
        """Draw all conditions but these."""
        self.hidden = tuple(labels)
        self.changed.emit()

    def open(self, page: Page) -> None:
        """Open the form or the list, or neither."""
        self.page, self._unconfirmed = page, None
        if page == "saved":
            self._sweeps.reload_folder()
        self.changed.emit()

    def start(self) -> None:
        """Start a sweep with the settings of the form, which is then closed.

        Live curves of other neurons leave the plots to it.
        """
        settings, session = self.form.read(), self._state.session
        plan = settings.plan(self._state)
        if session is not None:
            plan, _ = fitting_plan(session, plan)
        self._sweeps.start(plan, settings.name.strip())
        if session is not None and not settings.asks_as_live(self._state):
            self._made_room = ref(session)
        self.open("")

    # -- controls ---------------------------------------------------------------------
    def _controls(self) -> Sequence[record.Item | record.Row]:
        pages = {
            "sweep": ("Sweep…", "Sweep over many windows in the background"),
            "saved": ("Saved…", "Compare, resume or delete sweeps"),
            "table": ("Table", "Values of the points in place of the plots"),
        }
        live = "Show the curves of the target and the selected neurons over the test part"
        return [
            record.Row(
                "controls",
                (
                    record.Switch("live", "Live", live, self.is_live, self.set_live),
                    *(
                        record.Switch(page, *words, self.page == page, self._opener(page))
                        for page, words in pages.items()
                    ),
                    self._export(),
                    record.Text("space", ""),
                ),
                wide="space",
            ),
            *self._conditions(),
        ]

    def _conditions(self) -> Sequence[record.Row]:
        """Return a switch per condition that is drawn; none for a single one, unless hidden."""
        drawn = {
            inputs_label(one.video, one.behavior, each.sweep.unread)
            for each in self.drawn()
            for one in each.sweep.plan.contexts
        }
        if drawn:  # else those of before: rows below do not move while curves are awaited
            self._offered = tuple(label for label in palette.CONDITION_COLOURS if label in drawn)
        # A condition that stays hidden from before needs its switch also alone.
        if len(self._offered) < 2 and not {*self._offered} & {*self.hidden}:
            return []
        return [
            record.Row(
                "conditions", (*map(self._condition, self._offered), record.Text("end", "")), "end"
            )
        ]

    def _opener(self, page: str) -> Callable[[bool], None]:
        return lambda is_on: self.open(cast(Page, page) if is_on else "")

    def _condition(self, label: str) -> record.Switch:
        def set_shown(is_shown: bool) -> None:
            others = [other for other in self.hidden if other != label]
            self.hide(others if is_shown else [*others, label])

        sign = sign_of(label), palette.CONDITION_COLOURS[label]
        text = f"Show or hide the curves with {label} as input"
        return record.Switch(
            f"condition {label}", label, text, label not in self.hidden, set_shown, sign
        )

    def _export(self) -> record.Menu:
        reason = ""
        if not any(each.sweep.rows for each in self.drawn()):
            reason = f"There is nothing to save. {self._why_empty().rstrip('.')}."
        elif self.page == "sweep":
            reason = "Close the form first: the plots are behind it"
        hidden = "Switch Table off first: it is in place of the plots" * (self.page == "table")
        return record.Menu(
            "export",
            "Export",
            "Save the displayed sweeps as a table or a picture",
            (
                record.Action("csv", "Table (CSV)", "All points as one table",
                              lambda: record.SaveFile("context.csv",
                                                      lambda path: [self.write_csv(path)])),
                record.Action("copy", "Copy table", "The points as text, for a spreadsheet",
                              self._copy),
                record.Action("png", "Picture (PNG)", "The plots as they are drawn",
                              lambda: record.SavePicture("context.png", "", self._signs()), hidden),
                record.Action("svg", "Drawing (SVG)", "The plots as lines and texts",
                              lambda: record.SavePicture("context.svg", "", self._signs()), hidden),
            ),
            reason,
        )  # fmt: skip

    def _signs(self) -> str:
        """Return what marks and lines of a picture mean, which the buttons say on screen."""
        shown = [label for label in self._offered if label not in self.hidden]
        marks = [f"{sign_of(label)} {label}" for label in shown]
        lines = [f"{DASHES[each.line][1]} {each.legend}" for each in self.drawn()]
        mask = [f"{sign} {text}" for sign, _, text in mark_signs(self._mark(), self._plots[1])]
        bars = [f"│ {self._bars}"] if self._bars else []
        told = [*filter(None, [self._ceilings]), *bars, *mask]
        return "\n".join(["   ".join(marks), *lines, *told])

    def _copy(self) -> record.Clipboard:
        """Return the table on screen as numbers, with the names of the sweeps."""
        rows = copied_rows(self.drawn(), self.hidden)
        lines = ["\t".join(row) for row in (COPIED_TITLES, *rows)]
        return record.Clipboard("\n".join(lines), "The table is on the clipboard")

    def write_csv(self, path: Path) -> Path:
        """Write the drawn sweeps as one table."""
        return write_table(path, self.columns())

    def columns(self) -> dict[str, Column]:
        """Return the drawn sweeps as one table.

        Raises
        ------
        ValueError
            No point is drawn yet.
        """
        named = {each.name: each.sweep for each in self.drawn() if each.sweep.rows}
        if not named:
            raise ValueError(f"No point is drawn that could be saved. {self._why_empty()}.")
        return columns_together(named)

    # -- plots ------------------------------------------------------------------------
    def drawn(self) -> list[DrawnSweep]:
        """Return the sweeps to draw: live ones or a table of code, then the saved ones."""
        live = live_sweeps(self._state, self._results) if self.is_live else {}
        if not self.is_live and self.table is not None:
            live = {FROM_CODE: self.table}
        drawn = [
            # Pale, because one window gives shapes and no numbers.
            DrawnSweep(name, sweep, line, is_pale=name == WINDOW_SWEEP)
            for line, (name, sweep) in zip((0, SELECTED_LINE), live.items(), strict=False)
        ]
        # Line style 0 is reserved for live curves, whether or not they are shown.
        for number, path in enumerate(self._sweeps.compared, start=1):
            entry = self._sweeps.entry_of(path)
            if entry is not None and entry.sweep is not None:
                name, is_running = entry.name, path == self._sweeps.running
                # Stopped before its first point: nothing of it can be drawn.
                if not (entry.sweep.rows or is_running):
                    continue
                if any(name == other.name for other in drawn):
                    # Names need not be unique; legend and table use them as keys.
                    name = f"{name} ({entry.started})"
                is_stopped = not (is_running or entry.is_complete)
                drawn.append(DrawnSweep(name, entry.sweep, number, is_stopped=is_stopped))
        return drawn

    def missing(self) -> str:
        """Return why there are no live curves, or ""."""
        if not self.is_live and self.table is not None:
            return ""
        problem = live_problem(self._state, self._results, is_live=self.is_live)
        if problem == NOT_LIVE and self._sweeps.is_busy:
            is_awaited = self._sweeps.running in self._sweeps.compared
            if is_awaited and not any(each.sweep.rows for each in self.drawn()):
                return self._awaited()
        return problem

    def _awaited(self) -> str:
        """Return that the first points are computed, and where in the sweep they come."""
        if self._sweeps.is_paused:
            return PAUSED
        if self._sweeps.is_waiting:
            return f"{AWAITED}\n{WAITING}"
        running = self._sweeps.running
        entry = None if running is None else self._sweeps.entry_of(running)
        if entry is None or entry.sweep is None:
            return AWAITED
        plan, (_, n_points) = entry.sweep.plan, entry.sweep.point_counts()
        # The points of the first draw are computed together, at most so many.
        n_first = min(len(plan.contexts), CELLS_TOGETHER)
        if plan.max_windows is not None and plan.max_windows <= BATCH:
            return AWAITED  # each point by itself
        share = 100 * n_first / max(n_points, 1)
        first = f"The first {n_first} of {count(n_points, 'point')}"
        return f"{AWAITED}\n{first} appear together, when about {share:z.0f} % is computed"

    def _why_empty(self) -> str:
        missing = " ".join(self.missing().split())
        is_awaited = not missing or missing.startswith((AWAITED, PAUSED))
        return "Wait for the first points" if is_awaited else missing

    def _suggest(self) -> None:
        """Let the numbers of neurons follow the pool, until the user has typed others."""
        session = self._state.session
        if session is None:
            return
        before = self.form.value("neurons")
        try:
            fitting = fitting_neurons(session, self.form.read().plan(self._state))
        except ValueError:
            return
        if before != fitting and before in (self._suggested, usual_neurons(self._state)):
            self._suggested = fitting
            self.form.set("neurons", ", ".join(map(str, fitting)))

    def _content(self) -> Sequence[record.Item | record.Row]:
        if self.page == "sweep":
            return self._form_items()
        # One without points has no line that a legend could name.
        drawn = [each for each in self.drawn() if each.sweep.rows]
        if not drawn:
            text = self.missing() or no_curve_text(self._results)
            return [record.Message("curves", "Context curves", text)]
        # Also of one curve: rows stay in place when others come.
        signs = [(DASHES[each.line][1], palette.EDGE, each.legend) for each in drawn]
        if not self._conditions():  # else its switches tell the inputs
            signs += [(sign_of(one), palette.CONDITION_COLOURS[one], one) for one in self._offered]
        if self.page == "table":
            rows, at = point_rows(drawn, self.hidden), POINT_TITLES.index("inputs")
            colours = tuple(palette.CONDITION_COLOURS[row[at]] for row in rows)
            titles, number = POINT_TITLES, POINT_TITLES.index("ceiling")
            # Only simulated recordings, and not in one window, have a ceiling.
            if all(row[number] == "–" for row in rows):
                titles, *rest = ((*row[:number], *row[number + 1 :]) for row in (titles, *rows))
                rows = tuple(rest)
            return [
                record.Legend("sweeps", tuple(signs)),
                record.Table("point table", POINTS, titles, rows, colours=colours),
            ]
        plots = self._drawn_plots(drawn)
        if self._ceilings:
            signs.append(("", palette.EDGE, self._ceilings))
        if self._bars:
            signs.append(("│", palette.EDGE, self._bars))
        signs += mark_signs(self._mark(), plots)
        return [record.Legend("sweeps", tuple(signs)), record.Row("plots", plots)]

    def _drawn_plots(self, drawn: Sequence[DrawnSweep]) -> tuple[record.Curves, ...]:
        mark = self._mark()
        marked = (mark.score,) if mark is not None and starred(mark) else ()
        looks: object = [(each.name, each.line, each.is_pale) for each in drawn]
        made: list[object] = [looks, self.hidden, marked, [each.sweep for each in drawn]]
        if made != self._plots[0]:
            self._plots = made, context_plots(drawn, self.hidden, marked)
            spots = (spot for each in drawn for spot in points_of(each))
            points = [spot.point for spot in spots if spot.label not in self.hidden]
            self._bars, self._ceilings = bars_text(points), ceilings_text(points)
        return self._plots[1]

    def _form_items(self) -> Sequence[record.Item | record.Row]:
        # The pool is also another one after a stroke, or in another recording.
        self._suggest()
        text, refusal = "", ""
        tone: record.Tone = "quiet"
        session, needs = self._state.session, self._results.needs
        try:
            plan, left_out = self.form.read().plan(self._state), ""
            if session is not None:
                plan, left_out = fitting_plan(session, plan)
            estimate = self._sweeps.estimate(plan)
            if estimate is not None:
                asked = ", ".join(filter(None, [plan.asked, left_out]))
                text = f"{asked}: {estimate.text}"
        except ValueError as error:
            # A reason stands at its field already.
            text, tone, refusal = ("" if self.form.refusal else str(error)), "warning", str(error)
        if session is None:
            refusal = record.NO_SESSION
        elif needs is not None and (remedy := check_compatibility(needs, session).remedy):
            text, tone, refusal = remedy, "warning", remedy
        elif self._sweeps.is_busy:
            text = refusal = "A sweep runs already: cancel it, or wait"
        start = record.Action(
            "start", "Start", "Start the sweep in the background", self.start, refusal
        )
        summary = record.Text("estimate", text, tone)
        # A sweep may take hours: Enter takes a value, and only the button begins it.
        return [record.Settings("settings", self.form),
                record.Row("start row", (summary, start), wide="estimate")]  # fmt: skip

    # -- mark and texts ---------------------------------------------------------------
    def _mark(self) -> CurrentPoint | None:
        """Return the mask on screen as a point, comparable beside curves of its question alone.

        Beside saved sweeps of other questions, it has no score.
        """
        mark, mask, session = (
            current_point(self._state, self._results), self._state.mask, self._state.session
        )  # fmt: skip
        if mark is None or mask is None or session is None:
            return mark
        drawn = self.drawn()
        live = live_sweeps(self._state, self._results) if self.is_live else {}
        if not drawn or (live and mark.is_comparable):
            return mark
        others = [each.sweep for each in drawn if each.name not in live and each.sweep.rows]
        has_score, problem = bool(np.isfinite(mark.score)), ""
        if not any(is_of_mask(sweep, session, mask) for sweep in others):
            is_here = not others or any(session.id in sweep.sessions for sweep in others)
            problem = OTHER if is_here else OTHER_RECORDING
        elif has_score and mark.n_windows == 1:
            problem = IN_WINDOW
        # A mask without a score has its own reason beside curves of its question.
        if (live and problem) or (not has_score and not (problem and others)):
            return mark
        score = float("nan") if problem else mark.score
        return replace(mark, score=score, problem=problem, is_comparable=not problem)

    def _marks(self) -> Sequence[record.Item]:
        mark, marks = self._mark(), []
        plots = {plot.name: plot.limits for plot in self._plots[1]}
        for axis in AXES:
            line = record.Overlay(f"line {axis}", axis, palette.CURSOR, dash="dotted")
            star = record.Overlay(f"star {axis}", axis, palette.CURSOR, symbol="star")
            limits = plots.get(axis)
            # Among curves of other neurons or recordings, the mask has no place.
            if mark is not None and limits is not None and mark.problem not in ELSEWHERE:
                place = place_on(axis, getattr(mark.context, axis))
                line = replace(line, x=np.full(2, place), y=np.array(limits[2:]))
                n_stars = int(axis in starred(mark))
                star = replace(
                    star,
                    x=np.full(n_stars, place),
                    y=np.full(n_stars, mark.score),
                    tip=f"This mask: {mark.text}",
                    is_pale=mark.is_old,
                )
            marks += [line, star]
        return marks

    @property
    def status(self) -> tuple[str, str]:
        """Evidence and progress of the curves, and of whom they are; or why there are none."""
        missing = " ".join(self.missing().split())
        if missing == NOT_LIVE:
            saved = [sweep_text(each) for each in self.drawn() if each.sweep.rows]
            return (saved[0], " · ".join(saved[1:])) if saved else (NOT_LIVE, "")
        return (missing, "") if missing else live_lines(self._state, self._results)

    @property
    def mark(self) -> str:
        """The mask on screen, such as "★ this mask: r = 0.43 over 64 windows"."""
        is_drawn = any(each.sweep.rows for each in self.drawn())
        return point_text(self._mark(), is_drawn=is_drawn)

    def _texts(self) -> Sequence[record.Item]:
        if self.page == "sweep":
            return []
        error, refused = self._sweeps.error, ""
        curves, live = self._results.tier_curves, self._results.sweep
        if curves is not None and curves.is_shown:
            live = curves.sweep
        if self.is_live and not self.missing() and live is not None:
            refused = refused_text(live)
        drawn = self.drawn()
        refused = " · ".join(filter(None, [refused, unequal_text(drawn), short_text(drawn)]))
        # Without curves, the reason stands in their place.
        is_told = self.missing() and not any(each.sweep.rows for each in self.drawn())
        status = ("", "") if is_told else self.status
        return [
            # A line each, also without a text: the plots keep their height.
            *(
                record.Text(name, text or " ", "quiet", f"{text}\n{TIP}", is_line=True)
                for name, text in zip(("status", "asked"), status, strict=True)
            ),
            record.Text(
                "mark", self.mark or " ", "quiet", f"{self.mark}\n{TIP}".strip(), is_line=True
            ),
            record.Text("refused", refused, "quiet"),
            record.Text("problem", "" if error is None else str(error), "problem"),
        ]

    # -- background and saved sweeps --------------------------------------------------
    def _running(self) -> Sequence[record.Item | record.Row]:
        sweeps = self._sweeps
        if not sweeps.is_busy:
            return []
        pause = record.Action("pause", "Pause", "Pause after this window", sweeps.pause)
        if sweeps.is_paused:
            pause = record.Action("pause", "Resume", "Continue the sweep", sweeps.resume)
        entry = None if sweeps.running is None else sweeps.entry_of(sweeps.running)
        kept, other = "No point is finished yet: nothing of it is kept", ""
        if entry is not None and entry.sweep is not None:
            session, (n_done, n_points) = self._state.session, entry.sweep.point_counts()
            # It goes on after another recording has been opened.
            if session is None or session.id not in entry.sweep.sessions:
                other = f"Of another recording: {', '.join(entry.sweep.sessions)}"
            if n_done:
                kept = f"{n_done:,} of {n_points:,} points are kept, and Resume computes the rest"
        stop = f"Stop the sweep. {kept}"
        return [
            *([record.Text("other", other, "quiet", is_line=True)] if other else []),
            record.Text("progress", f"Sweep: {sweeps.message}", "quiet", is_line=True),
            record.Row(
                "running",
                (
                    record.Progress("share", "Sweep in the background", sweeps.progress.share),
                    pause,
                    record.Action("cancel", "Cancel", stop, sweeps.cancel),
                ),
                wide="share",
            ),
        ]

    def _list(self) -> Sequence[record.Item | record.Row]:
        sweeps = self._sweeps
        if self.page != "saved":
            return []
        if not sweeps.entries:
            return [record.Text("none saved", NO_SAVED, "quiet")]
        paths = [entry.path for entry in sweeps.entries]
        row = paths.index(self._saved) if self._saved in paths else None
        label = (
            f"Saved sweeps: press one to draw, resume or delete it; at most {MAX_COMPARED} drawn"
        )
        rows = tuple(self._cells(entry) for entry in sweeps.entries)
        listed = record.Table("saved sweeps", label, TITLES, rows, self._pick)
        return [
            listed,
            record.CurrentRow("current sweep", listed.name, row),
            *([] if row is None else self._saved_actions(sweeps.entries[row])),
        ]

    def _cells(self, entry: SavedSweep) -> tuple[str, ...]:
        sweeps, points = self._sweeps, "cannot be read"
        if entry.sweep is not None:
            points = "{:,} of {:,}".format(*entry.sweep.point_counts())
            points = f"running, {points}" if entry.path == sweeps.running else points
        number = sweeps.compared.index(entry.path) + 1 if entry.path in sweeps.compared else 0
        line = DASHES[number][1] if number else ""
        return line, entry.started, points, entry.name, *plan_texts(entry)

    def _pick(self, row: int) -> None:
        self._saved, self._unconfirmed = self._sweeps.entries[row].path, None
        self.changed.emit()

    def _saved_actions(self, entry: SavedSweep) -> Sequence[record.Item | record.Row]:
        sweeps, path = self._sweeps, entry.path
        is_asking, busy = path == self._unconfirmed, ""
        if entry.sweep is None or entry.is_complete:
            busy = "Nothing is missing" if entry.sweep is not None else entry.problem
        elif sweeps.is_busy:
            busy = "A sweep runs already: cancel it, or wait"
        running = "It is running: cancel it first" if path == sweeps.running else ""
        question = "" if entry.sweep is None else entry.sweep.plan.asked
        if entry.sweep is not None and not entry.sweep.rows and path != sweeps.running:
            question = f"stopped before its first points: nothing is kept · {question}"
        exact = "" if entry.sweep is None else f"exact name of the model: {entry.sweep.predictor}"
        facts = zip(TITLES[1:], self._cells(entry)[1:], strict=True)
        told = (f"{title}: {text}" for title, text in facts if text)
        about = "\n".join([*told, *filter(None, [exact]), str(path)])
        return [
            record.Row(
                "saved actions",
                (
                    record.Switch("draw", "Draw",
                                  "Draw its curves, with broken lines and open points",
                                  path in sweeps.compared,
                                  lambda is_on: sweeps.compare(path, is_on)),
                    record.Action("resume", "Resume",
                                  "Compute the missing points, with its own model and recording",
                                  lambda: sweeps.continue_saved(path), busy),
                    record.Action("delete", "Really delete?" if is_asking else "Delete",
                                  "Press again to delete" if is_asking else "Delete the file",
                                  lambda: self._delete(path), running),
                    record.Text("about", entry.problem or question, "quiet", about,
                                is_line=True),
                ),
                wide="about"
            )
        ]  # fmt: skip

    def _delete(self, path: Path) -> None:
        """Ask for confirmation on the first press; delete on the second."""
        is_confirmed, self._unconfirmed = path == self._unconfirmed, path
        if is_confirmed:
            self._unconfirmed = None
            self._sweeps.remove(path)
        self.changed.emit()


# -- texts ----------------------------------------------------------------------------
def live_problem(state: LiveState, results: Results, *, is_live: bool) -> str:
    """Return the reason why there is no live curve, or ""."""
    # The order matters: only the first missing precondition is reported.
    if not is_live:
        return NOT_LIVE
    if state.window is None or state.mask is None:
        return record.NO_SESSION
    if not state.predictor_name:
        return NO_MODEL
    if not (state.selection or results.has_tier_curves):
        return NO_SELECTION
    if results.freshness == "error":
        return failure_text(state, results)
    if not state.mask.target.any() and not state.mask.has_behavior_target:
        return NO_TARGET
    return ""


def tier_name(curves: TierCurves) -> str:
    """Return the name of curves over a tier: "test part, 64 of 172 windows"."""
    windows = f"{curves.n_windows:,} of {curves.n_total:,} windows"
    if curves.is_complete:
        windows = f"{curves.n_total:,} windows"
    return f"{curves.tier} part, {windows}"


def sweep_text(drawn: DrawnSweep) -> str:
    """Return what a saved sweep asks: "– – LM from V1: 124 targets, 32 windows, 5 draws"."""
    plan, rows = drawn.sweep.plan, drawn.sweep.rows
    n_windows = max(row.n_windows for row in rows)
    # Contexts of which nothing is drawn have one draw, in rows of all seeds.
    points = [point for curve in drawn.sweep.curves() for point in curve.points]
    n_draws = max(point.n_seeds for point in points)
    is_part = not drawn.sweep.is_complete and n_draws < len(plan.seeds)
    n_draws = n_draws if is_part else len(plan.seeds)
    of = f" of {len(plan.seeds)}" if is_part else ""
    draws = f"{n_draws}{of} draw{'s' * (len(plan.seeds) != 1)}"
    windows = f"{n_windows:,} {plan.tier} windows"
    asked = f"{plan.asked}: {targets_text(rows)} targets, {windows}, {draws}"
    return f"{DASHES[drawn.line][1]} {asked}"


def plan_texts(entry: SavedSweep) -> tuple[str, ...]:
    """Return inputs, counts, model and question of a saved sweep, as in `TITLES`."""
    sweep = entry.sweep
    if sweep is None:
        return ("",) * (len(TITLES) - TITLES.index("inputs"))
    plan = sweep.plan
    inputs = [
        name if all(values) else f"{name} on, off"
        for name, values in (("video", plan.video), ("behaviour", plan.behavior))
        if any(values) and name not in sweep.unread
    ]
    n_windows = max((row.n_windows for row in sweep.rows), default=0)
    return (
        " + ".join(inputs) or "nothing",
        ", ".join(f"{n:,}" for n in plan.neurons) or "–",
        ", ".join(map(str, plan.history_samples)) or "–",
        str(len(plan.seeds)),
        f"{n_windows:,} {plan.tier}".strip(),
        # Before its first row, a sweep has the place of its model.
        model_title(Path(sweep.predictor).name, str(entry.about.get("predictor") or "")),
        plan.targets_name,
        plan.pool_name,
    )


def live_lines(state: LiveState, results: Results) -> tuple[str, str]:
    """Return evidence of the live curves, and of which neurons they are, with progress."""
    curves = results.tier_curves
    # Before enough windows are added, the curves would be biased.
    evidence = window_evidence(state)
    if curves is not None:
        least = min(PRELIMINARY, curves.n_total)
        evidence = f"{tier_name(curves)} (drawn from {least} windows on)"
    if curves is not None and curves.is_shown:
        # On the first line, where it fits a small window.
        selected = ""
        if state.selection and selected_sweep(curves, state.selection) is None:
            selected = "no target is selected"
        evidence = " · ".join(filter(None, [tier_name(curves), selected]))
        asked = [_asked_text(curves)]
    else:
        n = len(state.selection)
        only = f"{n} neuron{'s' * (n != 1)}, this window only"
        asked = [only, _window_progress(results)]
    if results.needs is not None and not results.needs.sees_responses:
        evidence = f"{NO_RESPONSES} · {evidence}"
    return f"{evidence[:1].upper()}{evidence[1:]}", " · ".join(filter(None, asked))


def refused_text(sweep: ContextSweep) -> str:
    """Return which points are missing and why; "" if none is."""
    # By point of an axis and reason: the conditions without it.
    asked: dict[str, set[str]] = {}
    refused: dict[tuple[str, str], list[str]] = {}
    for row in sweep.rows:
        context = row.context
        point = f"{context.neurons:,} neurons"
        if context.history_samples:
            point = f"{context.history_samples} samples"
        condition = inputs_label(context.video, context.behavior, sweep.unread)
        asked.setdefault(point, set()).add(condition)
        if row.refusal:
            refused.setdefault((point, row.refusal), []).append(condition)
    told: dict[tuple[str, str], list[str]] = {}
    for (point, reason), without in refused.items():
        names = dict.fromkeys(without)
        of = "" if {*names} == asked[point] else f" of {', '.join(names)}"
        told.setdefault((of, reason), []).append(point)
    texts = [f"No point at {', '.join(at)}{of}: {why}" for (of, why), at in told.items()]
    return " · ".join(texts)


def unequal_text(drawn: Sequence[DrawnSweep]) -> str:
    """Return that curves of the same recordings are over different windows; "" if none are."""
    windows: dict[tuple[str, ...], dict[tuple[int, str], None]] = {}
    for each in drawn:
        sweep = each.sweep
        if sweep.rows and not each.is_pale:
            key = max(row.n_windows for row in sweep.rows), sweep.plan.tier
            windows.setdefault(sweep.sessions, {})[key] = None
    texts = [
        and_text([f"{n:,} {tier}" for n, tier in found])
        for found in windows.values()
        if len(found) > 1
    ]
    return f"Curves over {'; '.join(texts)} windows are not comparable" if texts else ""


def short_text(drawn: Sequence[DrawnSweep]) -> str:
    """Return why a sweep over a tier has no interval over time; "" if all have one."""
    reasons = [each.sweep.no_interval for each in drawn if not each.is_pale]
    return " · ".join(f"95 % interval: {why}" for why in dict.fromkeys(filter(None, reasons)))


def window_evidence(state: LiveState) -> str:
    """Return the part of the recording of the window, and whether models are fitted to it."""
    if state.window is None:
        return ""
    fitted = ", to which models are fitted" if train_warning(state.window) else ""
    return f"this window: {window_tier_text(state.window)}{fitted}"


def _window_progress(results: Results) -> str:
    """Return progress and freshness of the curves of the window; "" for none."""
    sweep = results.sweep
    if results.sweep_freshness == "fresh" and sweep is not None:
        if sweep.is_complete:
            return "● fresh"
        return f"◌ {len(sweep.rows)} of {sweep.n_planned} points"
    return {
        "running": "◌ computing",
        "stale": "◌ older, computing",
        "stopped": "stopped",
    }.get(results.sweep_freshness, "")


def _asked_text(curves: TierCurves) -> str:
    """Return the neurons of the curves over a tier."""
    n_targets = max(row.n_neurons for row in curves.sweep.rows)
    plan = curves.sweep.plan
    return f"{count(n_targets, plan.targets_name.removesuffix('s'))} from {plan.pool_name}"


def no_curve_text(results: Results) -> str:
    """Return why no curve is drawn although nothing is missing for one."""
    sweep = results.sweep
    refusals = [] if sweep is None else [r.refusal for r in sweep.rows if r.refusal]
    if refusals:
        return f"No point: {refusals[0]}"
    return "stopped" if results.sweep_freshness == "stopped" else "◌ computing…"


def starred(mark: CurrentPoint) -> tuple[ContextAxis, ...]:
    """Return the axes on which the mask is a point of the curves, which have 0 on the other one."""
    if not (mark.is_comparable and np.isfinite(mark.score)):
        return ()
    others = {"neurons": mark.context.history_samples, "history_samples": mark.context.neurons}
    return tuple(axis for axis in AXES if not others[axis])


def mark_signs(
    mark: CurrentPoint | None, plots: Sequence[record.Curves]
) -> list[tuple[str, str, str]]:
    """Return what dotted line and star are, "★┊ this mask: 64 visible", or why no star stands."""
    if mark is None or mark.problem in ELSEWHERE:
        return []
    star = "★" * bool(starred(mark))
    text = f"this mask: {mark.context.neurons:z,.0f} visible"
    place = place_on("neurons", mark.context.neurons)
    if any(one.name == "neurons" and one.limits and place > one.limits[1] for one in plots):
        text += ", beyond the axis"
    signs = [(f"{star}┊", palette.CURSOR, text)]
    if not (star or mark.problem):
        signs.append(("", palette.CURSOR, BOTH if mark.is_comparable else OTHER_QUESTION))
    return signs


def point_text(mark: CurrentPoint | None, *, is_drawn: bool) -> str:
    """Return e.g. "★ this mask: r = 0.43 in this window"; "" without a mark.

    The place of its line in the plots tells the context. Without curves, or beside those of
    another question or context, it has no star.
    """
    if mark is None:
        return ""
    if mark.problem:
        return f"This mask: {mark.problem}"
    return f"{'★ this' if starred(mark) and is_drawn else 'This'} mask: {mark.score_text}"
