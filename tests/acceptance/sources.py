"""What drives a neuron: planted couplings are found, and useless sources are not.

    .venv/bin/python -m tests.acceptance.sources [--worlds 20] [--targets 20] [--json]

In simulated worlds (`simulate.coupled_neurons`) it is known what drives a neuron. The
command measures, with `linear-gaussian`:

- drivers: AUROC of five planted drivers among 200 and 1,000 neurons, over their strength;
- shifted: of a source that is shifted circularly before the fit, the share of intervals of
  *unique* wholly above 0 (at most 4 %), and below; standard error over worlds;
- single: the share of the only source of a neuron in v(all);
- ranks: of each --session, Spearman's correlation of the values of sources alone with
  those of ridges on the same inputs (at least .8);
- areas: of areas with a common drive alone, the share of intervals of *beyond* above 0.

It exits with status 1 if one is missed.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, pairwise
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

import omnimouse_model as om
from omnimouse_model.analysis.sources.errors import Samples, areas_of
from omnimouse_model.analysis.sources.informants import find_informants
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.families.parts.linear_gaussian.series import (
    behavior_inputs,
    frames_of,
    video_inputs,
)
from omnimouse_model.progress import QUIET
from omnimouse_model.simulate.coupled_neurons import (
    SINGLE,
    CoupledSpec,
    Single,
    shifted,
    simulate_coupled,
)

MODEL = "linear-gaussian"
STRENGTHS = (0.02, 0.04, 0.06, 0.08, 0.10)
N_ABOVE = 0.04
"""Largest share of intervals of a useless source above 0."""


@dataclass(frozen=True, slots=True)
class Row:
    """A measured value and its limit: it is at least, or at most, that."""

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
            above.append(unique.is_above.mean())
            below.append(unique.is_below.mean())
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
PENALTY = 0.3
"""Ridge penalty, relative to the variance of an input."""


def rank_rows(path: str, n_targets: int = 40, windows: int = 120) -> Iterator[Row]:
    """Yield how the values of sources alone agree in rank with those of ridges.

    The ridges are fitted to the train tier: of video (motion energy), behaviour at some
    lags, five means of the own past, and the activity of other neurons, each reduced to
    its principal components.
    """
    session = om.open_session(path)
    spec = om.OMNIMOUSE
    chosen = np.random.default_rng(0).permutation(session.n_neurons)[:n_targets]
    targets = np.sort(chosen)
    found = om.sources(MODEL, session, targets=targets, max_windows=windows)
    inputs, scores = _ridge_inputs(session, spec, targets, found.names), []
    for column, neuron in enumerate(targets.tolist()):
        for name in found.names:
            scores.append(_ridge_value(inputs, name, column, neuron, session))
    values = np.array([found.of("alone", name).value for name in found.names]).T.ravel()
    ranks = [np.argsort(np.argsort(one)) for one in (values, np.array(scores))]
    value = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    note = f"alone, {len(targets)} neurons × {', '.join(found.names)}"
    yield Row(f"ranks against ridges, {session.id}", value, 0.8, True, n=len(values), note=note)


def _ridge_inputs(
    session: om.Session, spec: om.WindowSpec, targets: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, np.ndarray]]:
    """Return inputs and responses at the scored samples of train and test windows."""
    samples = Samples.of(session, spec)
    rows = slice(*samples.scored)
    areas, hidden = areas_of(session), np.isin(np.arange(session.n_neurons), targets)
    parts: dict[str, dict[str, np.ndarray]] = {}
    for tier, most in (("train", 240), ("test", 120)):
        columns: dict[str, list[np.ndarray]] = {}
        for start in scored_starts(session, tier, most, spec):
            window = session.window(float(start), spec)
            recorded = np.nan_to_num(window.responses)
            columns.setdefault("response", []).append(recorded[rows][:, targets])
            past = recorded[slice(*samples.own)].reshape(5, -1, session.n_neurons).mean(axis=1)
            past = past[:, targets][None].repeat(len(recorded[rows]), axis=0)
            columns.setdefault("history", []).append(past)
            if "video" in names:
                video = video_inputs(frames_of(window), spec)[rows]
                columns.setdefault("video", []).append(video)
            if "behavior" in names:
                behavior = np.nan_to_num(window.behavior)
                columns.setdefault("behavior", []).append(behavior_inputs(behavior, spec)[rows])
            for area in np.unique(areas):
                shown = recorded[rows][:, (areas == area) & ~hidden]
                columns.setdefault(f"area {area}", []).append(shown)
        parts[tier] = {name: np.concatenate(values) for name, values in columns.items()}
    for name in parts["train"]:
        if name not in ("response", "history"):
            _reduce(parts, name)
    return parts


def _reduce(parts: dict[str, dict[str, np.ndarray]], name: str) -> None:
    train = parts["train"][name]
    mean, std = train.mean(axis=0), train.std(axis=0) + 1e-6
    axes = np.linalg.svd((train - mean) / std, full_matrices=False)[2][:N_COMPONENTS]
    for part in parts.values():
        part[name] = (part[name] - mean) / std @ axes.T


def _ridge_value(
    inputs: dict[str, dict[str, np.ndarray]],
    name: str,
    column: int,
    neuron: int,
    session: om.Session,
) -> float:
    """Return the value of one source alone, of a ridge, in the test windows."""
    own, everyone = areas_of(session)[neuron], np.unique(areas_of(session))
    names = {
        "same area": [f"area {own}"],
        "other areas": [f"area {area}" for area in everyone if area != own],
        "other neurons": [f"area {area}" for area in everyone],
    }.get(name, [name])

    def of(tier: str) -> tuple[np.ndarray, np.ndarray]:
        columns = [inputs[tier][one] for one in names]
        if name == "history":
            columns = [columns[0][:, :, column]]
        return np.concatenate(columns, axis=1), inputs[tier]["response"][:, column]

    (x, y), (x_test, y_test) = of("train"), of("test")
    mean, level = x.mean(axis=0), y.mean()
    gram = (x - mean).T @ (x - mean) / len(x)
    gram[np.diag_indices(len(gram))] += PENALTY * np.diag(gram).mean() + 1e-6
    weights = np.linalg.solve(gram, (x - mean).T @ (y - level) / len(x))
    error = ((y_test - level - (x_test - mean) @ weights) ** 2).sum()
    return float(1 - error / ((y_test - level) ** 2).sum())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=(200, 1000))
    parser.add_argument(
        "--only",
        choices=("drivers", "shifted", "single", "areas", "ranks"),
        help="One part of the table.",
    )
    parser.add_argument(
        "--session",
        action="append",
        default=[],
        help="Recording whose ranks of sources are compared with those of ridges.",
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "drivers": lambda: driver_rows(given.sizes, given.targets),
        "shifted": lambda: shifted_rows(given.worlds),
        "single": lambda: single_rows(min(given.worlds, 5)),
        "areas": lambda: area_rows(given.worlds),
        "ranks": lambda: chain.from_iterable(map(rank_rows, given.session)),
    }
    rows = []
    with TemporaryDirectory() as folder:
        # Fits of these worlds would fill the cache of the user.
        os.environ["OMNIMOUSE_CACHE"] = folder
        for name, part in parts.items():
            if given.only in (None, name):
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
    sign = "≥" if row.is_least else "≤"
    mark = "✓" if row.is_met else "✗"
    error = "" if np.isnan(row.error) else f" ± {row.error:.3f}"
    return (
        f"{mark} {row.name}: {row.value:.3f}{error} ({sign} {row.limit}), n = {row.n}. {row.note}"
    )


if __name__ == "__main__":
    sys.exit(main())
