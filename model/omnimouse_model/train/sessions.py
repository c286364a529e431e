"""Sessions of a config, by name: folders, and simulated mice, made where missing."""

from collections.abc import Callable
from pathlib import Path

from omnimouse_model.cache import cache_dir
from omnimouse_model.data.open import is_session
from omnimouse_model.simulate import (
    SMOKE_MICE,
    STUDY_MICE,
    TRAINING_MICE,
    write_session,
)

MICE = {spec.name: spec for spec in (*TRAINING_MICE, *SMOKE_MICE, *STUDY_MICE)}
"""Simulated mice that are made for training, by name."""


def check_mouse(name: str) -> None:
    """Refuse an unknown mouse before the first is simulated.

    Raises
    ------
    ValueError
        It is neither there nor a simulated mouse.
    """
    if not Path(name).exists() and name not in MICE:
        raise ValueError(
            f"{name!r} is neither a session folder nor one of {', '.join(MICE)}."
        )


def sessions_in(place: Path) -> list[Path]:
    """A session, or the sessions of a folder, by name.

    Raises
    ------
    ValueError
        There is none.
    """
    if is_session(place):
        return [place]
    inner = sorted(place.iterdir()) if place.is_dir() else []
    found = [path for path in inner if is_session(path)]
    if not found:
        raise ValueError(f"{place} is no session, nor a folder of sessions.")
    return found


def session_place(
    name: str,
    mice: Path | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> Path:
    """Where a session is; a simulated mouse that is missing is made.

    Parameters
    ----------
    name
        A folder, or a simulated mouse.
    mice
        Folder of the simulated mice; by default in the cache.
    say
        Told of each simulated mouse.

    Raises
    ------
    ValueError
        It is neither.
    """
    check_mouse(name)
    if Path(name).exists():
        return Path(name)
    say(f"mouse {name} …")
    return write_session(MICE[name], (mice or cache_dir() / "mice") / name)
