"""Direction tuning of neurons, estimated from the session's own stimulus.

Directions come from the trial table if it has them, else from the motion energy of the
video at the receptive field. Angles: 0° to the right, 90° up, counter-clockwise.

The file is long because what is kept of all neurons stands beside its computation.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_type_hints

import numpy as np
from jaxtyping import Float, Int

from omnimouse_model.analysis.motion_energy import (
    N_DIRECTIONS,
    TAPS,
    MotionBank,
    directions_deg,
    filtered,
    grid_places,
    stimulus_blocks,
)
from omnimouse_model.analysis.receptive_fields import ReceptiveField, receptive_fields
from omnimouse_model.data.session import Session
from omnimouse_model.data.stimulus import Trials
from omnimouse_model.data.window_spec import SCREEN_RATE_HZ
from omnimouse_model.display import count
from omnimouse_model.errors import ResultsFileError
from omnimouse_model.evaluation.results import json_values
from omnimouse_model.evaluation.results_store import ResultsFile, RowFormat, number, row_key
from omnimouse_model.masks.cells import neuron_columns
from omnimouse_model.masks.neuron_table import P_VALUES, TUNED, tuned_column
from omnimouse_model.masks.selection import NeuronGroup, Neurons, neurons_of
from omnimouse_model.metrics.correlation import nanmean
from omnimouse_model.metrics.tuning import N_SHUFFLES, SIGNIFICANCE_LEVEL, selectivity_index
from omnimouse_model.progress import QUIET, Job, name_steps, part_of, shows_progress
from omnimouse_model.simulate.demo import opened
from omnimouse_model.storage.trees import decode
from omnimouse_model.storage.write import cache_dir, explained, remove_oldest

if TYPE_CHECKING:
    from pandas import DataFrame

_log = logging.getLogger(__name__)
DirectionSource = Literal["trials", "place", "screen"]
DIRECTION_NAMES = ("direction", "drift_direction", "motion_direction", "dir")
DIRECTION_COLUMNS = tuple(
    f"{name}{unit}"
    for name in (*DIRECTION_NAMES, "orientation", "ori", "angle", "theta")
    for unit in ("", "_deg")
)
"""Columns of the direction of motion, or of its axis, in degrees."""
# Minimum number of trials per direction.
MIN_TRIALS = 3
DELAY_S = 0.1
"""Delay in seconds of responses after a trial's onset, and after motion."""
# Wavelengths of the Gabors in pixels; energies are summed over wavelengths.
_WAVELENGTHS = (13.0, 18.0, 25.0)
# Minimum circular shift, meant to exceed the correlation time of the responses.
_MIN_SHIFT_S = 20.0
# Motion energy is computed at every second frame.
_STEP = 2
_RATE_HZ = SCREEN_RATE_HZ / _STEP
# Range of mean responses, relative to the largest, that rounding alone explains.
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class DirectionTuning:
    """Direction tuning of one neuron.

    Attributes
    ----------
    neuron, source
        Index in the session; source of the directions: the table of "trials", or motion
        of the video at the neuron's "place" or on the whole "screen".
    directions_deg, response, error
        (D,) directions; mean response to each, in units of the model; its standard
        error.
    dsi, osi
        Length of the mean vector of directions, and of orientations, 0 to 1.
    preferred_deg
        Angle of the vector of directions; of orientations, if only these are known.
    preferred_orientation_deg
        Angle of the vector of orientations, 0 to 180.
    p_direction, p_orientation
        Share of shuffles with at least this selectivity. Shuffles permute the trials,
        or shift the responses circularly by at least 20 s.
    has_directions
        False if only orientations are known; `dsi` is then NaN.
    problem
        Reason if there is no estimate, else "".
    """

    neuron: int
    source: DirectionSource
    directions_deg: Float[np.ndarray, " direction"]
    response: Float[np.ndarray, " direction"]
    error: Float[np.ndarray, " direction"]
    dsi: float
    osi: float
    preferred_deg: float
    preferred_orientation_deg: float
    p_direction: float
    p_orientation: float
    has_directions: bool = True
    problem: str = ""

    @property
    def is_direction_selective(self) -> bool:
        """Whether the direction selectivity is significant."""
        return self.p_direction < SIGNIFICANCE_LEVEL

    @property
    def is_orientation_selective(self) -> bool:
        """Whether the orientation selectivity is significant."""
        return self.p_orientation < SIGNIFICANCE_LEVEL


