"""Panel *Traces*: recorded and predicted responses of the selected neurons.

Longer than other panels: its rows, their scores and its legend are used by the report,
by saved pictures and by the panels *Behaviour* and *What if*, too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple, cast

import numpy as np

from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import number_text
from omnimouse_model.evaluation.stitching import SpanPrediction
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.navigation import Navigation
from omnimouse_model.live.pin import LIVE, Pin, PinResult, SpanChoice, shown_span, span_choices
from omnimouse_model.live.pins import Pins
from omnimouse_model.live.results import Results, evidence
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import TARGET
from omnimouse_model.predict.predictor import Prediction
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.rows.traces import Trace
from omnimouse_widgets.views.text import units
from omnimouse_widgets.views.text.tier_score import (
    CONSTANT,
    NO_TARGET,
    SCORING,
    UNSCORED,
    no_score_of,
    no_score_text,
)
from omnimouse_widgets.views.text.units import bar_text
from omnimouse_widgets.views.time import cursor_block, move_cursor

LEAST = (0.0, 3.0)
"""A row spans at least three standard deviations of a neuron's responses."""
ROUNDING = 1e-6
"""A prediction that varies less than this share of the recording is constant."""
# A slot number that no pin and no result has.
NO_SLOT = LIVE - 1
PENDING: Final = "…"
"""Stands for a score that is being computed."""
UNKNOWN: Final = number_text(float("nan"))
"""Text in place of a score that does not exist."""


