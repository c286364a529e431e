"""Quantities that colour the neurons: values, range and unit.

This module does not depend on colours: the views map values to colours.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.tuning.direction import DirectionTuning
from omnimouse_model.analysis.tuning.noise_ceiling import (
    PopulationCeiling,
    population_ceiling,
)
from omnimouse_model.analysis.tuning.receptive_fields import ReceptiveField
from omnimouse_model.analysis.tuning.repeats import (
    ceiling_problem,
    most_frequent_status,
)
from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.neurons.neuron_info import NeuronInfo, NeuronProperties
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import ColourBy, LiveState


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity of each neuron: name, label, explanation and unit.

    `is_share` is true for quantities with the fixed scale 0 to 1.
    """

    name: ColourBy
    label: str
    explanation: str
    unit: str = ""
    is_share: bool = False


_REPEATS = "from the repeats of the clips shown most often"
_LOOKED_AT = "of the neurons whose facts have been looked at"
QUANTITIES: Final = (
    Quantity("state", "State", "What the mask does with them"),
    Quantity(
        "score",
        "Score",
        "Single-trial correlation of prediction and recording over the target samples "
        "of this window",
        "r",
        is_share=True,
    ),
    Quantity("area", "Area", "Brain area, as the recording says"),
    Quantity("plane", "Plane", "Imaging plane, as the recording says"),
    Quantity("depth", "Depth", "Depth, as the recording says", "µm"),
    Quantity("x", "x", "Position in the microscope's frame", "µm"),
    Quantity("y", "y", "Position in the microscope's frame", "µm"),
    Quantity("mean", "Mean response", "Mean over the recording, in its own units"),
    Quantity(
        "variability",
        "Response s.d.",
        "Standard deviation over the recording, in its own units",
    ),
    Quantity(
        "ceiling",
        "Ceiling of one trial",
        f"What a perfect prediction correlates with one trial, {_REPEATS}",
        "r",
        is_share=True,
    ),
    Quantity(
        "oracle",
        "Oracle",
        f"Correlation of each trial with the mean of the others, {_REPEATS}",
        "r",
        is_share=True,
    ),
    Quantity(
        "field_reliability",
        "Receptive field: reliability",
        f"How well two halves of the recording agree on it, {_LOOKED_AT}",
        "r",
        is_share=True,
    ),
    Quantity(
        "field_row",
        "Receptive field: row",
        f"Its centre on the screen, downwards, {_LOOKED_AT}",
        "px",
    ),
    Quantity(
        "field_column",
        "Receptive field: column",
        f"Its centre on the screen, rightwards, {_LOOKED_AT}",
        "px",
    ),
    Quantity(
        "osi",
        "Orientation selectivity",
        f"0 none, 1 one orientation alone, {_LOOKED_AT}",
        is_share=True,
    ),
    Quantity(
        "dsi",
        "Direction selectivity",
        f"0 none, 1 one direction alone, {_LOOKED_AT}",
        is_share=True,
    ),
    Quantity("id", "Id", "Id of the neuron in the recording"),
)
_BY_NAME: Final = {quantity.name: quantity for quantity in QUANTITIES}
_FROM_REPEATS: Final = ("ceiling", "oracle")
_OF_FACTS: Final[dict[ColourBy, Callable[[NeuronProperties], float]]] = {
    "field_reliability": lambda f: _of_field(f, lambda field: field.reliability),
    "field_row": lambda f: _of_field(f, lambda field: field.centre_yx[0]),
    "field_column": lambda f: _of_field(f, lambda field: field.centre_yx[1]),
    "osi": lambda f: _of_tuning(f, lambda tuning: tuning.osi),
    "dsi": lambda f: _of_tuning(f, lambda tuning: tuning.dsi),
}
_OUTLIERS: Final = 1.0
"""Percentile cut off at both ends of the scale; these values take the end's colour."""
_MOST_DIGITS: Final = 4
"""Maximum number of decimals; beyond it, and from `_LARGE`, use exponents."""
_LARGE: Final = 1e7


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Values of a quantity for all neurons, and the ends of the colour scale.

    Attributes
    ----------
    quantity
        Quantity of the values.
    values
        float (P,), NaN if unknown; indices into `categories`, if there are any.
    categories
        Names of categories, such as areas.
    low, high
        Values at the ends of the colour scale; values beyond are clipped.
    """

    quantity: Quantity
    values: np.ndarray
    categories: tuple[str, ...]
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether any value is known; else views show the mask's states."""
        return bool(np.isfinite(self.values).any())

    @property
    def shares(self) -> np.ndarray:
        """Positions on the scale (P,): 0 at `low`, 1 at `high`, NaN if unknown."""
        shares = (self.values - self.low) / (self.high - self.low)
        return np.asarray(np.clip(shares, 0.0, 1.0))

    @property
    def median(self) -> float | None:
        """Median of the known values; None without any."""
        known = self._known
        return float(np.median(known)) if known.size else None

    @property
    def is_constant(self) -> bool:
        """Whether all known values are equal, on a scale without fixed ends."""
        if self.categories or self.quantity.is_share or not self._known.size:
            return False
        return _is_one(self._known)

    @property
    def ends(self) -> tuple[str, str]:
        """Labels of the ends, with ≤ or ≥ if values lie beyond; "" if constant."""
        if self.is_constant:
            return "", ""
        known = self._known
        below = "≤ " if known.size and known.min() < self.low else ""
        above = "≥ " if known.size and known.max() > self.high else ""
        return below + self.number(self.low), above + self.number(self.high)

    @property
    def middle(self) -> str:
        """Label between the ends: the median, or the constant value."""
        median = self.median
        if median is None:
            return ""
        word = "all" if self.is_constant else "median"
        return f"{word} {self.number(median).removeprefix('r = ')}"

    def number(self, value: float) -> str:
        """Return a value with its unit and enough digits to distinguish the ends."""
        text, unit = self._digits(value), self.quantity.unit
        return f"r = {text}" if unit == "r" else f"{text} {unit}".rstrip()

    @property
    def _known(self) -> np.ndarray:
        return np.asarray(self.values[np.isfinite(self.values)])

    def _digits(self, value: float) -> str:
        if self.quantity.is_share:
            return _plain(value, 0 if value in (0.0, 1.0) else 2)
        most = max(abs(self.low), abs(self.high), abs(value))
        if most < _LARGE and (self._known == self._known.round()).all():
            return _plain(value, 0)
        if self.is_constant:
            return f"{value:.5g}"
        # Decimal exponent of the scale's range: two digits below it are shown.
        below = int(np.floor(np.log10(self.high - self.low)))
        if most >= _LARGE or below < -_MOST_DIGITS + 2:
            significant = int(np.floor(np.log10(most))) - below + 3
            return f"{value:.{min(max(significant, 3), 15)}g}"
        return _plain(value, min(max(2 - below, 0), _MOST_DIGITS))