@shows_progress
def direction_tuning(
    session: Session,
    neurons: Int[np.ndarray, " neuron"],
    centres_yx: Float[np.ndarray, "neuron 2"] | None = None,
    *,
    job: Job = QUIET,
) -> tuple[DirectionTuning, ...]:
    """Estimate the direction tuning of some neurons.

    Parameters
    ----------
    centres_yx
        Receptive field centres on the 36 × 64 frame in pixels. Motion on the whole
        screen is used for centres that are NaN, or without centres.
    """
    neurons = np.asarray(neurons, np.int64)
    directions = trial_directions(session.trials)
    if directions is not None:
        return _from_trials(session, neurons, directions, np.random.default_rng(0))
    problem = _no_motion(session)
    if problem:
        return tuple(_nothing(n, problem) for n in neurons.tolist())
    if centres_yx is None:
        centres_yx = np.full((len(neurons), 2), np.nan)
    motion = _Motion(session, neurons, centres_yx)
    motion.read(job)
    # Of each neuron alone: its p values do not depend on the others that are asked for.
    draws = (np.random.default_rng([0, neuron]) for neuron in neurons.tolist())
    return tuple(motion.tuning(i, draw) for i, draw in enumerate(draws))


# -- receptive fields and tuning of all neurons ---------------------------------------
_PIECE = 128
"""Neurons of one pass over the video: their sums take 0.6 MB each."""
RECORDED: Final[dict[str, tuple[str, Callable[[ReceptiveField, DirectionTuning], float]]]] = {
    "recorded_field_row_px": ("row of the receptive field", lambda f, _: f.centre_yx[0]),
    "recorded_field_column_px": ("column of the receptive field", lambda f, _: f.centre_yx[1]),
    "recorded_field_reliability": (
        "agreement of two halves of the recording on the receptive field",
        lambda f, _: f.reliability,
    ),
    "recorded_osi": (
        "orientation selectivity, 0 none to 1 one orientation alone",
        lambda _, tuning: tuning.osi,
    ),
    "recorded_p_orientation": (
        f"share of {N_SHUFFLES} shuffles with at least this orientation selectivity; the least "
        f"is 1/{N_SHUFFLES + 1}, where there is none",
        lambda _, tuning: tuning.p_orientation,
    ),
    "recorded_dsi": (
        "direction selectivity, 0 none to 1 one direction alone",
        lambda _, tuning: tuning.dsi,
    ),
    "recorded_p_direction": (
        f"share of {N_SHUFFLES} shuffles with at least this direction selectivity; the least "
        f"is 1/{N_SHUFFLES + 1}, where there is none",
        lambda _, tuning: tuning.p_direction,
    ),
    "recorded_preferred_deg": (
        "preferred direction of neurons that are selective for it",
        lambda _, tuning: tuning.preferred_deg if tuning.is_direction_selective else np.nan,
    ),
    "recorded_preferred_orientation_deg": (
        "preferred orientation of neurons that are selective for it: an axis, 0 to 180°, that of "
        "the motion if its directions are known",
        lambda _, tuning: (
            tuning.preferred_orientation_deg if tuning.is_orientation_selective else np.nan
        ),
    ),
}
"""Columns of a table of neurons: what each is, and its value; NaN where a neuron has none."""


