"""Size limits of recordings, checked before memory is allocated."""

from pathlib import Path

from omnimouse_model.errors import SessionFormatError

# Longer streams come from wrong units (milliseconds, sample numbers), and would make
# start grids of gigabytes.
LONGEST_S = 7 * 86_400.0
MAX_ROWS = 2**28
"""A week at 440 Hz."""
MAX_FRAMES = 2**25
"""Five days at 75 Hz; lower than the limit of rows, as frame times are in memory."""
MAX_COLUMNS = 2**21
MAX_PIXELS = 2**26
"""Pixels of all masks together."""


def check_extent(
    path: Path, name: str, n_rows: int, rate_hz: float, most_rows: int = MAX_ROWS
) -> None:
    """Check the number of rows and their duration.

    Raises
    ------
    SessionFormatError
        If the rows cover more than a week, or are more than `most_rows`.
    """
    # 0 s with an infinite rate, which checks the number of rows alone.
    seconds = (n_rows - 1) / rate_hz
    if seconds > LONGEST_S:
        raise SessionFormatError(
            path,
            "bad_clock",
            f"{path.name}: {name} covers {seconds:.3g} s, more than a week",
            "are rate and times right, in seconds?",
        )
    if n_rows > most_rows:
        raise SessionFormatError(
            path,
            "too_large",
            f"{path.name}: {name} has {n_rows:,} samples; at most {most_rows:,} are read",
        )
