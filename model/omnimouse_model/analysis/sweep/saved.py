"""Saved sweeps of a folder, read without locking or changing growing files."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omnimouse_model.analysis.sweep.plan import SweepPlan
from omnimouse_model.analysis.sweep.store import SWEEP
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.masks.selection import NeuronGroup

SUFFIX = ".sweep.jsonl"


@dataclass(frozen=True, slots=True)
class SavedSweep:
    """A results file of a sweep.

    Attributes
    ----------
    sweep
        The sweep with its finished rows, None if the file cannot be read.
    about
        Notes in the header; empty for sweeps from the command line.
    problem
        Reason if the file cannot be read, else "".
    """

    path: Path
    sweep: ContextSweep | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def name(self) -> str:
        """Name given by the user, else the file name."""
        return str(self.about.get("name") or self.path.name.removesuffix(SUFFIX))

    @property
    def started(self) -> str:
        """Start time, such as "2026-03-01 14:05"; "" if unknown."""
        return str(self.about.get("begun") or "")

    @property
    def is_complete(self) -> bool:
        """Whether all planned rows are finished."""
        return self.sweep is not None and self.sweep.is_complete


def read_sweep(path: str | Path) -> SavedSweep:
    """Read a results file, even while it is written; a partial last line is left out.

    A file that cannot be read gives a `SavedSweep` with a `problem` and no error.
    """
    path = Path(path)
    try:
        header, rows = SWEEP.read(path)
        definition = header["definition"]
        sweep = ContextSweep(
            _plan(definition),
            str(definition["predictor"]),
            tuple(str(session) for session, _ in definition["sessions"]),
            tuple(rows),
        )
    # Any file may lie in the folder: a broken one is listed and not an error.
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return SavedSweep(path, problem=f"cannot be read: {repr(error)[:200]}")
    return SavedSweep(path, sweep, dict(header.get("about", {})))


def saved_sweeps(folder: str | Path) -> list[Path]:
    """Return the results files of a folder, newest first."""
    paths = Path(folder).glob(f"*{SUFFIX}")
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)


def _plan(definition: Mapping[str, Any]) -> SweepPlan:
    # The definition in the header also holds the predictor and the sessions.
    names = {field.name for field in fields(SweepPlan)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in definition.items()
        if name in names
    }
    for name in ("targets", "pool"):
        if isinstance(values.get(name), Mapping):
            group = values[name]
            values[name] = NeuronGroup(str(group["name"]), tuple(map(int, group["ids"])))
    # Sweeps of older versions are pooled, and do not say so.
    return SweepPlan(**{"centred": False, **values})
