"""Download section: progress of a model from the hub, errors and resume."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QProgressBar, QPushButton, QToolButton, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.models.downloads import Models
from omnimouse_widgets.qt.style.form import Form, row_of
from omnimouse_widgets.qt.style.theme import quiet_label

FETCH_TIP = "Fetch it from the model hub, then ask it"
GO_ON_TIP = "Go on from the last byte that arrived"
LEAVE_TIP = "Leave it: the model above stays"
NOBODY_TIP = "Leave it: choose another model above"


class FetchSection(QWidget):
    """Progress bar with a stop button; afterwards the problem, resume and dismiss."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._models = controller.models
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(True)
        self.bar.setAccessibleName("Fetched")
        self.stop = QPushButton("Stop")
        self.stop.setToolTip("Stop fetching; what arrived is kept")
        self.stop.clicked.connect(lambda: self._models.stop())
        self.words, self.problem = quiet_label(), quiet_label("alert")
        # Error messages can be copied, e.g. into a search or a report.
        self.problem.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
        )
        self.go_on = QPushButton()
        self.go_on.clicked.connect(lambda: self._models.go_on())
        self.dismiss = QToolButton()
        self.dismiss.setText("✕")
        self.dismiss.setAccessibleName("Dismiss")
        self.dismiss.clicked.connect(lambda: self._models.forget())
        form = Form(self)
        form.add("", self.words)
        form.add("", row_of(self.bar, self.stop, stretch=0))
        form.add("", self.problem)
        form.add("", row_of(self.go_on, self.dismiss, stretch=0))

    def draw(self) -> None:
        """Show the current download.

        The panel calls this: an empty section is not visible and would not redraw.
        """
        models = self._models
        _show((self.bar, self.stop, self.words), models.is_busy)
        self.words.setText(f"◌ {models.name}: {models.words}…")
        # The bar has 1,000 steps: with 100, a large file would seem to stand still.
        self.bar.setValue(round(1000 * models.share))
        self.bar.setFormat(f"{100 * models.share:.0f} %")
        # A new attempt removes the message about the previous one.
        problem = "" if models.is_busy else problem_of(models)
        self.problem.setText(problem)
        _show((self.problem, self.go_on, self.dismiss), bool(problem))
        words = "Fetch" if models.is_offered else "Go on"
        self.go_on.setText("Try again" if models.fault is not None else words)
        self.go_on.setToolTip(FETCH_TIP if models.is_offered else GO_ON_TIP)
        self.dismiss.setToolTip(NOBODY_TIP if models.is_offered else LEAVE_TIP)


def _show(widgets: tuple[QWidget, ...], is_shown: bool) -> None:
    for widget in widgets:
        widget.setVisible(is_shown)


def problem_of(models: Models) -> str:
    """Return why the requested model is missing, or ""."""
    if not models.name:
        return ""
    if models.fault is not None:
        return f"✕ {models.name} is not fetched: {models.fault}"
    if models.is_offered:
        return f"{models.name} is not on this machine: fetch it, or choose another."
    if models.stopped_at is not None:
        at = f"{100 * models.stopped_at:.0f} %"
        return f"{models.name}: stopped at {at}; what arrived is kept."
    return ""