def recorded_value(name: str, field: ReceptiveField, tuning: DirectionTuning) -> float:
    """Return a column of `RECORDED` for one neuron, NaN where there is no estimate."""
    source = field if name.startswith("recorded_field") else tuning
    return float("nan") if source.problem else float(RECORDED[name][1](field, tuning))


Pair = tuple[tuple[ReceptiveField, ...], tuple[DirectionTuning, ...]]


def fields_and_tuning(
    session: Session,
    neurons: Int[np.ndarray, " neuron"],
    job: Job = QUIET,
    results: Path | None = None,
) -> Iterator[Pair]:
    """Yield receptive fields, and tuning at their centres, a piece of neurons at a time.

    The maps are left out, because they take megabytes per thousand neurons. Each piece is
    added to the file `results`, see `tuning_path`.
    """
    file = None if results is None or not len(neurons) else _kept_pieces(session, results)
    total = len(neurons)
    for first in range(0, total, _PIECE):
        piece = neurons[first : first + _PIECE]
        part = part_of(job, first / total, (first + len(piece)) / total)
        fields = receptive_fields(session, piece, job=part_of(part, 0.0, 0.5))
        tunings = direction_tuning(session, piece, centres_of(fields), job=part_of(part, 0.5, 1.0))
        pair = tuple(replace(one, map=_NO_MAP) for one in fields), tunings
        if file is not None:
            try:
                # Pieces with the same first neuron can have others: not all are asked for at once.
                file.add(row_key(neurons=piece.tolist()), pair)
                remove_oldest(file.path.parent, file.path.suffix, LIMIT_BYTES)
            except OSError as error:
                _log.warning("Fields and tuning are not kept: %s", explained(error))
                file = None
        yield pair


# -- fields and tuning of all neurons in a file: a line per piece, without maps and curves
TUNING_VERSION: Final = 3
"""Version of what `fields_and_tuning` finds: increased when it changes."""
LIMIT_BYTES: Final = 256 * 2**20
"""Maximum size of what is kept of all recordings: the least recently used is removed."""
_NO_MAP: Final = np.zeros((0, 0))
_NO_CURVES: Final = {"map": _NO_MAP} | dict.fromkeys(
    ("lags_s", "course", "directions_deg", "response", "error"), np.zeros(0)
)


def tuning_path(session: Session) -> Path:
    """Return the file in which fields and tuning of a recording are kept, in the cache."""
    key = row_key(recording=(session.id, session.fingerprint), version=TUNING_VERSION)
    return cache_dir() / "tuning" / f"{key}.jsonl"


def kept_fields_and_tuning(session: Session, path: Path) -> tuple[Pair, ...]:
    """Return the pieces that `fields_and_tuning` has added to a file, without curves."""
    if not path.exists():
        return ()
    file = _kept_pieces(session, path)
    pieces = () if file is None else tuple(file.rows.values())
    named = [one.neuron for fields, _ in pieces for one in fields]
    if not all(0 <= neuron < session.n_neurons for neuron in named):
        path.unlink()  # no writer of ours names neurons that are not recorded
        return ()
    with suppress(OSError):  # its time is that of the last use
        os.utime(path)
    return pieces


def _plain_pieces(pair: Pair) -> dict[str, Any]:
    fields, tunings = pair
    return {
        "fields": [_plain_facts(one) for one in fields],
        "tunings": [_plain_facts(one) for one in tunings],
    }


def _plain_facts(found: ReceptiveField | DirectionTuning) -> dict[str, Any]:
    names = (one.name for one in dataclass_fields(found) if one.name not in _NO_CURVES)
    return {name: json_values(getattr(found, name)) for name in names}


def _parsed_pieces(values: Mapping[str, Any]) -> Pair:
    fields = tuple(ReceptiveField(**_facts(ReceptiveField, one)) for one in values["fields"])
    tunings = tuple(DirectionTuning(**_facts(DirectionTuning, one)) for one in values["tunings"])
    if [one.neuron for one in fields] != [one.neuron for one in tunings]:
        raise ValueError("fields and tuning are of other neurons")
    return fields, tunings