SPAN_TIPS: Final = {
    "10 s": "10 s around it, stitched from windows under the same mask",
    "30 s": "30 s around it, stitched from windows under the same mask",
    "trial": "The trial it lies in, stitched from windows under the same mask",
}
PIN_TIP: Final = (
    "Keep this condition (mask and model) and overlay its prediction\n"
    "while you try another; up to four (Shift+P)"
)
FULL_TIP: Final = "Four conditions are pinned; unpin one first (its arrow)"
NO_CONDITION: Final = "Open a recording and choose a model first"
STOP_TIP: Final = "Stop predicting the span and the pins"
COMMON_LABEL, COMMON_TIP = "= scale", "One scale for all neurons, or each its own"
SHAPE_LABEL: Final = "≈ shape"
SHAPE_TIP: Final = (
    "Predictions as large as the recording, to compare their shapes; without it, the\n"
    "band of a model that gives one is drawn: it holds 95 % of recorded values"
)
BASELINE_SIGN: Final = "┅"
NO_SCORE: Final = "no score"
_SHORT_REASONS: Final = {NO_TARGET: "no target", UNSCORED: "not scored", CONSTANT: "constant"}
"""Short reason for a missing score, for rows with no room for the whole sentence."""
STORED: Final = "by stored scores"
"""Said of the rank of a neuron until the scores on screen are complete."""
LABEL: Final = "Responses of the selected neurons, recorded and predicted"
TIP: Final = (
    "Recorded (white, on a light page black) and predicted (orange, dashed) responses of\n"
    "selected neurons; green, dotted: the baseline\n"
    "Blue: samples that the model sees · light orange: samples that it predicts\n"
    "Other colours: pinned conditions, with their own correlations\n"
    "r: correlation over windows of the test part, and here: over the samples shown\n"
    "Grey bar: {bar} of the recording; orange bar: of the prediction, see the label\n"
    "A prediction is flatter than one trial, because most of a trial is not\n"
    "predictable. ≈ shape draws it as large as the recording (Shift+S: one scale).\n"
    "Click or drag: move the cursor, and the window if the cursor leaves it"
)
NO_SELECTION: Final = "Select neurons: Ctrl-click on the field,\nor a row of the table"
LARGE: Final = "predictions are drawn as large as the recording, to compare shapes"
"""What is said below a saved figure of scaled predictions."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown(OfController):
    """What rows are made of: state, results of model and baseline, pinned conditions."""

    state: LiveState
    results: Results
    baseline: Results
    pins: Pins


class TracesView(OfController):
    """Rows of the selected neurons, with pinned conditions, span and scales above."""

    name = "traces"

    def __init__(
        self,
        state: LiveState,
        results: Results,
        baseline: Results,
        pins: Pins,
        navigation: Navigation,
    ) -> None:
        self._shown = Shown(state, results, baseline, pins)
        self._state, self._pins, self._navigation = state, pins, navigation

    def blocks(self) -> Sequence[record.Block]:
        """Return the record: bar, legends, rows, what is being predicted, and cursor."""
        events, pins = self._state.events, self._pins
        results, changed = self._shown.results, pins.changed
        looks = [events.common_scale, events.as_large]
        return [
            record.Block(self._bar, [events.pins, events.mask, events.predictor_name, changed,
                              events.trace_span, events.window, *looks]),
            record.Block(self._legends, [events.baseline_name, events.predictor_name, events.pins,
                                  changed, events.as_large, events.window,
                                  results.events.neuron_scores]),
            record.Block(self._rows, [events.window, events.mask, events.selection, results.changed,
                               self._shown.baseline.changed, changed, events.pins,
                               events.trace_span, *looks]),
            record.Block(self._stop, [changed]),
            cursor_block(self._state),
        ]  # fmt: skip

    def _bar(self) -> Sequence[record.Item | record.Row]:
        """Return the pins, the span and the switches of the scales."""
        state, pins = self._state, self._pins
        refusal = "" if pins.can_pin else FULL_TIP if pins.is_full else NO_CONDITION
        shown = shown_span(state.trace_span, state.spec)
        spans = tuple(
            (choice, f"{state.spec.duration_s:.3g} s" if choice == "window" else choice,
             _span_tip(choice, state.spec))
            for choice in span_choices(state.spec)
        )  # fmt: skip
        span_help = f"Span of the traces: {_span_tip(state.trace_span, state.spec)}"
        # A line of their own: four of them beside the rest are wider than a dock.
        chips = [record.Row("chips", (*map(self._chip, state.pins), record.Text("end", "")), "end")]
        return [
            record.Row("bar", (
                       record.Action("pin", "Pin", PIN_TIP, pins.pin_or_notify, refusal, "Shift+P"),
                       record.Choice("span", "Span of the traces", span_help, spans, shown,
                                     self._choose_span),
                       record.Switch("common_scale", COMMON_LABEL, COMMON_TIP, state.common_scale,
                                     partial(setattr, state, "common_scale")),
                       record.Switch("as_large", SHAPE_LABEL, SHAPE_TIP, state.as_large,
                                     partial(setattr, state, "as_large")),
                   )),
            *(chips if state.pins else []),
        ]  # fmt: skip

    def _chip(self, pin: Pin) -> record.Switch:
        """Return the switch of a pin, with its menu."""
        pins, slot = self._pins, pin.slot
        restore, unpin = partial(pins.make_current, slot), partial(pins.unpin, slot)
        help_text = f"{pin_text(pins, pin)}\nClick to show or hide it (Alt+{slot + 1})"
        sign = ("■", palette.PINS[slot])
        show = partial(pins.show, slot)
        actions = (
            record.Action(f"restore{slot}", "Restore this condition", "", restore),
            record.Action(f"rename{slot}", "Rename…", "", lambda: self._ask_name(pin)),
            record.Action(f"unpin{slot}", "Unpin", "", unpin),
        )
        return record.Switch(f"pin{slot}", pin.letter, help_text, pin.is_shown, show, sign, actions)

    def _choose_span(self, choice: str) -> None:
        self._pins.choose_span(cast(SpanChoice, choice))

    def _ask_name(self, pin: Pin) -> record.AskText:
        def rename(name: str) -> None:
            # The pin may have been removed in the meantime.
            if any(other.slot == pin.slot for other in self._state.pins):
                self._pins.rename(pin.slot, name)

        return record.AskText(f"Name of the condition {pin.letter}", pin.name, rename)

    def _legends(self) -> Sequence[record.Item]:
        """Return why nothing was pinned or predicted, and the signs of curves and pins."""
        state, pins = self._state, self._pins
        notice, results = pins.notice or pins.predictions.remark, self._shown.results
        baseline, has_page = model_name(state.compared_baseline), pins.predictions.page is not None
        # While predictions are scaled, no band is drawn.
        has_band = results.selected is not None and results.selected.band is not None
        signs = legend_entries(
            # The baseline is drawn in the window alone.
            f"{baseline} in window" if baseline and has_page else baseline,
            is_large=state.as_large,
            bar=bar_text(state.spec),
            has_band=has_band and not state.as_large,
        )
        pinned = pin_signs(state.pins, pin_results(self._shown), pins.problem_of)
        # Always there, and short: a legend that grew as windows were scored took a third line.
        evidence = evidence_of(results).removeprefix("over ") or no_score_text(state, results)
        signs.append(LegendEntry(f"{state.metric.symbol}:", palette.AXIS, evidence))
        return [
            record.Text("notice", f"⚠ {notice}" if notice else "", "warning"),
            record.Legend("legend", tuple(signs)),
            record.Legend("pins", tuple(pinned)),
        ]

    def _rows(self) -> Sequence[record.Item]:
        """Return the rows of the window or of the chosen span."""
        shown, state = self._shown, self._state
        # The number is read before the curves: they can then be newer, never older.
        request = shown.results.shown_request
        rows = tuple(trace_rows(shown))
        missing = "" if rows else record.NO_SESSION if state.window is None else NO_SELECTION
        return [
            record.Traces(
                "traces",
                LABEL,
                rows,
                missing,
                TIP.format(bar=bar_text(state.spec)),
                self._move_to,
                scale="common" if state.common_scale else "own",
                request=request,
            )
        ]

    def _stop(self) -> Sequence[record.Item]:
        """Return the button that stops the prediction of the span and of the pins.

        It stands over the plot: a row for it would move the plot when it appears.
        """
        predictions = self._pins.predictions
        if not predictions.message:
            return []
        label = f"{predictions.message} ✕"
        return [record.Action("stop", label, STOP_TIP, predictions.stop, over="traces")]

    def _move_to(self, time_s: float) -> None:
        """Move the cursor to a time of the shown span.

        If the time is outside the window, the window is centred on it first.
        """
        window = self._state.window
        if window is None:
            return
        is_within = window.start_s <= time_s < window.stop_s
        if self._pins.predictions.page is not None and not is_within:
            self._navigation.centre_on(time_s)
        move_cursor(self._state, self._navigation, time_s)


def trace_rows(shown: Shown) -> list[Trace]:
    """Return a row per selected neuron, over the window or the chosen span.

    Predictions are as large as the recording if the state says so.
    """
    state = shown.state
    if state.window is None or state.mask is None or state.session is None:
        return []
    time = state.window.timestamps["responses"]
    truth, n = units.recorded(state.window), state.mask.n_neurons
    neurons = [neuron for neuron in state.selection if neuron < n]
    rows = [_in_window(shown, neuron, time, truth[:, neuron]) for neuron in neurons]
    # `page` is the time range of a longer span; None means that only the window is
    # shown.
    if shown.pins.predictions.page is not None:
        page = _page_of(shown)
        rows = [_over_span(page, *pair) for pair in zip(neurons, rows, strict=True)]
    return [_as_large(row, state.spec) for row in rows] if state.as_large else rows


def least_span(spec: WindowSpec) -> tuple[float, float]:
    """Return what a row spans at least, so that a quiet row looks quiet."""
    is_count = spec.responses == "count"
    return (0.0, units.bar_height(spec)) if is_count else LEAST


def pin_results(shown: Shown) -> dict[int, PinResult]:
    """Return the pin results by slot for the current view (window or span)."""
    predictions = shown.pins.predictions
    return predictions.windows if predictions.page is None else predictions.spans


def evidence_of(results: Results) -> str:
    """Return the windows of the scores beside the traces; "" if of the window alone."""
    found = results.tier_score
    return "" if found is None else evidence(found)


def trace_label(shown: Shown, neuron: int, *, short: bool = False) -> str:
    """Return e.g. `unit 413 · V1 · r = 0.31 (here 0.43) · ┅ 0.25`, as far as known.

    "here" marks scores of the samples on screen; the others are over windows of a tier.
    The symbol of the metric follows or precedes the score of the model.
    """
    state = shown.state
    assert state.session is not None
    units = state.session.units
    name = str(units.names[neuron])
    parts = [name if short else f"unit {name}"]
    if rank := _rank(shown, neuron, short=short):
        parts.append(rank)
    if units.area is not None:
        parts.append(str(units.area[neuron]))
    own, other = _score(shown, neuron), _baseline_score(shown, neuron)
    if short:
        # The reason why the baseline has none stands in the long label.
        is_alone = not other or other.reason or own.reason == NO_TARGET
        both = (own,) if is_alone else (own, other)
        scores = " / ".join(score.short or _SHORT_REASONS.get(score.reason, "–") for score in both)
        parts += [scores] if own or other else []
    else:
        parts += [own.long(state.metric.named)] if own else []
        # The sign of the legend: the name is too long for the label.
        parts += [f"{BASELINE_SIGN} {other.long()}"] if other else []
    return " · ".join(parts)


def _rank(shown: Shown, neuron: int, *, short: bool) -> str:
    """Return "best", "median" or "worst" once the scores say so; before, why it was chosen."""
    rank, found = shown.state.first_ranks.get(neuron, ""), shown.results.tier_score
    if not rank or (found is not None and found.is_complete):
        return rank
    return f"{rank} (stored)" if short else f"{rank} {STORED}"


@dataclass(frozen=True, slots=True)
class _RowScore:
    """Score of a neuron over windows of a tier and of the samples on screen, as texts.

    Each is "" if it is not known; `reason` says why there is none.
    """

    in_tier: str
    here: str
    reason: str = ""

    def __bool__(self) -> bool:
        return bool(self.in_tier or self.here or self.reason)

    @property
    def short(self) -> str:
        """Score over the tier, else that of the samples on screen."""
        return f"here {self.here}" if self.here and not self.in_tier else self.in_tier

    def long(self, named: Callable[[str], str] = str) -> str:
        """Return both scores; `named` adds the symbol of the metric to a number."""
        if self.reason:
            return self.reason
        if not self.in_tier:
            number, space, older = self.here.partition(" ")
            return f"{named(number)} here{space}{older}"
        # Until the first one stands, that of a few samples would be read in its place.
        if self.in_tier == SCORING:
            return SCORING
        if self.here in ("", PENDING, UNKNOWN):
            return named(self.in_tier)
        number, _, older = self.here.partition(" ")
        return f"{named(self.in_tier)} (here {number}{', older' if older else ''})"


def _score(shown: Shown, neuron: int) -> _RowScore:
    """Return the scores of the chosen predictor."""
    pins, in_tier = shown.pins, tier_score_of(shown.results, neuron)
    reason = "" if in_tier else no_score_of(shown.state, shown.results, neuron)
    if reason in (NO_TARGET, UNSCORED, CONSTANT):
        return _RowScore("", "", reason)
    if reason == SCORING:
        in_tier = SCORING
    if pins.predictions.page is None:
        return _RowScore(in_tier, window_score_of(shown.results, neuron))
    result = pins.predictions.spans.get(LIVE)
    is_old = result is not None and pins.predictions.is_old(result)
    here = pinned_score(result, neuron)
    if is_old and here not in (PENDING, UNKNOWN):
        here += " (older)"
    if here == UNKNOWN and not in_tier:
        return _RowScore("", "", reason)
    return _RowScore(in_tier, here)


def _in_window(shown: Shown, neuron: int, time: np.ndarray, truth: np.ndarray) -> Trace:
    state, results = shown.state, shown.results
    baseline, answers = shown.baseline, shown.pins.predictions.windows
    window, mask = state.window, state.mask
    assert window is not None
    assert mask is not None
    pinned = [answers.get(slot) for slot in _slots(shown)]
    return Trace(
        trace_label(shown, neuron),
        trace_label(shown, neuron, short=True),
        time,
        truth,
        predicted_of(results.selected, neuron, window),
        mask.cells[:, neuron],
        results.is_old,
        least_span(window.spec),
        predicted_at(baseline.population, neuron, window),
        baseline.is_population_old,
        overlays=tuple(
            None if answer is None else predicted_at(answer.prediction, neuron, window)
            for answer in pinned
        ),
        marks=_marks(shown, neuron),
        bar=units.bar_height(window.spec),
        band=band_of(results.selected, neuron, window),
    )


def _as_large(row: Trace, spec: WindowSpec) -> Trace:
    """Scale every prediction to the mean and standard deviation of the recording.

    The prediction of the chosen model has a scale bar of its own, and its size follows
    the label.
    """
    height, predicted = _scaled(row.predicted, row.truth)
    share = _round_share(height)
    return replace(
        row,
        # Its colour says that it is of the prediction: with a word, the label was too long for
        # a dock, and a short one without this size took its place.
        predicted_bar_text=f"┃ {bar_text(spec, share)}" if height else "",
        predicted_bar=row.bar * height * share,
        predicted=predicted,
        baseline=_scaled(row.baseline, row.truth)[1],
        overlays=tuple(_scaled(curve, row.truth)[1] for curve in row.overlays),
        # It holds recorded values, which keep their scale.
        band=None,
    )


def _scaled(curve: np.ndarray | None, truth: np.ndarray) -> tuple[float, np.ndarray | None]:
    """Return the height of one unit of a prediction in the row, and the scaled curve.

    The height is 0, and the curve as it is, if it has no shape to scale: rounding of a
    constant prediction is none.
    """
    if curve is None:
        return 0.0, None
    # Only samples that both curves have are comparable.
    is_known = np.isfinite(curve) & np.isfinite(truth)
    if is_known.sum() < 2:
        return 0.0, curve
    spread = float(curve[is_known].std(dtype=np.float64))
    centre = float(curve[is_known].mean(dtype=np.float64))
    size = float(truth[is_known].std(dtype=np.float64))
    if spread <= ROUNDING * max(size, abs(centre)):
        return 0.0, curve
    # A prediction of another amplitude can have the right shape: the correlation
    # ignores the amplitude, too.
    height = size / spread
    return height, np.asarray((curve - centre) * height + truth[is_known].mean())


def _round_share(times: float) -> float:
    """Return 1, .5, .2, .1, … such that this share of a bar is at most 1.5 bars high.

    `times` is the height of the whole bar of a prediction, in bars of the recording.
    """
    for share in (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002):
        if share * times <= 1.5:
            return share
    return 0.001


@dataclass(frozen=True, slots=True, eq=False)
class _Page:
    """Data shared by all rows while a span is drawn."""

    page: tuple[float, float]
    shaded: tuple[float, float]
    live: SpanPrediction | None
    is_old: bool
    pinned: tuple[SpanPrediction | None, ...]


def _page_of(shown: Shown) -> _Page:
    pins, window = shown.pins, shown.state.window
    page, live = pins.predictions.page, pins.predictions.spans.get(LIVE)
    assert window is not None
    assert page is not None
    answers = [pins.predictions.spans.get(slot) for slot in _slots(shown)]
    return _Page(
        page,
        (window.start_s, window.stop_s),
        None if live is None else live.span,
        live is not None and pins.predictions.is_old(live),
        tuple(None if answer is None else answer.span for answer in answers),
    )


def _over_span(page: _Page, neuron: int, row: Trace) -> Trace:
    """Return a row over the span; until results arrive, that of the window.

    While the span is incomplete or of an older request, the window has its newest
    prediction.
    """
    in_axis = replace(row, shade_span=page.shaded, axis_span=page.page)
    span = page.live
    column = None if span is None else span.column(neuron)
    if span is None or column is None:
        return in_axis
    n_samples, predicted = len(span.time), span.responses[:, column]
    band = None if span.band is None else span.band[:, :, column]
    first = int(np.searchsorted(span.time, row.time[0] - 1e-6))
    is_complete = span.n_done == len(span.starts_s) and not page.is_old
    if not is_complete and row.predicted is not None and not row.is_stale:
        predicted = predicted.copy()
        part = predicted[first : first + len(row.predicted)]
        part[:] = row.predicted[: len(part)]
        if band is not None and row.band is not None:
            band = band.copy()
            band[:, first : first + len(part)] = row.band[:, : len(part)]
    return replace(
        in_axis,
        baseline=_within(row.baseline, first, n_samples),
        time=span.time,
        truth=span.truth[:, column],
        predicted=predicted,
        is_stale=page.is_old,
        band=band,
        overlays=tuple(responses_over(of, neuron, n_samples) for of in page.pinned),
    )


def _within(values: np.ndarray | None, first: int, n_samples: int) -> np.ndarray | None:
    """Return an array over a longer span: the values of a window, NaN outside it."""
    if values is None:
        return None
    out = np.full(n_samples, np.nan, np.float32)
    out[first : first + len(values)] = values[: max(n_samples - first, 0)]
    return out


def _slots(shown: Shown) -> list[int]:
    """Return slots up to the last shown pin; hidden ones are replaced by `NO_SLOT`."""
    # Overlays are stored by slot: a hidden pin must keep its place before later pins.
    visible = {pin.slot for pin in shown.state.pins if pin.is_shown}
    return [slot if slot in visible else NO_SLOT for slot in range(max(visible, default=-1) + 1)]


def _marks(shown: Shown, neuron: int) -> tuple[tuple[str, str, str], ...]:
    """Return letter, score and colour of every shown pin.

    Their scores are of the samples on screen; where those of the model are over a tier, as
    the legend says, a first mark says so, also beside a neuron without such a score.
    """
    answers = pin_results(shown)
    marks = tuple(
        (
            pin.letter,
            "–" if shown.pins.problem_of(pin) else pinned_score(answers.get(pin.slot), neuron),
            palette.PINS[pin.slot],
        )
        for pin in shown.state.pins
        if pin.is_shown
    )
    if marks and evidence_of(shown.results):
        return ("pins", "here", palette.AXIS), *marks
    return marks


def _baseline_score(shown: Shown, neuron: int) -> _RowScore:
    """Return the baseline's scores: "…" if pending, `NO_SCORE` if none."""
    state, baseline = shown.state, shown.baseline
    mask = state.mask
    if not state.compared_baseline or mask is None:
        return _RowScore("", "")
    in_tier, here = _paired_score(shown, neuron), window_score_of(baseline, neuron)
    # The baseline predicts the window alone, not a longer span.
    if shown.pins.predictions.page is not None:
        return _RowScore(in_tier, "")
    # A neuron without target samples never gets a score, so it is not pending.
    if not here and (mask.cells[:, neuron] == TARGET).any():
        if baseline.is_awaited:
            here = PENDING
        elif not in_tier:
            return _RowScore("", "", NO_SCORE)
    return _RowScore(in_tier, here)


