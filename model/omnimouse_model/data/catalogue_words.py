"""A row of a catalogue in words, for terminals and screens."""

from collections.abc import Mapping
from pathlib import Path

from omnimouse_model.data.catalogue import Entry

NOTHING = "–"
MOST_SHOWN = 60


def row_words(entry: Entry, folder: Path) -> dict[str, str]:
    """What a table shows of a session, by title; the folder's path is left out."""
    return {
        "path": str(entry.path.relative_to(folder)),
        "format": entry.format or NOTHING,
        "neurons": f"{entry.neurons:,}" if entry.neurons else NOTHING,
        "areas": ", ".join(entry.areas) or NOTHING,
        "minutes by tier": _minutes(entry.minutes or _all(entry)),
        "by stimulus": _minutes(entry.shown),
        "behaviour": ", ".join(entry.behavior) or NOTHING,
        "problems": _first(tuple(_without(entry.path, p) for p in entry.problems)),
    }


def _all(entry: Entry) -> Mapping[str, float]:
    return {"all": entry.length} if entry.length else {}


def _without(path: Path, problem: str) -> str:
    """A problem without the path that its row begins with."""
    return problem.removeprefix(f"{path} ").replace(str(path), path.name)


def _minutes(minutes: Mapping[str, float]) -> str:
    listed = ", ".join(f"{name} {length:.1f}" for name, length in minutes.items())
    return listed or NOTHING


def _first(problems: tuple[str, ...]) -> str:
    """The first problem as far as there is room, and how many more there are."""
    if not problems:
        return NOTHING
    more = f" (+{len(problems) - 1})" if problems[1:] else ""
    first = problems[0]
    return f"{first[:MOST_SHOWN]}{'…' if len(first) > MOST_SHOWN else ''}{more}"
