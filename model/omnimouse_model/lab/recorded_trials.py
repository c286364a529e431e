"""Trials of a recording that show motion in a direction, or a dot, and its colour.

What was shown is read from the columns of the trial table. Tables have no common names
for them: those below are known, in this order and in upper or lower case, and a caller
can name any other column.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Int64

from omnimouse_model.analysis.direction_tuning import (
    DIRECTION_COLUMNS,
    are_directions,
    number_in,
    numbers_in,
)
from omnimouse_model.data.session import Session
from omnimouse_model.lab.stimuli.stimulus import MONITOR, Monitor

Unit = Literal["px", "deg"]
Where = Mapping[str, str | int | float]
"""Values that columns of the trial table must have."""

PLACE_COLUMNS: Final[Mapping[tuple[str, str], Unit | None]] = {
    ("row_px", "column_px"): "px",
    ("y_px", "x_px"): "px",
    ("y_deg", "x_deg"): "deg",
    ("elevation", "azimuth"): "deg",
    ("altitude", "azimuth"): "deg",
    ("row", "column"): None,
    ("y", "x"): None,
    ("y_position", "x_position"): None,
    ("pos_y", "pos_x"): None,
}
"""Columns of the place of a dot, the vertical one first, and their unit.

None where a name does not tell the unit; the caller must state it.
"""
_MIN_DIRECTIONS = 3
"""Two directions give no preferred one."""
_DIGITS = 6
"""Values are equal if they agree after rounding to as many decimals."""


class StimulusColumnError(ValueError):
    """The trial table does not tell what was shown; the message names its columns."""


@dataclass(frozen=True, slots=True, eq=False)
class DirectionTrials:
    """Trials that show motion.

    Attributes
    ----------
    trials
        Rows of the trial table.
    direction_deg
        Direction of each: 0 to the right, 90 up.
    column
        Column from which they were read.
    has_directions
        False if the column tells only the axis of motion (angles below 180 in a column
        that is not named as a direction).
    """

    trials: Int64[np.ndarray, " trial"]
    direction_deg: Float[np.ndarray, " trial"]
    column: str
    has_directions: bool


@dataclass(frozen=True, slots=True, eq=False)
class PlaceTrials:
    """Trials that show a dot at a place of a regular grid.

    Attributes
    ----------
    trials
        Rows of the trial table.
    row, column
        Place of each: position in `rows` and `columns`.
    rows, columns
        Places in monitor widths, downwards from the upper edge and from the left edge.
    names
        Columns from which they were read.
    height_widths
        Height of the monitor, or of the recorded frames, in widths.
    """

    trials: Int64[np.ndarray, " trial"]
    row: Int64[np.ndarray, " trial"]
    column: Int64[np.ndarray, " trial"]
    rows: Float[np.ndarray, " row"]
    columns: Float[np.ndarray, " column"]
    names: tuple[str, str]
    height_widths: float


def direction_trials(
    session: Session,
    column: str | None = None,
    *,
    zero_deg: float = 0.0,
    is_clockwise: bool = False,
    tier: str | Sequence[str] | None = None,
    where: Where | None = None,
) -> DirectionTrials:
    """Find the trials that show motion in a direction.

    Parameters
    ----------
    column
        Column of the angle in degrees; by default the first of `DIRECTION_COLUMNS`
        with three or more different angles.
    zero_deg
        Direction of motion, 0 to the right and 90 up, of the stored angle 0. For the
        angle of a contour that is 0 when it is horizontal, this is 90.
    is_clockwise
        Whether stored angles increase clockwise.
    tier, where
        Use only trials of this tier, and with these values of other columns.

    Raises
    ------
    StimulusColumnError
        No column tells three or more directions.
    ValueError
        No trial has this tier.
    """
    columns, usable = session.trials.columns, _usable_trials(session, tier, where or {})
    known = {name.lower(): name for name in reversed(columns)}
    if column is not None:
        candidates = [_known_column(session, columns, column)]
    else:
        candidates = [known[name] for name in DIRECTION_COLUMNS if name in known]
    for name in candidates:
        stored = np.where(usable, numbers_in(columns[name]), np.nan)
        trials = np.flatnonzero(np.isfinite(stored))
        angles = stored[trials] % 360
        if len(np.unique(np.round(angles, _DIGITS))) < _MIN_DIRECTIONS:
            continue
        if np.abs(stored[trials]).max() <= 2 * np.pi + 1e-6:
            raise StimulusColumnError(
                f"The angles in column {name!r} of session {session.id!r} are at most "
                f"{np.abs(stored[trials]).max():.3g}: they look like radians; degrees "
                "are needed."
            )
        sign = -1 if is_clockwise else 1
        return DirectionTrials(
            trials,
            np.round((zero_deg + sign * angles) % 360, _DIGITS) % 360,
            name,
            are_directions(name, angles),
        )
    looked = repr(column) if column else ", ".join(DIRECTION_COLUMNS)
    raise StimulusColumnError(
        f"Session {session.id!r} tells no three directions of motion in {looked} for "
        f"its {int(usable.sum())} chosen trials. {_columns_text(columns)}"
    )


def place_trials(
    session: Session,
    columns: tuple[str, str] | None = None,
    unit: Unit | None = None,
    *,
    tier: str | Sequence[str] | None = None,
    where: Where | None = None,
    monitor: Monitor = MONITOR,
) -> PlaceTrials:
    """Find the trials that show a dot at a place.

    Parameters
    ----------
    columns
        Columns of the vertical and the horizontal place of the centre of the dot; by
        default the first of `PLACE_COLUMNS`.
    unit
        "px": pixels of the frames of the session, downwards from the upper edge and
        from the left edge, so that the first pixel reaches from 0 to 1. "deg": degrees
        upwards and to the right of the centre of the monitor. None if the names tell
        it.
    tier, where
        Use only trials of this tier, and with these values of other columns.
    monitor
        Size and distance, for degrees.

    Raises
    ------
    StimulusColumnError
        No columns tell places on a regular grid, or their unit is unknown.
    ValueError
        No trial has this tier.
    """
    table, usable = session.trials.columns, _usable_trials(session, tier, where or {})
    known = {name.lower(): name for name in reversed(table)}
    found: list[tuple[str, str]] = [
        (known[y], known[x]) for y, x in PLACE_COLUMNS if y in known and x in known
    ]
    if columns is not None:
        vertical, horizontal = (_known_column(session, table, c) for c in columns)
        found = [(vertical, horizontal)]
    if not found:
        pairs = ", ".join(" and ".join(pair) for pair in PLACE_COLUMNS)
        raise StimulusColumnError(
            f"Session {session.id!r} tells no places of dots: looked for {pairs}. "
            f"{_columns_text(table)}"
        )
    names = found[0]
    if unit is None:
        unit = PLACE_COLUMNS.get((names[0].lower(), names[1].lower()))
    if unit is None:
        raise StimulusColumnError(
            f"The unit of the columns {names[0]!r} and {names[1]!r} of session "
            f"{session.id!r} is unknown: state 'px' or 'deg'."
        )
    y, x = (numbers_in(table[name]) for name in names)
    trials = np.flatnonzero(np.isfinite(y) & np.isfinite(x) & usable)
    y, x = _in_widths(session, y[trials], x[trials], unit, monitor)
    rows, row = np.unique(np.round(y, _DIGITS), return_inverse=True)
    places, column = np.unique(np.round(x, _DIGITS), return_inverse=True)
    n_shown = len(np.unique(np.stack([row, column]), axis=1).T)
    is_grid = n_shown == len(rows) * len(places) and min(len(rows), len(places)) > 2
    if not is_grid or not (_is_even(rows) and _is_even(places)):
        raise StimulusColumnError(
            f"The {n_shown} places in columns {names[0]!r} and {names[1]!r} of session "
            f"{session.id!r} ({len(trials)} chosen trials) are no complete grid of "
            "three or more evenly spaced rows and columns."
        )
    height_widths = monitor.height_cm / monitor.width_cm
    if unit == "px" and session.stimulus is not None:
        height_widths = session.stimulus.size[0] / session.stimulus.size[1]
    return PlaceTrials(
        trials, row.astype(np.int64), column.astype(np.int64), rows, places, names, height_widths
    )


# -- the trial table -----------------------------------------------------------------
def _columns_text(columns: Mapping[str, object]) -> str:
    return f"Its trials have the columns {', '.join(sorted(columns)) or 'none'}."


def _known_column(session: Session, columns: Mapping[str, object], name: str) -> str:
    """Return the name of a column as it is stored; upper and lower case are alike."""
    if name in columns:
        return name
    for stored in columns:
        if stored.lower() == name.lower():
            return stored
    raise StimulusColumnError(
        f"Session {session.id!r} has no trial column {name!r}. {_columns_text(columns)}"
    )


def _usable_trials(
    session: Session, tier: str | Sequence[str] | None, where: Where
) -> Bool[np.ndarray, " trial"]:
    """Return which trials can be read, are not invalid, and are those asked for."""
    trials, columns = session.trials, session.trials.columns
    usable = trials.readable & (trials.valid_trial != "False")
    if tier is not None:
        is_of_tier = _trials_of_tier(session, tier)
        if not is_of_tier.any():
            raise ValueError(
                f"Session {session.id!r} has no trial of tier {tier!r}; its tiers are "
                f"{', '.join(session.tiers()) or 'none'}."
            )
        usable = usable & is_of_tier
    for name, wanted in where.items():
        stored = columns[_known_column(session, columns, name)]
        usable = usable & np.array([_is_equal(value, wanted) for value in stored], bool)
    return np.asarray(usable)


def _trials_of_tier(session: Session, tier: str | Sequence[str]) -> np.ndarray:
    names, trials = session.named_tiers(tier), session.trials
    if not session.split:
        return np.isin(trials.tier, names)
    # Without tiers in the table, parts of the recording serve as tiers.
    onset = trials.t_on + session.t0
    is_inside = np.zeros(len(trials), bool)
    for name in set(names) & set(session.split):
        for start, stop in session.split[name]:
            is_inside |= (onset >= start) & (onset < stop)
    return is_inside


def _is_equal(value: object, wanted: str | int | float) -> bool:
    one, other = number_in(value), number_in(wanted)
    if np.isnan([one, other]).any():
        return str(value) == str(wanted)
    return bool(np.isclose(one, other, rtol=0, atol=10.0**-_DIGITS))


def _in_widths(
    session: Session, y: np.ndarray, x: np.ndarray, unit: Unit, monitor: Monitor
) -> tuple[np.ndarray, np.ndarray]:
    """Return places in monitor widths from the upper left corner."""
    if unit == "deg":
        width_deg = monitor.degrees_per_pixel(1)
        height = monitor.height_cm / monitor.width_cm
        return height / 2 - y / width_deg, 0.5 + x / width_deg
    if session.stimulus is None:
        raise StimulusColumnError(
            f"Places in pixels need frames, and session {session.id!r} has none."
        )
    width = session.stimulus.size[1]
    return y / width, x / width


def _is_even(places: np.ndarray) -> bool:
    steps = np.diff(places)
    return bool(np.allclose(steps, steps.mean(), rtol=0.02, atol=0))


# -- colour of the dots of a recording, read from its frames --------------------------
_MAX_TRIALS: Final = 60
"""Trials whose frames are read, spread over the recording."""
_MOMENTS: Final = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
"""Share of a trial at which frames are read: a dot may last a part of it."""


def dots_are_black(session: Session, dots: PlaceTrials) -> bool | None:
    """Return whether most dots are darker than the screen, None without a video.

    The gray level at the place of a dot is compared with the median of its frame, in
    the frame of the trial where they differ most.
    """
    if session.stimulus is None or not len(dots.trials):
        return None
    spread = np.linspace(0, len(dots.trials) - 1, _MAX_TRIALS).round().astype(int)
    differences = [_difference(session, dots, at) for at in set(spread.tolist())]
    known = [one for one in differences if one]
    return None if not known else bool(np.mean(np.array(known) < 0) > 0.5)


def _difference(session: Session, dots: PlaceTrials, at: int) -> float:
    """Return the largest difference of a dot to its frame, 0 where none is shown."""
    stimulus, trial = session.stimulus, dots.trials[at]
    assert stimulus is not None
    onset, offset = session.trials.t_on[trial], session.trials.t_off[trial]
    times = session.t0 + onset + _MOMENTS * (offset - onset)
    frames, _ = stimulus.sample(times[np.isfinite(times)])
    if not len(frames):
        return 0.0
    gray: Float[np.ndarray, "moment height width"] = frames.reshape(*frames.shape[:3], -1).mean(
        axis=3
    )
    height, width = gray.shape[1:]
    row = dots.rows[dots.row[at]] / dots.height_widths * height
    column = dots.columns[dots.column[at]] * width
    y, x = min(max(int(row), 0), height - 1), min(max(int(column), 0), width - 1)
    away = gray[:, y, x] - np.median(gray, axis=(1, 2))
    return float(away[np.abs(away).argmax()])
