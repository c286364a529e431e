"""Scores of predictions: of one window, and running sums over the windows of a session."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from omnimouse_model.data.readers.build.notes import EYE_NAMES
from omnimouse_model.data.session import Session, Window
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation.conditions import Condition, StimulusGroups
from omnimouse_model.evaluation.repeats import RepeatedClip, RepeatTable
from omnimouse_model.evaluation.results import BehaviorScore, GroupScore, Score
from omnimouse_model.evaluation.tier_windows import null_rates
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.remarks import lost_all_targets
from omnimouse_model.metrics import (
    METRICS,
    Metric,
    Moments,
    correlation,
    moments,
    named_metric,
    poisson_gain,
    session_score,
)
from omnimouse_model.metrics.time_blocks import (
    CORRELATION_LIMITS,
    BlockSums,
    Centres,
    Estimate,
    jackknife,
    jackknife_errors,
)
from omnimouse_model.predict.compatibility import unread_text
from omnimouse_model.predict.predictor import NOT_PREDICTED, Prediction, Predictor, in_window_units
from omnimouse_model.storage.arrays.rows import ArrayFile, MemoryRows

CHANNELS = (*EYE_NAMES, "running")
"""Names of decoded channels if their number differs from that of the session."""
NaN = float("nan")


@dataclass(slots=True, eq=False)
class RunningScore:
    """Running score of a predictor (None: the truth) in one condition and session.

    Attributes
    ----------
    cells
        bool (n_samples, P): scored cells.
    null
        (P,) mean counts per bin, for a metric that needs counts.
    clips
        Repeated stimuli, for a metric that needs repeats.
    centres
        Mean predictions and responses of the neurons over the train tier; None if there
        is no centred score.
    by_window
        Start of a window -> centred score of the window alone; None to leave it out.
    neurons
        Neurons with a scored cell, the columns of all sums.
    expected
        Rows of expected responses, in session units, of a score of the truth.
    refusal
        Reason if the predictor refuses the condition, else "".
    """

    session: Session
    condition: Condition
    mask: Mask
    cells: np.ndarray
    name: str
    predictor: Predictor | None
    refusal: str = ""
    ceiling: "RunningScore | None" = None
    groups: StimulusGroups | None = None
    metric: Metric = METRICS["correlation"]
    null: np.ndarray | None = None
    clips: Sequence[RepeatedClip] = ()
    centres: Centres | None = None
    expected: ArrayFile | MemoryRows | None = None
    n_windows: int = 0
    by_window: dict[float, float] | None = None
    neurons: np.ndarray = field(init=False)
    blocks: BlockSums = field(default_factory=BlockSums)
    by_group: dict[str, BlockSums] = field(default_factory=dict)
    repeats: RepeatTable | None = None
    behavior: BlockSums = field(default_factory=BlockSums)  # a column per channel
    behavior_refusals: dict[str, str] = field(default_factory=dict)  # by channel
    channels: tuple[str, ...] = field(init=False)  # of `Window.behavior`

    def __post_init__(self) -> None:
        # Only neurons with a scored cell: memory depends on the targets, not the
        # population.
        self.neurons = np.flatnonzero(self.cells.any(axis=0))
        n, spec = len(self.neurons), self.mask.spec
        self.channels = spec.behavior_names(self.session.behavior_names)
        if self.clips:
            rate_hz = spec.response_rate_hz
            self.repeats = RepeatTable(self.session, self.clips, rate_hz, n)

    def without_samples(self) -> "RunningScore":
        """Return an empty score of the same predictor, cells and metric."""
        return RunningScore(
            self.session,
            self.condition,
            self.mask,
            self.cells,
            self.name,
            self.predictor,
            self.refusal,
            metric=self.metric,
            null=self.null,
            expected=self.expected,
        )

    # -- adding windows ---------------------------------------------------------------
    def add(self, window: Window, prediction: Prediction, block: int) -> None:
        """Add the prediction for a window of a block of time.

        Samples that it calls invalid are not scored.
        """
        if self.predictor is not None and self.mask.has_behavior_target:
            self._add_behavior(window, prediction.behavior, block)
        if not len(self.neurons):
            return
        is_scored = np.isin(prediction.neurons, self.neurons)
        if (n_predicted := int(is_scored.sum())) < len(self.neurons):
            raise UnsupportedRequestError(
                f"{self.name!r} predicts {n_predicted:,} of the "
                f"{len(self.neurons):,} scored neurons at {window.start_s:.2f} s."
            )
        neurons = prediction.neurons[is_scored]
        # `self.neurons` is ascending and contains all these neurons, so `searchsorted`
        # returns exact positions.
        columns = np.searchsorted(self.neurons, neurons)
        rates = in_window_units(prediction, window)[:, is_scored]
        counted = self.cells[:, neurons] & window.valid["responses"][:, None]
        # A predictor is scored on its own samples, those that it could compute.
        counted &= prediction.valid[:, None]
        truth = window.responses[:, neurons]
        gain = np.zeros(truth.shape)
        if self.null is not None:
            rates, truth = scored_counts(rates, truth, window, neurons)
            gain = self._poisson_gain(rates, truth, counted, self.null[neurons])
        scored = counted & np.isfinite(truth)
        if not np.isfinite(rates[scored]).all():
            raise ValueError(f"{self.name!r}: a prediction that is to be scored is not finite.")
        # Trial times are on the session clock, window times on the native clock.
        times_s = window.times("responses") - self.session.t0
        if self.repeats is not None:
            self.repeats.add(times_s, columns, rates, truth, counted)
            return
        # In the order of `neurons`, so that moments of different windows merge whatever
        # the order of the neurons in a prediction.
        arrays = np.zeros((4, len(truth), len(self.neurons)))
        for array, values in zip(arrays, (rates, truth, gain, scored), strict=True):
            array[:, columns] = values
        sums = _add(self.blocks, block, arrays)
        if self.by_window is not None and self.centres is not None:
            score = session_score(self.centres.correlations(sums), sums.count)
            self.by_window[window.start_s] = score
        if self.groups is not None:
            group = self.groups.at(times_s)
            for name in np.unique(group[group != ""]).tolist():
                of_group = self.by_group.setdefault(name, BlockSums())
                _add(of_group, block, arrays[:, group == name])

    def _poisson_gain(
        self, rates: np.ndarray, counts: np.ndarray, counted: np.ndarray, null: np.ndarray
    ) -> np.ndarray:
        """Return the gain of each sample over the null rate, 0 if it is not scored."""
        counted = counted & np.isfinite(counts)
        if (rates[counted] < 0).any():
            raise UnsupportedRequestError(
                f"{self.name!r} predicts negative rates: they have no Poisson "
                f"likelihood, which {self.metric.name} needs."
            )
        null = np.broadcast_to(null, counts.shape)
        gain = np.zeros(counts.shape)
        gain[counted] = poisson_gain(rates[counted], counts[counted], null[counted])
        return gain

    def _add_behavior(self, window: Window, decoded: np.ndarray | None, block: int) -> None:
        """Add the decoded channels that the session also has."""
        truth, names = window.behavior, self.channels
        matched = np.full(truth.shape, np.nan, np.float32)
        if decoded is None:
            self.behavior_refusals = dict.fromkeys(names, "decoded no behaviour.")
        else:
            columns, self.behavior_refusals = _matched(decoded.shape[1], names)
            matched[:, list(columns)] = decoded[:, list(columns.values())]
            # The window holds 0 for a channel of the spec that the session lacks.
            for name in set(names) - set(self.session.behavior_names):
                self.behavior_refusals[name] = f"The session has no {name!r}."
        # Channels without a match are NaN and must not count: a counted NaN prediction
        # is an error.
        is_scored = [name not in self.behavior_refusals for name in names]
        counted = window.valid["behavior"][:, None] & np.array(is_scored, bool)
        counted &= np.isfinite(truth)
        # Of samples without any value, nothing was decoded, as where nothing is visible.
        counted &= np.isfinite(matched).any(axis=1, keepdims=True)
        if not np.isfinite(matched[counted]).all():
            raise ValueError(
                f"{self.name!r}: decoded behaviour that is to be scored is not finite."
            )
        self.behavior.add(block, moments(matched, truth, valid=counted))

    # -- results ----------------------------------------------------------------------
    def _values(self, sums: Moments, gain: np.ndarray) -> np.ndarray:
        # Without repeats, every neuron of a metric of repeats is undefined.
        if self.metric.per_neuron is None:
            return np.full(len(self.neurons), np.nan)
        return self.metric.per_neuron(sums, gain)

    def _groups(self) -> Iterator[GroupScore]:
        """Yield the score of each group, in order."""
        groups: dict[str, _Scored] = {}
        if self.repeats is not None and self.groups is not None:
            for name, part in self.repeats.parts(self.groups).items():
                groups[name] = self._scored(BlockSums(), [], None, self.repeats.scores(part))
        for name, sums in self.by_group.items():
            groups[name] = self._scored(sums, sums.without_each(), self.centres)
        for name, found in sorted(groups.items()):
            one = found.interval
            n_samples = int(found.counts.max(initial=0))
            values = one.value, one.low, one.high, n_samples, found.values, found.counts
            yield GroupScore(name, *values)

    def _scored(
        self,
        sums: BlockSums,
        parts: Sequence[tuple[Moments, np.ndarray]],
        centres: Centres | None,
        of_repeats: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> "_Scored":
        """Return the score from sums: about centres, else by the metric as it is.

        `parts` are the sums without each block; `of_repeats` are values and counts of a
        metric of repeats, which has no sums.
        """
        n = len(self.neurons)
        values, counts = of_repeats or (np.full(n, NaN), np.zeros(n, np.int64))
        left_out = train_left_out = errors = np.empty(0)
        if sums.blocks:
            total, gain = sums.total()
            counts = total.count
            if centres is None:
                values, of_train = self._values(total, gain), np.zeros((0, n))
                without = [self._values(part, part_gain) for part, part_gain in parts]
            else:
                values, of_train = centres.correlations(total), centres.without_each(total)
                without = [centres.correlations(part) for part, _ in parts]
            each = zip(without, parts, strict=True)
            left_out = np.array([session_score(value, part.count) for value, (part, _) in each])
            train_left_out = np.array([session_score(one, counts) for one in of_train])
            errors = jackknife_errors(np.reshape(without, (len(without), n)), of_train)
        value = session_score(values, counts)
        interval = jackknife(value, left_out, train_left_out, limits=self.metric.limits)
        return _Scored(interval, values, counts, left_out, train_left_out, errors)

    def scores(self) -> list[Score]:
        """Return the response score; empty if the condition asks only for behaviour."""
        if not len(self.neurons):
            if self.mask.has_behavior_target and not lost_all_targets(self.mask):
                return []
            self.refusal = self._without_target()
        elif self.repeats is not None and not self.repeats.has_repeats:
            self.refusal = self.refusal or (
                f"{self.metric.name} needs repeats: no sample was predicted in two "
                "repeats of a stimulus."
            )
        # A predictor may refuse after some windows: never report a partial score.
        refusal = self.refusal
        if self.predictor is not None and not self.predictor.needs.predicts_responses:
            # What it decodes has scores.
            refusal = refusal or f"{self.name!r} {NOT_PREDICTED}."
        blocks = BlockSums() if refusal else self.blocks
        parts = blocks.without_each() if blocks.blocks else []
        of_repeats = self.repeats.scores() if self.repeats is not None and not refusal else None
        pooled = self._scored(blocks, parts, None, of_repeats)
        is_centred = self.centres is not None and bool(blocks.blocks)
        slopes = np.empty(0)
        if self.centres is not None and is_centred:
            slopes = self.centres.slopes(blocks.total()[0])
        found = self._scored(blocks, parts, self.centres) if is_centred else pooled
        ceiling = NaN
        if self.ceiling is not None:
            # That of a refused score is beside the centred ones of other predictors.
            centres = self.ceiling.centres if is_centred or refusal else None
            ceiling = self.ceiling._scored(self.ceiling.blocks, [], centres).interval.value
        interval, of_pooled = found.interval, pooled.interval
        also_pooled: dict[str, Any] = {}
        if self.metric.name == "correlation":
            also_pooled = {
                "pooled": of_pooled.value,
                "pooled_ci_low": of_pooled.low,
                "pooled_ci_high": of_pooled.high,
                "pooled_per_neuron": pooled.values,
                "pooled_left_out": pooled.left_out,
            }
        return [
            Score(
                session=self.session.id,
                strategy=self.condition.name,
                predictor=self.name,
                value=interval.value,
                ci_low=interval.low,
                ci_high=interval.high,
                ceiling=ceiling,
                n_windows=self.n_windows,
                neurons=self.neurons,
                per_neuron=found.values,
                refusal=refusal,
                note=self._note(),
                counts=np.asarray(found.counts, np.int64),
                groups=() if refusal else tuple(self._groups()),
                left_out=found.left_out,
                train_left_out=found.train_left_out,
                error_per_neuron=found.errors,
                slope_per_neuron=slopes,
                metric=self.metric.name,
                is_centred=is_centred,
                **also_pooled,
            )
        ]

    def _without_target(self) -> str:
        """Return why no cell is scored."""
        if scored_cells(self.mask).any():
            return "None of the chosen neurons is a target."
        if self.mask.target.any():
            return (
                "No target is scored: all lie beside visible samples of the same "
                "neuron, which reveal them, or at the start of the window."
            )
        return f"No response is a target: {self.mask.note or 'none is marked'}."

    def _note(self) -> str:
        """Return how the strategy was adapted, and whether nothing shown is read."""
        unread = ""
        if self.predictor is not None and not self.refusal:
            unread = unread_text(self.name, self.predictor.needs, self.mask)
        return "; ".join(text for text in (self.mask.note, unread) if text)

    def behavior_scores(self) -> list[BehaviorScore]:
        """Return one score per decoded channel, NaN with a reason if refused."""
        if not self.mask.has_behavior_target:
            return []
        names = self.channels or ("behavior",)
        values = np.full(len(names), np.nan)
        left_out = np.zeros((0, len(names)))
        reasons = dict.fromkeys(names, self.refusal)
        if not self.channels:
            reasons = {"behavior": "The session has no behaviour."}
        elif not self.refusal and self.behavior.blocks:
            values = self.behavior.total()[0].pearson()
            rest = [sums.pearson() for sums, _ in self.behavior.without_each()]
            left_out = np.reshape(rest, (-1, len(names)))
            reasons = self.behavior_refusals
        intervals = [
            jackknife(value, rest, limits=CORRELATION_LIMITS)
            for value, rest in zip(values, left_out.T, strict=True)
        ]
        return [
            BehaviorScore(
                self.session.id,
                self.condition.name,
                self.name,
                channel,
                float(value),
                self.n_windows,
                reasons.get(channel, ""),
                interval.low,
                interval.high,
                rest,
            )
            for channel, value, interval, rest in zip(
                names, values, intervals, left_out.T, strict=True
            )
        ]


class _Scored(NamedTuple):
    """Score, value and scored samples of each neuron, and the score without each part."""

    interval: Estimate
    values: np.ndarray
    counts: np.ndarray
    left_out: np.ndarray
    train_left_out: np.ndarray
    errors: np.ndarray


def _matched(n_decoded: int, names: Sequence[str]) -> tuple[dict[int, int], dict[str, str]]:
    """Return the decoded column of each channel, and reasons for missing columns.

    Equal numbers of channels are matched by position, other numbers by name.
    """
    if n_decoded == len(names):
        return {column: column for column in range(n_decoded)}, {}
    if n_decoded != len(CHANNELS):
        reason = (
            f"decoded {n_decoded} channels, the session has {len(names)}: they cannot be matched."
        )
        return {}, dict.fromkeys(names, reason)
    columns = {k: CHANNELS.index(n) for k, n in enumerate(names) if n in CHANNELS}
    reasons = {
        name: f"{name!r} is not among the decoded channels {', '.join(CHANNELS)}."
        for name in names
        if name not in CHANNELS
    }
    return columns, reasons


def _add(sums: BlockSums, block: int, arrays: np.ndarray) -> Moments:
    """Add rates, truth, gain and validity (4, time, neuron) to a block of sums.

    Return the moments that were added.
    """
    rates, truth, gain, valid = arrays
    added = moments(rates, truth, valid=valid > 0)
    sums.add(block, added, gain.sum(axis=0))
    return added


_BLOCK_NEURONS = 1024
"""Neurons scored at once: their samples fit in the second cache of a core."""


def window_scores(
    prediction: Prediction, window: Window, metric: str = "correlation"
) -> np.ndarray:
    """Return float32 (P,) scores against the recording, NaN if not predicted.

    Parameters
    ----------
    window
        Its samples are those of the prediction.
    metric
        Name of a metric of `evaluate`. One that needs counts gives NaN for a session
        without spike times, and for predictions below 0.
    """
    named = named_metric(metric)
    scores = np.full(window.session.n_neurons, np.nan, np.float32)
    if not len(prediction.neurons):
        return scores
    truth = window.responses[:, prediction.neurons]
    # Samples that the predictor could not compute are left out, as missing ones are.
    truth = np.where(prediction.valid[:, None], truth, np.float32(np.nan))
    if named.name == "correlation":
        values = _correlations(prediction.responses, truth)
    else:
        values = _values(named, prediction, truth, window)
    scores[prediction.neurons] = values
    return scores


def _correlations(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the correlation (n,) over the samples of (sample, n) arrays."""
    # Samples without any prediction change no sum, and blocks stay in the cache: a
    # quarter of the time of one call, with the same values except for rounding.
    rows = np.isfinite(predicted).any(axis=1)
    starts = range(0, predicted.shape[1], _BLOCK_NEURONS)
    blocks = [slice(start, start + _BLOCK_NEURONS) for start in starts]
    return np.concatenate([correlation(predicted[rows, b], truth[rows, b], axis=0) for b in blocks])


