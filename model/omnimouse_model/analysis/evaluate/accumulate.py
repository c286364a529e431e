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
from omnimouse_model.masks import N_SAMPLES, Mask
from omnimouse_model.metrics import (
    Moments,
    StreamingCorrelation,
    bootstrap_interval,
    moments,
    session_score,
)
from omnimouse_model.predict.predictor import Prediction, Predictor

CHANNELS = (*EYE_NAMES, "running")
"""What is decoded, in order, where a session has not as many channels itself."""


@dataclass(slots=True, eq=False)
class Job:
    """One condition of one session under one predictor (or under the truth)."""

    session: Session
    condition: Condition
    mask: Mask
    cells: np.ndarray  # bool (60, P): what is scored
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

    def __post_init__(self) -> None:
        self.neurons = np.flatnonzero(self.cells.any(axis=0))
        self.responses = StreamingCorrelation(N_SAMPLES, len(self.neurons))

    def add(self, window: Window, rates: np.ndarray, columns: np.ndarray) -> None:
        """Count a window's predicted rates (60, n) of `columns` of `neurons`."""
        neurons = self.neurons[columns]
        counted = self.cells[:, neurons] & window.valid["responses"][:, None]
        truth = window.responses[:, neurons]
        self.responses.update(rates, truth, counted, columns)
        if self.groups is not None:
            times_s = window.times("responses") - self.session.t0
            self._add_groups(self.groups.at(times_s), rates, truth, counted, columns)

    def _add_groups(
        self,
        group: np.ndarray,
        rates: np.ndarray,
        truth: np.ndarray,
        counted: np.ndarray,
        columns: np.ndarray,
    ) -> None:
        """Count the samples of each group in moments of its own."""
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
        """Count the decoded channels that the session has too."""
        truth, names = window.behavior, self.session.behavior_names
        taken = np.full(truth.shape, np.nan, np.float32)
        if decoded is None:
            self.behavior_refusals = dict.fromkeys(names, "decoded no behaviour.")
        else:
            columns, self.behavior_refusals = _matched(decoded.shape[1], names)
            taken[:, list(columns)] = decoded[:, list(columns.values())]
        if self.behavior is None:
            self.behavior = StreamingCorrelation(*truth.shape)
        scored = [name not in self.behavior_refusals for name in names]
        counted = window.valid["behavior"][:, None] & np.array(scored, bool)
        self.behavior.update(taken, truth, counted)

    def per_neuron(self) -> tuple[np.ndarray, np.ndarray]:
        """Correlation and number of scored samples of every scored neuron."""
        found = self.responses.moments()
        return found.pearson(), found.count

    def scores(self) -> list[Score]:
        """The response score; none where only behaviour is asked."""
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
            groups=tuple(_group_score(*each) for each in sorted(self.by_group.items())),
        )
        if not self.refusal:
            return [score]
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
        """One score per channel that is asked for, without a value where refused."""
        if not self.mask.asks_behavior:
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
    """Decoded column of every channel that has one, and why the others have none.

    As many channels as the session has are its own; otherwise they go by name.
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


def _group_score(name: str, found: Moments) -> GroupScore:
    values, counts = found.pearson(), found.count
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


def count_answer(job: Job, window: Window, prediction: Prediction) -> None:
    """Count what was predicted for a window."""
    if len(job.neurons):
        wanted = np.isin(prediction.neurons, job.neurons)
        columns = np.searchsorted(job.neurons, prediction.neurons[wanted])
        job.add(window, prediction.responses[:, wanted], columns)
    if job.mask.asks_behavior:
        job.add_behavior(window, prediction.behavior)
