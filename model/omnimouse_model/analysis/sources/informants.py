"""Informants: the few neurons that best predict a neuron or an area.

What each neuron adds is found by a ridge regression of the targets on all neurons and
their past: by how much the explained variance falls without the neuron. Such a regression
sees a coupling of two neurons; a model of few shared factors hides it. The order is that of a
greedy selection among the neurons that add most. Both read the train tier; the values of
the first k informants come from the predictor, in held-out windows, beside those of as
many random neurons.

The file is long because the regression, the search and the result are one method.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from omnimouse_model.analysis.sources.errors import (
    Asked,
    Errors,
    Found,
    Piece,
    Samples,
    Targets,
    Work,
    areas_of,
    check_answers,
    check_rows,
    chosen_neurons,
    estimate_text,
    target_groups,
)
from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import count
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation.results import number_or_none
from omnimouse_model.evaluation.results_store import RowFormat
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.inference.dask_map import TaskPredictor
from omnimouse_model.inference.registry import Source as PredictorSource
from omnimouse_model.inference.registry import resolve_predictor
from omnimouse_model.masks import Mask
from omnimouse_model.metrics.time_blocks import Estimate
from omnimouse_model.predict.predictor import Predictor, Subset, fits_of
from omnimouse_model.progress import Job, advance, part_of, shown_job
from omnimouse_model.simulate.demo import opened
from omnimouse_model.storage.tables import columns_of, write_table

REGRESSION_HZ: Final = 8.0
"""Rate at which responses are averaged for the regression, about."""
N_LAGS: Final = 4
"""Lags of the regression in samples of 1/8 s: 0 to 0.4 s."""
RIDGE: Final = 0.02
"""Penalty, in units of the variance of a neuron."""
MAX_REGRESSED: Final = 1500
"""Neurons in the regression; of more, those with the largest correlation at any lag."""
FIRST_REGRESSED: Final = 256
"""Neurons in a first regression, which takes a tenth of a second."""
N_CANDIDATES: Final = 64
"""Neurons that add most, among which the greedy selection chooses."""
MAX_S: Final = 1800.0
"""Seconds of the train tier that are read at most, spread evenly."""
MAX_VALUES: Final = 60_000_000
"""Averaged responses (samples x neurons) in memory at most, 240 MB."""
MAX_TARGETS: Final = 100
"""Targets of the regression at most, spread evenly over those that were asked."""
N_INFORMANTS: Final = 16
"""Informants by default, where there are as many other neurons."""
_SEARCH_SHARE: Final = 0.7
Search = tuple[np.ndarray, np.ndarray]
"""What each neuron adds to a regression of the targets, (P,), and the best k."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Informants(Found):
    """The neurons that tell most of some targets, and how much the first k tell.

    Examples
    --------
    >>> found = om.informants("linear-gaussian", session, [3], k=4, n_random=2)
    >>> found.counts, len(found.order), bool(np.isnan(found.adds[3]))
    ((1, 2, 4), 4, True)
    >>> found.to_dataframe().columns[:3].tolist()
    ['neuron', 'unit_id', 'area']

    Attributes
    ----------
    targets
        int64: neurons that are predicted, hidden together: a tenth of each area at most.
    n_asked
        Neurons that were asked for, of which `targets` are drawn.
    adds
        (P,): share of the targets' variance that a regression on all neurons explains
        less without the neuron, mean over targets; NaN for targets and for neurons that
        were not in the regression.
    order
        int64 (k,): informants, the first tells most.
    counts
        Numbers of visible informants.
    n_random
        Random draws of neurons beside them.
    errors
        Sums for each number of informants, of each random draw, and of all neurons.
    """

    KIND = RowFormat("informants", "a search of informants", Errors.plain, Errors.parsed)

    targets: np.ndarray
    n_asked: int
    adds: np.ndarray
    order: np.ndarray
    counts: tuple[int, ...]
    n_random: int
    unit_ids: np.ndarray
    areas: np.ndarray

    @property
    def is_complete(self) -> bool:
        """Whether the values were measured."""
        return len(self.errors.neurons) == len(self.targets)

    @property
    def targets_text(self) -> str:
        """How many targets there are, and why fewer than were asked for."""
        if len(self.targets) == self.n_asked:
            return count(len(self.targets), "target")
        return (
            f"{len(self.targets):,} of {count(self.n_asked, 'target')}, drawn: at most a "
            "tenth of an area is hidden at once, so that the rest of it can tell"
        )

    def curve(self) -> list[Estimate]:
        """Return the value of the first k informants, for each of `counts`."""
        return [self._mean({k: 1.0}) for k in range(len(self.counts))]

    def random_curve(self) -> list[Estimate]:
        """Return the value of k random neurons, mean over the draws."""
        n = len(self.counts)
        share = 1.0 / self.n_random
        return [
            self._mean({(1 + draw) * n + k: share for draw in range(self.n_random)})
            for k in range(n)
        ]

    def everyone(self) -> Estimate:
        """Return the value of all neurons that are no targets."""
        return self._mean({len(self.errors.squared) - 1: 1.0})

    def _mean(self, parts: Mapping[int, float]) -> Estimate:
        weights = np.zeros(len(self.errors.squared))
        weights[list(parts)] = list(parts.values())
        return self.errors.mean(weights)

    # -- tables and file -------------------------------------------------------------
    def table(self) -> list[dict[str, object]]:
        """Return one row per neuron that is no target, as JSON values."""
        rank = {neuron: k + 1 for k, neuron in enumerate(self.order.tolist())}
        return [
            {
                "neuron": neuron,
                "unit_id": self.unit_ids[neuron].item(),
                "area": str(self.areas[neuron]),
                "adds": number_or_none(self.adds[neuron]),
                "rank": rank.get(neuron),
                "predictor": self.predictor,
                "session": self.session,
            }
            for neuron in range(len(self.adds))
            if neuron not in self.targets
        ]

    def curve_table(self) -> list[dict[str, object]]:
        """Return one row per number of neurons and choice, as JSON values."""
        n_others = len(self.adds) - len(self.targets)
        curves = {"informants": self.curve(), "random": self.random_curve()}
        points = [
            (choice, n, found)
            for choice, curve in curves.items()
            for n, found in zip(self.counts, curve, strict=True)
        ]
        return [
            {
                "choice": choice,
                "n_visible": n,
                "value": number_or_none(found.value),
                "low": number_or_none(found.low),
                "high": number_or_none(found.high),
                "n_targets": len(self.targets),
                "n_windows": self.n_windows,
                "predictor": self.predictor,
                "session": self.session,
                "tier": self.tier,
            }
            for choice, n, found in [*points, ("all", n_others, self.everyone())]
        ]

    def write_curve(self, path: str | Path) -> Path:
        """Write `curve_table()` as CSV, or as Parquet if the name ends so."""
        return write_table(path, columns_of(self.curve_table(), ["choice"]))

    def _asked(self) -> dict[str, Any]:
        return {
            "targets": self.targets.tolist(),
            # Only of a draw: a file from before it was stored can be continued.
            **({"n_asked": self.n_asked} if self.n_asked > len(self.targets) else {}),
            "order": self.order.tolist(),
            "counts": list(self.counts),
            "n_random": self.n_random,
            "adds": [number_or_none(one) for one in self.adds],
            "unit_ids": self.unit_ids.tolist(),
            "areas": [str(area) for area in self.areas],
        }

    @classmethod
    def _read(
        cls, facts: Mapping[str, Any], rows: Sequence[Errors], shared: dict[str, Any]
    ) -> "Informants":
        n_questions = len(facts["counts"]) * (1 + int(facts["n_random"])) + 1
        check_rows(rows, n_questions, facts["targets"])
        nothing = Errors.none(np.zeros(0, np.int64), n_questions, 1)
        adds, order = _search_in(facts)
        return cls(
            **shared,
            targets=np.array(facts["targets"], np.int64),
            n_asked=int(facts.get("n_asked", len(facts["targets"]))),
            adds=adds,
            order=order,
            counts=tuple(map(int, facts["counts"])),
            n_random=int(facts["n_random"]),
            errors=rows[0] if rows else nothing,
            unit_ids=np.array(facts["unit_ids"]),
            areas=np.array(facts["areas"], np.str_),
        )

    def _facts(self) -> dict[str, str]:
        return {
            "predictor": self.predictor,
            "session": self.session,
            "targets": self.targets_text,
            "windows": f"{self.n_windows} of tier {self.tier}",
            "intervals": "95 % over time",
            "informants (unit ids)": ", ".join(str(self.unit_ids[k]) for k in self.order[:8]),
            "all neurons": estimate_text(self.everyone()),
        }

    def _lines(self) -> list[tuple[str, str]]:
        pairs = zip(self.counts, self.curve(), self.random_curve(), strict=True)
        return [
            (count(n, "neuron"), f"{estimate_text(best)}; random {estimate_text(other)}")
            for n, best, other in pairs
        ]


