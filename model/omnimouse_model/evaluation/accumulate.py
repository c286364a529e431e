"""Running scores of one predictor in one condition of one session, and of repeats."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.side_streams import EYE_NAMES
from omnimouse_model.data.session import Session, Window
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.repeats import RepeatedClip
from omnimouse_model.evaluation.results import BehaviorScore, GroupScore, Score
from omnimouse_model.evaluation.tier_windows import StimulusGroups
from omnimouse_model.evaluation.window_scores import scored_counts
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.remarks import lost_all_targets
from omnimouse_model.metrics import (
    METRICS,
    Metric,
    Moments,
    cc_scores,
    moments,
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
from omnimouse_model.predict.predictor import (
    NOT_PREDICTED,
    Prediction,
    Predictor,
    in_window_units,
)

# -- predictions and recordings of repeated stimuli, aligned for CC_norm --------------
# Windows do not begin with a stimulus, and repeats begin at other phases of the sampling
# grid. Each sample is therefore placed by its time since the onset of its trial.
KINDS = ("video", "image", "none")
"""Kinds of trials that can be repeats; "none" is a trial without a screen."""
_NEURONS = 256
"""Neurons whose scores are computed at a time; limits the float64 copies."""
# A quarter of a sample, so that rounding cannot move a sample whose time is a whole
# number of samples after the onset.
_QUARTER = 0.25


@dataclass(slots=True, eq=False)
class RepeatTable:
    """Table (repeat, time, neuron) of all repeated stimuli, joined along time.

    It needs 8 bytes per repeat, sample and neuron. A sample that two windows predict
    keeps the first prediction: counted twice, it would look like one more repeat.

    Parameters
    ----------
    session
        The recording.
    clips
        Repeated stimuli, see `repeats.repeated_clips`.
    rate_hz
        Response samples per second.
    n_neurons
        Number of columns.
    """

    session: Session
    clips: Sequence[RepeatedClip]
    rate_hz: float
    n_neurons: int
    predicted: np.ndarray = field(init=False, repr=False)
    recorded: np.ndarray = field(init=False, repr=False)
    _trials: dict[str, np.ndarray] = field(init=False, repr=False)
    _clip_of: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # The tolerance keeps a whole number of samples that rounding puts just below.
        lengths = [int(clip.duration_s * self.rate_hz + 1e-6) for clip in self.clips]
        firsts = np.cumsum([0, *lengths])[:-1].tolist()
        self._clip_of = np.repeat(np.arange(len(lengths)), lengths)
        rows = [
            (self.session.trials.t_on[trial], repeat, first, length)
            for clip, first, length in zip(self.clips, firsts, lengths, strict=True)
            for repeat, trial in enumerate(clip.trials)
        ]
        # In order of the onsets, for `searchsorted`.
        columns = np.array(sorted(rows)).reshape(-1, 4).T
        names = ("onset_s", "repeat", "first", "length")
        self._trials = dict(zip(names, columns, strict=True))
        n_repeats = max((len(clip.trials) for clip in self.clips), default=0)
        shape = (n_repeats, len(self._clip_of), self.n_neurons)
        self.predicted = np.full(shape, np.nan, np.float32)
        self.recorded = np.full(shape, np.nan, np.float32)

    def add(
        self,
        times_s: np.ndarray,
        columns: np.ndarray,
        predicted: np.ndarray,
        recorded: np.ndarray,
        counted: np.ndarray,
    ) -> None:
        """Add samples (time, n) of some columns at times on the session clock."""
        onset_s, length = self._trials["onset_s"], self._trials["length"]
        shifted_s = times_s + _QUARTER / self.rate_hz
        trial = np.searchsorted(onset_s, shifted_s, side="right") - 1
        sample = np.floor((shifted_s - onset_s[trial]) * self.rate_hz).astype(int)
        rows = np.flatnonzero((trial >= 0) & (sample < length[trial]))
        trial, sample = trial[rows], sample[rows]
        repeat = self._trials["repeat"][trial].astype(int)
        time = self._trials["first"][trial].astype(int) + sample
        place = (repeat[:, None], time[:, None], columns)
        is_new = counted[rows] & np.isfinite(recorded[rows])
        is_new &= np.isnan(self.recorded[place])
        for table, values in ((self.predicted, predicted), (self.recorded, recorded)):
            table[place] = np.where(is_new, values[rows], table[place])

    @property
    def has_repeats(self) -> bool:
        """Whether any sample was predicted in two repeats or more."""
        return bool((np.isfinite(self.recorded).sum(axis=0) > 1).any())

    def scores(self, part: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return CC_norm of each neuron, and its number of samples.

        Neurons without a ceiling are NaN and have no samples, so that they do not enter
        means: a score of 0 would blame the predictor for a noisy neuron.

        Parameters
        ----------
        part
            Samples of the joined stimuli; all by default.
        """
        values, counts = np.full(self.n_neurons, np.nan), np.zeros(self.n_neurons)
        for first in range(0, self.n_neurons, _NEURONS):
            block = slice(first, first + _NEURONS)
            # (repeat, time, neuron) to (neuron, repeat, time)
            recorded = self.recorded[:, part, block].transpose(2, 0, 1)
            predicted = self.predicted[:, part, block].transpose(2, 0, 1)
            values[block] = cc_scores(predicted, recorded).cc_norm
            counts[block] = np.isfinite(recorded).sum(axis=(1, 2))
        return values, np.where(np.isfinite(values), counts, 0).astype(np.int64)

    def parts(self, groups: StimulusGroups) -> dict[str, np.ndarray]:
        """Return the samples (bool) of the stimuli of each group, by name."""
        trials = [clip.trials[0] for clip in self.clips]
        names = groups.at(self.session.trials.t_on[trials])[self._clip_of]
        return {name: names == name for name in np.unique(names[names != ""]).tolist()}


