"""Session folders by name; simulated mice are created if they do not exist."""

from collections.abc import Callable
from pathlib import Path

from omnimouse_model.data.open import is_session
from omnimouse_model.simulate import (
    DEMO_FURTHER,
    SMOKE_MICE,
    STUDY_MICE,
    TRAINING_MICE,
    write_session,
)
from omnimouse_model.simulate.spiking_laboratory import (
    ANIMALS,
    UNSEEN_SPIKES,
    VERSION,
    write_animal,
)
from omnimouse_model.storage.cache import cache_dir

MICE = {spec.name: spec for spec in (*TRAINING_MICE, *DEMO_FURTHER, *SMOKE_MICE, *STUDY_MICE)}
"""Specs of the simulated mice for training, by name."""
_SPIKING = tuple(name for name in ANIMALS if name != UNSEEN_SPIKES)


def check_mouse(name: str) -> None:
    """Check a session's name, before any mouse is simulated.

    Raises
    ------
    ValueError
        The name is neither an existing path nor a simulated mouse.
    """
    known = (*MICE, *_SPIKING)
    if not Path(name).exists() and name not in known:
        raise ValueError(f"{name!r} is neither a session folder nor one of {', '.join(known)}.")


def sessions_in(place: Path) -> list[Path]:
    """Return the path of a session, or of all sessions of a folder, sorted by name.

    Raises
    ------
    ValueError
        There is no session.
    """
    if is_session(place):
        return [place]
    # Sorted: file systems list folders in any order, and ranks share sessions by index.
    inner = sorted(place.iterdir()) if place.is_dir() else []
    paths = [path for path in inner if is_session(path)]
    if not paths:
        raise ValueError(f"{place} is no session, nor a folder of sessions.")
    return paths


def session_place(
    name: str,
    mice: Path | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Path:
    """Return the folder of a session; simulate a mouse that does not exist yet.

    Parameters
    ----------
    name
        Path of a session folder, or name of a simulated mouse.
    mice
        Folder of the simulated mice; by default in the cache directory.
    report
        Called with a message for each simulated mouse.

    Raises
    ------
    ValueError
        The name is neither of them.
    """
    check_mouse(name)
    if Path(name).exists():
        return Path(name)
    report(f"mouse {name} …")
    folder = mice or cache_dir() / "mice"
    if name in _SPIKING:
        return write_animal(name, mice or folder / f"spikes-v{VERSION}")
    return write_session(MICE[name], folder / name)