def _paired_score(shown: Shown, neuron: int) -> str:
    """Return the baseline's score over the same windows as that of the model.

    `PENDING` while it has others, "" while one of both has none.
    """
    own, other = shown.results.tier_score, shown.baseline.tier_score
    if own is None or other is None:
        return ""
    # Identity, because to compare masks takes time.
    if own.mask is not other.mask or own.n_windows != other.n_windows:
        return PENDING
    return tier_score_of(shown.baseline, neuron)


def tier_score_of(results: Results, neuron: int) -> str:
    """Return the score over windows of a tier, e.g. `0.43`; "" if there is none."""
    scores = results.neuron_scores
    if scores is None or not scores.tier or not np.isfinite(scores.values[neuron]):
        return ""
    return number_text(scores.values[neuron])


def window_score_of(results: Results, neuron: int) -> str:
    """Return the score of the window: `0.43`, `0.43 (older)`, or "" for none."""
    if results.scores is None or not np.isfinite(results.scores[neuron]):
        return ""
    score = number_text(results.scores[neuron])
    return f"{score} (older)" if results.is_population_old else score


def pinned_score(answer: PinResult | None, neuron: int) -> str:
    """Return e.g. `0.43`; "…" while pending, "–" if there is no score."""
    value = None if answer is None else answer.score(neuron)
    # None and NaN differ: None means that no result has arrived yet.
    if value is None:
        return PENDING
    return number_text(value)


