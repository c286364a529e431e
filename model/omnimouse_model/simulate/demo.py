"""Simulated sessions, small models and a ranking of the demo.

Sessions are generated once, into the user's cache.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnimouse_model.progress import QUIET, Job, shows_progress
from omnimouse_model.simulate.specs import DEMO_SHOWN, UNSEEN, VERSION, MouseSpec
from omnimouse_model.storage.cache import cache_dir

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session


@shows_progress
def demo_session(job: Job = QUIET) -> Path:
    """Return the folder of the demo session: 1,000 neurons of the demo model, 12 min.

    The recording was not used for training. It is generated in about 15 s at the first
    call; `progress` is called with the finished share.

    Examples
    --------
    >>> session = om.open_session(om.demo_session())
    >>> session.format, session.responses.rate_hz
    ('experanto', 30.0)
    """
    return _session(DEMO_SHOWN, job)


@shows_progress
def unseen_session(job: Job = QUIET) -> Path:
    """Return the folder of a mouse that no model was trained on: 400 neurons, 12 min.

    Examples
    --------
    >>> om.open_session(om.unseen_session()).id
    '90009-1-1'
    """
    return _session(UNSEEN, job)


@shows_progress
def spiking_session(job: Job = QUIET) -> Path:
    """Return the file of a spiking session of the demo: 100 units, 300 trials.

    Its train tier is in the training data of `ndt-demo`. See
    `simulate.spiking_laboratory`.

    Examples
    --------
    >>> from omnimouse_model.simulate.demo import spiking_session
    >>> spikes = om.open_session(spiking_session())
    >>> spikes.n_neurons, len(spikes.trials)
    (100, 300)
    """
    return _animal("spikes", job)


@shows_progress
def unseen_spiking_session(job: Job = QUIET) -> Path:
    """Return the file of a spiking session that no model was trained on.

    Examples
    --------
    >>> from omnimouse_model.simulate.demo import unseen_spiking_session
    >>> om.open_session(unseen_spiking_session()).id
    'unseen-spikes'
    """
    return _animal("unseen-spikes", job)


SESSIONS: Mapping[str, Callable[..., Path]] = {
    "demo": demo_session,
    "unseen": unseen_session,
    "spikes": spiking_session,
    "unseen-spikes": unseen_spiking_session,
}
"""Generated sessions by their names on the command line and in `om.evaluate`."""


MODELS: Mapping[str, str] = {"demo": "demo", "spikes": "ndt-demo"}
"""Name of a generated session (key of SESSIONS) -> model that was trained on it."""


def model_for(path: Path) -> str:
    """Return the name of the model that knows a generated session; "" if none does."""
    known = (model for name, model in MODELS.items() if session_path(name) == path)
    return next(known, "")


def open_session(path: str | Path | Mapping[str, Any], **options: Any) -> "Session":
    """Open a generated session by its name (`SESSIONS`), or any other recording.

    Parameters and errors are those of `data.open.open_session`.

    Examples
    --------
    >>> om.open_session("unseen").id
    '90009-1-1'
    """
    # Imported here: the process that simulates a session needs no readers.
    from omnimouse_model.data.open import open_session as open_place

    # The names have priority over paths.
    generate = SESSIONS.get(path) if isinstance(path, str) else None
    return open_place(path if generate is None else generate(), **options)


def session_path(name: str) -> Path:
    """Return where a generated session is, or will be; `name` is a key of SESSIONS."""
    if name in ("demo", "unseen"):
        return _mouse_folder(DEMO_SHOWN if name == "demo" else UNSEEN)
    return _animal_folder() / f"{name}.npz"


def is_demo(folder: Path) -> bool:
    """Return whether a session was generated here and is no recording of the user."""
    return folder.is_relative_to(cache_dir() / "sessions")


def _session(spec: MouseSpec, job: Job) -> Path:
    # Imported here: most callers find the session in the cache and need no simulator.
    from omnimouse_model.simulate.write import write_session

    return write_session(spec, _mouse_folder(spec), job)


def _animal(name: str, job: Job) -> Path:
    from omnimouse_model.simulate.spiking_laboratory import write_animal

    path = write_animal(name, _animal_folder())
    job.progress(1.0, 1.0)
    return path


def _mouse_folder(spec: MouseSpec) -> Path:
    # The version is part of the path, so that a session of an older simulator is not
    # opened by mistake.
    return cache_dir() / "sessions" / f"v{VERSION}" / spec.name


def _animal_folder() -> Path:
    from omnimouse_model.simulate.spiking_laboratory import VERSION as SPIKES_VERSION

    return cache_dir() / "sessions" / f"spikes-v{SPIKES_VERSION}"
