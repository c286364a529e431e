"""Download section: progress of a model from the hub, errors and resume."""

from qtpy.QtWidgets import QWidget

from omnimouse_model.live.models.choice import ModelDownloads
from omnimouse_widgets.qt.style.controls import (
    dismiss_button,
    progress_bar,
    push_button,
    set_share,
)
from omnimouse_widgets.qt.style.form import Form, row_of
from omnimouse_widgets.qt.style.theme import wrapped_label


class DownloadSection(QWidget):
    """Progress bar with a stop button; afterwards the problem, resume and dismiss."""

    def __init__(self, downloads: ModelDownloads) -> None:
        super().__init__()
        models = self._models = downloads
        self.bar = progress_bar("Downloaded")
        tooltip = "Stop the download; the downloaded part stays on disk"
        self.stop = push_button("Stop", tooltip, models.stop)
        self.progress = wrapped_label()
        self.problem = wrapped_label("alert", is_selectable=True)
        self.resume = push_button("", "", models.start_or_resume)
        self.dismiss = dismiss_button(models.clear)
        Form(self).add_rows(
            self.progress,
            row_of(self.bar, self.stop, stretch=0),
            self.problem,
            row_of(self.resume, self.dismiss, stretch=0),
        )

    def draw(self) -> None:
        """Show the current download.

        The panel calls this: an empty section is not visible and would not redraw.
        """
        models = self._models
        busy: tuple[QWidget, ...] = (self.bar, self.stop, self.progress)
        for widget in busy:
            widget.setVisible(models.is_busy)
        self.progress.setText(f"◌ {models.name}: {models.message}…")
        set_share(self.bar, models.share)
        # A new attempt removes the message about the previous one.
        problem = "" if models.is_busy else problem_of(models)
        self.problem.setText(problem)
        for widget in (self.problem, self.resume, self.dismiss):
            widget.setVisible(bool(problem))
        is_new = models.is_offered
        text = "Download" if is_new else "Resume"
        self.resume.setText("Try again" if models.error is not None else text)
        self.resume.setToolTip(
            "Download the model from the hub and use it"
            if is_new
            else "Continue after the last byte that was received"
        )
        self.dismiss.setToolTip(
            "Cancel: choose another model above" if is_new else "Cancel: keep the model"
        )


def problem_of(models: ModelDownloads) -> str:
    """Return why the requested model is missing, or ""."""
    if not models.name:
        return ""
    if models.error is not None:
        return f"✕ {models.name} was not downloaded: {models.error}"
    if models.is_offered:
        return f"{models.name} is not on this machine. Download it or choose another."
    if models.stopped_at is not None:
        at = f"{100 * models.stopped_at:z.0f} %"
        return f"{models.name}: stopped at {at}; the downloaded part stays on disk."
    return ""