ALONE: Final = "The recording has one neuron: there is no other that could tell of it."


def informants(
    predictor: "Predictor | PredictorSource | Path",
    session: Session | str | Path,
    targets: Targets,
    *,
    k: int | None = None,
    n_random: int = 5,
    tier: str = "test",
    max_windows: int | None = None,
    seed: int = 0,
    results: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    connect: Collection[str] = (),
    job: Job | None = None,
    on_part: Callable[[Informants], None] = lambda found: None,
) -> Informants:
    """Find the k neurons that best predict some targets, and how well they do.

    Examples
    --------
    >>> found = om.informants("linear-gaussian", session, "RL", k=2, n_random=2)
    >>> [len(found.targets), len(found.curve()), len(found.order)]
    [1, 2, 2]

    Parameters
    ----------
    predictor
        A predictor, or its name, path or factory; it measures the values. A scheduler
        needs one of the latter.
    targets
        Neurons: an area, a group, an index, indices or a bool for each. They are hidden together:
        of more than a tenth of an area, a tenth is drawn.
    k
        Number of informants, by default 16, or all neurons that are no targets if these are
        fewer; the curve has 1, 2, 4, … of them.
    n_random
        Draws of random neurons, nested as the informants are.
    max_windows, results, about, scheduler, job, on_part
        As in `sources`.

    Raises
    ------
    ValueError
        There are no targets, or fewer than k other neurons.
    UnsupportedRequestError
        The predictor does not see responses, or there is no train tier.
    """
    session, loaded = opened(session), resolve_predictor(predictor, device, connect)
    check_answers(loaded, of_neurons=True)
    areas = areas_of(session)
    chosen = chosen_neurons(session, targets)
    group = target_groups(areas, chosen, seed)[0]
    others = np.setdiff1d(np.arange(session.n_neurons), group)
    k = min(N_INFORMANTS, len(others)) if k is None else k
    if not len(others):
        raise ValueError(ALONE)
    if not 0 < k <= len(others):
        raise ValueError(
            f"k is from 1 to {len(others):,}, the neurons that are no targets, not {k}."
        )
    counts = (*(2**power for power in range(k.bit_length()) if 2**power < k), k)
    starts = scored_starts(session, tier, max_windows, loaded.needs.spec)
    random = [
        np.random.default_rng([seed, draw]).permutation(others)[:k] for draw in range(n_random)
    ]
    found = Informants(
        predictor=loaded.predictor_id,
        **fits_of(loaded),
        session=session.id,
        tier=tier,
        n_windows=len(starts),
        targets=group,
        n_asked=len(chosen),
        adds=np.full(session.n_neurons, np.nan),
        order=group[:0],
        counts=counts,
        n_random=n_random,
        errors=Errors.none(group[:0], len(counts) * (1 + n_random) + 1, 1),
        unit_ids=np.asarray(session.units.names),
        areas=areas,
    )
    asked = {"fingerprint": session.fingerprint, "starts": starts.tolist(), "seed": seed}
    with shown_job(job, unit="step") as shown:
        search = _stored_search(results, found.definition() | asked)

        def known(search: Search) -> Informants:
            adds, order = search
            return replace(found, adds=adds, order=order)

        def show_search(search: Search) -> None:
            on_part(replace(known(search), n_windows=0))

        if search is None:
            part = part_of(shown, 0.0, _SEARCH_SHARE)
            search = find_informants(session, group, k, loaded.needs.spec, part, show_search)
        show_search(search)
        found = known(search)
        definition = found.definition() | asked
        work = Work(Informants.KIND, definition, results, about, scheduler)
        model = TaskPredictor.of(predictor, device, loaded, scheduler, connect)
        ask = partial(ask_informants, [found.order, *random], counts)
        pieces = [Piece(model, session, group, starts, len(found.errors.squared), ask)]

        def show(parts: Sequence[Errors], n_windows: int) -> None:
            on_part(replace(found, errors=parts[0], n_windows=n_windows))

        values = work.collected(pieces, part_of(shown, _SEARCH_SHARE, 1.0), show)
    return replace(found, errors=values[0]) if values else found


