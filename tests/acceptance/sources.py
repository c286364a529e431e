"""What drives a neuron: planted couplings are found, and useless sources are not.

    .venv/bin/python -m tests.acceptance.sources [--worlds 20] [--targets 20] [--json]
    .venv/bin/python -m tests.acceptance.sources --only ranks RECORDING...

In simulated worlds (`simulate.coupled_neurons`) it is known what drives a neuron. The
command measures, with `linear-gaussian`:

- drivers: AUROC of five planted drivers among 200 and 1,000 neurons, over their strength;
- shifted: of a source that is shifted circularly before the fit, the share of intervals of
  *unique* wholly above 0 (at most 4 %), and below; standard error over worlds;
- single: the share of the only source of a neuron in v(all);
- ranks: of each RECORDING and --session, Spearman's correlation of the values of sources
  alone with those of ridges on the same inputs (at least .8; the rule by which a
  RECORDING is judged is in docs/sources.md);
- halves (only with --only halves): of each RECORDING, how both agree that are fitted to other
  halves of the train tier, over how each agrees with itself; and how ridges agree with
  themselves where neither fits nor held-out windows are the same;
- areas: of areas with a common drive alone, the share of intervals of *beyond* above 0;
- times (only with --only times, on a quiet machine): seconds on screen to the first answer
  and to the end, for a neuron (at most 2 and 20) and for all (at most 300).

It exits with status 1 if one is missed.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, combinations, pairwise, permutations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Literal

import numpy as np

import omnimouse_model as om
from omnimouse_model.analysis.sources.errors import Samples, areas_of, target_groups
from omnimouse_model.analysis.sources.informants import find_informants
from omnimouse_model.analysis.sources.sources import (
    HISTORY,
    OTHER_AREAS,
    OTHER_NEURONS,
    SAME_AREA,
    default_sources,
)
from omnimouse_model.evaluation.tier_windows import mean_rates, scored_starts
from omnimouse_model.families.parts.linear_gaussian.fit import (
    behavior_inputs,
    frames_of,
    from_fitted,
    lowest_responses,
    to_fitted,
    video_inputs,
)
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.sources import ALL, SELECTED, Question
from omnimouse_model.metrics.time_blocks import time_blocks
from omnimouse_model.progress import QUIET
from omnimouse_model.simulate.coupled_neurons import (
    SINGLE,
    CoupledSpec,
    Single,
    shifted,
    simulate_coupled,
)
from tests.acceptance.public_recordings import folds, halves, opened

MODEL = "linear-gaussian"
STRENGTHS = (0.02, 0.04, 0.06, 0.08, 0.10)
N_ABOVE = 0.04
"""Largest share of intervals of a useless source above 0."""


@dataclass(frozen=True, slots=True)
class Row:
    """A measured value and its limit: it is at least, or at most, that; NaN for none."""

    name: str
    value: float
    limit: float
    is_least: bool
    error: float = float("nan")
    n: int = 0
    note: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the limit is kept; rates may exceed it by their standard error."""
        if np.isnan(self.limit):
            return True
        if self.is_least:
            return self.value >= self.limit
        return self.value <= self.limit + (0.0 if np.isnan(self.error) else self.error)


def auroc(score: np.ndarray, is_driver: np.ndarray) -> float:
    """Return the probability that a driver has a larger score than another neuron."""
    known = np.isfinite(score)
    score, is_driver = score[known], is_driver[known]
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(1, len(score) + 1)
    n, others = int(is_driver.sum()), int((~is_driver).sum())
    return float((rank[is_driver].sum() - n * (n + 1) / 2) / (n * others))


