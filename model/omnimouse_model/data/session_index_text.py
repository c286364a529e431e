"""A row of a catalogue as text, for terminals and screens."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from omnimouse_model.data.session_index import Entry

EMPTY = "–"
_LONGEST_PROBLEM = 60
# Shorter times would be displayed as 0.0.
_MIN_MINUTES = 0.05


def row_text(entry: Entry, folder: Path) -> dict[str, str]:
    """Return the cells of a session's row by title; paths are relative to `folder`."""
    # The channels of the pupil are listed as one.
    channels = dict.fromkeys(name.partition("_")[0] for name in entry.behavior)
    return {
        "path": str(entry.path.relative_to(folder)),
        "animal": entry.animal_id or EMPTY,
        "format": entry.format or EMPTY,
        "neurons": f"{entry.neurons:,}" if entry.neurons else EMPTY,
        "areas": ", ".join(entry.areas) or EMPTY,
        "minutes": f"{entry.total_minutes:.1f}" if entry.is_read else EMPTY,
        "by tier": _minutes(entry.minutes),
        "by stimulus": _minutes(entry.stimulus_minutes),
        "behaviour": ", ".join(channels) or EMPTY,
        "problems": _problems(entry),
    }


def count_text(entries: Sequence[Entry]) -> str:
    """Return how many sessions can be read, have problems, or cannot be read."""
    read = [entry for entry in entries if entry.is_read]
    warned, broken = sum(bool(e.problems) for e in read), len(entries) - len(read)
    parts = [f"{len(read)} session{'' if len(read) == 1 else 's'}"]
    if warned:
        parts.append(f"{warned} with problems")
    if broken:
        parts.append(f"{broken} more cannot be read")
    return ", ".join(parts)


def _minutes(minutes: Mapping[str, float]) -> str:
    """List minutes by name, the longest first."""
    falling = sorted(minutes.items(), key=lambda item: -item[1])
    listed = [f"{name} {m:.1f}" for name, m in falling if m >= _MIN_MINUTES]
    return ", ".join(listed) or EMPTY


def _problems(entry: Entry) -> str:
    """Return the beginning of the first problem, and the number of the others."""
    if not entry.problems:
        return EMPTY
    # The row begins with the path, which need not be repeated.
    first = entry.problems[0].removeprefix(f"{entry.path} ")
    first = first.replace(str(entry.path), entry.path.name)
    first = first.removeprefix(f"{entry.path.name}: ")
    if len(first) > _LONGEST_PROBLEM:
        first = f"{first[:_LONGEST_PROBLEM]}…"
    return f"{first} (+{len(entry.problems) - 1})" if entry.problems[1:] else first