def _search_in(facts: Mapping[str, Any]) -> Search:
    """Return what each neuron adds, and the informants, of a definition.

    Raises
    ------
    ValueError
        Targets are in the regression as candidates, as in an earlier version.
    """
    adds = np.array([np.nan if one is None else one for one in facts["adds"]], float)
    targets, order = np.array(facts["targets"], int), np.array(facts["order"], np.int64)
    # Then all values are wrong, also where none of them was chosen.
    if np.isfinite(adds[targets]).any() or np.isin(targets, order).any():
        raise ValueError("Targets are among the candidates: the result is of an earlier version.")
    return adds, order


def _stored_search(results: str | Path | None, definition: Mapping[str, Any]) -> Search | None:
    """Return the search of a results file with this definition; None without one.

    To search again takes longest, and the last digits depend on the number of threads.
    """
    if results is None:
        return None
    found = ("adds", "order")
    # What is wrong with a file is told when it is continued.
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        facts = Informants.KIND.read(Path(results))[0]["definition"]
        if facts == {**definition, **{name: facts[name] for name in found}}:
            return _search_in(facts)
    return None


def ask_informants(
    orders: Sequence[np.ndarray],
    counts: Sequence[int],
    session: Session,
    targets: np.ndarray,
    spec: WindowSpec,
) -> list[Asked]:
    """Return the masks of the first k neurons of each order, and that of all neurons."""
    samples = Samples.of(session, spec)
    base = Mask.nothing(session, spec).ask(targets, samples.scored)
    everyone = np.setdiff1d(np.arange(session.n_neurons), targets)
    shown = [*(order[:n] for order in orders for n in counts), everyone]
    return [
        Asked(number, targets, Subset(base.show(neurons), targets))
        for number, neurons in enumerate(shown)
    ]


