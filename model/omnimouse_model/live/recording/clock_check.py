"""Check of the clocks of the open session, as a background task."""

from collections.abc import Iterator

from omnimouse_model.analysis.clock_check import AlignmentReport, check_alignment
from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
    percent_job,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.state import LiveState


class ClockCheck(HasBackgroundTask):
    """Clock check of the session on screen, on request.

    Attributes
    ----------
    report
        Result for the session on screen, None before a check.
    """

    def __init__(self, state: LiveState, execution: Execution = IN_THREADS) -> None:
        self.report: AlignmentReport | None = None
        self._state = state
        self._task = BackgroundTask(_check, self._take, execution)
        state.events.session.connect(self.clear)

    def check(self) -> None:
        """Start the check; without a session, do nothing."""
        if self._state.session is not None:
            # The report of the previous check must not be shown beside the progress of
            # the new one.
            self.report = None
            self._task.start(self._state.session, "Comparing streams")

    def clear(self) -> None:
        """Cancel a running check and clear the report."""
        self.report = None
        self._task.stop()
        self._task.clear_error()
        self.changed.emit()

    def _take(self, report: AlignmentReport) -> None:
        self.report = report


def _check(session: Session, report: ReportProgress) -> Iterator[AlignmentReport]:
    yield check_alignment(session, job=percent_job(report, "Comparing streams"))