def driver_rows(sizes: Sequence[int], n_targets: int, minutes: float = 20.0) -> Iterator[Row]:
    """Yield the AUROC of planted drivers in worlds of several sizes, over strength."""
    for n in sizes:
        spec = CoupledSpec(n_neurons=n, minutes=minutes, n_driven=n_targets)
        world = simulate_coupled(spec)
        session = om.open_session(world.arrays)
        found: list[float] = []
        by_strength: dict[float, list[float]] = {low: [] for low in STRENGTHS[:-1]}
        for target in range(n_targets):
            adds, _ = find_informants(session, np.array([target]), 1, om.OMNIMOUSE, QUIET)
            found.append(auroc(adds, world.drivers[target]))
            for low, high in pairwise(STRENGTHS):
                strength = world.strength[target]
                inside = (strength >= low) & (strength < high)
                others = strength == 0
                if inside.any():
                    chosen = inside | others
                    by_strength[low].append(auroc(adds[chosen], inside[chosen]))
        note = "; ".join(
            f"{low:.0%}–{high:.0%}: {np.mean(by_strength[low]):.3f}"
            for low, high in pairwise(STRENGTHS)
            if by_strength[low]
        )
        error = float(np.std(found, ddof=1) / np.sqrt(len(found)))
        yield Row(
            f"drivers, {n:,} neurons", float(np.mean(found)), 0.9, True, error, n_targets, note
        )


def shifted_rows(n_worlds: int, n_neurons: int = 60, minutes: float = 8.0) -> Iterator[Row]:
    """Yield the shares of intervals of a useless source above and below 0."""
    useless: tuple[tuple[Literal["behavior", "LM"], str], ...]
    useless = (("behavior", "behavior"), ("LM", "other areas"))
    for source, name in useless:
        above: list[float] = []
        below: list[float] = []
        count = 0
        for seed in range(n_worlds):
            spec = CoupledSpec(
                seed=seed, n_neurons=n_neurons, minutes=minutes, driven_by_running=0.1
            )
            session = om.open_session(shifted(simulate_coupled(spec), source))
            targets = "V1" if source == "LM" else None
            found = om.sources(
                MODEL, session, ["behavior", "history", "same area", "other areas"], targets
            )
            unique = found.of("unique", name)
            above.append(np.mean(unique.low > 0))
            below.append(np.mean(unique.high < 0))
            count += len(unique.value)
        error = float(np.std(above, ddof=1) / np.sqrt(n_worlds)) if n_worlds > 1 else 0.0
        note = f"below 0: {np.mean(below):.3f}; {n_worlds} worlds"
        yield Row(
            f"shifted {name}, above 0", float(np.mean(above)), N_ABOVE, False, error, count, note
        )


def single_rows(
    n_worlds: int, minutes: float = 20.0, kinds: tuple[Single, ...] = SINGLE
) -> Iterator[Row]:
    """Yield the smallest share in v(all) of the only source of a neuron, of each kind."""
    shares: dict[str, list[float]] = {}
    for seed in range(n_worlds):
        spec = CoupledSpec(
            seed=seed,
            n_neurons=60,
            minutes=minutes,
            singles=1,
            kinds=kinds,
            has_video="video" in kinds,
        )
        world = simulate_coupled(spec)
        found = om.sources(MODEL, om.open_session(world.arrays), targets=[*world.single])
        total = found.total().value
        for neuron, kind in world.single.items():
            at = found.neurons.tolist().index(neuron)
            share = found.of("share", kind).value[at] / total[at]
            shares.setdefault(kind, []).append(float(share))
    for name, values in shares.items():
        yield Row(f"single {name}, share", min(values), 0.8, True, n=len(values))


def area_rows(n_worlds: int, minutes: float = 8.0) -> Iterator[Row]:
    """Yield the share of intervals above 0 between areas with a common drive alone."""
    found: list[float] = []
    alone: list[float] = []
    for seed in range(n_worlds):
        spec = CoupledSpec(
            seed=seed, n_neurons=80, minutes=minutes, shared=0.0, driven_by_running=0.25
        )
        matrix = om.area_matrix(MODEL, om.open_session(simulate_coupled(spec).arrays))
        found.append((matrix.matrix("beyond")[1] > 0).mean())
        alone.append((matrix.matrix("alone")[1] > 0).mean())
    error = float(np.std(found, ddof=1) / np.sqrt(n_worlds)) if n_worlds > 1 else 0.0
    note = f"alone, above 0: {np.mean(alone):.3f}; {n_worlds} worlds"
    yield Row(
        "areas, common drive, above 0",
        float(np.mean(found)),
        0.05,
        False,
        error,
        4 * n_worlds,
        note,
    )