class Colouring:
    """Choice of the quantity that colours the neurons, and its values.

    Parameters
    ----------
    state, results, facts
        Live state, results, and properties of single neurons.
    execution
        Threads of the work and of its results.

    Attributes
    ----------
    changed
        Emitted on the drawing thread when values, choices or words may have changed;
        not emitted for changes that `state` or `results` signal.
    """

    changed = Signal()

    def __init__(
        self,
        state: LiveState,
        results: Results,
        facts: NeuronInfo,
        execution: Execution = IN_THREADS,
    ) -> None:
        self._state, self._results, self._facts = state, results, facts
        self._other: ColourBy = "score"
        self._ceiling: tuple[Session, PopulationCeiling] | None = None
        self._made: dict[ColourBy, tuple[tuple[object, ...], Scale]] = {}
        self._drawn: dict[object, ColourBy] = {}
        self._facts_seen = 0
        self._task = BackgroundTask(_found, self._take, execution)
        self._task.changed.connect(self.changed.emit)
        facts.changed.connect(self._on_facts)
        state.events.session.connect(self._on_session)

    # -- reading -----------------------------------------------------------------------
    @property
    def choices(self) -> tuple[Quantity, ...]:
        """Quantities with values in the open session, and the chosen quantity."""
        session = self._state.session
        chosen = self._state.colour_by
        return tuple(
            quantity
            for quantity in QUANTITIES
            if quantity.name in ("state", "score", chosen)
            or (session is not None and self._is_known(quantity.name, session))
        )

    @property
    def scale(self) -> Scale | None:
        """Scale of the chosen quantity; None for the state and without a session."""
        return self.scale_of(self._state.colour_by)

    def scale_of(self, name: ColourBy) -> Scale | None:
        """Return a quantity's scale; None for the state and without a session."""
        session = self._state.session
        if session is None or name == "state":
            return None
        # The key is compared by identity: comparing arrays would cost more than the
        # scale itself. Small ints are identical objects only up to 256; a larger
        # `_facts_seen` is the same object until `_on_facts` replaces it.
        key = (session, self._results.scores, self._ceiling, self._facts_seen)
        made = self._made.get(name)
        if made is None or not all(a is b for a, b in zip(made[0], key, strict=True)):
            values, words = self._values(name, session)
            made = (key, _scale(self._explained(_BY_NAME[name]), values, words))
            self._made[name] = made
        return made[1]

    @property
    def message(self) -> str:
        """Progress, or why the chosen quantity is unknown; else ""."""
        return self.message_of(self._state.colour_by)

    def message_of(self, name: ColourBy) -> str:
        """Return progress, or why a quantity is unknown; else ""."""
        if self._task.message:
            return self._task.message
        if self._task.error is not None:
            return str(self._task.error)
        scale = self.scale_of(name)
        if scale is None or scale.is_known:
            return ""
        label = scale.quantity.label.lower()
        if name == "score":
            return ""
        if name in _FROM_REPEATS and self._ceiling is not None:
            found = self._ceiling[1]
            why = ceiling_problem(most_frequent_status(found.status), found.n_repeats)
            return f"No {label}: {why or 'too few repeats were recorded'}."
        return f"This recording does not say: {label}."

    # -- actions -----------------------------------------------------------------------
    def choose(self, name: ColourBy) -> None:
        """Choose the quantity; data that it needs are read in the background."""
        if name not in _BY_NAME:
            known = ", ".join(_BY_NAME)
            raise ValueError(f"Colour by one of {known}, not {name!r}.")
        if name != "state":
            self._other = name
        if name != self._state.colour_by:
            self._state.colour_by = name
            self._follow()

    def toggle(self) -> None:
        """Switch between the state and the quantity chosen last."""
        self.choose(self._other if self._state.colour_by == "state" else "state")

    def draw(self, viewer: object, name: ColourBy | None) -> None:
        """Register the quantity that a view draws, so that its data are read.

        None unregisters the view. The colours of the neurons do not change.
        """
        if self._drawn.get(viewer) == name:
            return
        self._drawn.pop(viewer, None)
        if name is not None:
            self._drawn[viewer] = name
        self._follow()

    @property
    def has_areas(self) -> bool:
        """Whether the open session has brain areas."""
        session = self._state.session
        known = None if session is None else session.units.area
        return known is not None and bool((np.asarray(known) != "").any())

    def outline_areas(self, is_shown: bool) -> None:
        """Show or hide the outlines of brain areas on the field."""
        self._state.areas_shown = is_shown

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop the background task and end its thread."""
        self._task.close(timeout_s)

    # -- internal ----------------------------------------------------------------------
    def _follow(self) -> None:
        """Read the data of the quantities in use; stop reading data of others."""
        session = self._state.session
        self._task.clear_error()
        names = {self._state.colour_by, *self._drawn.values()}
        is_wanted = not names.isdisjoint(_FROM_REPEATS)
        is_there = self._ceiling is not None and self._ceiling[0] is session
        if session is None or is_there or not is_wanted:
            self._task.stop()
        elif not self._task.is_busy:
            self._task.start(session, "Reading repeats")
        self.changed.emit()

    def _on_session(self) -> None:
        self._task.stop()
        self._ceiling = None
        self._made.clear()
        self._follow()

    def _on_facts(self) -> None:
        if self._facts.n_results != self._facts_seen:
            self._facts_seen = self._facts.n_results
            self.changed.emit()

    def _take(self, found: tuple[Session, PopulationCeiling]) -> None:
        if found[0] is self._state.session:
            self._ceiling = found

    def _explained(self, quantity: Quantity) -> Quantity:
        """Return the quantity; add the data it was computed from to its explanation."""
        if quantity.name not in _FROM_REPEATS or self._ceiling is None:
            return quantity
        words = f"{quantity.explanation} ({self._ceiling[1].description})"
        return replace(quantity, explanation=words)

    def _is_known(self, name: ColourBy, session: Session) -> bool:
        if name in _FROM_REPEATS:
            return True
        return bool(np.isfinite(self._values(name, session)[0]).any())

    def _values(
        self, name: ColourBy, session: Session
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        units, n = session.units, session.n_neurons
        nothing = np.full(n, np.nan)
        if name == "area":
            return _named(nothing, units.area)
        if name in _OF_FACTS:
            for facts in self._facts.computed:
                nothing[facts.neuron] = _OF_FACTS[name](facts)
            return nothing, ()
        scores, ceiling = self._results.scores, self._ceiling
        values = {
            "score": nothing if scores is None or len(scores) != n else scores,
            # -1 is an unknown plane.
            "plane": np.where(units.plane < 0, np.nan, units.plane),
            "depth": units.xyz_um[:, 2],
            "x": units.xyz_um[:, 0],
            "y": units.xyz_um[:, 1],
            "mean": units.mean,
            "variability": units.std,
            "ceiling": nothing if ceiling is None else ceiling[1].single_trial_max,
            "oracle": nothing if ceiling is None else ceiling[1].oracle,
            "id": units.names,
        }
        return np.asarray(values[name], float), ()


def _found(
    session: Session, report: ReportProgress
) -> Iterator[tuple[Session, PopulationCeiling]]:
    def told(share: float) -> None:
        report(f"Reading repeats: {100 * share:.0f} %")

    yield session, population_ceiling(session, told)


def _named(
    nothing: np.ndarray, names: np.ndarray | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return indices into the sorted names, and these; "" becomes NaN."""
    if names is None:
        return nothing, ()
    known = np.asarray(names).astype(str)
    words = tuple(sorted({*known.tolist()} - {""}))
    places = np.searchsorted(np.array(words, known.dtype), known).astype(float)
    return np.where(known == "", np.nan, places), words


