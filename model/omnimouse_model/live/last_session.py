"""Last saved session: the screen's content, stored across restarts and crashes."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.predict.compatibility import FALLBACK
from omnimouse_model.storage.cache import config_dir
from omnimouse_model.storage.state import read_or_set_aside, write_state
from omnimouse_model.storage.typed import decode


@dataclass(frozen=True, slots=True)
class LastSession:
    """Last saved session.

    Attributes
    ----------
    baseline
        Predictor that the model is compared with, "" for none; at first the one that
        answers any mask.
    options
        Options that the session is read with; see `ReadOptions`.
    pins
        Pinned conditions of the session; see `Pins.to_dict`.
    analysis
        The screen's content as `Analysis.to_dict` returns it; may be empty.
    file, digest
        File of the analysis, and the hash of its content when this program read or wrote
        it; "" for none.
    brush_radius
        Radius of the field's brush in screen pixels, 0 if not known.
    run, at
        Number of the process that wrote this, "" after a normal end; time in seconds
        since the epoch.
    """

    session: str = ""
    predictor: str = ""
    preset: str = ""
    start_s: float = 0.0
    baseline: str = FALLBACK
    options: dict[str, Any] = field(default_factory=dict)
    pins: dict[str, Any] = field(default_factory=dict)
    analysis: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    run: str = ""
    at: float = 0.0
    brush_radius: float = 0.0
    digest: str = ""


def write_last_session(last: LastSession, path: Path | None = None) -> None:
    """Write the session atomically; log, and do not raise, if it cannot be written."""
    values = {field.name: getattr(last, field.name) for field in fields(last)}
    write_state(path or config_dir() / "live.json", values)


def read_last_session(path: Path | None = None) -> LastSession | None:
    """Return the last saved session, None if there is none or it is damaged."""
    return read_or_set_aside(path or config_dir() / "live.json", LastSession, _check)


def _check(last: LastSession) -> None:
    decode(ReadOptions, last.options, "the last session", "options")
