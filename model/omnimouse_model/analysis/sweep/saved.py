"""Sweeps kept in a folder, as values: read without touching what still grows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omnimouse_model.analysis.sweep.plan import SweepPlan
from omnimouse_model.analysis.sweep.store import SWEEP
from omnimouse_model.analysis.sweep.table import ContextSweep

SUFFIX = ".sweep.jsonl"


@dataclass(frozen=True, slots=True)
class SavedSweep:
    """One results file.

    Attributes
    ----------
    sweep
        As far as it came, None where the file cannot be read.
    about
        The notes it was begun with; empty for one of the command line.
    problem
        Why it cannot be read, "" where it can.
    """

    path: Path
    sweep: ContextSweep | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def name(self) -> str:
        """What the user called it, else its file's name."""
        return str(self.about.get("name") or self.path.name.removesuffix(SUFFIX))

    @property
    def begun(self) -> str:
        """When it was begun, such as "2026-03-01 14:05"; "" where that is not known."""
        return str(self.about.get("begun") or "")

    @property
    def is_complete(self) -> bool:
        """Whether every row is there."""
        return self.sweep is not None and self.sweep.is_complete


def read_sweep(path: str | Path) -> SavedSweep:
    """Read a results file, also while it is written; half a last line is left out.

    A file that cannot be read is an answer too: it has a `problem`.
    """
    path = Path(path)
    try:
        header, *lines = path.read_bytes().splitlines(keepends=True) or [b""]
        facts = SWEEP.header(header)
        if lines and not lines[-1].endswith(b"\n"):
            lines = lines[:-1]
        rows = dict(SWEEP.parsed_line(line) for line in lines)
        asked = facts["definition"]
        sweep = ContextSweep(
            _plan(asked),
            str(asked["predictor"]),
            tuple(str(session) for session, _ in asked["sessions"]),
            tuple(rows.values()),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return SavedSweep(path, problem=f"cannot be read: {error!r}")
    return SavedSweep(path, sweep, dict(facts.get("about", {})))


def saved_sweeps(folder: str | Path) -> list[Path]:
    """Every results file of a folder, the newest first."""
    found = Path(folder).glob(f"*{SUFFIX}")
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _plan(asked: Mapping[str, Any]) -> SweepPlan:
    known = {name.name for name in fields(SweepPlan)}
    plain: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in asked.items()
        if name in known
    }
    return SweepPlan(**plain)