# -- running scores of one predictor in one condition of one session ------------------
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
        )

    # -- adding windows ---------------------------------------------------------------
    def add(self, window: Window, prediction: Prediction, block: int) -> None:
        """Add the prediction for a window of a block of time."""
        if len(self.neurons):
            is_scored = np.isin(prediction.neurons, self.neurons)
            if (n_predicted := int(is_scored.sum())) < len(self.neurons):
                raise UnsupportedRequestError(
                    f"{self.name!r} predicts {n_predicted:,} of the "
                    f"{len(self.neurons):,} scored neurons at {window.start_s:.2f} s."
                )
            # `self.neurons` is ascending and contains all these neurons, so
            # `searchsorted` returns exact positions.
            columns = np.searchsorted(self.neurons, prediction.neurons[is_scored])
            rates = in_window_units(prediction, window)[:, is_scored]
            self.add_rates(window, rates, columns, block, prediction.valid)
        if self.mask.has_behavior_target:
            self._add_behavior(window, prediction.behavior, block)

    def add_rates(
        self,
        window: Window,
        rates: np.ndarray,
        columns: np.ndarray,
        block: int,
        valid: np.ndarray | bool = True,
    ) -> None:
        """Add the rates (n_samples, n) of a window for `columns` of `neurons`.

        Samples that are not `valid` are not scored.
        """
        neurons = self.neurons[columns]
        counted = self.cells[:, neurons] & window.valid["responses"][:, None]
        # A predictor is scored on its own samples, those that it could compute.
        counted &= np.asarray(valid)[..., None]
        truth = window.responses[:, neurons]
        gain = np.zeros(truth.shape)
        if self.null is not None:
            rates, truth = scored_counts(rates, truth, window, neurons)
            gain = self._poisson_gain(rates, truth, counted, self.null[neurons])
        scored = counted & np.isfinite(truth)
        if not np.isfinite(rates[scored]).all():
            raise ValueError("A prediction that is to be scored is not finite.")
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
        self,
        rates: np.ndarray,
        counts: np.ndarray,
        counted: np.ndarray,
        null: np.ndarray,
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
            raise ValueError("Decoded behaviour that is to be scored is not finite.")
        self.behavior.add(block, moments(matched, truth, valid=counted))

    # -- results ----------------------------------------------------------------------
    def _values(self, sums: Moments, gain: np.ndarray) -> np.ndarray:
        # Without repeats, every neuron of a metric of repeats is undefined.
        if self.metric.per_neuron is None:
            return np.full(len(self.neurons), np.nan)
        return self.metric.per_neuron(sums, gain)

    def _groups(self) -> Iterator[GroupScore]:
        """Yield the score of each group, in order."""
        if self.repeats is not None and self.groups is not None:
            for name, part in sorted(self.repeats.parts(self.groups).items()):
                values, counts = self.repeats.scores(part)
                yield self._group_score(name, _Scored(values, counts, np.zeros(0)))
        for name, sums in sorted(self.by_group.items()):
            yield self._group_score(name, self._scored(sums, sums.without_each(), self.centres))

    def _group_score(self, name: str, found: "_Scored") -> GroupScore:
        interval = found.interval(self.metric.limits)
        return GroupScore(
            name,
            interval.value,
            interval.low,
            interval.high,
            int(found.counts.max(initial=0)),
            found.values,
            found.counts,
        )

    def _scored(
        self, sums: BlockSums, parts: Sequence[tuple[Moments, np.ndarray]], centres: Centres | None
    ) -> "_Scored":
        """Return the score from sums: about centres, else by the metric as it is.

        `parts` are the sums without each block.
        """
        if not sums.blocks:
            n = len(self.neurons)
            return _Scored(np.full(n, NaN), np.zeros(n, np.int64), np.zeros(0))
        total, gain = sums.total()
        if centres is None:
            values, of_train = self._values(total, gain), np.zeros((0, len(total.count)))
            without = [self._values(part, part_gain) for part, part_gain in parts]
        else:
            values, of_train = centres.correlations(total), centres.without_each(total)
            without = [centres.correlations(part) for part, _ in parts]
        return _Scored(
            values,
            total.count,
            np.array([session_score(v, p.count) for v, (p, _) in zip(without, parts, strict=True)]),
            np.array([session_score(one, total.count) for one in of_train]),
            jackknife_errors(np.reshape(without, (len(without), len(values))), of_train),
        )

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
        pooled = self._scored(blocks, parts, None)
        if self.repeats is not None and not refusal:
            pooled = _Scored(*self.repeats.scores(), np.zeros(0))
        is_centred = self.centres is not None and bool(blocks.blocks)
        found = self._scored(blocks, parts, self.centres) if is_centred else pooled
        ceiling = NaN
        if self.ceiling is not None:
            # That of a refused score is beside the centred ones of other predictors.
            centres = self.ceiling.centres if is_centred or refusal else None
            ceiling = self.ceiling._scored(self.ceiling.blocks, [], centres).value
        interval, of_pooled = (one.interval(self.metric.limits) for one in (found, pooled))
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
                slope_per_neuron=blocks.total()[0].slope() if is_centred else np.empty(0),
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


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """Value and scored samples of each neuron, and the score without each part."""

    values: np.ndarray
    counts: np.ndarray
    left_out: np.ndarray
    train_left_out: np.ndarray = field(default_factory=lambda: np.empty(0))
    errors: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def value(self) -> float:
        """Mean over neurons, weighted by scored samples."""
        return session_score(self.values, self.counts)

    def interval(self, limits: tuple[float, float]) -> Estimate:
        """Return the score with its interval over time."""
        return jackknife(self.value, self.left_out, self.train_left_out, limits=limits)


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