def responses_over(span: SpanPrediction | None, neuron: int, n_samples: int) -> np.ndarray | None:
    """Return one neuron's stitched samples, or None if not predicted."""
    column = None if span is None else span.column(neuron)
    # A result over another span does not fit the time axis of the row.
    if span is None or column is None or len(span.time) != n_samples:
        return None
    return span.responses[:, column]


def predicted_at(prediction: Prediction | None, neuron: int, window: Window) -> np.ndarray | None:
    """Return one neuron's prediction at the samples of a window, or None.

    A prediction at another rate is held until its next sample, for drawing only: it is
    scored on its own samples.
    """
    values = predicted_of(prediction, neuron, window)
    if values is None or prediction is None or prediction.times_s is None:
        return values
    times, sample_times = prediction.times_s, window.sample_times_s
    # Rounding must not move a sample before the one that begins at the same time.
    if len(times) == len(sample_times) and np.allclose(times, sample_times, atol=1e-6):
        return values
    rows = np.searchsorted(times, sample_times + 1e-6, side="right") - 1
    step_s = float(times[1] - times[0]) if len(times) > 1 else 0.0
    inside = (rows >= 0) & (sample_times < times[-1] + step_s)
    return np.where(inside, values[np.maximum(rows, 0)], np.nan)


def predicted_of(prediction: Prediction | None, neuron: int, window: Window) -> np.ndarray | None:
    """Return one neuron's predicted samples as drawn, or None if not predicted.

    They have the unit of the window, and samples of their own.
    """
    if prediction is None:
        return None
    # A prediction may cover only some neurons, in any order.
    columns = np.flatnonzero(prediction.neurons == neuron)
    if not len(columns):
        return None
    return units.predicted(prediction, window)[:, columns[0]]