# -- search in the train tier ---------------------------------------------------------
def find_informants(
    session: Session,
    targets: np.ndarray,
    k: int,
    spec: WindowSpec,
    job: Job,
    on_first: Callable[[Search], None] = lambda found: None,
) -> Search:
    """Return what each neuron adds to a regression of the targets, (P,), and the best k.

    `on_first` gets the same of a regression on `FIRST_REGRESSED` neurons, before the one on
    all, which takes seconds.

    Raises
    ------
    UnsupportedRequestError
        There is no train tier.
    """
    # The regression has the past of each target, too: of many, some stand for all. The others
    # are hidden with them, and are no informants.
    hidden, targets = targets, targets[:: -(-len(targets) // MAX_TARGETS)]
    runs = _train_runs(session, spec, part_of(job, 0.0, 0.3))
    n_others = session.n_neurons - len(hidden)
    if k <= FIRST_REGRESSED < n_others:
        first = _LaggedProducts.of(runs, targets, hidden, FIRST_REGRESSED)
        on_first(_search_among(first, session.n_neurons, k, part_of(job, 0.3, 0.4)))
    lagged = _LaggedProducts.of(runs, targets, hidden, MAX_REGRESSED)
    return _search_among(lagged, session.n_neurons, k, part_of(job, 0.4, 1.0))


def _search_among(lagged: "_LaggedProducts", n_neurons: int, k: int, job: Job) -> Search:
    """Return what each candidate adds to a regression, and the order of the best k.

    Neurons that are no candidates have NaN.
    """
    advance(job, 0.0, 1.0, f"regression on {len(lagged.neurons):,} neurons")
    candidates = np.setdiff1d(lagged.neurons, lagged.targets)
    adds = np.full(n_neurons, np.nan)
    adds[candidates] = lagged.adds(candidates)
    best = candidates[np.argsort(-adds[candidates], kind="stable")][: max(N_CANDIDATES, 2 * k)]
    return adds, lagged.selection(best, k, part_of(job, 0.8, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class _LaggedProducts:
    """Products of some neurons at several lags, of standardised responses.

    Attributes
    ----------
    neurons
        int64 (n,) ascending: the neurons of the regression, and the targets.
    products
        float32 (lag, n, n): mean of x_n(t) x_m(t - lag); 0 outside a run, so that the
        matrix of all lags is a block Toeplitz matrix and positive.
    """

    neurons: np.ndarray
    products: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(
        cls, runs: Sequence[np.ndarray], targets: np.ndarray, hidden: np.ndarray, most: int
    ) -> "_LaggedProducts":
        """Return the products of the targets and of all neurons but the hidden ones.

        Of more than `most`, those with the largest correlation with a target at any lag.
        """
        others = np.setdiff1d(np.arange(runs[0].shape[1]), hidden)
        neurons = np.union1d(others, targets)
        if len(others) > most:
            size = np.abs(_products(runs, targets, others)).max(axis=(0, 1))
            chosen = others[np.argsort(-size, kind="stable")[:most]]
            neurons = np.union1d(chosen, targets)
        return cls(neurons, _products(runs, neurons, neurons), targets)

    def block(self, first: np.ndarray, second: np.ndarray, i: int, j: int) -> np.ndarray:
        """Return the products of `first` at lag i with `second` at lag j."""
        if j < i:
            return self.block(second, first, j, i).T
        places = (np.searchsorted(self.neurons, some) for some in (first, second))
        return self.products[j - i][np.ix_(*places)]

    def gram(self, neurons: np.ndarray, lags: Sequence[int]) -> np.ndarray:
        """Return the products of neurons at lags, (lag neuron, lag neuron)."""
        return np.block([[self.block(neurons, neurons, i, j) for j in lags] for i in lags])

    def adds(self, neurons: np.ndarray) -> np.ndarray:
        """Return the explained variance that is lost without each neuron, mean over targets.

        The past of the targets is in the regression, too. Without a neuron, with weights
        w at its lags, the penalised error grows by w' (A_nn)^-1 w, where A is the inverse
        of the matrix of all regressors. Only its blocks of a neuron are computed.
        """
        lags, own = range(N_LAGS), range(1, N_LAGS)
        n, n_own = len(neurons), len(self.targets)
        gram = np.empty((n * N_LAGS + n_own * len(own),) * 2, np.float32)
        place = {**{(0, i): slice(i * n, (i + 1) * n) for i in lags}}
        for row, i in enumerate(own):
            begin = n * N_LAGS + row * n_own
            place[1, i] = slice(begin, begin + n_own)
        sets = (neurons, self.targets)
        for (one, i), rows in place.items():
            for (other, j), columns in place.items():
                gram[rows, columns] = self.block(sets[one], sets[other], i, j)
        gram[np.diag_indices(len(gram))] += RIDGE
        side = np.concatenate(
            [self.block(sets[one], self.targets, i, 0) for one, i in place], dtype=np.float32
        )
        inverse = _lower_inverse(np.linalg.cholesky(gram))
        weights = (inverse.T @ (inverse @ side))[: n * N_LAGS].reshape(N_LAGS, n, n_own)
        lagged = inverse[:, : n * N_LAGS].reshape(-1, N_LAGS, n)
        blocks = np.empty((n, N_LAGS, N_LAGS))
        for i in lags:
            for j in lags[: i + 1]:
                blocks[:, i, j] = blocks[:, j, i] = np.einsum(
                    "rn,rn->n", lagged[:, i], lagged[:, j]
                )
        chosen = weights.transpose(1, 0, 2).astype(np.float64)
        lost = np.einsum("nlt,nlt->nt", chosen, np.linalg.solve(blocks, chosen))
        return np.asarray(lost.mean(axis=1))

    def selection(self, candidates: np.ndarray, k: int, job: Job) -> np.ndarray:
        """Return k of the candidates: each is the one that then explains most."""
        lags = list(range(N_LAGS))
        n = len(candidates)
        gram = self.gram(candidates, lags).astype(np.float64)
        gram[np.diag_indices(len(gram))] += RIDGE
        side = np.concatenate([self.block(candidates, self.targets, i, 0) for i in lags]).astype(
            np.float64
        )
        order: list[int] = []
        while len(order) < min(k, n):
            advance(job, len(order), k, "greedy selection")
            best, most = -1, -np.inf
            for one in range(n):
                if one in order:
                    continue
                at = (np.array([*order, one])[:, None] + n * np.arange(N_LAGS)).ravel()
                explained = float(
                    (side[at] * np.linalg.solve(gram[np.ix_(at, at)], side[at])).sum()
                )
                if explained > most:
                    best, most = one, explained
            order.append(best)
        return np.asarray(candidates[order])


def _lower_inverse(factor: np.ndarray) -> np.ndarray:
    """Return the inverse of a lower triangular matrix; most of it are products."""
    half = len(factor) // 2
    if half < 64:
        return np.asarray(np.linalg.inv(factor))
    first, last = _lower_inverse(factor[:half, :half]), _lower_inverse(factor[half:, half:])
    found = np.zeros_like(factor)
    found[:half, :half], found[half:, half:] = first, last
    found[half:, :half] = -last @ (factor[half:, :half] @ first)
    return found


def _train_runs(session: Session, spec: WindowSpec, job: Job) -> list[np.ndarray]:
    """Return standardised responses (sample, neuron) of the train tier at about 8 Hz, by run."""
    if not session.tiers().get("train"):
        raise UnsupportedRequestError(
            f"Session {session.id!r} has no tier 'train' to find informants in; "
            f"{session.tiers_text()}."
        )
    stride = 1 if spec.align == "trial" else grid_points(spec.duration_s)
    starts = session.window_starts("train", stride, include_blanks=True, spec=spec)
    step = max(round(spec.response_rate_hz / REGRESSION_HZ), 1)
    n_bins, n_neurons = spec.n_samples // step, session.n_neurons
    most = max(min(int(MAX_S / spec.duration_s), MAX_VALUES // (n_bins * n_neurons)), 1)
    # Stretches of windows in a row, so that lags reach across their edges.
    starts = starts[np.arange(len(starts)) // 10 % -(-len(starts) // most) == 0]
    values = np.empty((len(starts), n_bins, n_neurons), np.float32)
    for number, start in enumerate(starts):
        responses = session.window(float(start), spec).responses[: n_bins * step]
        values[number] = responses.reshape(n_bins, step, -1).mean(axis=1)
        advance(job, number + 1, len(starts), "reading the train tier")
    flat = values.reshape(-1, n_neurons)
    flat -= np.nanmean(flat, axis=0, dtype=np.float64).astype(np.float32)
    std = np.nanstd(flat, axis=0, dtype=np.float64)
    flat /= np.where(std > 0, std, np.inf).astype(np.float32)
    # Missing values are at the mean, and a constant neuron is 0.
    np.nan_to_num(flat, copy=False)
    edges = np.flatnonzero(np.diff(starts) > spec.duration_s + 0.5 / spec.response_rate_hz) + 1
    return np.split(flat, edges * n_bins)


def _products(runs: Sequence[np.ndarray], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the mean of x_n(t) x_m(t - lag), float32 (lag, first, second)."""
    found = np.zeros((N_LAGS, len(first), len(second)), np.float32)
    for run in runs:
        one, other = run[:, first], run[:, second]
        for lag in range(min(N_LAGS, len(run))):
            found[lag] += one[lag:].T @ other[: len(run) - lag]
    found /= sum(map(len, runs))
    return found
