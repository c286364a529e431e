"""Choice of the quantity that colours the neurons, and its values.

Values that are not part of the recording are read in the background while a view draws
them.

The file is long because all quantities that colour neurons are one table with their
computations.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, get_args

import numpy as np

from omnimouse_model.analysis.direction_tuning import RECORDED, DirectionTuning, recorded_value
from omnimouse_model.analysis.receptive_fields import ReceptiveField
from omnimouse_model.data.recording import cached
from omnimouse_model.data.session import Session
from omnimouse_model.evaluation.repeats import (
    PopulationCeiling,
    ceiling_problem,
    most_frequent_status,
    population_ceiling,
)
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
    percent_job,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.laboratory import Laboratory
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.neurons import quantities
from omnimouse_model.live.neurons.neuron_info import NeuronInfo, NeuronProperties
from omnimouse_model.live.pin import LETTERS, Pin, PinResult
from omnimouse_model.live.pins import Pins
from omnimouse_model.live.results import Results, ScoresOnScreen, scores_of_neurons
from omnimouse_model.live.sources import Sources
from omnimouse_model.live.state import COMPARED, ColourBy, Compared, LiveState
from omnimouse_model.metrics.tuning import SIGNIFICANCE_LEVEL

UNPREDICTABLE: Final = "Nothing is predictable of the neurons that were asked."
UNTUNED: Final[dict[ColourBy, str]] = {
    "osi": "not orientation tuned",
    "dsi": "not direction tuned",
}
"""What neurons are that do not pass the test of a quantity."""
STATES_SHOWN: Final = "colours: states"
"""Said where no neuron passes: the field has the colours of the states, and their legend."""
_LOOKS: Final = 64
"""Samples in which a neuron without a mean is looked for."""
_FROM_REPEATS: Final = ("ceiling", "oracle")
PREDICTORS: Final = get_args(Compared)
"""Names of predictors whose scores can be compared."""
_OF_BASELINE: Final = ("baseline", "difference")
_OF_INFO: Final[dict[ColourBy, Callable[[NeuronProperties], float]]] = {
    "field_reliability": lambda f: _of_field(f, lambda field: field.reliability),
    "field_row": lambda f: _of_field(f, lambda field: field.centre_yx[0]),
    "field_column": lambda f: _of_field(f, lambda field: field.centre_yx[1]),
    "osi": lambda f: _of_tuning(f, lambda tuning: tuning.osi),
    "dsi": lambda f: _of_tuning(f, lambda tuning: tuning.dsi),
}
_P_VALUE: Final[dict[ColourBy, Callable[[DirectionTuning], float]]] = {
    "osi": lambda tuning: tuning.p_orientation,
    "dsi": lambda tuning: tuning.p_direction,
}
"""The test that a neuron must pass to be coloured: any noise has some selectivity."""


class Colouring(HasBackgroundTask):
    """Choice of the quantity that colours the neurons, and its values.

    `changed` is not emitted for changes that `state` or `results` signal.
    """

    def __init__(
        self,
        state: LiveState,
        results: Results,
        baseline: Results,
        pins: Pins,
        neuron_info: NeuronInfo,
        laboratory: Laboratory,
        sources: Sources,
        execution: Execution = IN_THREADS,
    ) -> None:
        self._state, self._results, self._neuron_info = state, results, neuron_info
        self._baseline, self._pins = baseline, pins
        # By letter: the result of a pin, and its score over a tier.
        self._of_pins: dict[str, tuple[PinResult, ScoresOnScreen | None]] = {}
        self._laboratory, self._sources, self._n_sources = laboratory, sources, 0
        self._last_quantity: ColourBy = "score"
        self._ceiling: tuple[Session, PopulationCeiling] | None = None
        self._scales: dict[ColourBy, tuple[tuple[object, ...], quantities.Scale]] = {}
        # A scale before the test of tuning, and after it, with which neurons do not pass.
        self._tested: tuple[quantities.Scale, quantities.Scale, np.ndarray] | None = None
        self._by_viewer: dict[object, ColourBy] = {}
        self._n_info = 0
        self._task = BackgroundTask(_read_ceiling, self._take, execution)
        neuron_info.changed.connect(self._on_neuron_info)
        neuron_info.population.changed.connect(self.changed.emit)
        self._measured = laboratory.result
        self._scored: Session | None = None
        laboratory.changed.connect(self._on_laboratory)
        sources.measured.connect(self._on_sources)
        state.events.session.connect(self._on_session)
        results.events.tier_score.connect(self._on_tier_score)
        baseline.events.neuron_scores.connect(self._on_compared)
        for signal in (state.events.compared, pins.changed):
            signal.connect(self._on_pins)

    # -- reading -----------------------------------------------------------------------
    @property
    def ceiling(self) -> PopulationCeiling | None:
        """Reliability of the neurons; read once a score is shown, or by a view that draws it."""
        return None if self._ceiling is None else self._ceiling[1]

    @property
    def choices(self) -> tuple[quantities.Quantity, ...]:
        """Quantities with values in the open session, and the chosen quantity."""
        session = self._state.session
        chosen = self._state.colour_by
        return tuple(
            self._explained(quantity)
            for quantity in quantities.QUANTITIES
            if quantity.name in ("state", "score", chosen)
            or (session is not None and self._is_known(quantity.name, session))
        )

    @property
    def scale(self) -> quantities.Scale | None:
        """Scale of the chosen quantity; None for the state and without a session.

        Values of neurons that are not tuned are left out; `scale_of` has them.
        """
        scale = self.scale_of(self._state.colour_by)
        return self._passed(scale)[0] if scale is not None else None

    @property
    def unknown_text(self) -> str:
        """Text of the legend such as "unknown (empty): 12"; "" if all neurons have a value."""
        scale = self.scale_of(self._state.colour_by)
        if self._state.colour_by == "score" or scale is None:
            return ""
        n_unknown = int((~np.isfinite(scale.values)).sum())
        if not n_unknown:
            return ""
        n_asked, n_targets = self._sources.n_asked, self._sources.n_targets
        if self._state.colour_by == "source" and n_asked:
            # Of those that were asked, nothing is predictable of the ones without a source.
            n_others = len(scale.values) - n_asked
            counts = {"not asked": n_others, "not predictable": n_unknown - n_others}
        elif self._state.colour_by == "informant" and n_targets:
            targets = "target" if n_targets == 1 else "targets"
            counts = {targets: n_targets, "not in the regression": n_unknown - n_targets}
        elif self._state.colour_by == "lab" and self._measured is not None:
            n_unselective = int(self._measured.is_unselective.sum())
            counts = {"not selective": n_unselective, "no result": n_unknown - n_unselective}
        else:
            return f"unknown (empty): {n_unknown:,}"
        return "empty: " + ", ".join(f"{n:,} {name}" for name, n in counts.items() if n)

    @property
    def untuned_text(self) -> str:
        """How many neurons do not pass the test of the quantity, with words; "" if all do."""
        n_untuned = int(self.is_untuned.sum())
        return f"{UNTUNED[self._state.colour_by]}: {n_untuned:,}" if n_untuned else ""

    @property
    def is_untuned(self) -> np.ndarray:
        """Neurons whose value fails its test and has no colour, bool (P,)."""
        scale = self.scale_of(self._state.colour_by)
        return np.zeros(0, bool) if scale is None else self._passed(scale)[1]

    def _passed(self, scale: quantities.Scale) -> tuple[quantities.Scale, np.ndarray]:
        """Return a scale without neurons that do not pass their test, and which these are."""
        p_value = _P_VALUE.get(scale.quantity.name)
        if p_value is None:
            return scale, np.zeros(len(scale.values), bool)
        # Once for each scale: every stroke asks.
        if self._tested is None or self._tested[0] is not scale:
            values = scale.values.copy()
            for info in self._neuron_info.computed:
                if not _of_tuning(info, p_value) < SIGNIFICANCE_LEVEL:
                    values[info.neuron] = np.nan
            is_untuned = np.isfinite(scale.values) & np.isnan(values)
            passed = quantities.make_scale(scale.quantity, values, ())
            self._tested = scale, passed, is_untuned
        return self._tested[1:]

    def scale_of(self, name: ColourBy) -> quantities.Scale | None:
        """Return a quantity's scale; None for the state and without a session."""
        session = self._state.session
        if session is None or name == "state":
            return None
        # The key is compared by identity: comparing arrays would cost more than the
        # scale itself. Small ints are identical objects only up to 256; a larger
        # `_n_info` is the same object until `_on_neuron_info` replaces it.
        metric = self._state.metric
        scores, other = self._results.neuron_scores, self._baseline.neuron_scores
        own = self._n_info, self._measured, self._n_sources
        # The baseline and the pins are in labels, also before they have scores.
        names = self._state.baseline_name, self._state.compared, self._state.pins
        here = [of.scores if _has_pin(names[1]) else None for of in (self._results, self._baseline)]
        key = (session, scores, other, *names, metric, self._ceiling, *own, self._of_pins, *here)
        cached = self._scales.get(name)
        is_same = cached and all(a is b for a, b in zip(cached[0], key, strict=True))
        if cached is None or not is_same:
            values, categories = self._values(name, session)
            quantity = self._explained(quantities.QUANTITY[name])
            cached = (key, quantities.make_scale(quantity, values, categories))
            self._scales[name] = cached
        return cached[1]

    @property
    def message(self) -> str:
        """Progress, or why the chosen quantity is unknown; else ""."""
        name = self._state.colour_by
        message, of_all = self.message_of(name), self.scale_of(name)
        if of_all is None or name not in _OF_INFO:
            return message
        scale, is_untuned = self._passed(of_all)
        if scale.is_known:
            return message
        parts = [message] if message else []
        if n_untuned := int(is_untuned.sum()):
            parts.append(f"{UNTUNED[name]} (p ≥ {SIGNIFICANCE_LEVEL:g}): {n_untuned:,}")
        return " · ".join([*parts, STATES_SHOWN])

    def message_of(self, name: ColourBy) -> str:
        """Return progress, or why a quantity is unknown; else ""."""
        if name in _FROM_REPEATS and self._task.message:
            return self._task.message
        if name in _FROM_REPEATS and self._task.error is not None:
            return str(self._task.error)
        scale = self.scale_of(name)
        if scale is not None and name in _OF_INFO:
            return self._message_of_info(scale)
        if scale is None or scale.is_known:
            return ""
        label = scale.quantity.label.lower()
        if name == "score":
            return ""
        if name == "baseline":
            return self.message_of_pair(COMPARED)
        if name == "difference":
            return self.message_of_pair(self._state.compared)
        if name == "lab":
            return "Run this experiment first, in the panel Laboratory."
        if name in ("source", "informant"):
            is_asked = name == "source" and "sources" in self._sources.found
            return UNPREDICTABLE if is_asked else "Ask first, in the panel Sources."
        if name in _FROM_REPEATS and self._ceiling is not None:
            ceiling = self._ceiling[1]
            status = most_frequent_status(ceiling.status)
            problem = ceiling_problem(status, ceiling.n_repeats)
            return f"No {label}: {problem or 'too few repeats were recorded'}."
        return f"This recording does not say: {label}."

    @property
    def can_compute_all(self) -> bool:
        """Whether the chosen quantity is known of some neurons, and can be of all."""
        return self._state.colour_by in _OF_INFO and self._neuron_info.can_compute_all

    @property
    def is_computing_all(self) -> bool:
        """Whether the chosen quantity is being computed for every neuron."""
        return self._state.colour_by in _OF_INFO and self._neuron_info.population.is_busy

    @property
    def n_so_far(self) -> int | None:
        """Neurons whose fields and tuning are known while those of all are computed, else None."""
        info = self._neuron_info
        if not info.population.is_busy:
            return None
        # A neuron that is being looked at has its repeats first.
        return sum(None not in (one.field, one.tuning) for one in info.computed)

    def measured_columns(self) -> dict[str, np.ndarray]:
        """Return columns (P,) from the recording, and of experiments on the model.

        Those from the recording once a neuron has one of them.
        """
        infos, session = self._neuron_info.computed, self._state.session
        found: dict[str, np.ndarray] = {}
        if session is not None and any(info.tuning is not None for info in infos):
            for name in RECORDED:
                found[name] = np.full(session.n_neurons, np.nan)
                for info in infos:
                    if info.field is not None and info.tuning is not None:
                        found[name][info.neuron] = recorded_value(name, info.field, info.tuning)
        if not any(np.isfinite(values).any() for values in found.values()):
            found.clear()
        return found | self._laboratory.neuron_columns()

    def definitions(self) -> dict[str, str]:
        """Return where each of `measured_columns` comes from, in words."""
        shown = self.measured_columns()
        texts = {name: f"Recorded: {what}" for name, (what, _) in RECORDED.items()}
        texts |= self._laboratory.definitions()
        return {name: text for name, text in texts.items() if name in shown}

    # -- actions -----------------------------------------------------------------------
    def compute_all(self) -> None:
        """Compute the chosen quantity for every neuron, in the background."""
        if self.can_compute_all:
            self._neuron_info.compute_all()

    def stop_computing(self) -> None:
        """Stop the computation for every neuron; what is known stays."""
        self._neuron_info.population.stop()

    def choose(self, name: ColourBy) -> None:
        """Choose the quantity; data that it needs are read in the background."""
        if name not in quantities.QUANTITY:
            names = ", ".join(quantities.QUANTITY)
            raise ValueError(f"Colour by one of {names}, not {name!r}.")
        if name != "state":
            # Kept for `toggle`, which goes back to it from the state.
            self._last_quantity = name
        if name != self._state.colour_by:
            self._state.colour_by = name
            self._follow()

    def toggle(self) -> None:
        """Switch between the state and the quantity chosen last."""
        self.choose(self._last_quantity if self._state.colour_by == "state" else "state")

    def draw(self, viewer: object, name: ColourBy | None) -> None:
        """Register the quantity that a view draws, so that its data are read.

        None unregisters the view. The colours of the neurons do not change.
        """
        if self._by_viewer.get(viewer) == name:
            return
        self._by_viewer.pop(viewer, None)
        if name is not None:
            self._by_viewer[viewer] = name
        # A view that ends needs no data. It may end after the controller.
        if name is not None or self._task.is_busy:
            self._follow()

    @property
    def has_areas(self) -> bool:
        """Whether the open session has brain areas."""
        session = self._state.session
        areas = None if session is None else session.units.area
        return areas is not None and bool((np.asarray(areas) != "").any())

    def outline_areas(self, is_shown: bool) -> None:
        """Show or hide the outlines of brain areas on the field."""
        self._state.areas_shown = is_shown

    # -- two predictors ----------------------------------------------------------------
    def compare(self, first: Compared, second: Compared) -> None:
        """Choose the predictors of the difference: "model", "baseline", or letters of pins."""
        for name in (first, second):
            if name not in PREDICTORS:
                raise ValueError(f"Compare two of {', '.join(PREDICTORS)}, not {name!r}.")
        if (first, second) != self._state.compared:
            self._state.compared = first, second

    def name_of(self, name: str) -> str:
        """Return what a predictor of `compare` is called on screen."""
        if name in LETTERS:
            pin = self._pin(name)
            return f"Pinned {name}" if pin is None else f"{name} {pin.name}"
        model = model_name(self._state.baseline_name) or "the baseline"
        return model if name == "baseline" else "the model"

    def message_of_pair(self, names: tuple[str, str]) -> str:
        """Return why two predictors have no scores over the same windows."""
        own, base = self._state.predictor_name, self._state.baseline_name
        if "baseline" in names and (not base or (base == own and "model" in names)):
            return "Choose another model as baseline."
        if names[0] == names[1]:
            return "Choose two different predictors."
        if "baseline" in names and self._baseline.error is not None:
            return f"No score of {base}: {self._baseline.error}"
        for letter in LETTERS:
            if letter in names and (problem := self.problem_of_pin(letter)):
                return problem
        one, other = (base if name == "baseline" else self.name_of(name) for name in names)
        return f"◌ the scores of {one} and of {other} over the same windows follow"

    def problem_of_pin(self, letter: str) -> str:
        """Return why a pin has no score, "" if it has some."""
        pin = self._pin(letter)
        if pin is None:
            return f"Nothing is pinned as {letter}: pin a condition under Traces"
        answer = self._pins.predictions.windows.get(pin.slot)
        if answer is None:
            problem = self._pins.problem_of(pin) or self._pins.predictions.message
            return problem or ("" if pin.is_shown else f"{letter} is not shown under Traces")
        return "" if answer.scores is not None else answer.error or f"{letter} has no target"

    def scores_of_pair(
        self, names: tuple[str, str]
    ) -> tuple[ScoresOnScreen, ScoresOnScreen] | None:
        """Return the scores of two predictors over the same windows; None without any.

        They are over a tier if both are known over it. Those of pins are in the window on
        screen otherwise.
        """
        shown = {"model": self._results, "baseline": self._baseline}
        if any(name in names and results.are_scores_old for name, results in shown.items()):
            return None
        ways = list(zip(*map(self._scores_of, names), strict=True))
        for one, other in ways if _has_pin(names) else ways[:1]:
            if one is None or other is None or len(one.values) != len(other.values):
                continue
            if (one.tier, one.evidence) == (other.tier, other.evidence):
                return one, other
        return None

    def scores_of(self, name: str, beside: str = "") -> ScoresOnScreen | None:
        """Return the scores of a predictor, over the windows of those that are drawn beside.

        Scores beside those of a pin without a score over the tier are in the window.
        """
        if beside in PREDICTORS and (pair := self.scores_of_pair((name, beside))):
            return pair[0]
        over_tier, here = self._scores_of(name)
        return here if over_tier is None or beside in LETTERS else over_tier

    def _scores_of(self, name: str) -> tuple[ScoresOnScreen | None, ScoresOnScreen | None]:
        """Return the scores of a predictor as they are shown, and in the window on screen."""
        if name in LETTERS:
            answer, shown = self._of_pins.get(name, (None, None))
            here = None if answer is None else answer.scores
        else:
            results = self._baseline if name == "baseline" else self._results
            here, shown = results.scores, results.neuron_scores
        return shown, None if here is None else ScoresOnScreen(here)

    def _pin(self, letter: str) -> Pin | None:
        return next((pin for pin in self._state.pins if pin.letter == letter), None)

    def _on_pins(self) -> None:
        """Take the scores of the pins that are compared, and tell views of new ones."""
        found: dict[str, tuple[PinResult, ScoresOnScreen | None]] = {}
        for letter in self._state.compared:
            pin = self._pin(letter)
            answer = None if pin is None else self._pins.predictions.windows.get(pin.slot)
            if answer is None:
                continue
            known = self._of_pins.get(letter)
            if known is not None and known[0] is answer and known[1] is not None:
                found[letter] = known
            else:
                found[letter] = answer, scores_of_neurons(answer.find_tier_score(), None)
        if found or self._of_pins:
            self._of_pins = found
        self._on_compared()

    # -- internal ----------------------------------------------------------------------
    def _follow(self) -> None:
        """Read the data of the quantities in use; stop reading data of others."""
        session = self._state.session
        self._task.clear_error()
        names = {self._state.colour_by, *self._by_viewer.values()}
        is_used = self._scored is session or not names.isdisjoint(_FROM_REPEATS)
        is_read = self._ceiling is not None and self._ceiling[0] is session
        if session is None or is_read or not is_used:
            self._task.stop()
        elif not self._task.is_busy:
            self._task.start(session, "Reading repeats")
        self.changed.emit()

    def _on_tier_score(self) -> None:
        """Read the reliability of the neurons, beside which the first score is shown."""
        if _has_pin(self._state.compared):
            self._on_pins()
        if self._results.tier_score is not None and self._scored is not self._state.session:
            self._scored = self._state.session
            self._follow()

    def _on_compared(self) -> None:
        """Tell views of the new scores if one shows them."""
        if not {self._state.colour_by, *self._by_viewer.values()}.isdisjoint(_OF_BASELINE):
            self.changed.emit()

    def _on_session(self) -> None:
        self._task.stop()
        self._ceiling = self._scored = None
        self._scales.clear()
        self._tested = None
        self._follow()

    def _on_neuron_info(self) -> None:
        if self._neuron_info.n_results != self._n_info:
            self._n_info = self._neuron_info.n_results
            self.changed.emit()

    def _on_laboratory(self) -> None:
        if self._laboratory.result is not self._measured:
            self._measured = self._laboratory.result
            self.changed.emit()

    def _on_sources(self) -> None:
        self._n_sources += 1
        self.changed.emit()

    def _take(self, result: tuple[Session, PopulationCeiling]) -> None:
        # Another recording may have been opened while it was read.
        if result[0] is self._state.session:
            self._ceiling = result

    def _explained(self, quantity: quantities.Quantity) -> quantities.Quantity:
        """Return the quantity; add the data it was computed from to its explanation."""
        session = self._state.session
        if quantity.name == "score":
            return quantities.score_quantity(self._state.metric, self._results.neuron_scores)
        if quantity.name == "baseline":
            scores = self._baseline.neuron_scores
            found = quantities.score_quantity(self._state.metric, scores, "baseline")
            return replace(found, label=f"Score of {self.name_of('baseline')}")
        if quantity.name == "difference":
            symbol = self._state.metric.symbol
            first, second = map(self.name_of, self._state.compared)
            # A legend has room for the letters of pins alone.
            short = [
                name if name in LETTERS else self.name_of(name) for name in self._state.compared
            ]
            of_first = "" if self._state.compared[0] == "model" else f" of {short[0]}"
            return replace(
                quantity,
                label=f"{symbol}{of_first} minus {short[1]}'s",
                explanation=f"How much better {first} predicts a neuron than {second}, "
                "over the same windows",
            )
        measured = self._measured
        if quantity.name == "lab" and measured is not None:
            experiment = measured.experiment
            return replace(
                quantity,
                label=f"{experiment.value_label} (model)",
                explanation=f"{experiment.label}, {measured.predictor_id}: a property of the model",
                unit=experiment.unit,
                period=experiment.period,
            )
        has_probes = session is not None and session.units.probe is not None
        if quantity.name == "plane" and has_probes:
            explanation = "Probe, as the recording says"
            return replace(quantity, label="Probe", explanation=explanation)
        is_of_responses = quantity.name in ("mean", "variability")
        if is_of_responses and session is not None and session.responses.has_events:
            sample_ms = 1000 / session.responses.rate_hz
            kind = "Mean" if quantity.name == "mean" else "Standard deviation"
            explanation = (
                f"{kind} over the recording, of the rate in samples of {sample_ms:z.0f} ms"
            )
            return replace(quantity, explanation=explanation, unit="spikes/s")
        if quantity.name not in _FROM_REPEATS or self._ceiling is None:
            return quantity
        explanation = f"{quantity.explanation} ({self._ceiling[1].description})"
        return replace(quantity, explanation=explanation)

    def _message_of_info(self, scale: quantities.Scale) -> str:
        """Return of how many neurons a computed quantity is known."""
        population = self._neuron_info.population
        if population.message:
            return population.message
        if population.error is not None:
            return str(population.error)
        n_neurons = len(scale.values)
        n_known, n_looked = int(np.isfinite(scale.values).sum()), len(self._neuron_info.computed)
        if n_looked < n_neurons:
            return f"{n_known:,} of {n_neurons:,} neurons known"
        if n_known == n_neurons:
            return ""
        parts = ((info.field, info.tuning) for info in self._neuron_info.computed)
        of_tuning = scale.quantity.name in ("osi", "dsi")
        # What follows a colon are numbers of one neuron.
        problems = Counter(
            part.problem.partition(":")[0].rstrip(".")
            for field, tuning in parts
            if (part := tuning if of_tuning else field) is not None and part.problem
        )
        reason = f": {problems.most_common(1)[0][0]}" if problems else ""
        return f"{n_known:,} of {n_neurons:,} neurons have one{reason}"

    def _is_known(self, name: ColourBy, session: Session) -> bool:
        if name in _FROM_REPEATS:
            return True
        if name in _OF_BASELINE:
            # Offered while the scores are awaited, too.
            names = self._state.baseline_name, self._state.predictor_name
            is_pinned = name == "difference" and _has_pin(self._state.compared)
            return is_pinned or (bool(names[0]) and names[0] != names[1])
        if name in _OF_INFO and session.stimulus is not None:
            return True

        def has_values() -> bool:
            return bool(np.isfinite(self._values(name, session)[0]).any())

        # The menu asks at each step of the window, and a recording does not change.
        is_computed = name in ("lab", "source", "informant", *_OF_INFO)
        return has_values() if is_computed else cached(session, f"has {name}", has_values)

    def _values(self, name: ColourBy, session: Session) -> tuple[np.ndarray, tuple[str, ...]]:
        units, n = session.units, session.n_neurons
        unknown = np.full(n, np.nan)
        if name == "area":
            return _categories_of(unknown, units.area)
        if name == "plane" and units.probe is not None:
            return _categories_of(unknown, units.probe)
        if name == "lab":
            if self._measured is not None and len(self._measured.values) == n:
                unknown[self._measured.neurons] = self._measured.values
            return unknown, ()
        if name == "source":
            return self._sources.largest_source(n)
        if name == "informant":
            return self._sources.informants_of(n), ()
        if name in _OF_INFO:
            for info in self._neuron_info.computed:
                unknown[info.neuron] = _OF_INFO[name](info)
            return unknown, ()
        known: np.ndarray | None = None
        if name == "difference":
            if (pair := self.scores_of_pair(self._state.compared)) is not None:
                known = pair[0].values - pair[1].values
            return unknown if known is None or len(known) != n else known.astype(float), ()
        if name == "baseline":
            known = self._baseline.shown_scores
            return unknown if known is None or len(known) != n else known.astype(float), ()
        scores, ceiling = self._results.shown_scores, self._ceiling
        # Spikes are stored as counts per sample.
        to_shown = session.responses.rate_hz if session.responses.has_events else 1.0
        # Functions: the menu asks for one quantity after the other.
        values: dict[str, Callable[[], np.ndarray]] = {
            "score": lambda: unknown if scores is None or len(scores) != n else scores,
            # -1 is an unknown plane.
            "plane": lambda: np.where(units.plane < 0, np.nan, units.plane),
            "depth": lambda: units.xyz_um[:, 2],
            "x": lambda: units.xyz_um[:, 0],
            "y": lambda: units.xyz_um[:, 1],
            "mean": lambda: np.where(_never_recorded(session), np.nan, units.mean * to_shown),
            "variability": lambda: np.where(_never_recorded(session), np.nan, units.std * to_shown),
            "ceiling": lambda: unknown if ceiling is None else ceiling[1].single_trial_max,
            "oracle": lambda: unknown if ceiling is None else ceiling[1].oracle,
            "id": lambda: units.names,
        }
        return np.asarray(values[name](), float), ()


