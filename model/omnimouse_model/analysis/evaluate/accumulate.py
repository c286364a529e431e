"""Running scores of one predictor in one condition of one session."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from omnimouse_model.analysis.evaluate.conditions import Condition
from omnimouse_model.analysis.evaluate.results import BehaviorScore, GroupScore, Score
from omnimouse_model.analysis.evaluate.stimulus_groups import StimulusGroups
from omnimouse_model.data.readers.build.behavior_names import EYE_NAMES
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.masks import Mask
from omnimouse_model.metrics import (
    Moments,
    StreamingCorrelation,
    bootstrap_interval,
    moments,
    session_score,
)
from omnimouse_model.metrics.named import METRICS, Metric, poisson_gain
from omnimouse_model.predict.predictor import Prediction, Predictor, in_window_units

CHANNELS = (*EYE_NAMES, "running")
"""Names of decoded channels if their number differs from that of the session."""


@dataclass(slots=True, eq=False)
class Job:
    """Accumulated scores of one condition, session and predictor (or the truth)."""

    session: Session
    condition: Condition
    mask: Mask
    cells: np.ndarray  # bool (60, P): scored cells
    name: str
    predictor: Predictor | None
    neurons: np.ndarray = field(init=False)
    responses: StreamingCorrelation = field(init=False)
    behavior: StreamingCorrelation | None = None
    behavior_refusals: dict[str, str] = field(default_factory=dict)  # by channel
    n_windows: int = 0
    refusal: str = ""
    ceiling: "Job | None" = None
    groups: StimulusGroups | None = None
    by_group: dict[str, Moments] = field(default_factory=dict)
    metric: Metric = METRICS["correlation"]
    null: np.ndarray | None = None  # (P,) counts per bin, if the metric needs counts
    gain: np.ndarray = field(init=False)  # Poisson gain of each neuron, nats
    gain_by_group: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Only neurons with a scored cell: memory depends on the targets, not the
        # population.
        self.neurons = np.flatnonzero(self.cells.any(axis=0))
        self.responses = StreamingCorrelation(self.mask.n_samples, len(self.neurons))
        self.gain = np.zeros(len(self.neurons))

    def add(self, window: Window, rates: np.ndarray, columns: np.ndarray) -> None:
        """Add the rates (n_samples, n) of a window for `columns` of `neurons`."""
        neurons = self.neurons[columns]
        counted = self.cells[:, neurons] & window.valid["responses"][:, None]
        truth = window.responses[:, neurons]
        gain = np.zeros((len(truth), len(neurons)))
        if self.null is not None:
            # Counts of a spec of counts are what they are; others are normalised.
            if window.spec.responses != "count":
                scale = self.session.response_scale[neurons].astype(np.float64)
                rates, truth = rates * scale, truth * scale
            gain = self._poisson_gain(rates, truth, counted, self.null[neurons])
            self.gain[columns] += gain.sum(axis=0)
        self.responses.update(rates, truth, counted, columns)
        if self.groups is not None:
            # Trial times are on the session clock, window times on the native clock.
            times_s = window.times("responses") - self.session.t0
            group = self.groups.at(times_s)
            self._add_groups(group, rates, truth, counted, columns)
            for name in (
                np.unique(group[group != ""]).tolist() if self.null is not None else ()
            ):
                total = self.gain_by_group.setdefault(name, np.zeros(len(self.neurons)))
                total[columns] += gain[group == name].sum(axis=0)

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
        found = np.zeros(counts.shape)
        found[counted] = poisson_gain(rates[counted], counts[counted], null[counted])
        return found

    def _add_groups(
        self,
        group: np.ndarray,
        rates: np.ndarray,
        truth: np.ndarray,
        counted: np.ndarray,
        columns: np.ndarray,
    ) -> None:
        """Add the samples of each group to the moments of this group."""
        # Arrays over all neurons of the job, so that moments of different windows merge
        # even if a prediction has only some of the neurons.
        shape = (len(group), len(self.neurons))
        predicted, recorded = np.full(shape, np.nan), np.full(shape, np.nan)
        predicted[:, columns], recorded[:, columns] = rates, truth
        valid = np.zeros(shape, bool)
        valid[:, columns] = counted & np.isfinite(truth)
        for name in np.unique(group[group != ""]).tolist():
            found = moments(predicted, recorded, valid=valid & (group == name)[:, None])
            before = self.by_group.get(name)
            self.by_group[name] = found if before is None else before.merged(found)

    def add_behavior(self, window: Window, decoded: np.ndarray | None) -> None:
        """Add the decoded channels that the session also has."""
        truth, names = window.behavior, self.session.behavior_names
        taken = np.full(truth.shape, np.nan, np.float32)
        if decoded is None:
            self.behavior_refusals = dict.fromkeys(names, "decoded no behaviour.")
        else:
            columns, self.behavior_refusals = _matched(decoded.shape[1], names)
            taken[:, list(columns)] = decoded[:, list(columns.values())]
        if self.behavior is None:
            self.behavior = StreamingCorrelation(*truth.shape)
        # Channels without a match are NaN and must not count: a counted NaN prediction
        # is an error.
        scored = [name not in self.behavior_refusals for name in names]
        counted = window.valid["behavior"][:, None] & np.array(scored, bool)
        self.behavior.update(taken, truth, counted)

    def per_neuron(self) -> tuple[np.ndarray, np.ndarray]:
        """Value and number of scored samples of every scored neuron."""
        found = self.responses.moments()
        return self.values(found, self.gain), found.count

    def values(self, found: Moments, gain: np.ndarray) -> np.ndarray:
        """Value of the metric of every scored neuron, NaN where undefined."""
        per_neuron = self.metric.per_neuron
        assert per_neuron is not None  # `named_metric` refuses the others
        return per_neuron(found, gain)

    def scores(self) -> list[Score]:
        """Return the response score; empty if the condition asks only for behaviour."""
        if not len(self.neurons):
            return []
        values, counts = self.per_neuron()
        nothing = np.full(len(values), np.nan)
        value = session_score(values, counts)
        low, high = bootstrap_interval(values, counts)
        score = Score(
            session=self.session.id,
            strategy=self.condition.name,
            predictor=self.name,
            value=value,
            ci_low=low,
            ci_high=high,
            ceiling=_mean_ceiling(self.ceiling),
            n_windows=self.n_windows,
            neurons=self.neurons,
            per_neuron=values,
            refusal=self.refusal,
            note=self.mask.note,
            counts=np.asarray(counts, np.int64),
            groups=tuple(
                _group_score(
                    name,
                    self.values(part, self.gain_by_group.get(name, self.gain)),
                    part.count,
                )
                for name, part in sorted(self.by_group.items())
            ),
        )
        if not self.refusal:
            return [score]
        # A predictor may refuse after some windows: never report a partial score.
        refused = float("nan")
        return [
            replace(
                score,
                value=refused,
                ci_low=refused,
                ci_high=refused,
                per_neuron=nothing,
                groups=(),
            )
        ]

    def behavior_scores(self) -> list[BehaviorScore]:
        """Return one score per decoded channel, NaN with a reason if refused."""
        if not self.mask.has_behavior_target:
            return []
        names = self.session.behavior_names or ("behavior",)
        values = np.full(len(names), np.nan)
        reasons = dict.fromkeys(names, self.refusal)
        if not self.session.behavior_names:
            reasons = {"behavior": "The session has no behaviour."}
        elif not self.refusal and self.behavior is not None:
            values, reasons = self.behavior.pearson(), self.behavior_refusals
        return [
            BehaviorScore(
                self.session.id,
                self.condition.name,
                self.name,
                channel,
                float(value),
                self.n_windows,
                reasons.get(channel, ""),
            )
            for channel, value in zip(names, values, strict=True)
        ]


def _matched(
    n_decoded: int, names: Sequence[str]
) -> tuple[dict[int, int], dict[str, str]]:
    """Return the decoded column of each channel, and reasons for missing columns.

    Equal numbers of channels are matched by position, other numbers by name.
    """
    if n_decoded == len(names):
        return {column: column for column in range(n_decoded)}, {}
    if n_decoded != len(CHANNELS):
        reason = (
            f"decoded {n_decoded} channels, the session has {len(names)}: they "
            "cannot be matched."
        )
        return {}, dict.fromkeys(names, reason)
    columns = {k: CHANNELS.index(n) for k, n in enumerate(names) if n in CHANNELS}
    reasons = {
        name: f"{name!r} is not among the decoded channels {', '.join(CHANNELS)}."
        for name in names
        if name not in CHANNELS
    }
    return columns, reasons


def _mean_ceiling(job: Job | None) -> float:
    return float("nan") if job is None else session_score(*job.per_neuron())


def _group_score(name: str, values: np.ndarray, counts: np.ndarray) -> GroupScore:
    low, high = bootstrap_interval(values, counts)
    return GroupScore(
        name,
        session_score(values, counts),
        low,
        high,
        int(counts.max(initial=0)),
        values,
        counts,
    )


def add_prediction(job: Job, window: Window, prediction: Prediction) -> None:
    """Add the prediction for a window to the scores of a job."""
    if len(job.neurons):
        wanted = np.isin(prediction.neurons, job.neurons)
        # `job.neurons` is ascending and contains all wanted neurons, so `searchsorted`
        # returns exact positions.
        columns = np.searchsorted(job.neurons, prediction.neurons[wanted])
        rates = in_window_units(prediction, window)
        job.add(window, rates[:, wanted], columns)
    if job.mask.has_behavior_target:
        job.add_behavior(window, prediction.behavior)
