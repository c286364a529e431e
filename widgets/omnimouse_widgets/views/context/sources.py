"""Panel *Sources*: what drives a neuron; sources, informants and areas.

The file is long because a panel is one file: its three questions share form, texts and
table.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Literal

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.sources.areas import AreaMatrix
from omnimouse_model.analysis.sources.areas import Kind as AreaKind
from omnimouse_model.analysis.sources.errors import Found, areas_of, estimate_text
from omnimouse_model.analysis.sources.informants import Informants
from omnimouse_model.analysis.sources.sources import KINDS, SourceScores, source_label
from omnimouse_model.display import count, interval_text, number_text
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.inference.background_task import BUSY_TIP
from omnimouse_model.live.inference.workers import WorkerWatch
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.planes import Selection
from omnimouse_model.live.results import NOT_FITTED, Results
from omnimouse_model.live.sources import (
    ALL,
    AREA,
    DRAWS,
    GROUP,
    MASK,
    SELECTED,
    Finding,
    Question,
    Sources,
)
from omnimouse_model.live.state import ColourBy
from omnimouse_model.metrics.time_blocks import Estimate
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.text.model import is_unfitted, model_title

Page = Literal["figure", "means", "values", "table"]
QUESTIONS: Final[dict[Question, tuple[str, str]]] = {
    "sources": (
        "Sources",
        "How much video, behaviour, its own past and other neurons tell of each neuron",
    ),
    "informants": ("Informants", "Which few neurons tell most of the targets"),
    "areas": ("Areas", "What each area tells each area, also beyond video and behaviour"),
}
PAGES: Final[dict[Page, tuple[str, str]]] = {
    "figure": ("Figure", "Bars, curve or matrix"),
    "means": ("Alone and unique", "Means over the neurons of each value"),
    "values": ("Values", "The numbers of the figure with their intervals"),
    "table": ("Table", "All numbers; of informants, their rank and what each adds"),
}
OF_ONE: Final[dict[Page, type[Found]]] = {"means": SourceScores, "values": Informants}
"""Pages of the result of one question alone."""
NO_CAUSE: Final = "Information that the model finds, not cause."
TITLES: Final[dict[Question, str]] = {
    "sources": "Shares of variance",
    "informants": "The few neurons that tell most",
    "areas": "What rows tell columns",
}
EXPLANATIONS: Final[dict[Question, str]] = {
    "sources": "Share of a neuron's variance in held-out windows. Stacked: each source's share "
    "of the whole. Alone: from it alone; unique: lost without it. Sources that tell the same "
    "share it. One neuron over few windows is uncertain.",
    "informants": "Share of the targets' variance from the first informants, beside as many "
    "random neurons. Chosen by a regression on all neurons and their past: a model of few "
    "factors, such as linear-gaussian, hides sparse couplings. One target over few windows is "
    "uncertain.",
    "areas": "From rows to columns, with equal numbers of visible neurons. Alone: share of "
    "variance; beyond video and behaviour: gain of the squared correlation.",
}
SETS: Final[dict[Question, str]] = {
    "sources": "Input sets: each source alone, each two of them, and so on to all together, of "
    "more than 6 sources a sample of these; for each group of targets, which are hidden together "
    "and at most a tenth of an area.",
    "informants": "Input sets: the first 1, 2, 4, 8 and 16 informants, as many random neurons in "
    "5 draws, and all neurons.",
    "areas": "Input sets: each area alone, each beside video and behaviour, and these without "
    f"neurons; for each of {DRAWS} draws, which are choices of targets and of visible neurons.",
}
"""What the model sees in the predictions that `cost` counts."""
RANKS: Final = (
    "Rank: each is chosen beside those before it. Lost without it: share of variance that a "
    "regression on all neurons loses without this one; others can replace it."
)
NOT_RUN: Final = "Press Run"
NO_RESULT: Final = "Run it first: there is nothing to show or export"
OTHER_SETTINGS: Final = "This result is of other settings than those above; its own stand below"
NOT_MEASURED: Final = "No values yet: the search gives the order first"
ONLY_TABLE: Final = "Choose the figure first: a table is saved as CSV or Parquet"
LEAST_WINDOWS: Final = 8
"""Windows that can be asked for: fewer tell next to nothing over time."""
UP: Final = "explained"
"""Variance that is explained; `share` is the name of one of the three values."""


class SourcesView(OfController):
    """What drives a neuron: question, targets, run, figure and table.

    Parameters
    ----------
    sources, results, selection
        The analyses, what the chosen model answered, and the neurons that a press on a bar
        selects.
    colouring
        Chooses the quantity that colours the neurons.
    workers
        Processes of the models, which tell how far a fit is.

    Attributes
    ----------
    page, kind
        What is shown, and the matrix of areas that is drawn.
    sorted_by, is_descending
        Order of the table of sources.
    """

    name = "sources"
    changed = Signal()

    def __init__(
        self,
        sources: Sources,
        results: Results,
        selection: Selection,
        colouring: Colouring,
        workers: WorkerWatch,
    ) -> None:
        self._results, self._workers = results, workers
        self._sources, self._selection, self._colour_by = sources, selection, colouring.choose
        self.page: Page = "figure"
        self.kind: AreaKind = "beyond"
        self.sorted_by, self.is_descending = TOTAL, True
        # What the rows of the table were made of, and the rows.
        self._rows: tuple[tuple[object, ...], tuple[dict[str, np.ndarray], np.ndarray]] | None
        self._rows, self._version = None, 0

    def set(self, **options: str) -> None:
        """Set `page` or `kind`."""
        for name, value in options.items():
            setattr(self, name, value)
        self.changed.emit()

    def blocks(self) -> Sequence[record.Block]:
        """Return the question and its run, what was found, and its actions."""
        events, sources = self._sources.state.events, self._sources
        asked = [sources.changed, events.session, events.mask, events.selection]
        asked += [events.predictor_name, self._results.changed, self._workers.changed]
        shown = [sources.measured, sources.changed, self.changed]
        progress = [*shown, self._workers.changed]
        return [
            record.Block(self._controls, asked, follow=self._look, grows=True),
            record.Block(self._shown, progress, grows=True),
            record.Block(self._found, shown, grows=True),
            record.Block(self._actions, [*asked, sources.measured, self.changed], grows=True),
        ]

    def _look(self, is_seen: bool) -> None:
        if is_seen and self._sources.is_quick:
            self._sources.warm_up()
        # The reason against a run stands in the place of the figure. A figure does not depend
        # on the mask: it is not drawn again after each stroke.
        if is_seen and self._sources.result is None:
            self.changed.emit()

    # -- question ---------------------------------------------------------------------
    def _controls(self) -> Sequence[record.Item | record.Row]:
        sources = self._sources
        questions = tuple((name, *texts) for name, texts in QUESTIONS.items())
        question = record.Choice(
            "question",
            "Question",
            "What is asked",
            questions,
            sources.question,
            lambda name: sources.set(question=name),
            is_row=True,
        )
        return [
            question,
            record.Text(
                "explanation",
                f"{TITLES[sources.question]}: information, not cause",
                "quiet",
                f"{EXPLANATIONS[sources.question]} {NO_CAUSE}",
                is_line=True,
            ),
            record.Row("settings", tuple(self._settings()), "end" * (sources.question == "areas")),
            record.Row("answer", self._answer(), wide="model"),
            record.Row("running", self._run(), wide="cost"),
            record.Text("error", "" if sources.error is None else f"✕ {sources.error}", "problem"),
        ]

    def _settings(self) -> Sequence[record.Item]:
        sources = self._sources
        if sources.question == "areas":
            help_text = "Show only the past of the source, up to the guard"
            is_on = sources.is_lagged
            return [
                record.Switch(
                    "lagged", "Past only", help_text, is_on, lambda on: sources.set(is_lagged=on)
                ),
                record.Text("end", ""),
            ]
        items: list[record.Item] = [
            record.Choice(
                "targets",
                "Targets",
                "Neurons that are predicted",
                target_options(sources),
                sources.targets,
                lambda name: sources.set(targets=name),
            )
        ]
        if sources.question == "sources":
            help_text = "The neurons that the mask shows are a source of their own"
            items.append(
                record.Switch(
                    "group",
                    "+ painted neurons",
                    help_text,
                    sources.has_group,
                    lambda is_on: sources.set(has_group=is_on),
                    actions=self._groups(),
                )
            )
        return items

    def _groups(self) -> tuple[record.Action, ...]:
        sources = self._sources

        def ask() -> record.AskText:
            sources.painted()  # without neurons, there is nothing to name
            name = f"group {len(sources.state.groups) + 1}"
            return record.AskText("Name of the group", name, sources.name_group)

        help_text = "A named group is a source, and can be the targets, while others are painted"
        return (
            record.Action("name", "Name the painted neurons…", help_text, ask),
            *(
                record.Action(
                    f"forget {group.name}",
                    f"Forget {group.name} ({count(len(group.ids), 'neuron')})",
                    "It is no source any more",
                    partial(sources.forget_group, group.name),
                )
                for group in sources.state.groups
            ),
        )

    def _answer(self) -> tuple[record.Item, ...]:
        sources = self._sources
        models = (
            ("quick", "by linear-gaussian", "Answers in seconds, for any recording"),
            ("chosen", "by the chosen model", "The model of the panel OmniMouse; it takes longer"),
        )
        help_text = (
            f"Windows of the test part, spread over it: {LEAST_WINDOWS} or more, or all of them: "
            "empty or 0"
        )
        model = "quick" if sources.is_quick else "chosen"
        # As in the form of a sweep, nothing stands for all.
        most = sources.n_windows
        now = min(sources.windows or 0, most), 0, most

        def set_windows(n: int) -> None:
            # From the least number, the arrow down leads to all.
            is_all = n == 0 or (n < LEAST_WINDOWS and sources.windows == LEAST_WINDOWS)
            sources.set(windows=None if is_all else max(n, LEAST_WINDOWS))

        # A smaller number becomes this one, and says so.
        unit = " windows (least)" if now[0] == LEAST_WINDOWS else " windows"
        return (
            record.Choice(
                "model",
                "Model",
                "Who predicts",
                models,
                model,
                lambda name: sources.set(is_quick=name == "quick"),
            ),
            record.Number(
                "windows", "Windows", help_text, *now, set_windows, unit, none="all windows"
            ),
        )

    @property
    def _problem(self) -> str:
        sources = self._sources
        is_to_be_fitted = is_unfitted(sources.state.predictor_name, self._results)
        return NOT_FITTED if is_to_be_fitted and not sources.is_quick else sources.problem

    @property
    def _progress(self) -> str:
        # Before its first window, a run waits for the fits of its model.
        fit = "" if self._sources.share else self._workers.fit
        return f"Fit: {fit}" if fit else self._sources.message

    def _run(self) -> tuple[record.Item, ...]:
        sources = self._sources
        problem = self._problem
        # Without a result, the reason stands whole in the place of the figure.
        reason = problem if sources.result is not None else " "
        text = self._progress if sources.is_busy else reason if problem else sources.cost
        tip = f"{text}\n{SETS[sources.question]}\n{BUSY_TIP}".strip()
        cost = record.Text("cost", text, "quiet", tip, is_line=True)
        if sources.is_busy:
            help_text = "Stop; the same question goes on where it was"
            # In this row: a row of its own would move the plot.
            bar = record.Progress("progress", "Sources", sources.share)
            return cost, bar, record.Action("stop", "Stop", help_text, sources.stop)
        help_text = "Ask; the screen stays in use meanwhile"
        return cost, record.Action("run", "Run", help_text, sources.start, problem)

    # -- what was found ---------------------------------------------------------------
    def _shown(self) -> Sequence[record.Item | record.Row]:
        sources, found = self._sources, self._sources.result
        if sources.state.session is None:
            return [record.Message("content", "Sources", record.NO_SESSION)]
        if found is None:
            busy = self._progress.capitalize()
            text = busy if sources.is_busy else self._problem or NOT_RUN
            return [record.Message("content", "Sources", text)]
        offered = _pages_of(found)
        # Another name where other pages are offered.
        name = "page" if "means" in offered else "view" if "values" in offered else "sheet"
        choices: list[record.Item] = [
            record.Choice(
                name,
                "View",
                "What is shown",
                tuple((name, *PAGES[name]) for name in offered),
                self._page_of(found),
                lambda name: self.set(page=name),
                is_row=True,
            )
        ]
        if isinstance(found, AreaMatrix) and found.plan.inputs:
            kinds = tuple((kind, _kind_text(found, kind), "") for kind in ("alone", "beyond"))
            choices.append(
                record.Choice(
                    "kind", "Matrix", "Which values", kinds, self.kind, lambda to: self.set(kind=to)
                )
            )
        return [record.Row("shown", tuple(choices)), *self._content(found)]

    def _page_of(self, found: Finding) -> Page:
        """Return the chosen page, or the figure where a result has none of that name."""
        return self.page if self.page in _pages_of(found) else "figure"

    def _content(self, found: Finding) -> Sequence[record.Item]:
        if self.page == "table":
            return [self._table(found)]
        if isinstance(found, SourceScores):
            if self.page == "means":
                return [source_means(found)]
            return [source_bars(found, self._select)]
        if isinstance(found, Informants):
            is_table = self._page_of(found) == "values"
            return [informant_values(found) if is_table else informant_curves(found)]
        return [area_cells(found, self.kind if found.plan.inputs else "alone")]

    def _table(self, found: Finding) -> record.Table | record.LongTable:
        if isinstance(found, AreaMatrix) and found.plan.inputs:
            return area_table(found, (self.kind,))
        if not isinstance(found, SourceScores):
            return found_table(found, self._select)
        asked = found, self.sorted_by, self.is_descending
        if self._rows is None or self._rows[0] != asked:
            self._version += 1
            self._rows = asked, source_rows(found, self.sorted_by, is_descending=self.is_descending)
        columns, order = self._rows[1]
        names = [title for title, _ in SOURCE_COLUMNS]

        def choose(rows: Sequence[int]) -> None:
            neurons = columns["index"][list(rows)]
            neurons = neurons[neurons >= 0]
            if len(neurons):
                self._selection.select(list(dict.fromkeys(neurons.tolist())))

        return record.LongTable(
            "content",
            "Sources of each neuron",
            self._version,
            tuple(
                record.Column(name, name, tip, columns[name].dtype.kind == "U")
                for name, tip in SOURCE_COLUMNS
            ),
            len(order),
            "source",
            self.sorted_by,
            self.is_descending,
            self._sort,
            order,
            partial(read_source_rows, columns, names, source_colours(len(found.names)), order),
            tuple,
            choose,
        )

    def _sort(self, column: str) -> None:
        """Sort the table by a column; the same again turns the order round."""
        self.is_descending = column == self.sorted_by and not self.is_descending
        self.sorted_by = column
        self.changed.emit()

    def _select(self, neuron: int) -> None:
        self._selection.select([neuron])

    def _found(self) -> Sequence[record.Item | record.Row]:
        found = self._sources.result
        # A result names the neurons of its time, and stays while others are selected.
        is_selected = self._sources.targets == SELECTED and not isinstance(found, AreaMatrix)
        is_other = found is not None and self._sources.is_of_other_settings and not is_selected
        is_table = found is not None and self._page_of(found) == "table"
        quantity = RANKS if isinstance(found, Informants) and is_table else ""
        if isinstance(found, AreaMatrix):
            quantity = _quantity_text(found, self.kind, is_table=is_table)
        text, tip = "", ""
        if found is not None:
            model = model_title(found.predictor, self._sources.state.predictor_name)
            text, tip = summary(found, model, is_table=is_table), f"model: {found.predictor}"
        return [
            record.Text("quantity", quantity, "quiet"),
            record.Text("other", OTHER_SETTINGS if is_other else "", "warning"),
            record.Text("found", text, "quiet", tip),
        ]

    def _actions(self) -> Sequence[record.Item | record.Row]:
        refusal = NO_RESULT if self._sources.result is None else ""
        quantity: ColourBy = "informant" if self._sources.question == "informants" else "source"
        actions: list[record.Item] = []
        if self._sources.question != "areas":
            help_text = "Colour the neurons by the result"
            colour = partial(self._colour_by, quantity)
            actions.append(record.Action("colour", "Colour field", help_text, colour, refusal))
        help_text = "Save the table or the figure"
        actions.append(record.Menu("export", "Export", help_text, tuple(self._exports()), refusal))
        help_text = "Copy the commands that repeat this analysis in a script"
        problem = self._problem
        actions.append(record.Action("python", "Copy as Python", help_text, self._copy, problem))
        return [record.Row("actions", tuple(actions))]

    def _copy(self) -> record.Clipboard:
        return record.Clipboard(self._sources.as_python(), "The script is on the clipboard")

    def _exports(self) -> Sequence[record.Action]:
        sources, name = self._sources, self._sources.question
        found = sources.result
        is_table = found is not None and self._page_of(found) in ("values", "table")
        refusal = ONLY_TABLE if is_table else ""

        def file(end: str) -> record.SaveFile:
            return record.SaveFile(f"{name}.{end}", sources.write)

        def picture(end: str) -> record.SavePicture:
            text = "" if found is None else summary(found, has_means=True)
            if isinstance(found, AreaMatrix):
                text = f"{TITLES['areas']}, {_quantity_text(found, self.kind)}\n{text}"
            recording = "" if found is None else f"session: {found.session}"
            return record.SavePicture(
                f"{name}.{end}", "content", f"{recording}\n{text}\n{NO_CAUSE}"
            )

        def values() -> record.SaveFile:
            return record.SaveFile("informants_values.csv", partial(sources.write, of_figure=True))

        unmeasured = "" if _is_measured(found) else NOT_MEASURED
        return [
            *record.file_actions(record.TABLES, "Save the table", file),
            *(
                [record.Action("values", "Values (CSV)…", PAGES["values"][1], values, unmeasured)]
                if isinstance(found, Informants)
                else []
            ),
            *record.file_actions(record.PICTURES, "Save the figure", picture, refusal),
        ]


def _pages_of(found: Finding) -> list[Page]:
    pages = [name for name in PAGES if isinstance(found, OF_ONE.get(name, Found))]
    return [name for name in pages if name != "values" or _is_measured(found)]


def _is_measured(found: Finding | None) -> bool:
    """Return whether informants have values; their search alone gives an order."""
    return isinstance(found, Informants) and len(found.errors.neurons) > 0


def target_options(sources: Sources) -> tuple[tuple[str, str, str], ...]:
    """Return the targets that can be chosen."""
    session = sources.state.session
    names = set() if session is None else {*areas_of(session).tolist()} - {""}
    return (
        (SELECTED, "selected neurons", "The selected neurons, at most 64"),
        (MASK, "targets of the mask", "Neurons with a target in the mask on screen: paint them"),
        *(
            (f"{GROUP}{group.name}", f"neurons of {group.name}", "The neurons of this group")
            for group in sources.state.groups
        ),
        *(
            (f"{AREA}{name}", f"neurons of {name}", f"All neurons of {name}")
            for name in sorted(names)
        ),
        (ALL, "all neurons", "All neurons of the recording"),
    )


def found_title(found: Finding) -> str:
    """Return the question that a result answers."""
    if isinstance(found, SourceScores):
        return QUESTIONS["sources"][0]
    return QUESTIONS["informants" if isinstance(found, Informants) else "areas"][0]


def found_table(found: Finding, select: Callable[[int], object] | None = None) -> record.Table:
    """Return all numbers of a result; `select` gets the neuron of a pressed row."""
    if isinstance(found, SourceScores):
        return source_table(found)
    if isinstance(found, Informants):
        return informant_table(found, select)
    return area_table(found)


# -- texts ---------------------------------------------------------------------------
def _quantity_text(found: AreaMatrix, kind: AreaKind, *, is_table: bool = False) -> str:
    """Return what the values of a matrix are: "alone: share of the targets' variance"."""
    kind = kind if found.plan.inputs else "alone"
    add = ", to which the gains add" if kind == "beyond" else ""
    quantity = "r²" if kind == "beyond" else "share"
    # A table names its rows in full.
    has_base = found.plan.inputs and not is_table
    last = f"; {BASE}: {quantity} of {found.inputs_text} alone{add}" if has_base else ""
    return f"{_kind_text(found, kind)}: {AREA_UNITS[kind]}{last}"


def _kind_text(found: AreaMatrix, kind: AreaKind) -> str:
    """Return what the values of a matrix are, e.g. "beyond video and behaviour"."""
    if kind == "alone" or not found.plan.inputs:
        return "alone"
    return f"beyond {found.inputs_text}"


def summary(
    found: Finding, model: str = "", *, has_means: bool = False, is_table: bool = False
) -> str:
    """Return what was found, of whom, and from how many windows.

    `model` is what the predictor is called, by default its id. With `has_means`, there is a
    line for each source; `is_table`: below a table, which has no colours.
    """
    model = model or found.predictor
    windows = f"{found.n_windows} windows, {model}"
    # A matrix has stars in place of its intervals.
    if is_table or not isinstance(found, AreaMatrix):
        windows += "; in brackets: 95 % over time"
    if isinstance(found, SourceScores):
        parts = [f"{len(found.neurons):,} of {count(found.n_planned, 'neuron')}, {windows}"]
        parts.append(f"{TOTAL}: {estimate_text(found.mean_total())}")
        for name in found.names if has_means else ():
            values = (f"{kind} {estimate_text(found.mean_of(kind, name))}" for kind in KINDS)
            parts.append(f"{source_label(name)}: {', '.join(values)}")
        parts += [found.unsure.capitalize()] if found.unsure else []
        parts += [f"{source_label(name)}: – ({why})" for name, why in found.refused.items()]
        return "\n".join(parts)
    if isinstance(found, Informants):
        everyone = f"all neurons: {estimate_text(found.everyone())}"
        return f"{found.targets_text}, {windows}\n{everyone}"
    past = "past only" if found.plan.is_lagged else "past and present"
    labels = zip(*np.unique(found.target_labels, return_counts=True), strict=True)
    each = ", ".join(f"{label} {n:,}" for label, n in labels)
    others = "; others in each draw" if found.n_draws > 1 else ""
    targets = count(len(found.target_labels), "target") + (each and f" ({each}{others})")
    visible = f"{targets}, {found.plan.n_visible:,} visible neurons of each area, {past}"
    draws = count(found.n_draws, "draw")
    if found.is_complete:
        visible = f"{draws}: {visible}, {windows}"
    elif found.n_finished:
        visible = f"So far, {found.n_finished} of {draws}: {visible}, {windows}"
    else:
        n_windows = count(found.n_windows, "window")
        first = f"So far, {n_windows} of the first of {draws}"
        visible = f"{first}: {visible}, {model}"
    stars = found.stars_text
    # Without intervals there are no stars, and the text says why.
    has_colours = "*" in stars and not is_table
    colours = "; cells without colour: it contains 0" if has_colours else ""
    return f"{visible}\n{stars}{colours}"


_number = partial(number_text, digits=3)


# -- sources -------------------------------------------------------------------------
def source_colours(n: int) -> list[str]:
    """Return the colours of n sources: those of the field."""
    return ["#{:02X}{:02X}{:02X}".format(*row[:3]) for row in palette.area_table(n).tolist()]


def bar_order(found: SourceScores) -> np.ndarray:
    """Return the places of the neurons: by area, and by all sources in each."""
    total = np.nan_to_num(found.total().value, nan=-1.0)
    return np.asarray(np.lexsort((-total, found.areas)))


def source_bars(found: SourceScores, select: Callable[[int], object]) -> record.Curves:
    """Return stacked bars of the shares of each neuron, sorted in each area.

    Negative shares are stacked below 0: what is above, less what is below, is that of all sources.
    """
    order = bar_order(found)
    shares = np.nan_to_num([found.of("share", name).value[order] for name in found.names])
    tops, bottoms = (np.cumsum(cut(shares, 0), axis=0) for cut in (np.maximum, np.minimum))
    colours, x = source_colours(len(found.names)), np.arange(len(order), dtype=float)
    areas = found.areas[order]
    ticks = tuple(
        (float(np.flatnonzero(areas == area).mean()), str(area) or "neurons")
        for area in np.unique(areas)
    )

    def pick(place: float, _: float) -> None:
        number = round(place)
        if 0 <= number < len(order):
            select(int(found.neurons[order[number]]))

    return record.Curves(
        "content",
        "Shares of the sources; press a bar to select its neuron",
        # The tallest first: the others are drawn over it.
        tuple(
            record.Line(label, colours[k], x, ends[k], "", bar=0.9)
            for k in reversed(range(len(found.names)))
            for label, ends in ((source_label(found.names[k]), tops), ("", bottoms))
        ),
        "neurons by area, most predictable first",
        UP,
        ticks,
        # Half a place beside the outer bars.
        limits=(
            -0.6,
            len(order) - 0.4,
            1.05 * float(bottoms.min(initial=0.0)),
            1.05 * max(float(tops.max(initial=0.0)), 1e-6),
        ),
        pick=pick,
        keeps_colours=True,
    )


def mean_points(found: SourceScores) -> tuple[record.Line, ...]:
    """Return means over the neurons of each kind of value, with their intervals."""
    n = np.arange(len(found.names), dtype=float)
    marks = (palette.PINS[0], "o", -0.2), (palette.PREDICTED, "s", 0.0), (palette.PINS[1], "d", 0.2)
    lines = []
    order: tuple[Literal["alone", "share", "unique"], ...] = ("alone", "share", "unique")
    for kind, (colour, symbol, beside) in zip(order, marks, strict=True):
        points = [found.mean_of(kind, name) for name in found.names]
        lines.append(
            record.Line(
                kind,
                colour,
                n + beside,
                np.array([one.value for one in points]),
                symbol,
                dash="none",
                ends=np.array([[one.low, one.high] for one in points]),
                tips=tuple(
                    f"{source_label(name)}, {kind}: {estimate_text(one)}"
                    for name, one in zip(found.names, points, strict=True)
                ),
            )
        )
    return tuple(lines)


def source_means(found: SourceScores) -> record.Curves:
    """Return what each source tells alone, its share, and what is unique to it."""
    total, lines = found.mean_total().value, mean_points(found)
    ends = np.concatenate([[0.0, np.nan_to_num(total)], *(line.ends.ravel() for line in lines)])
    heights = np.concatenate([ends, *(line.y for line in lines)])
    low, high = float(np.nanmin(heights)), float(np.nanmax(heights))
    span = max(high - low, 1e-6)
    return record.Curves(
        "content",
        "Alone, share and unique: where alone is large and unique is small, others tell the same",
        lines,
        "source",
        UP,
        tuple((float(k), source_label(name)) for k, name in enumerate(found.names)),
        (total, TOTAL) if np.isfinite(total) else None,
        limits=(-0.6, len(found.names) - 0.4, low - 0.05 * span, high + 0.05 * span),
    )


TOTAL: Final = "all sources"
"""Name of the value of all sources together."""
LOW, HIGH = "unique from", "unique to"
"""Ends of an interval."""
SOURCE_COLUMNS: Final = (
    ("unit", "Id of the neuron in the recording (in files: unit_id)"),
    ("source", "Of what the values are"),
    ("alone", "Value of this source alone"),
    ("unique", "What is lost without this source"),
    (LOW, "Lower end of the 95 % interval of unique"),
    (HIGH, "Upper end of the 95 % interval of unique"),
    ("share", "Share of this source in the whole"),
    (TOTAL, "Value of all sources together (in files: v_all)"),
    ("area", "Area of the neuron"),
)
"""Titles of the table of sources, and what they mean."""


def source_rows(
    found: SourceScores, sorted_by: str, *, is_descending: bool
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the columns of one row per neuron and source, and the order of the rows.

    Beside those of `SOURCE_COLUMNS`, "index" is that of the neuron, and "number" that of
    the source. In any order, the means over several neurons come first; their index is -1.
    """
    n, n_neurons = len(found.names), len(found.neurons)
    kinds = {kind: [found.of(kind, name) for name in found.names] for kind in KINDS}

    def by_row(values: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(values, axis=1).ravel()

    unique = kinds["unique"]
    columns = {
        "unit": np.repeat(found.unit_ids.astype(np.str_), n),
        "area": np.repeat(found.areas, n),
        "source": np.tile(np.array([source_label(name) for name in found.names]), n_neurons),
        "alone": by_row([one.value for one in kinds["alone"]]),
        "unique": by_row([one.value for one in unique]),
        LOW: by_row([one.low for one in unique]),
        HIGH: by_row([one.high for one in unique]),
        "share": by_row([one.value for one in kinds["share"]]),
        TOTAL: np.repeat(found.total().value, n),
        "index": np.repeat(found.neurons, n),
        "number": np.tile(np.arange(n), n_neurons),
    }
    # Ids are in the order of the neurons, not of texts.
    key = columns["index" if sorted_by == "unit" else sorted_by]
    order = np.argsort(key, kind="stable")
    if is_descending:
        # Stable, so that the sources of a neuron keep their order; unknown values last.
        ranks = np.unique(key, return_inverse=True)[1]
        is_known = np.isfinite(key) if key.dtype.kind == "f" else np.ones(len(key), bool)
        order = np.argsort(np.where(is_known, -ranks, 1), kind="stable")
    if n_neurons < 2:
        return columns, order
    means = mean_columns(found)
    columns = {name: np.concatenate([means[name], values]) for name, values in columns.items()}
    return columns, np.concatenate([np.arange(n), n + order])


def mean_columns(found: SourceScores) -> dict[str, np.ndarray]:
    """Return the columns of `source_rows` for the means over the neurons."""
    names = found.names
    of = {kind: [found.mean_of(kind, name) for name in names] for kind in KINDS}
    n = len(names)
    return {
        "unit": np.full(n, "mean"),
        "area": np.full(n, ""),
        "source": np.array([source_label(name) for name in names]),
        **{kind: np.array([one.value for one in of[kind]]) for kind in KINDS},
        LOW: np.array([one.low for one in of["unique"]]),
        HIGH: np.array([one.high for one in of["unique"]]),
        TOTAL: np.full(n, found.mean_total().value),
        "index": np.full(n, -1),
        "number": np.arange(n),
    }


def read_source_rows(
    columns: Mapping[str, np.ndarray],
    names: Sequence[str],
    colours: Sequence[str],
    order: np.ndarray,
    first: int = 0,
    last: int | None = None,
) -> list[tuple[tuple[str, ...], str]]:
    """Return texts and colour of some rows of `source_rows`."""
    return [
        (
            tuple(
                str(columns[name][row])
                if columns[name].dtype.kind == "U"
                else _number(columns[name][row])
                for name in names
            ),
            colours[columns["number"][row]],
        )
        for row in order[first:last].tolist()
    ]


def source_table(found: SourceScores) -> record.Table:
    """Return one row per neuron and source; the means stand above it, in `summary`."""
    names = tuple(title for title, _ in SOURCE_COLUMNS)
    columns, order = source_rows(found, TOTAL, is_descending=True)
    order = order[columns["index"][order] >= 0]
    rows = read_source_rows(columns, names, source_colours(len(found.names)), order)
    return record.Table(
        "content", "Sources of each neuron", names, tuple(texts for texts, _ in rows)
    )


# -- informants ----------------------------------------------------------------------
def informant_curves(found: Informants) -> record.Curves:
    """Return the values of the first informants, and of as many random neurons.

    Before they are measured: what each informant adds to the regression.
    """
    if not _is_measured(found):
        ranks = np.arange(1, len(found.order) + 1)
        tips = tuple(str(found.unit_ids[neuron]) for neuron in found.order)
        line = record.Line(
            "added in the regression", palette.PREDICTED, ranks.astype(float),
            found.adds[found.order], "o", tips=tips,
        )  # fmt: skip
        return record.Curves(
            "content", "What each informant adds to the regression", (line,),
            "rank of the informant", UP, None, in_view=(0.0,),
        )  # fmt: skip
    x = np.array(found.counts, float)
    lines = []
    # Beside each other: else the intervals of one would cover those of the other.
    for label, colour, symbol, points, beside in (
        ("informants", palette.PREDICTED, "o", found.curve(), 1.0),
        ("random neurons", palette.VISIBLE, "s", found.random_curve(), 1.06),
    ):
        lines.append(
            record.Line(
                label,
                colour,
                beside * x,
                np.array([one.value for one in points]),
                symbol,
                ends=np.array([[one.low, one.high] for one in points]),
                tips=tuple(
                    f"{n:,} {label}: {estimate_text(one)}"
                    for n, one in zip(found.counts, points, strict=True)
                ),
            )
        )
    everyone = found.everyone().value
    return record.Curves(
        "content",
        "What the first informants tell, beside random neurons",
        tuple(lines),
        "visible neurons",
        UP,
        tuple((float(n), str(n)) for n in found.counts),
        (everyone, "all neurons") if np.isfinite(everyone) else None,
        is_log=True,
        in_view=(0.0,),
    )


def informant_values(found: Informants) -> record.Table:
    """Return the points of `informant_curves` as a table."""

    def text(one: Estimate) -> str:
        # Two digits, for three columns; without an interval there is room for a third.
        return interval_text(one.value, one.low, one.high, 2 if np.isfinite(one.low) else 3)

    pairs = zip(found.counts, found.curve(), found.random_curve(), strict=True)
    rows = [(f"{n:,}", text(one), text(other)) for n, one, other in pairs]
    n_others = len(found.adds) - len(found.targets)
    rows.append((f"all {n_others:,}", text(found.everyone()), ""))
    label = "Share of the targets' variance with its 95 % interval"
    return record.Table("content", label, ("visible", "informants", "random neurons"), tuple(rows))


def informant_table(found: Informants, select: Callable[[int], object] | None) -> record.Table:
    """Return the informants, the first tells most."""
    rows = tuple(
        (
            str(rank),
            str(found.unit_ids[neuron]),
            str(found.areas[neuron]),
            # A neuron among many adds little: digits, not decimals.
            number_text(found.adds[neuron], kind="g"),
        )
        for rank, neuron in enumerate(found.order.tolist(), start=1)
    )
    neurons = found.order.tolist()
    titles = ("rank", "unit", "area", "lost without it")
    pick = None if select is None else lambda row: select(int(neurons[row]))
    return record.Table("content", "Informants", titles, rows, pick)


# -- areas ---------------------------------------------------------------------------
AREA_UNITS: Final[dict[AreaKind, str]] = {
    "alone": "share of the targets' variance (1: all)",
    "beyond": "gain of the squared correlation r² (at most 1)",
}
BASE: Final = "baseline"
"""Name of the row of what video and behaviour tell without neurons."""


def area_cells(found: AreaMatrix, kind: AreaKind) -> record.Matrix:
    """Return the matrix of areas with its intervals."""
    labels, (values, low, high) = found.plan.labels, found.matrix(kind)
    # A colour is of what is certain: a cell whose interval contains 0 has none.
    coloured = np.where((low <= 0) & (high >= 0), np.nan, values)
    finite = coloured[np.isfinite(coloured)].tolist()
    least, most = min([0.0, *finite]), max([0.0, *finite]) if finite else 1.0
    n = range(len(labels))
    # The sign says where an interval lies above 0.
    texts = [tuple(f"{_number(values[i, j])}{' *' if low[i, j] > 0 else ''}" for j in n) for i in n]
    tips = [
        tuple(
            f"{labels[i]} → {labels[j]}: {interval_text(values[i, j], low[i, j], high[i, j])}"
            for j in n
        )
        for i in n
    ]
    rows = labels
    if found.plan.inputs:
        # The scale of the gains, in no colour of theirs.
        alone = [found.inputs_alone(kind, label) for label in labels]
        rows = (*labels, BASE)
        coloured = np.vstack([coloured, np.full(len(labels), np.nan)])
        texts.append(tuple(_number(one.value) for one in alone))
        tips.append(
            tuple(
                f"{_base_name(found)} → {label}: {estimate_text(one)}"
                for label, one in zip(labels, alone, strict=True)
            )
        )
    return record.Matrix(
        "content",
        f"From rows to columns, {_quantity_text(found, kind)}. Colours from {_number(least)} "
        f"(dark) to {_number(most)} (bright); none where the 95 % interval contains 0",
        rows,
        labels,
        coloured,
        tuple(texts),
        tuple(tips),
        least,
        most,
    )


def _base_name(found: AreaMatrix) -> str:
    """Return the name of the table row for video and behaviour alone, without neurons."""
    return f"{found.inputs_text} alone"


def area_table(found: AreaMatrix, kinds: Sequence[AreaKind] = ("alone", "beyond")) -> record.Table:
    """Return one row per kind, source and target."""
    kinds = kinds if found.plan.inputs else ("alone",)
    # The box above the table names the only kind.
    titles = ("from", "to", *(["kind"] if len(kinds) > 1 else []), "value [95 %]")
    rows = tuple(
        (
            source,
            target,
            *([kind] if len(kinds) > 1 else []),
            f"{estimate_text(value)}{' *' if value.low > 0 else ''}",
        )
        for kind in kinds
        for source in found.plan.labels
        for target in found.plan.labels
        for value in (found.of(kind, source, target),)
    )
    if found.plan.inputs:
        rows += tuple(
            (
                _base_name(found),
                target,
                *([kind] if len(kinds) > 1 else []),
                estimate_text(found.inputs_alone(kind, target)),
            )
            for kind in kinds
            for target in found.plan.labels
        )
    return record.Table("content", "From area to area", titles, rows)
