"""Download of models from the hub, in the background."""

from collections.abc import Callable, Iterator

from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.predict.registry import must_be_fetched
from omnimouse_model.progress import CallbackJob


class ModelDownloads(HasBackgroundTask):
    """Download of a chosen checkpoint that is not on this machine.

    The received data of a stopped or failed download stays; `start_or_resume` continues
    it.

    Parameters
    ----------
    choose
        Chooses the downloaded model by name; called on the drawing thread.
    is_enabled
        Whether predictors are loaded from the hub's cache; else nothing is fetched.

    Attributes
    ----------
    name
        Model that is downloaded, offered, stopped or failed; "" for none.
    is_offered
        Whether the download waits for the user's confirmation.
    stopped_at
        Finished share at which it was stopped, None if it was not.
    """

    def __init__(
        self,
        choose: Callable[[str], None],
        execution: Execution = IN_THREADS,
        *,
        is_enabled: bool = True,
    ) -> None:
        self.name = ""
        self._is_enabled = is_enabled
        self.is_offered = False
        self.stopped_at: float | None = None
        self._choose = choose
        self._task = BackgroundTask(_fetched, self._take, execution)

    @property
    def share(self) -> float:
        """Finished share, from 0 to 1."""
        return self._task.share or 0.0

    def must_fetch(self, name: str) -> bool:
        """Whether a model of this name is on the hub and not on this machine."""
        return self._is_enabled and must_be_fetched(name)

    def fetch(self, name: str) -> None:
        """Download a model, then choose it; a running download continues."""
        if self.is_busy and name == self.name:
            return
        self.name, self.stopped_at, self.is_offered = name, None, False
        self._task.start(name, f"asking the hub for {name}")

    def offer(self, name: str) -> None:
        """Offer a model; `start_or_resume` downloads it when the user confirms."""
        self.clear()
        self.name, self.is_offered = name, True
        self.changed.emit()

    def start_or_resume(self) -> None:
        """Start the offered download, or continue a stopped or failed one."""
        if self.name:
            self.fetch(self.name)

    def stop(self) -> None:
        """Stop the download; keep the received data."""
        if self.is_busy:
            # Before `stop`, which clears the progress.
            self.stopped_at = self.share
            self._task.stop()

    def clear(self) -> None:
        """Stop the download and clear its name and error."""
        self._task.stop()
        self.name, self.stopped_at, self.is_offered = "", None, False
        self._task.clear_error()
        self.changed.emit()

    def _take(self, name: str) -> None:
        self.name = ""
        self._choose(name)


def _fetched(name: str, report: ReportProgress) -> Iterator[str]:
    # Imported here, on the background thread, to keep the start of the app fast.
    from omnimouse_model.predict.omnimouse.hub_checkpoints import fetch_checkpoint

    # It may have arrived meanwhile, for example by `omnimouse fetch`.
    if must_be_fetched(name):
        fetch_checkpoint(name, None, CallbackJob(lambda share, _, text: report(text, share)))
    yield name