# -- ranks of sources against nested ridges, in any recording -------------------------
N_COMPONENTS = 40
"""Principal components of a group of inputs with more columns."""
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 1e4, 1e6)
"""Ridge penalties, relative to the mean variance of an input."""
TRAIN_WINDOWS = 1200
"""Largest number of windows to fit ridges to: 20 minutes, as for the model, since of each
window the second half is fitted."""
WIDTHS_S = (0.0, 0.2, 0.6, 1.6)
"""Widths of the means over time of other neurons around a sample."""
PAST_S = (0.1, 0.3, 0.9, 2.0)
"""Lengths of the last part of the own past whose mean is an input."""
DECAYS_S = (0.3, 1.0, np.inf)
"""Time constants with which such a mean is forgotten in the guard and after it."""
LEAST_REPEAT, LEAST_BOTH_REPEAT = 0.8, 0.5
"""Repeatability of the ridges from which a rank correlation is judged as it is, and of
both from which it is judged relative to the largest that they allow."""


def rank_rows(
    name: str, parts: Sequence[om.Session], n_targets: int = 40, windows: int = 300
) -> Iterator[Row]:
    """Yield how the values of sources alone agree in rank with those of ridges.

    The ridges are fitted to the train tier, with the inputs and in the scale of the model
    (square roots): motion energy of the video, behaviour at some lags, means of the own
    past, and means over time of other neurons, each reduced to principal components.
    Their penalty is chosen within the train tier.

    Parameters
    ----------
    parts
        The recording, once or with several test tiers, whose windows are one held-out set.
    """
    targets, sources = _asked(parts[0], n_targets)
    each = [_alone(part, targets, sources, windows) for part in parts]
    each_part, values = np.array([pooled([one]) for one in each]), pooled(each)
    names = [one if isinstance(one, str) else one.name for one in sources]
    over = ", ".join(f"{one} {spearman(*values[:, :, k]):.2f}" for k, one in enumerate(names))
    note = f"alone, {len(targets)} neurons × {len(names)} sources; over neurons: {over}"
    value, limit, n = spearman(*values), 0.8, values[0].size
    if len(parts) == 1:
        yield Row(f"ranks against ridges, {name}", value, limit, True, n=n, note=note)
        return
    model, ridges = (repeatability(each_part[:, one]) for one in (0, 1))
    note += f"; ridges repeat {ridges:.2f}, the model {model:.2f}"
    note += f"; of means of the parts' values {spearman(*each_part.mean(axis=0)):.2f}"
    limits = [
        0.8 if is_judged else np.nan
        for is_judged in (ridges >= LEAST_REPEAT, min(ridges, model) >= LEAST_BOTH_REPEAT)
    ]
    yield Row(f"ranks against ridges, {name}", value, limits[0], True, n=n, note=note)
    ceiling = np.sqrt(max(ridges, 0) * max(model, 0))
    relative = value / ceiling if ceiling else np.nan
    yield Row(f"the same over its ceiling, {name}", relative, limits[1], True, n=n)


