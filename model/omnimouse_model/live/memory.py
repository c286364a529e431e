"""What survives a restart: the last session, predictor, baseline, window and pins."""

import json
import logging
import os
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from omnimouse_model.atomic import atomic_path
from omnimouse_model.data.options import ReadOptions
from omnimouse_model.demo import is_demo

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remembered:
    """Where the user was."""

    session: str = ""
    predictor: str = ""
    preset: str = ""
    start_s: float = 0.0
    baseline: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    """How the session is read; see `ReadOptions`."""
    pins: dict[str, Any] = field(default_factory=dict)
    """Pinned conditions of the session; see `Pins.facts`."""


def config_dir() -> Path:
    """The user's config folder: $OMNIMOUSE_CONFIG, else the system's habit."""
    if chosen := os.environ.get("OMNIMOUSE_CONFIG"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("APPDATA", "~/AppData/Roaming")
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    else:
        base = os.environ.get("XDG_CONFIG_HOME", "~/.config")
    return Path(base).expanduser() / "omnimouse"


def remember(what: Remembered, path: Path | None = None) -> None:
    """Write it, atomically; a folder that cannot be written is logged, not raised."""
    path = path or config_dir() / "live.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, mode=0o600) as sibling:
            sibling.write_text(json.dumps(asdict(what), indent=1), encoding="utf-8")
    except OSError as error:
        logger.warning("Where you were is not remembered: %s", error)


def recall(path: Path | None = None) -> Remembered | None:
    """Read it back, None when there is nothing sound to read."""
    path = path or config_dir() / "live.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = {name.name for name in fields(Remembered)}
        what = Remembered(**{k: v for k, v in found.items() if k in known})
        return Remembered(
            str(what.session),
            str(what.predictor),
            str(what.preset),
            float(what.start_s),
            str(what.baseline),
            ReadOptions(**what.options).given(),
            dict(what.pins),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        logger.warning("Where you were could not be read from %s: %s", path, error)
        return None


class Memory:
    """Where the user was: in a file, the user's `live.json` when True, or nowhere.

    Parameters
    ----------
    where
        The file, True for the user's own, False to keep nothing.
    """

    def __init__(self, where: Path | bool) -> None:
        self._is_kept = where is not False
        self._path = where if isinstance(where, Path) else None

    def recall(self) -> Remembered:
        """Where the user was; an empty `Remembered` where that is not known."""
        found = recall(self._path) if self._is_kept else None
        return found or Remembered()

    def remember(self, where: Remembered) -> None:
        """Keep it; a demo recording never takes the place of the user's own."""
        if not self._is_kept:
            return
        was = self.recall().session
        if is_demo(Path(where.session)) and was and not is_demo(Path(was)):
            return
        remember(where, self._path)
