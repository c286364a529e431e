"""Choice of the model, of its baseline and device; downloads of models from the hub."""

import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from omnimouse_model.data.session import Session
from omnimouse_model.errors import PredictionsFileError
from omnimouse_model.inference.families import fit_names
from omnimouse_model.inference.registry import check_predictor, must_be_fetched
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.client import Requests
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.state import Device, LiveState
from omnimouse_model.live.state_store import LastSession, StateStore
from omnimouse_model.masks import Mask
from omnimouse_model.predict.compatibility import FALLBACK, check_compatibility
from omnimouse_model.predict.devices import Residence
from omnimouse_model.predict.prediction_file import Metadata, open_arrays
from omnimouse_model.predict.predictor import Needs, Predictor
from omnimouse_model.progress import CallbackJob
from omnimouse_model.simulate.demo import model_for

Loaded = tuple[Needs | None, Residence | None]
"""What is known of a model once it was loaded."""


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
    from omnimouse_model.inference.registry import fetch_checkpoint

    # It may have arrived meanwhile, for example by `omnimouse fetch`.
    if must_be_fetched(name):
        fetch_checkpoint(name, None, CallbackJob(lambda share, _, text: report(text, share)))
    yield name


class ModelChoice:
    """Choice of the predictor, the baseline and the device.

    Parameters
    ----------
    store
        Storage of the last session, with its baseline.
    is_hub_used
        As `is_enabled` of `ModelDownloads`.

    Attributes
    ----------
    downloads
        Downloads of models; a model that is only on the hub is downloaded first.
    unfamiliar
        Name of the model in whose place `suitable` answers, because it was not trained
        on the recording that was opened; "" for none. A model that the user chooses
        for an open recording is replaced only while it is trained on it.
    """

    def __init__(
        self,
        state: LiveState,
        requests: Requests,
        store: StateStore,
        lock: threading.RLock,
        execution: Execution = IN_THREADS,
        *,
        is_hub_used: bool = True,
    ) -> None:
        self._state, self._requests, self._store, self._lock = state, requests, store, lock
        self._is_hub_used = is_hub_used
        self.downloads = ModelDownloads(self.choose, execution, is_enabled=is_hub_used)
        self.unfamiliar = ""
        self._known_of_unfamiliar: Loaded = None, None
        # Session for which the user has chosen the model, and whether that was before the
        # first session.
        self._chosen_for: Session | None = None
        self._is_chosen_for_next = False
        results = requests.client.results
        self._post = execution.post
        # A method, which the signal holds weakly: a function would keep a closed window.
        results.events.needs.connect(self._on_needs)

    @property
    def name(self) -> str:
        """Name that loads the predictor; "" for a predictor passed as an object."""
        predictor = self._requests.client.predictor
        if predictor is None:  # one that must be fetched first, if any
            return self._state.predictor_name
        return predictor if isinstance(predictor, str) else ""

    @property
    def replaced(self) -> tuple[str, Loaded]:
        """`unfamiliar`, and what was known of it when it was loaded."""
        return self.unfamiliar, self._known_of_unfamiliar

    @property
    def suitable(self) -> str:
        """Predictor for the open session where that on screen does not know it.

        The shipped model of a generated session, else the baseline that is fitted to
        any session and answers any mask.
        """
        session = self._state.session
        return (model_for(session.path) if session is not None else "") or FALLBACK

    def choose(self, predictor: str | Path | Predictor, *, is_default: bool = False) -> None:
        """Choose a predictor by name, file or folder, or pass an object.

        It is loaded in the background. A model that is only on the hub is downloaded
        first: see `downloads`. `suitable` stands in for a default that does not know
        the recording that is opened next.
        """
        session = self._state.session
        self._chosen_for, self.unfamiliar = session, ""
        self._is_chosen_for_next = session is None and not is_default
        self._choose(predictor)

    def choose_known(self, name: str) -> None:
        """Choose a predictor by name; an unknown name raises, see `check_predictor`."""
        if self._is_hub_used:  # else the names are those of another function
            check_predictor(name)
        self.choose(name)

    def stand_in(self) -> None:
        """Choose `suitable` while the model on screen is trained on a recording new to it."""
        name, needs = self._state.predictor_name, self._requests.client.results.needs
        if name in fit_names():  # it needs nothing before it is fitted
            self._choose(self.suitable)
            self.unfamiliar, self._known_of_unfamiliar = name, (needs, None)
        else:
            self._chosen_for = None
            self._stand_in()

    def _on_needs(self) -> None:
        self._post(self._stand_in)

    def _stand_in(self) -> None:
        """Choose `suitable` in place of a model that does not know a new recording."""
        session, needs = self._state.session, self._requests.client.results.needs
        if session is None or needs is None or self._chosen_for is session:
            return
        name = self._state.predictor_name
        if check_compatibility(needs, session).is_new and name != self.suitable:
            residence = self._requests.client.results.residence
            self._choose(self.suitable)
            self.unfamiliar, self._known_of_unfamiliar = name, (needs, residence)

    def follow_session(self, *, keeps_model: bool) -> None:
        """Choose a model that answers for a recording that was just shown.

        `suitable` stands in for a model that does not know it; a model that was replaced
        before comes back if it knows the recording. With `keeps_model`, as for a saved
        analysis, the model stays.
        """
        session, name, (needs, _) = self._state.session, self.unfamiliar, self._known_of_unfamiliar
        if keeps_model or self._is_chosen_for_next:
            self._chosen_for, self._is_chosen_for_next = session, False
        if session is None or not name:
            self._stand_in()
            return
        if needs is None:
            # After a restart, what the model needs is known once it is loaded.
            comes_back = not keeps_model
        else:
            comes_back = check_compatibility(needs, session).is_supported
        if comes_back:
            self.unfamiliar = ""
            self._choose(name)

    def _choose(self, predictor: str | Path | Predictor) -> None:
        # The state, saved analyses and scripts contain text.
        if isinstance(predictor, Path):
            predictor = str(predictor)
        if isinstance(predictor, str):
            name = predictor
            if self.downloads.must_fetch(name):
                return self.downloads.fetch(name)
        else:
            # `predictor_id` of a predictor that loads later would load it here; its
            # `name` does not.
            name = str(getattr(predictor, "name", None) or predictor.predictor_id)
        self.downloads.clear()
        with self._lock:
            if name != self._state.predictor_name:
                self._state.first_ranks = {}
            self._requests.client.choose(predictor)
            self._state.predictor_name = name
            # The baseline, too: it has results only while it is not the model itself.
            self._requests.send()

    def offer(self, name: str) -> None:
        """Offer a model for download; nothing is predicted until then."""
        with self._lock:
            # Without a predictor no request is sent: the old model must not answer for
            # the offered one.
            self._requests.client.choose(None)
            self._state.first_ranks = {}
            self._state.predictor_name = name
            self._requests.baseline.follow()
            self.downloads.offer(name)

    def choose_baseline(self, name: str) -> None:
        """Choose a baseline predictor by name or file; "" removes the baseline.

        It predicts after the main predictor.
        """
        with self._lock:
            # Shown before the baseline has loaded, which can take seconds.
            self._state.baseline_name = name
            self._requests.baseline.choose(name)

    def restore_baseline(self, last: LastSession | None = None) -> None:
        """Choose the baseline of the last session, or the default one at first.

        The default one stands in for one that must be fetched from the hub. `last` is
        the last session, if it was read before.
        """
        name = (last or self._store.load()).baseline
        self.choose_baseline(FALLBACK if self.downloads.must_fetch(name) else name)

    def choose_device(self, device: Device) -> None:
        """Choose the device of predictors chosen by name; the predictor is reloaded."""
        with self._lock:
            # Choosing the same predictor again clears results of the old device.
            if device != self._state.device:
                client = self._requests.client
                client.choose(client.predictor)
                self._state.device = device
                client.send()


# -- the mask under which the predictions of a chosen file were made ------------------
def mask_of_file(state: LiveState, needs: Needs | None) -> Mask | None:
    """Return the mask of the chosen file, if it is not the one on screen.

    None for other predictors, for a file without a mask, and for another recording.
    """
    session = state.session
    if needs is None or not needs.is_stored or session is None or state.mask is None:
        return None
    path = Path(state.predictor_name)
    try:
        metadata = _metadata(path, path.stat().st_mtime_ns)
    except (OSError, PredictionsFileError):
        return None  # the engine reports what is wrong with the file
    mask = metadata.mask
    is_of_session = (session.id, session.n_neurons) == (metadata.session, metadata.n_neurons)
    return mask if is_of_session and mask != state.mask else None


# Views ask at every result; the metadata of a file do not change.
@lru_cache(maxsize=4)
def _metadata(path: Path, _changed_ns: int) -> Metadata:
    return Metadata.from_dict(path, open_arrays(path).metadata)
