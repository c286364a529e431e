"""A row of a catalogue in words, for terminals and screens."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from omnimouse_model.data.session_index import Entry

NOTHING = "–"
MOST_SHOWN = 60


def row_words(entry: Entry, folder: Path) -> dict[str, str]:
    """What a table shows of a session, by title; the folder's path is left out."""
    return {
        "path": str(entry.path.relative_to(folder)),
        "animal": entry.animal_id or NOTHING,
        "format": entry.format or NOTHING,
        "neurons": f"{entry.neurons:,}" if entry.neurons else NOTHING,
        "areas": ", ".join(entry.areas) or NOTHING,
        "minutes": f"{entry.total_minutes:.1f}" if entry.is_read else NOTHING,
        "by tier": _minutes(entry.minutes),
        "by stimulus": _minutes(entry.shown),
        "behaviour": _kinds(entry.behavior),
        "problems": _first(tuple(_without(entry.path, p) for p in entry.problems)),
    }


def counted(entries: Sequence[Entry]) -> str:
    """How many sessions there are, and how many rows are none or have a problem."""
    read = [entry for entry in entries if entry.is_read]
    warned, broken = sum(bool(e.problems) for e in read), len(entries) - len(read)
    words = [f"{len(read)} session{'' if len(read) == 1 else 's'}"]
    if warned:
        words.append(f"{warned} with problems")
    if broken:
        words.append(f"{broken} more cannot be read")
    return ", ".join(words)


def _kinds(channels: Sequence[str]) -> str:
    """Channels in short: those of the pupil are one."""
    kinds = dict.fromkeys(name.partition("_")[0] for name in channels)
    return ", ".join(kinds) or NOTHING


def _without(path: Path, problem: str) -> str:
    """A problem without the path that its row begins with."""
    inner = problem.removeprefix(f"{path} ").replace(str(path), path.name)
    return inner.removeprefix(f"{path.name}: ")


def _minutes(minutes: Mapping[str, float]) -> str:
    """The longest first; what is shorter than three seconds is left out."""
    falling = sorted(minutes.items(), key=lambda item: -item[1])
    listed = (f"{name} {length:.1f}" for name, length in falling if length >= 0.05)
    return ", ".join(listed) or NOTHING


def _first(problems: tuple[str, ...]) -> str:
    """The first problem as far as there is room, and how many more there are."""
    if not problems:
        return NOTHING
    more = f" (+{len(problems) - 1})" if problems[1:] else ""
    first = problems[0]
    return f"{first[:MOST_SHOWN]}{'…' if len(first) > MOST_SHOWN else ''}{more}"