def half_rows(
    name: str, parts: Sequence[om.Session], n_targets: int = 40, windows: int = 300
) -> Iterator[Row]:
    """Yield how model and ridges agree that are fitted to other halves of the train tier.

    Fits to two thirds of a recording share half of their samples, and errors that these
    make repeat. Two methods that differ by such errors alone agree over the halves as each
    does with itself: the value is 1. The second row has other held-out windows for either
    half, too: how ridges of the whole recording would agree with those of another one.
    """
    targets, sources = _asked(parts[0], n_targets)
    pairs = [halves(part) for part in parts]
    each = [
        [_alone(half, targets, sources, windows) for half in same]
        for same in zip(*pairs, strict=True)
    ]
    # (half, method, target, source)
    model, ridges, across, n = _agreement(np.array([pooled(half) for half in each]))
    note = f"across {across:.2f}; the model with itself {model:.2f}, the ridges {ridges:.2f}"
    ceiling = np.sqrt(max(model, 0) * max(ridges, 0))
    relative = across / ceiling if ceiling else np.nan
    yield Row(f"ranks of halves over their ceiling, {name}", relative, np.nan, True, n=n, note=note)
    # Either half of the windows for either fit, and the mean of both.
    pairings = [
        _agreement(np.array([pooled(each[0], one), pooled(each[1], other)]))
        for one, other in permutations((slice(0, None, 2), slice(1, None, 2)))
    ]
    model, ridges, across, n = np.mean(pairings, axis=0)
    note = "by Spearman–Brown; of halves that share no sample: "
    note += f"ridges {ridges:.2f}, the model {model:.2f}, across {across:.2f}"
    own = 2 * ridges / (1 + ridges)
    yield Row(f"ridges against themselves, {name}", own, np.nan, True, n=int(n), note=note)


def _agreement(values: np.ndarray) -> tuple[float, float, float, int]:
    """Return the rank correlations of two halves, (half, method, target, source).

    They are that of the model with itself, that of the ridges, and the mean of those of
    one method with the other; and the number of values.
    """
    # A neuron without any error of the train mean in a half has no value.
    values = values[..., np.isfinite(values).all(axis=(0, 1))]
    model, ridges = (spearman(*values[:, method]) for method in (0, 1))
    across = float(np.mean([spearman(values[k, 0], values[1 - k, 1]) for k in (0, 1)]))
    return model, ridges, across, values.shape[-1]


def pooled(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], blocks: slice = slice(None)
) -> np.ndarray:
    """Return 1 - (sum of squared errors) / (sum of those of the train means) over parts.

    `parts` are squared errors (method, block, target, source) of each, and those
    (block, target) of the train mean. A mean of the ratios would count a part in which a
    neuron is silent, and has nearly nothing to predict, as one with its events.
    """
    squared = sum(one[:, blocks].sum(axis=1) for one, _ in parts)
    baseline = sum(mean[blocks].sum(axis=0) for _, mean in parts)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1 - squared / np.asarray(baseline)[:, None])


def repeatability(parts: np.ndarray) -> float:
    """Return how well ranks of the mean of some parts would repeat (Spearman-Brown)."""
    own = float(np.mean([spearman(*pair) for pair in combinations(parts, 2)]))
    return len(parts) * own / (1 + (len(parts) - 1) * own)


def _asked(
    session: om.Session, n_targets: int
) -> tuple[np.ndarray, tuple[str | om.NeuronGroup, ...]]:
    """Return the targets and sources whose values are ranked."""
    chosen = np.random.default_rng(0).permutation(session.n_neurons)[:n_targets]
    return np.sort(chosen), rank_sources(session)


