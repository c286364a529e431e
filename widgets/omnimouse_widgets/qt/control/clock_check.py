"""Button that checks the clocks of the session, and the result as text."""

from qtpy.QtWidgets import QWidget

from omnimouse_model.analysis.clock_check import AlignmentReport
from omnimouse_model.live.recording.loader import ClockCheck
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.qt.style.controls import push_button, show_text
from omnimouse_widgets.qt.style.form import Form
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import wrapped_label

TOOLTIP = (
    "Estimate the lags between screen, responses and behaviour from the recording, and "
    "check its clocks. This takes some seconds."
)


class ClockCheckSection(QWidget):
    """Button to check, stop or hide; lags with confidence, and warnings, as text."""

    def __init__(self, state: LiveState, clock_check: ClockCheck) -> None:
        super().__init__()
        self._check = clock_check
        self._state = state
        self.button = push_button("", TOOLTIP, self._press)
        self.progress, self.lags = wrapped_label(), wrapped_label()
        self.warnings = wrapped_label("alert")
        Form(self).add_rows(self.button, self.progress, self.warnings, self.lags)
        signals = [self._check.changed, state.events.session]
        self.redraw = Redraw(self, (self._draw, signals))

    def _press(self) -> None:
        # `forget` stops a running check and removes a finished report.
        if self._check.is_busy or self._check.report is not None:
            self._check.clear()
        else:
            self._check.check()

    def _draw(self) -> None:
        check, report = self._check, self._check.report
        self.button.setEnabled(self._state.session is not None)
        # One button with three actions, because only one of them is possible at a time.
        text = "Check alignment" if report is None else "Hide alignment"
        self.button.setText("Stop" if check.is_busy else text)
        self.button.setToolTip("" if check.is_busy or report is not None else TOOLTIP)
        show_text(self.progress, f"◌ {check.message}…" if check.is_busy else "")
        quiet, alert = ([], []) if report is None else report_lines(report)
        if check.error is not None:
            alert = [f"Not checked: {check.error}"]
        show_text(self.lags, "\n".join(f"• {line}" for line in quiet))
        show_text(self.warnings, "\n".join(f"⚠ {line}" for line in alert))


def report_lines(report: AlignmentReport) -> tuple[list[str], list[str]]:
    """Return the lines without and with a need for attention, with confidence."""
    # A warning can be the text of a lag: it is then shown only among the warnings.
    lines = {lag.describe(): f"{lag.describe()} ({lag.confidence()})" for lag in report.lags}
    alert = [lines.get(text, text) for text in report.warnings]
    quiet = [line for text, line in lines.items() if text not in report.warnings]
    return [report.remark] if report.remark else quiet, alert