def band_of(prediction: Prediction | None, neuron: int, window: Window) -> np.ndarray | None:
    """Return the limits of one neuron's band as drawn (2, n), or None without one."""
    if prediction is None or prediction.band is None:
        return None
    limits = [
        predicted_of(replace(prediction, responses=limit), neuron, window)
        for limit in prediction.band
    ]
    return None if any(limit is None for limit in limits) else np.array(limits)


def _span_tip(choice: SpanChoice, spec: WindowSpec) -> str:
    """Return what a span of the traces is."""
    if choice == "window":
        return f"The window of {spec.duration_s:.3g} s"
    if choice not in span_choices(spec):
        return "Windows of this model cannot be joined to a longer span"
    return SPAN_TIPS[choice]


class LegendEntry(NamedTuple):
    """One entry of a legend."""

    glyph: str
    colour: str
    text: str


def legend_entries(
    baseline: str = "", *, is_large: bool = False, bar: str, has_band: bool = False
) -> list[LegendEntry]:
    """Return the meaning of colours and lines.

    `baseline` is its name, where it is drawn. `is_large` states that predictions are
    scaled to the recording; `bar` is the height of the scale bar with its unit.
    `has_band` states that a band of the prediction is drawn.
    """
    entries = [
        LegendEntry("━", palette.RECORDED, "recorded"),
        LegendEntry("╍", palette.PREDICTED, "predicted ≈" if is_large else "predicted"),
    ]
    if has_band:
        entries.append(LegendEntry("░", palette.BAND, "95 % of values"))
    if baseline:
        entries.append(LegendEntry(BASELINE_SIGN, palette.BASELINE, baseline))
    return [
        *entries,
        LegendEntry("▇", palette.VISIBLE, "visible"),
        LegendEntry("▒", palette.TARGET, "target"),
        # A scaled prediction has a bar of its own, in the label of its row.
        LegendEntry("┃", palette.AXIS, f"{bar} recorded" if is_large else bar),
    ]