def scored_counts(
    rates: np.ndarray, recorded: np.ndarray, window: Window, neurons: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and recorded counts per bin, from the units of a window."""
    if window.spec.responses == "count":
        return rates, recorded
    # Windows of traces hold counts divided by the scale of the neuron.
    scale = window.session.response_scale[neurons].astype(np.float64)
    return rates * scale, recorded * scale


def decode_scores(decoded: np.ndarray, window: Window) -> np.ndarray:
    """Return (C,) correlations of decoded with valid recorded behaviour."""
    counted = window.valid["behavior"][:, None]
    return correlation(decoded, np.where(counted, window.behavior, np.nan), axis=0)


def _values(
    metric: Metric, prediction: Prediction, truth: np.ndarray, window: Window
) -> np.ndarray:
    """Return the values (n,) of a metric other than the correlation."""
    neurons = prediction.neurons
    rates = in_window_units(prediction, window)
    gain = np.zeros(len(neurons))
    if metric.needs == "counts":
        rates, truth = scored_counts(rates, truth, window, neurons)
    scored = np.isfinite(rates) & np.isfinite(truth)
    scored &= window.valid["responses"][:, None]
    if metric.needs == "counts":
        try:
            null = null_rates(window.session, window.spec)[neurons]
        except UnsupportedRequestError:
            return np.full(len(neurons), np.nan)
        # A negative rate has no Poisson likelihood.
        is_rate = ~(scored & (rates < 0)).any(axis=0)
        sample_gain = poisson_gain(np.maximum(rates, 0), truth, null)
        gain = np.where(is_rate, np.where(scored, sample_gain, 0.0).sum(axis=0), np.nan)
    # A metric of repeats has no value in one window.
    if metric.per_neuron is None:
        return np.full(len(neurons), np.nan)
    return metric.per_neuron(moments(rates, truth, valid=scored), gain)