def rank_sources(session: om.Session) -> tuple[str | om.NeuronGroup, ...]:
    """Return the usual sources; of a recording without areas, also halves of its field."""
    usual = default_sources(session)
    if OTHER_NEURONS not in usual:
        return usual
    across = np.asarray(session.units.xyz_um, float)[:, 0]
    if not np.isfinite(across).all():
        across = np.arange(session.n_neurons, dtype=float)
    is_left = np.argsort(np.argsort(across)) < session.n_neurons // 2
    halves = {"left": is_left, "right": ~is_left}
    return (*usual, *(om.NeuronGroup.of(session, name, half) for name, half in halves.items()))


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return the rank correlation of two arrays; equal values have their mean rank."""
    # Here, because it takes a second, and most rows do not need it.
    from scipy.stats import spearmanr

    return float(spearmanr(one, other, axis=None).statistic)


def _alone(
    session: om.Session, targets: np.ndarray, sources: Sequence[str | om.NeuronGroup], windows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return squared errors of sources alone, and of the train mean, in blocks of time.

    They are those of the model and of ridges, (2, block, target, source), and of the mean
    (block, target).
    """
    found = om.sources(MODEL, session, sources, targets, max_windows=windows)
    train = [session.window(float(at)) for at in scored_starts(session, "train", TRAIN_WINDOWS)]
    floor = lowest_responses(np.concatenate([w.responses for w in train]), is_count=False)
    means = mean_rates(session, om.OMNIMOUSE)
    tiers = (("train", TRAIN_WINDOWS), ("test", windows))
    inputs = [ridge_inputs(session, *tier, floor) for tier in tiers]
    reduced: dict[str, list[np.ndarray]] = {}
    asked = [found.plan.subsets.index((number,)) for number in range(len(sources))]
    model = found.errors.squared[asked].transpose(1, 2, 0)
    ridges = np.zeros_like(model)
    spec, samples = om.OMNIMOUSE, Samples.of(session, om.OMNIMOUSE)
    blocks = time_blocks(scored_starts(session, "test", windows), spec.duration_s)
    block = np.repeat(blocks, samples.scored[1] - samples.scored[0])
    areas = areas_of(session)
    for group, (number, source) in product(target_groups(areas, targets, 0), enumerate(sources)):
        # Neurons of a group that have the same inputs.
        split = [group[areas[group] == area] for area in np.unique(areas[group])]
        for same in np.split(group, len(group)) if source == HISTORY else split:
            shown = np.zeros(session.n_neurons, bool)
            shown[_neurons_of(session, source, str(areas[same[0]]))] = True
            shown[group] = False
            if source == HISTORY:
                columns = [part["past"][:, same[0]] for part in inputs]
            elif shown.any():
                scales = [_reduced(*(part[f"{w}"][:, shown] for part in inputs)) for w in WIDTHS_S]
                columns = [np.concatenate(one, axis=1) for one in zip(*scales, strict=True)]
            else:
                columns = reduced.setdefault(str(source), _reduced(*(p[source] for p in inputs)))
            recorded = [part["responses"][:, same] for part in inputs]
            error = _ridge_errors(columns, recorded, floor[same], means[same])
            place = (block[:, None], np.searchsorted(targets, same), number)
            np.add.at(ridges, place, error)
    return np.array([model, ridges]), found.errors.baseline


def _neurons_of(session: om.Session, source: str | om.NeuronGroup, area: str) -> np.ndarray:
    """Return the neurons of a source for a target in an area."""
    areas = areas_of(session)
    if not isinstance(source, str):
        return source.indices(session)
    return {
        SAME_AREA: np.flatnonzero(areas == area),
        OTHER_AREAS: np.flatnonzero(areas != area),
        OTHER_NEURONS: np.arange(len(areas)),
    }.get(source, np.zeros(0, np.int64))


def ridge_inputs(
    session: om.Session, tier: str, windows: int, floor: np.ndarray
) -> dict[str, np.ndarray]:
    """Return inputs and responses at the scored samples of the windows of a tier.

    Means of other neurons are named by their width.
    """
    spec = om.OMNIMOUSE
    samples, rate_hz = Samples.of(session, spec), spec.response_rate_hz
    rows, found = slice(*samples.scored), defaultdict(list)
    waited_s = (np.arange(*samples.scored) - samples.own[1]) / rate_hz
    kept = np.exp(-waited_s[:, None] / np.array(DECAYS_S))
    for start in scored_starts(session, tier, windows, spec):
        window = session.window(float(start), spec)
        recorded = np.nan_to_num(window.responses)
        found["responses"].append(recorded[rows])
        activity = to_fitted(recorded, floor, is_count=False)
        for width_s in WIDTHS_S:
            found[f"{width_s}"].append(_means(activity, round(width_s / 2 * rate_hz))[rows])
        own = activity[slice(*samples.own)]
        lengths = [max(1, round(length_s * rate_hz)) for length_s in PAST_S]
        past = np.array([own[-length:].mean(axis=0) for length in lengths])
        # (sample, neuron, length x decay)
        found["past"].append(
            np.einsum("ln,td->tnld", past, kept).reshape(*recorded[rows].shape, -1)
        )
        if session.stimulus is not None:
            found["video"].append(video_inputs(frames_of(window), spec)[rows])
        if session.behavior_names:
            behavior = np.nan_to_num(window.behavior)
            found["behavior"].append(behavior_inputs(behavior, spec)[rows])
    return {name: np.concatenate(values).astype(np.float32) for name, values in found.items()}