def pin_signs(
    pins: Sequence[Pin], results: Mapping[int, PinResult], problem_of: Callable[[Pin], str]
) -> list[LegendEntry]:
    """Return the legend of the shown pins, with reasons for missing predictions."""
    signs = []
    for pin in pins:
        if not pin.is_shown:
            continue
        problem = _problem(problem_of(pin), results.get(pin.slot))
        text = f"{pin.letter} {shown_name(pin, pins)}"
        text += f": {problem}" if problem else ""
        signs.append(LegendEntry("━", palette.PINS[pin.slot], text))
    return signs


def shown_name(pin: Pin, pins: Sequence[Pin]) -> str:
    """Return the name of a pin, with its model if pins have different models."""
    model = model_name(pin.predictor_name)
    is_alone = len({other.predictor_name for other in pins}) < 2
    return pin.name if is_alone or model in pin.name else f"{pin.name} · {model}"


def pin_text(pins: Pins, pin: Pin) -> str:
    """Return the description of a pin, with the reason for a missing prediction."""
    result = pins.predictions.windows.get(pin.slot)
    text = f"{pin.letter}: {pin.name} · {model_name(pin.predictor_name)}"
    problem = _problem(pins.problem_of(pin), result)
    return f"{text}\nNot predicted: {problem}" if problem else text


def _problem(pin_problem: str, result: PinResult | None) -> str:
    return pin_problem or (result.error if result is not None else "")
