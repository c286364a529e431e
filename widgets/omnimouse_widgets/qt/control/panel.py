"""The two columns of controls beside the field: what is asked, and the brush.

*OmniMouse* has recording, model and task; *Brush and view* has brush, counts, selection
and colours. Controls for every request are at the top, so that both are in view on a
13-inch screen. Controls for occasional use are below, in closed sections.
"""

from dataclasses import dataclass
from functools import partial
from typing import Self

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.qt.control.advanced import (
    AdvancedSection,
    BaselineSection,
    ClockCheckSection,
)
from omnimouse_widgets.qt.control.brush import (
    BrushSection,
    FieldBrush,
    MaskCountsSection,
    TaskSection,
)
from omnimouse_widgets.qt.control.model import ModelSection
from omnimouse_widgets.qt.control.project import AnalysisSection, figure_maker
from omnimouse_widgets.qt.control.recording import RecordingSection
from omnimouse_widgets.qt.control.view import ViewSection
from omnimouse_widgets.qt.style import shortcuts
from omnimouse_widgets.qt.style.controls import scroll_vertically
from omnimouse_widgets.qt.style.form import Section
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.shortcuts import KeyActions
from omnimouse_widgets.report import report_maker
from omnimouse_widgets.views.files import FilesView
from omnimouse_widgets.views.traces import TracesView

MIN_WIDTH = 300


@dataclass(frozen=True, slots=True)
class Sections:
    """Sections of *OmniMouse*; each receives the parts that it uses."""

    recording: RecordingSection
    analysis: AnalysisSection
    model: ModelSection
    task: TaskSection
    baseline: BaselineSection
    clock_check: ClockCheckSection
    advanced: AdvancedSection

    @classmethod
    def of(cls, controller: Controller) -> Self:
        """Return the sections of a controller."""
        c = controller
        traces = partial(figure_maker, c.state, c.exports, partial(TracesView.of, c))
        files = FilesView.of(c, {"figure": traces, "report": partial(report_maker, c)})
        return cls(
            RecordingSection(c.state, c.loader, c.recordings, c.store, files),
            AnalysisSection(c.state, c.exports, c.project, files),
            ModelSection(
                c.state,
                c.results,
                c.baseline,
                c.editor,
                c.model,
                c.downloads,
                c.colouring,
                c.finetuning,
                c.requests,
                c.workers,
            ),
            TaskSection(c.state, c.results, c.editor),
            BaselineSection(c.state, c.results, c.baseline, c.model),
            ClockCheckSection(c.state, c.clock_check),
            AdvancedSection(c.state, c.editor, c.loader),
        )


class ScrolledColumn(QWidget):
    """Parts below each other in a scroll area; the keys that all panels share act here.

    The part `rare` stands at the lower end.
    """

    def __init__(self, keys: KeyActions) -> None:
        super().__init__()
        shortcuts.bind_keys(self, keys)
        self.setMinimumWidth(MIN_WIDTH)

    def _fill(self, *parts: QWidget, rare: QWidget | None = None) -> None:
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(8, 3, 8, 3)
        column.setSpacing(4)
        for part in parts:
            column.addWidget(part)
        column.addStretch(1)
        if rare is not None:
            column.addWidget(rare)
        self.scroll_area = scroll_vertically(content)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.scroll_area)


class ControlPanel(ScrolledColumn):
    """*OmniMouse*: recording, model, task and baseline.

    Parameters
    ----------
    state
        Source of the mask, on which the sections in view depend.
    keys
        What the keys do that all panels share.
    sections
        The sections, from `Sections.of`.
    """

    def __init__(self, state: LiveState, keys: KeyActions, sections: Sections) -> None:
        super().__init__(keys)
        self.setObjectName("omnimouse-control")
        self._state = state
        self.recording, self.analysis = sections.recording, sections.analysis
        self.model, self.task = sections.model, sections.task
        self.baseline, self.clock_check = sections.baseline, sections.clock_check
        self.advanced = sections.advanced
        self.clock_check_section = Section("Alignment", self.clock_check, is_open=False)
        self.advanced_section = Section("Advanced", self.advanced, is_open=False)
        self._fill(
            self.recording,
            self.analysis,
            self.model,
            Section("Task", self.task),
            self.baseline,
            self.clock_check_section,
            self.advanced_section,
        )
        self._opened: Section | None = None
        # An opened section has its height only after the next layout, hence the timer.
        # As a child of the panel, the timer is deleted with it.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._bring_into_view)
        for section in (self.clock_check_section, self.advanced_section):
            section.title.toggled.connect(partial(self._note_opened, section))
        events = state.events
        self.redraw = Redraw(self, (self._draw_advanced, [events.mask, events.session]))

    @classmethod
    def of(cls, controller: Controller) -> Self:
        """Return the panel of a controller."""
        sections = Sections.of(controller)
        return cls(controller.state, shortcuts.key_actions(controller), sections)

    def _draw_advanced(self) -> None:
        """Hide the section for masks without an attachment and without a guard."""
        mask = self._state.mask
        is_trace = mask is None or mask.spec.responses == "trace"
        has_layout = mask is not None and mask.attachment is not None
        self.advanced_section.setVisible(is_trace or has_layout)

    def _note_opened(self, section: Section, is_open: bool) -> None:
        if is_open:
            self._opened = section
            self._soon.start()

    def _bring_into_view(self) -> None:
        """Scroll to the section that was opened last."""
        if self._opened is not None:
            self.scroll_area.ensureWidgetVisible(self._opened)


class BrushPanel(ScrolledColumn):
    """*Brush and view*: what a stroke paints, the neurons of each state, their colours."""

    def __init__(
        self, keys: KeyActions, brush: BrushSection, counts: MaskCountsSection, view: ViewSection
    ) -> None:
        super().__init__(keys)
        self.setObjectName("omnimouse-brush")
        self.brush, self.counts, self.view = brush, counts, view
        more = QWidget()
        column = QVBoxLayout(more)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for part in (brush.rare, view.rare):
            column.addWidget(part)
        # At the lower end: a legend of another height does not move it.
        self._fill(brush, counts, view, rare=Section("More", more))
        # In a low window, the legend of the chosen colours, with *Compute all*, is below
        # the menu. It has its height only after the next layout.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(lambda: self.scroll_area.ensureWidgetVisible(view.legend))
        view.colour_by.activated.connect(lambda _: self._soon.start(50))

    @classmethod
    def of(cls, controller: Controller, brush: FieldBrush | None = None) -> Self:
        """Return the panel of a controller.

        `brush` is that of the field, if the application has one; it adds tool and radius.
        """
        c = controller
        return cls(
            shortcuts.key_actions(c),
            BrushSection(c.state, c.editor, c.painted_region, brush),
            MaskCountsSection(c.state),
            ViewSection(c.state, c.results, c.selection, c.colouring, c.planes),
        )
