"""Button that checks the clocks of the session, and the result as text."""

from qtpy.QtWidgets import QLabel, QPushButton, QWidget

from omnimouse_model.analysis.clock_check import AlignmentReport
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.style.form import Form
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import quiet_label

TOOLTIP = (
    "Estimate the lags between screen, responses and behaviour from the recording, "
    "and look at its clocks; takes some seconds"
)


class AlignmentSection(QWidget):
    """Button to check, stop or hide; lags with confidence, and warnings, as text."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._alignment = controller.alignment
        self._state = controller.state
        self.button = QPushButton()
        self.button.clicked.connect(lambda: self._press())
        self.progress, self.lags = quiet_label(), quiet_label()
        self.warnings = quiet_label("alert")
        form = Form(self)
        for widget in (self.button, self.progress, self.warnings, self.lags):
            form.add("", widget)
        signals = [self._alignment.changed, controller.state.events.session]
        self.redraw = Redraw(self, [(self._draw, signals)])

    def _press(self) -> None:
        # `forget` stops a running check and removes a finished report.
        if self._alignment.is_busy or self._alignment.report is not None:
            self._alignment.forget()
        else:
            self._alignment.check()

    def _draw(self) -> None:
        check = self._alignment
        self.button.setEnabled(self._state.session is not None)
        is_found = check.report is not None
        # One button with three actions, because only one of them is possible at a time.
        words = "Hide alignment" if is_found else "Check alignment"
        self.button.setText("Stop" if check.is_busy else words)
        self.button.setToolTip("" if check.is_busy or is_found else TOOLTIP)
        _say(self.progress, f"◌ {check.words}…" if check.is_busy else "")
        quiet, alert = ([], []) if check.report is None else lines_of(check.report)
        if check.fault is not None:
            alert = [f"Not checked: {check.fault}"]
        _say(self.lags, "\n".join(f"• {line}" for line in quiet))
        _say(self.warnings, "\n".join(f"⚠ {line}" for line in alert))


def lines_of(report: AlignmentReport) -> tuple[list[str], list[str]]:
    """Return the lines without and with a need for attention, with confidence."""
    # A warning can be the text of a lag: it is then shown only among the warnings.
    told = {lag.words(): f"{lag.words()} ({lag.confidence()})" for lag in report.lags}
    alert = [told.get(words, words) for words in report.warnings]
    quiet = [line for words, line in told.items() if words not in report.warnings]
    return [report.remark] if report.remark else quiet, alert


def _say(label: QLabel, words: str) -> None:
    label.setText(words)
    label.setVisible(bool(words))
