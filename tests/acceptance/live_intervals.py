"""Bias and coverage of live scores over few windows, in worlds with known scores.

    python -m tests.acceptance.live_intervals [--draws 1600] [--world NAME]

Recordings with the same neurons are drawn again and again, each with 171 windows of a
test tier. Their scores over the first windows are compared with the score over half a
day. Prints one line for each world, number and count of windows. Exits with 1 if the
bias of a centred score is above .02 from 16 windows or .01 from 64 windows, or if
intervals cover less than 92 or more than 97 % from 16 windows on (those of pooled
scores, whose bias has no limit, from 64 on). Shares have a tolerance of one standard
error.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from scipy.signal import lfilter

from omnimouse_model.evaluation.shard import BATCH, TRAIN_WINDOWS
from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.metrics import Moments, moments, session_score
from omnimouse_model.metrics.time_blocks import (
    BlockSums,
    Centres,
    Estimate,
    in_turns,
    jackknife,
    jackknife_gain,
    time_blocks,
)

RATE, WINDOW_S = 30, 2.0
N_NEURONS = 40
RUN_S, TRAIN_S, N_RUNS = 10, 20, 19
"""Each run of the test tier is followed by one of the train tier, as in the demo."""
COUNTS = (8, 16, 24, 32, 64, 171)
"""Windows of a live score; the last is the whole tier."""
MAX_BIAS = {16: 0.02, 24: 0.02, 32: 0.02, 64: 0.01, 171: 0.01}
"""Of centred scores and gains, by number of windows."""
NUMBERS = ("score", "gain", "pooled score", "pooled gain")
Parts = tuple[float, *tuple[np.ndarray, ...]]
"""A score, and the score without each block of time, or train window."""
COVERAGE = (0.92, 0.97)
TRUTH_S = 43_200
CHUNK_S = 1_200


@dataclass(frozen=True)
class World:
    """Neurons, and the processes from which their recordings are drawn.

    Attributes
    ----------
    slow
        Standard deviation of a state that the neurons share; that of the fast signals
        is 1.
    tau_s
        Time within which this state changes.
    is_skewed
        Whether responses are counts of log-normal rates.
    trial
        Standard deviation of a part that is constant in each run, as for clips that
        differ in their mean drive.
    is_checked
        Whether the limits hold for this world. They do not for a state that lasts
        longer than the 10 s of a block of time: neighbouring blocks are then dependent.
    """

    name: str
    slow: float = 0.0
    tau_s: float = 5.0
    trial: float = 0.0
    is_skewed: bool = False
    is_checked: bool = True

    def draw(
        self, generator: np.random.Generator, n_s: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return responses (T, P), and those that two models predict."""
        n = n_s * RATE
        neurons = np.random.default_rng(5)
        loading = neurons.normal(size=(3, N_NEURONS)) / np.sqrt(3)
        signal = _process(generator, n, 3, 0.3) @ loading
        state = _process(generator, n, 1, self.tau_s) * neurons.normal(1, 0.5, N_NEURONS)
        known = generator.normal(size=(-(-n_s // RUN_S), N_NEURONS))
        known = np.repeat(known, RUN_S * RATE, axis=0)[:n]
        drive = signal + self.slow * state + self.trial * known
        noise = generator.normal(size=(2, n, N_NEURONS))
        best = signal + 0.7 * self.slow * state + self.trial * known + 0.5 * noise[0]
        worse = best + 0.7 * noise[1]
        if not self.is_skewed:
            return drive + 2 * generator.normal(size=drive.shape), best, worse
        counts = generator.poisson(np.exp(0.5 * drive)).astype(float)
        return counts, np.exp(0.5 * best), np.exp(0.5 * worse)


WORLDS = (
    World("fast signals"),
    World("shared state of 5 s", slow=0.7),
    World("clips of different drive", trial=0.7),
    World("skewed counts", slow=0.5, trial=0.5, is_skewed=True),
    World("shared state of 20 s", slow=0.7, tau_s=20.0, is_checked=False),
)


def _process(generator: np.random.Generator, n: int, count: int, tau_s: float) -> np.ndarray:
    """Return stationary processes (n, count) of variance 1, smooth within `tau_s`."""
    keep = np.exp(-1 / (tau_s * RATE))
    white = generator.normal(size=(n, count)) * np.sqrt(1 - keep**2)
    white[0] /= np.sqrt(1 - keep**2)
    return np.asarray(lfilter([1], [1, -keep], white, axis=0))


def true_scores(world: World, n_s: int = TRUTH_S) -> np.ndarray:
    """Return the mean correlation of both models over `n_s` seconds, float64 (2,)."""
    generator, total = np.random.default_rng(1), [None, None]
    for _ in range(n_s // CHUNK_S):
        recorded, *models = world.draw(generator, CHUNK_S)
        parts = [moments(predicted, recorded) for predicted in models]
        total = [
            part if before is None else before.merged(part)
            for before, part in zip(total, parts, strict=True)
        ]
    return np.array([one.pearson().mean() for one in total if one is not None])


def scores_over_windows(
    windows: Moments, starts_s: np.ndarray, centres: Centres, counts: tuple[int, ...] = COUNTS
) -> Iterator[tuple[Parts, Parts]]:
    """Yield the centred and the pooled score of the first windows, and their parts.

    Windows are added in the order of `TierScoring`, whose numbers these are.

    Parameters
    ----------
    windows
        Moments (window, P).
    centres
        Means over the train tier.
    counts
        Numbers of windows, ascending.
    """
    blocks, sums = time_blocks(starts_s, WINDOW_S), BlockSums()
    order = in_turns(np.random.default_rng(0).permutation(len(starts_s)), blocks)
    order = np.concatenate([np.sort(order[k : k + BATCH]) for k in range(0, len(order), BATCH)])
    for number, place in enumerate(order.tolist(), start=1):
        sums.add(int(blocks[place]), one_window(windows, place))
        if number in counts:
            total, *rest = (part for part, _ in (sums.total(), *sums.without_each()))
            trained = centres.without_each(total)
            centred = (
                session_score(centres.correlations(total), total.count),
                np.array([session_score(centres.correlations(p), p.count) for p in rest]),
                np.array([session_score(values, total.count) for values in trained]),
            )
            left_out = [session_score(part.pearson(), part.count) for part in rest]
            pooled = session_score(total.pearson(), total.count), np.array(left_out)
            yield centred, pooled


def one_window(windows: Moments, place: int) -> Moments:
    """Return the moments (P,) of one of several windows."""
    names = [field.name for field in fields(Moments)]
    return Moments(*(getattr(windows, name)[place] for name in names))


def live_estimates(world: World, generator: np.random.Generator) -> list[tuple[Estimate, ...]]:
    """Return the `NUMBERS` over each count of windows of one recording."""
    period = RUN_S + TRAIN_S
    recorded, *models = world.draw(generator, N_RUNS * period)
    seconds = np.arange(N_RUNS * period)
    is_test = seconds % period < RUN_S
    # Windows begin at each second; their second half is predicted.
    tests = seconds[is_test & (seconds % period < RUN_S - 1)]
    trains = seconds[~is_test & (seconds % period < period - 1)]
    trains = spread_starts(trains, TRAIN_WINDOWS)
    mean = recorded[np.repeat(~is_test, RATE)].mean(axis=0)

    def of_windows(predicted: np.ndarray, starts: np.ndarray) -> Moments:
        seconds = (part.reshape(-1, RATE, N_NEURONS) for part in (predicted, recorded))
        return moments(*(part[starts + 1] for part in seconds), axis=1)

    found = []
    for predicted in models:
        trained, of_train = BlockSums(), of_windows(predicted, trains)
        for place in range(TRAIN_WINDOWS):
            trained.add(place, one_window(of_train, place))
        scores = scores_over_windows(
            of_windows(predicted, tests), tests.astype(float), trained.centres(mean)
        )
        found.append(list(scores))
    return [
        (*_estimates(centred, of_other), *_estimates(pooled, pooled_other))
        for (centred, pooled), (of_other, pooled_other) in zip(*found, strict=True)
    ]


def _estimates(one: Parts, other: Parts) -> tuple[Estimate, Estimate]:
    """Return a score and its gain over another."""
    return jackknife(*one), jackknife_gain(one, other)


def main() -> None:
    """Print bias and coverage of each world; exit with 1 if one exceeds its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1600, help="recordings per world")
    names = [world.name for world in WORLDS]
    parser.add_argument("--world", choices=names, help="this one alone")
    arguments = parser.parse_args()
    n_draws, chosen = arguments.draws, arguments.world
    print("| world | number | windows | true | bias | s.d. | shown | covers |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    failures = 0
    for number, world in enumerate(WORLDS):
        if chosen not in (None, world.name):
            continue
        best, worse = true_scores(world)
        generator = np.random.default_rng((2, number))
        drawn = [live_estimates(world, generator) for _ in range(n_draws)]
        for place, count in enumerate(COUNTS):
            for kind, name in enumerate(NUMBERS):
                truth = best - worse if "gain" in name else best
                estimates = [draw[place][kind] for draw in drawn]
                is_good = _print_row(world, name, count, truth, estimates)
                failures += world.is_checked and not is_good
    print(f"{failures} checked rows are out of their limits.")
    sys.exit(failures > 0)


def _print_row(
    world: World, name: str, count: int, truth: float, estimates: list[Estimate]
) -> bool:
    """Print one row; return whether it is within its limits."""
    values = np.array([one.value for one in estimates])
    shown = [one for one in estimates if np.isfinite(one.low)]
    covers = np.array([one.low <= truth <= one.high for one in shown])
    bias = values.mean() - truth
    is_pooled = "pooled" in name
    is_good = is_pooled or abs(bias) <= MAX_BIAS.get(count, np.inf)
    share, covered = len(shown) / len(estimates), "–"
    if len(shown):
        tolerance = np.sqrt(0.05 * 0.95 / len(shown))
        low, high = COVERAGE[0] - tolerance, COVERAGE[1] + tolerance
        is_limited = count >= (64 if is_pooled else 16)
        is_good &= not is_limited or low <= covers.mean() <= high
        covered = f"{covers.mean():.1%}"
    mark = "" if is_good else " (out)"
    print(
        f"| {world.name} | {name} | {count} | {truth:.3f} | {bias:+.4f} | "
        f"{values.std():.3f} | {share:.0%} | {covered}{mark} |",
        flush=True,
    )
    return bool(is_good)


if __name__ == "__main__":
    main()