def _means(activity: np.ndarray, half: int) -> np.ndarray:
    """Return running means over samples, shortened at the ends of the window."""
    sums = np.cumsum(np.vstack([np.zeros_like(activity[:1]), activity]), axis=0)
    at = np.arange(len(activity))
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, len(activity))
    means: np.ndarray = (sums[last] - sums[first]) / (last - first)[:, None]
    return means


def _reduced(train: np.ndarray, test: np.ndarray) -> list[np.ndarray]:
    """Return the first principal components of inputs, those of the train tier."""
    mean, std = train.mean(axis=0), train.std(axis=0) + 1e-6
    train, test = (train - mean) / std, (test - mean) / std
    axes = np.linalg.eigh(train.T @ train)[1][:, ::-1][:, :N_COMPONENTS]
    return [train @ axes, test @ axes]


def _ridge_errors(
    inputs: Sequence[np.ndarray],
    recorded: Sequence[np.ndarray],
    floor: np.ndarray,
    means: np.ndarray,
) -> np.ndarray:
    """Return the squared errors of ridges of the train tier in the test windows.

    They are those of each sample and target. The mean prediction is the mean response of
    the tier, `means`, as that of the model. The penalty is the one with the least error in
    parts of the train tier that are left out: a recording of a few minutes needs a larger
    one.
    """
    (x, x_test), (y, y_test) = inputs, recorded
    parts = np.array_split(np.arange(len(x)), 4)
    left_out = [np.setdiff1d(np.arange(len(x)), part) for part in parts]
    errors_of = partial(_penalty_errors, floor=floor)
    errors = [
        errors_of(x[rest], y[rest], x[part], y[part], y[rest].mean(axis=0)).sum(axis=1)
        for rest, part in zip(left_out, parts, strict=True)
    ]
    best = np.sum(errors, axis=0).argmin(axis=0)
    error: np.ndarray = errors_of(x, y, x_test, y_test, means)[best, :, np.arange(len(best))].T
    return error


def _penalty_errors(
    x: np.ndarray,
    y: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    means: np.ndarray,
    *,
    floor: np.ndarray,
) -> np.ndarray:
    """Return the squared errors of ridges in other samples, (penalty, sample, target).

    They are fitted in the scale of the model, and predict as it does: their mean prediction
    is `means`, also where that of the samples differs.
    """
    fitted = to_fitted(y, floor, is_count=False)
    mean, level = x.mean(axis=0), fitted.mean(axis=0)
    sizes, axes = np.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    side = axes.T @ ((x - mean).T @ (fitted - level)) / len(x)
    along, along_test = ((part - mean) @ axes for part in (x, x_test))
    errors = []
    before, after = y.mean(axis=0) - floor, means - floor
    moved = np.clip(after / np.maximum(before, 1e-9), 0.25, 4.0)
    for penalty in np.array(PENALTIES) * max(sizes.mean(), 1e-6):
        weights = side / (np.maximum(sizes, 0) + penalty)[:, None]
        variance = ((along @ weights + level - fitted) ** 2).mean(axis=0)
        predicted = along_test @ weights + level
        predicted = from_fitted(predicted, variance, floor, is_count=False)
        predicted = floor + (predicted - floor) * moved
        errors.append((y_test - predicted) ** 2)
    return np.array(errors)