_hints: Final = cache(get_type_hints)


def _facts(kind: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, hint in _hints(kind).items():
        if name in _NO_CURVES:
            facts[name] = _NO_CURVES[name]
        elif hint is float:  # most fields of thousands of neurons: `decode` takes longer
            facts[name] = number(stored[name])
        else:
            facts[name] = decode(hint, stored[name], "a line", name, null_is_nan=True)
    return facts


_PIECES: Final = RowFormat("tuning", "fields and tuning", _plain_pieces, _parsed_pieces)


def _kept_pieces(session: Session, path: Path) -> ResultsFile[Pair] | None:
    """Return the file of a recording's pieces, begun anew if it is damaged; None without one."""
    definition = {
        "session": session.id,
        "recording": session.fingerprint,
        "version": TUNING_VERSION,
    }
    try:
        try:
            return ResultsFile(_PIECES, path, definition)
        except ResultsFileError:  # nobody chose its name
            path.unlink()
            return ResultsFile(_PIECES, path, definition)
    except OSError as error:
        _log.warning("Fields and tuning are not kept: %s", explained(error))
        return None


def centres_of(fields: Sequence[ReceptiveField]) -> Float[np.ndarray, "neuron 2"]:
    """Return the centres of receptive fields; NaN, for the whole screen, without one."""
    return np.array([(np.nan, np.nan) if f.problem else f.centre_yx for f in fields])


@shows_progress
def recorded_tuning(
    session: Session | str | Path, neurons: Neurons | None = None, *, job: Job = QUIET
) -> "DataFrame":
    """Estimate receptive fields and direction tuning from the recording, one row per neuron.

    Examples
    --------
    >>> found = om.recorded_tuning(session, [0, 3])
    >>> found[["neuron", "recorded_osi", "recorded_p_orientation"]].shape
    (2, 3)
    >>> n_tuned = found["tuned"].sum()

    Parameters
    ----------
    session
        An open session, or its name or path.
    neurons
        All by default; rows have the order of indices.

    Returns
    -------
    The columns that the table of neurons on screen has after *Compute all*: the receptive
    field in pixels of the 36 × 64 frame and how well two halves of the recording agree on
    it, OSI and DSI with their p values, and the preferred direction and orientation in
    degrees. A p value is the share of 200 shuffles that are as selective: at .01, about one
    of 100 neurons without tuning passes. NaN where there is no estimate. `tuned` is as the
    filter of that name: p < .025 in the test of orientation or of direction, half of .05 as there
    are two tests, so that at most 5 % of the other neurons pass by chance (p < .05 where no
    direction of motion is known, and orientation alone is tested); missing where it is unknown.

    What *Compute all* or an earlier call has found is read from the cache, and what this call
    finds is kept there. A thousand neurons take minutes.

    Raises
    ------
    ValueError
        The session lacks some of the neurons, or the area.
    """
    from pandas import DataFrame

    session = opened(session)
    if isinstance(neurons, str | NeuronGroup):
        neurons = neurons_of(session, neurons)
    asked = neuron_columns(slice(None) if neurons is None else neurons, session.n_neurons)
    path = tuning_path(session)
    known = {
        field.neuron: (field, tuning)
        for pair in kept_fields_and_tuning(session, path)
        for field, tuning in zip(*pair, strict=True)
    }
    missing = np.array([n for n in dict.fromkeys(asked.tolist()) if n not in known], np.int64)
    step = f"fields and tuning of {count(len(missing), 'neuron')}"
    for pair in fields_and_tuning(session, missing, name_steps(job, step), path):
        known |= {field.neuron: (field, tuning) for field, tuning in zip(*pair, strict=True)}
    rows = [
        {"neuron": neuron, "unit_id": session.units.names[neuron]}
        | {name: recorded_value(name, *known[neuron]) for name in RECORDED}
        for neuron in asked.tolist()
    ]
    found = DataFrame(rows, columns=["neuron", "unit_id", *RECORDED])
    found[TUNED] = tuned_column([found[name].to_numpy(float) for name in P_VALUES])
    return found


def _nothing(neuron: int, problem: str) -> DirectionTuning:
    nan, empty = float("nan"), np.zeros(0)
    return DirectionTuning(
        *(neuron, "screen", empty, empty, empty, nan, nan, nan, nan, nan, nan), problem=problem
    )


def selectivity(
    directions: Float[np.ndarray, " direction"], response: Float[np.ndarray, "... direction"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return DSI, OSI and preferred direction (degrees) along the last axis.

    The indices are `metrics.tuning.selectivity_index`. A sum of zero gives NaN.
    """
    theta = np.radians(directions)
    preferred = np.degrees(np.angle(response @ np.exp(1j * theta))) % 360.0
    return (
        selectivity_index(response, theta, 1).value,
        selectivity_index(response, theta, 2).value,
        np.asarray(preferred),
    )


def share_above(value: float, shuffled: np.ndarray) -> float:
    """Return the one-sided p value: share of shuffles with at least this value."""
    # The observed value counts as one shuffle, so that p is never 0.
    return float((1 + (shuffled >= value).sum()) / (1 + len(shuffled)))


def p_text(p: float) -> str:
    """Return a p value of `share_above`: "= 0.0431", "≤ 0.00498" if no shuffle reached it."""
    # More shuffles could make it smaller than 1/201.
    sign = "≤" if p * (1 + N_SHUFFLES) < 1.5 else "="
    # With fewer digits 2/201, which passes p < 0.01, reads as 0.010.
    return f"{sign} {p:#.3g}"


# -- directions that trials tell -----------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class TrialDirections:
    """Degrees (trial,), NaN if unknown, and whether they are directions of motion."""

    degrees: Float[np.ndarray, " trial"]
    has_directions: bool


def trial_directions(trials: Trials) -> TrialDirections | None:
    """Return the directions of the trials; None without three frequent directions."""
    stored = {name.lower(): values for name, values in reversed(trials.columns.items())}
    for name in filter(stored.__contains__, DIRECTION_COLUMNS):
        degrees = numbers_in(stored[name]) % 360.0
        counts = np.unique(degrees[np.isfinite(degrees)], return_counts=True)[1]
        if len(counts) >= 3 and counts.min() >= MIN_TRIALS:
            return TrialDirections(degrees, are_directions(name, degrees))
    return None


def are_directions(column: str, degrees: Float[np.ndarray, " trial"]) -> bool:
    """Return whether angles are directions of motion, and not only its axis.

    Orientations repeat after 180°: larger angles of a column named "orientation" are
    directions of drift.
    """
    is_named = column.lower().removesuffix("_deg") in DIRECTION_NAMES
    return is_named or bool(np.nanmax(degrees) >= 180.0)


def numbers_in(values: Sequence[object]) -> Float[np.ndarray, " trial"]:
    """Return the stored values of a trial column as numbers; NaN for what is none."""
    return np.array([number_in(value) for value in values], np.float64)


def number_in(value: Any) -> float:
    """Return a stored value as a number; NaN for what is none."""
    if isinstance(value, bool):
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError):  # None, a list or a text: no number was stored
        return float("nan")


def _from_trials(
    session: Session, neurons: np.ndarray, trial_table: TrialDirections, draw: np.random.Generator
) -> tuple[DirectionTuning, ...]:
    # Trials without a direction, or outside the recording, are left out.
    with_direction = np.flatnonzero(np.isfinite(trial_table.degrees))
    means = np.array([_trial_mean(session, int(t), neurons) for t in with_direction])
    usable = np.isfinite(means).any(axis=1)
    degrees, means = trial_table.degrees[with_direction][usable], means[usable]
    shuffles = [draw.permutation(len(degrees)) for _ in range(N_SHUFFLES)]
    return tuple(
        _of_trials(int(neuron), degrees, means[:, i], shuffles, trial_table)
        for i, neuron in enumerate(neurons)
    )


def _of_trials(
    neuron: int,
    degrees: np.ndarray,
    means: np.ndarray,
    shuffles: list[np.ndarray],
    trial_table: TrialDirections,
) -> DirectionTuning:
    """Return the tuning of one neuron over the trials in which it was recorded."""
    known = np.isfinite(means)
    directions, group = np.unique(degrees[known], return_inverse=True)
    if len(directions) < 3:
        return _nothing(
            neuron,
            "The trial table has directions, but fewer than three of them lie within "
            "the recording.",
        )
    # Trials of a shuffle that this neuron misses are left out of it.
    places = np.cumsum(known) - 1
    shuffled = [
        _grouped(means[known], group[places[order[known[order]]]], len(directions))[0]
        for order in shuffles
    ]
    return _tuning(
        neuron,
        "trials",
        directions,
        _grouped(means[known], group, len(directions)),
        np.array(shuffled),
        trial_table.has_directions,
    )


def _trial_mean(session: Session, trial: int, neurons: np.ndarray) -> np.ndarray:
    trials = session.trials
    on, off = (float(t[trial]) + DELAY_S for t in (trials.t_on, trials.t_off))
    times = session.t0 + np.arange(on, off, 1.0 / SCREEN_RATE_HZ)
    values, valid = session.responses.window(times, session.response_scale)
    if not valid.any():
        return np.full(len(neurons), np.nan)
    return nanmean(values[valid][:, neurons], 0)


def _grouped(values: np.ndarray, group: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
    """Return mean and standard error by group."""
    count = np.bincount(group, minlength=n)
    mean = np.bincount(group, values, minlength=n) / np.maximum(count, 1)
    squares = np.bincount(group, (values - mean[group]) ** 2, minlength=n)
    # Sample variance (ddof 1) over the group size; 0 for a group of one.
    error = np.sqrt(squares / np.maximum(count - 1, 1) / np.maximum(count, 1))
    return mean, error


def _tuning(
    neuron: int,
    source: DirectionSource,
    directions: np.ndarray,
    curve: tuple[np.ndarray, ...],
    shuffled: np.ndarray,
    has_directions: bool = True,
) -> DirectionTuning:
    mean, error = curve
    # What is left of a constant response is rounding, which prefers a direction, too.
    if not np.ptp(mean) > _ROUNDING * np.abs(mean).max():
        return _nothing(neuron, "The neuron's responses do not vary.")
    dsi, osi, preferred = (float(v) for v in selectivity(directions, mean))
    null_dsi, null_osi, _ = selectivity(directions, shuffled)
    p_direction = share_above(dsi, null_dsi)
    axis = _preferred_orientation(directions, mean)
    if not has_directions:
        dsi, p_direction = float("nan"), float("nan")
        preferred = axis
    return DirectionTuning(
        *(neuron, source, directions, mean, error, dsi, osi, preferred, axis),
        *(p_direction, share_above(osi, null_osi), has_directions),
    )


def _preferred_orientation(directions_deg: np.ndarray, response: np.ndarray) -> float:
    # Orientations have period 180°, so the vector uses the doubled angle.
    twice = response @ np.exp(2j * np.radians(directions_deg))
    return float(np.degrees(np.angle(twice)) / 2 % 180.0)


# -- directions of the video's own motion --------------------------------------------
def _no_motion(session: Session) -> str:
    if session.stimulus is None:
        return "The recording has no video."
    if not (session.trials.kind == "video").any():
        return "The recording has still images only: nothing moves."
    return ""


class _Motion:
    """Motion energy by direction at each neuron's place, and the responses to it."""

    def __init__(self, session: Session, neurons: np.ndarray, centres_yx: np.ndarray) -> None:
        self._session, self._neurons = session, neurons
        self._is_placed = np.isfinite(centres_yx).all(axis=1)
        placed = centres_yx[self._is_placed]
        self._banks = [MotionBank(placed, w) for w in _WAVELENGTHS if len(placed)]
        everywhere = not self._is_placed.all()
        self._screen = MotionBank(grid_places(8), cell=4) if everywhere else None
        self._energy: list[np.ndarray] = []
        self._response: list[np.ndarray] = []

    def read(self, job: Job) -> None:
        """Collect energies and responses block by block, without keeping the video."""
        delay = round(DELAY_S * SCREEN_RATE_HZ)
        blocks = stimulus_blocks(
            self._session, self._neurons, before=TAPS - 1, after=delay, job=job
        )
        for block in blocks:
            n = -(-block.length // _STEP)
            energy = np.zeros((n, N_DIRECTIONS, len(self._neurons)), np.float32)
            if self._banks:
                # The temporal filter is shared by the banks of all wavelengths.
                video = filtered(block.frames, step=_STEP)
                parts = [bank.energies_of(video) for bank in self._banks]
                energy[:, :, self._is_placed] = sum(parts)
            if self._screen is not None:
                over_all = self._screen.energies(block.frames, _STEP).mean(axis=2)
                energy[:, :, ~self._is_placed] = over_all[:, :, None]
            later = slice(delay, delay + block.length, _STEP)
            # Only samples with a known frame and a recorded response `delay` later.
            is_valid = block.shown[block.before :: _STEP] & block.recorded[later]
            self._energy.append(energy[is_valid])
            self._response.append(block.responses[later][is_valid])

    def tuning(self, i: int, draw: np.random.Generator) -> DirectionTuning:
        """Estimate the tuning of one neuron from its response and motion energy."""
        neuron = int(self._neurons[i])
        energy = np.concatenate([part[:, :, i] for part in self._energy])
        response = np.concatenate([part[:, i] for part in self._response])
        present = np.isfinite(response)
        energy, response = energy[present].astype(np.float64), response[present]
        shift = int(_MIN_SHIFT_S * _RATE_HZ)
        # Circular shifts lie between 20 s and the length minus 20 s, so 60 s leave a
        # choice.
        if len(response) < 3 * shift:
            seconds = len(response) / _RATE_HZ
            problem = f"Too little video with responses: {seconds:.0f} s, 60 s are needed"
            return _nothing(neuron, f"{problem}.")
        weight = _weights(energy)
        if not weight.sum(axis=0).all():
            return _nothing(neuron, "Nothing moves in the video in some directions.")
        response = response.astype(np.float64)
        shifts = draw.integers(shift, len(response) - shift + 1, N_SHUFFLES)
        turned = np.array([np.roll(response, by) for by in shifts.tolist()])
        source: DirectionSource = "place" if self._is_placed[i] else "screen"
        return _tuning(
            neuron,
            source,
            directions_deg(),
            _weighted(response, weight),
            turned @ weight / weight.sum(axis=0),
        )


def _weights(energy: np.ndarray) -> np.ndarray:
    """Return weights (time, direction) of each moment for each direction of motion.

    The weight is the energy relative to its mean over time, minus the mean of this
    ratio over directions, and at least 0.
    """
    relative = energy / np.maximum(energy.mean(axis=0), 1e-12)
    deviation = relative - relative.mean(axis=1, keepdims=True)
    return np.maximum(deviation, 0.0)


def _weighted(response: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the weighted mean, and its standard error from blocks of 10 s."""
    total = weight.sum(axis=0)
    mean = response @ weight / total
    length = int(10 * _RATE_HZ)
    n = len(response) // length
    parts = weight[: n * length].reshape(n, length, -1)
    deviation = response[: n * length].reshape(n, length, 1) - mean
    # Samples within a block are correlated, blocks are nearly independent.
    by_block = (parts * deviation).sum(axis=1)
    error = np.sqrt((by_block**2).sum(axis=0)) / total
    return mean, error