def _has_pin(names: tuple[str, str]) -> bool:
    return not set(LETTERS).isdisjoint(names)


def _never_recorded(session: Session) -> np.ndarray:
    """Return which neurons have no response in the recording, bool (P,).

    Their mean and spread are stored as 0, which would be those of a silent neuron.
    """

    def find() -> np.ndarray:
        units, signal, grid = session.units, session.responses, session.start_grid
        is_still = (units.mean == 0) & (units.std == 0)
        if not is_still.any() or not len(grid):
            return np.zeros(len(is_still), bool)
        times = grid[np.linspace(0, len(grid) - 1, _LOOKS).astype(int)]
        rows = np.unique(((times - signal.start) * signal.rate_hz).astype(int))
        values = signal.file.pick(rows, slice(None))
        return np.asarray(is_still & ~np.isfinite(values).any(axis=0))

    return cached(session, "never recorded", find)


def _read_ceiling(
    session: Session, report: ReportProgress
) -> Iterator[tuple[Session, PopulationCeiling]]:
    yield session, population_ceiling(session, percent_job(report, "Reading repeats"))


def _categories_of(
    unknown: np.ndarray, names: np.ndarray | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return indices into the sorted names, and these; "" becomes NaN."""
    if names is None:
        return unknown, ()
    names = np.asarray(names).astype(str)
    categories = tuple(sorted({*names.tolist()} - {""}))
    indices = np.searchsorted(np.array(categories, names.dtype), names).astype(float)
    return np.where(names == "", np.nan, indices), categories


def _of_field(info: NeuronProperties, number: Callable[[ReceptiveField], float]) -> float:
    field = info.field
    return np.nan if field is None or field.problem else float(number(field))


def _of_tuning(info: NeuronProperties, number: Callable[[DirectionTuning], float]) -> float:
    tuning = info.tuning
    return np.nan if tuning is None or tuning.problem else float(number(tuning))