# -- times on screen ------------------------------------------------------------------
def time_rows(n_neurons: int) -> Iterator[Row]:
    """Yield seconds to the first answer and to the end, on screen.

    The first question waits for the fits of the model, which has no limit.
    """
    spec = CoupledSpec(n_neurons=n_neurons, minutes=20.0, n_driven=20, has_video=True)
    with TemporaryDirectory() as folder, closing(Controller()) as controller:
        controller.loader.open_now(om.open_session(simulate_coupled(spec).arrays))
        sources, nothing = controller.sources, float("nan")
        sources.folder = Path(folder)
        asked: tuple[tuple[str, Question, str, int, tuple[float, float]], ...] = (
            ("first run, with the fits", "sources", SELECTED, 1, (nothing, nothing)),
            ("sources of a neuron", "sources", SELECTED, 0, (2.0, 20.0)),
            ("informants of a neuron", "informants", SELECTED, 0, (2.0, 20.0)),
            ("sources of all neurons", "sources", ALL, 0, (nothing, 300.0)),
        )
        for name, question, targets, neuron, limits in asked:
            controller.selection.select([neuron])
            sources.set(question=question, targets=targets)
            seen_s: list[float] = []
            note = partial(_add_now, seen_s)
            sources.measured.connect(note)
            begun_s = monotonic()
            sources.start()
            sources.wait()
            sources.measured.disconnect(note)
            if sources.error is not None:
                raise sources.error
            for what, at_s, limit in zip(
                ("first answer", "end"), (seen_s[0], monotonic()), limits, strict=True
            ):
                text = f"{n_neurons:,} neurons, seconds"
                yield Row(f"{name}, {what}", at_s - begun_s, limit, False, note=text)


def _add_now(seen_s: list[float]) -> None:
    seen_s.append(monotonic())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=(200, 1000))
    parser.add_argument(
        "--only",
        choices=("drivers", "shifted", "single", "areas", "ranks", "halves", "times"),
        help="One part of the table; halves and times are measured only so.",
    )
    parser.add_argument(
        "--session",
        action="append",
        default=[],
        help="Session with a test tier whose ranks of sources are compared with those of ridges.",
    )
    parser.add_argument(
        "recordings",
        nargs="*",
        metavar="RECORDING",
        help="The same of a path with options after commas, as in "
        "tests.acceptance.public_recordings; each third is a test tier.",
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "drivers": lambda: driver_rows(given.sizes, given.targets),
        "shifted": lambda: shifted_rows(given.worlds),
        "single": lambda: single_rows(min(given.worlds, 5)),
        "areas": lambda: area_rows(given.worlds),
        "ranks": lambda: chain(
            chain.from_iterable(rank_rows(one, [om.open_session(one)]) for one in given.session),
            chain.from_iterable(
                rank_rows(Path(one.partition(",")[0]).stem, folds(opened(one)))
                for one in given.recordings
            ),
        ),
        "halves": lambda: chain.from_iterable(
            half_rows(Path(one.partition(",")[0]).stem, folds(opened(one)))
            for one in given.recordings
        ),
        "times": lambda: time_rows(max(given.sizes)),
    }
    rows = []
    with TemporaryDirectory() as folder:
        # Fits of these worlds would fill the cache of the user.
        os.environ["OMNIMOUSE_CACHE"] = folder
        for name, part in parts.items():
            if given.only == name or (given.only is None and name not in ("halves", "times")):
                for row in part():
                    rows.append(row)
                    if not given.json:
                        print(_text(row), flush=True)
    if given.json:
        # JSON has no NaN.
        plain = [{k: None if v != v else v for k, v in asdict(row).items()} for row in rows]
        print(json.dumps({"rows": plain}))
    return int(not all(row.is_met for row in rows))


def _text(row: Row) -> str:
    limit = f"{'≥' if row.is_least else '≤'} {row.limit}"
    mark = "✓" if row.is_met else "✗"
    if np.isnan(row.limit):
        mark, limit = "–", "not judged"
    error = "" if np.isnan(row.error) else f", s.e. {row.error:.3f}"
    return f"{mark} {row.name}: {row.value:.3f}{error} ({limit}), n = {row.n}. {row.note}"


if __name__ == "__main__":
    sys.exit(main())
