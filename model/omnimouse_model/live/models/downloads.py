"""Models of the hub: fetched off the thread that draws, then chosen."""

from collections.abc import Callable, Iterator

from omnimouse_model.data.hub.names import hub_place
from omnimouse_model.errors import FetchError
from omnimouse_model.live.inference.background_task import Errand, HasErrand, Tell
from omnimouse_model.live.inference.engine import Post, call_at_once
from omnimouse_model.predict.registry import must_be_fetched


class Models(HasErrand):
    """Fetches a checkpoint when one is chosen that is not on this machine yet.

    A fetch that is stopped, or fails, keeps what arrived: `go_on` takes it up there.

    Parameters
    ----------
    choose
        Chooses what was fetched, by its name; called on the thread that draws.
    post
        Hands a function to the thread that draws.
    synchronous
        Fetch inside `fetch`: for scripts and tests.

    Attributes
    ----------
    changed
        Emitted on the thread that draws when anything here may have changed.
    name
        What is being fetched, or was asked for and is not here; "" for nothing.
    is_offered
        Whether that waits for the user's word: nothing is fetched unasked.
    stopped_at
        The finished share when it was stopped, None where it was not.
    """

    def __init__(
        self,
        choose: Callable[[str], None],
        post: Post = call_at_once,
        *,
        synchronous: bool = False,
    ) -> None:
        self.name = ""
        self.is_offered = False
        self.stopped_at: float | None = None
        self._choose = choose
        self._errand = Errand(_fetched, self._take, post, synchronous=synchronous)
        self.changed = self._errand.changed

    @property
    def share(self) -> float:
        """How much of it is done."""
        return self._errand.share or 0.0

    def fetch(self, name: str) -> None:
        """Fetch it, then choose it; one on its way goes on."""
        if self.is_busy and name == self.name:
            return
        self.name, self.stopped_at, self.is_offered = name, None, False
        self._errand.start(name, f"asking the hub for {name}")

    def offer(self, name: str) -> None:
        """Have it fetched by `go_on`, if the user wants that."""
        self.forget()
        self.name, self.is_offered = name, True
        self.changed.emit()

    def go_on(self) -> None:
        """Fetch what is offered, or what was stopped or failed from where it was."""
        if self.name:
            self.fetch(self.name)

    def stop(self) -> None:
        """Stop fetching; what arrived is kept."""
        if self.is_busy:
            self.stopped_at = self.share
            self._errand.stop()

    def forget(self) -> None:
        """Nobody wants it any more: stop, and say nothing more of it."""
        self._errand.stop()
        self.name, self.stopped_at, self.is_offered = "", None, False
        self._errand.forget_fault()
        self.changed.emit()

    def _take(self, name: str) -> None:
        self.name = ""
        self._choose(name)


def is_on_hub(name: str) -> bool:
    """Whether a name stands for something of the hub, fetched or not."""
    try:
        return hub_place(name) is not None
    except FetchError:
        return False


def _fetched(name: str, tell: Tell) -> Iterator[str]:
    from omnimouse_model.predict.omnimouse.hub_checkpoints import fetch_checkpoint

    if must_be_fetched(name):
        fetch_checkpoint(name, None, lambda share, what: tell(what, share))
    yield name