def _scale(quantity: Quantity, values: np.ndarray, words: tuple[str, ...]) -> Scale:
    known = values[np.isfinite(values)]
    low, high = 0.0, 1.0
    if words:
        high = float(max(len(words) - 1, 1))
    elif known.size and not quantity.is_share:
        ends = np.percentile(known, [_OUTLIERS, 100 - _OUTLIERS])
        # Almost all values are equal: use the full range, so that the others show.
        if _is_one(ends):
            ends = np.array([known.min(), known.max()])
        low, high = float(ends[0]), float(ends[1])
        if _is_one(known):
            # Equal ends would divide by zero in `Scale.shares`.
            apart = max(0.5, abs(low) * 1e-3)
            low, high = low - apart, low + apart
    return Scale(quantity, values, words, low, high)


def _is_one(known: np.ndarray) -> bool:
    """Whether values differ only by rounding errors."""
    return bool(np.ptp(known) <= 1e-9 * np.abs(known).max())


def _plain(value: float, digits: int) -> str:
    """Return a number with fixed decimals, without "-0"."""
    return f"{round(value, digits) + 0.0:,.{digits}f}"


def _of_field(
    facts: NeuronProperties, number: Callable[[ReceptiveField], float]
) -> float:
    field = facts.field
    return np.nan if field is None or field.problem else float(number(field))


def _of_tuning(
    facts: NeuronProperties, number: Callable[[DirectionTuning], float]
) -> float:
    tuning = facts.tuning
    return np.nan if tuning is None or tuning.problem else float(number(tuning))
