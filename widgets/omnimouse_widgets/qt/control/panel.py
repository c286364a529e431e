"""*OmniMouse* panel: recording, model, task, brush, selection and colours.

Controls for every request are at the top and fit on a 13-inch screen. Controls for
occasional use are below, in closed sections.
"""

from functools import partial

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.control.advanced import AdvancedSection
from omnimouse_widgets.qt.control.baseline import BaselineSection
from omnimouse_widgets.qt.control.brush import BrushSection, FieldBrush
from omnimouse_widgets.qt.control.clock_check import ClockCheckSection
from omnimouse_widgets.qt.control.mask_counts import MaskCountsSection
from omnimouse_widgets.qt.control.model import ModelSection
from omnimouse_widgets.qt.control.project import AnalysisSection
from omnimouse_widgets.qt.control.recording import RecordingSection
from omnimouse_widgets.qt.control.selection import ViewSection
from omnimouse_widgets.qt.control.task import TaskSection
from omnimouse_widgets.qt.style import shortcuts
from omnimouse_widgets.qt.style.controls import scroll_vertically
from omnimouse_widgets.qt.style.form import Section
from omnimouse_widgets.qt.style.redraw import Redraw

MIN_WIDTH = 300


class ControlPanel(QWidget):
    """All controls in a scroll area.

    Parameters
    ----------
    controller
        Source of `state` and `results`, and receiver of the user actions.
    brush
        Brush of the field, if the application has one; adds its tool and radius.
    """

    def __init__(self, controller: Controller, brush: FieldBrush | None = None) -> None:
        super().__init__()
        self.setObjectName("omnimouse-control")
        self._controller = controller
        self.recording = RecordingSection(controller)
        self.analysis = AnalysisSection(controller)
        self.model = ModelSection(controller)
        self.task = TaskSection(controller)
        self.brush = BrushSection(controller, brush)
        self.counts = MaskCountsSection(controller)
        self.baseline = BaselineSection(controller)
        self.view = ViewSection(controller)
        self.clock_check = ClockCheckSection(controller)
        self.advanced = AdvancedSection(controller)
        shortcuts.bind_keys(self, controller)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self._opened: Section | None = None
        # An opened section has its height only after the next layout, hence the timer.
        # As a child of the panel, the timer is deleted with it.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._bring_into_view)
        column.addWidget(self._scrolled())
        self.setMinimumWidth(MIN_WIDTH)
        events = controller.state.events
        self.redraw = Redraw(self, (self._draw_advanced, [events.mask, events.session]))

    def _scrolled(self) -> QScrollArea:
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(8, 3, 8, 3)
        column.setSpacing(6)
        self.clock_check_section = Section("Alignment", self.clock_check, is_open=False)
        self.advanced_section = Section("Advanced", self.advanced, is_open=False)
        for part in (
            self.recording,
            self.analysis,
            self.model,
            Section("Task", self.task),
            Section("Brush", self.brush),
            self.counts,
            Section("View", self.view),
            self.baseline,
            self.clock_check_section,
            self.advanced_section,
        ):
            column.addWidget(part)
        column.addStretch(1)
        self.scroll_area = scroll_vertically(content)
        for section in (self.clock_check_section, self.advanced_section):
            section.title.toggled.connect(partial(self._note_opened, section))
        return self.scroll_area

    def _draw_advanced(self) -> None:
        """Hide the section for masks without an attachment and without a guard."""
        mask = self._controller.state.mask
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
