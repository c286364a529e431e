"""Sources of predictability: video, behaviour, own past, and other neurons.

The value of a set S of sources is v(S), see `errors`. Of each source there are three:
*alone* v({s}), *unique* v(all) - v(all without s), and the Shapley *share*, its mean
addition over all orders of the sources. The shares sum to v(all). Sources that tell the
same have a large value alone, and add little that is unique. This is information that a
predictor finds, not cause.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, combinations
from math import factorial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from omnimouse_model.analysis.sources.errors import (
    Asked,
    Errors,
    Found,
    Piece,
    Samples,
    Targets,
    Values,
    Work,
    areas_of,
    check_answers,
    check_rows,
    chosen_neurons,
    estimate_text,
    target_groups,
)
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import count
from omnimouse_model.errors import MaskError, UnsupportedRequestError
from omnimouse_model.evaluation.results import number_or_none
from omnimouse_model.evaluation.results_store import RowFormat
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.inference.dask_map import TaskPredictor
from omnimouse_model.inference.registry import Source as PredictorSource
from omnimouse_model.inference.registry import resolve_predictor
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import NeuronGroup, neurons_of
from omnimouse_model.metrics.time_blocks import MIN_BLOCKS, Estimate
from omnimouse_model.predict.predictor import Needs, Predictor, Subset, fits_of
from omnimouse_model.progress import Job, shown_job
from omnimouse_model.simulate.demo import opened

VIDEO: Final = "video"
BEHAVIOR: Final = "behavior"
HISTORY: Final = "history"
SAME_AREA: Final = "same area"
OTHER_AREAS: Final = "other areas"
OTHER_NEURONS: Final = "other neurons"
INPUTS: Final = VIDEO, BEHAVIOR
NEURONS: Final = HISTORY, SAME_AREA, OTHER_AREAS, OTHER_NEURONS
MAX_ALL: Final = 6
"""Sources of which all subsets are asked; of more, those of sampled orders."""
PERMUTATIONS: Final = 24
"""Sampled orders of more than 6 sources; every second is the reverse of the one before."""
UNSURE: Final = "may be too narrow or too wide"
Kind = Literal["alone", "unique", "share"]
KINDS: Final[tuple[Kind, ...]] = ("alone", "unique", "share")


@dataclass(frozen=True, slots=True)
class SourcesPlan:
    """Sources, and the subsets of them that are asked.

    Attributes
    ----------
    sources
        Names of sources, and groups of neurons.
    orders
        Sampled orders (numbers of sources); () where all subsets are asked.
    """

    sources: tuple[str | NeuronGroup, ...]
    orders: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, sources: Sequence[str | NeuronGroup], seed: int) -> "SourcesPlan":
        """Return the plan of some sources; orders are drawn from a seed."""
        n = len(sources)
        if n <= MAX_ALL:
            return cls(tuple(sources))
        draw = np.random.default_rng(seed)
        orders = [draw.permutation(n) for _ in range(PERMUTATIONS // 2)]
        both = [order for one in orders for order in (one, one[::-1])]
        return cls(tuple(sources), tuple(tuple(map(int, order)) for order in both))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(one if isinstance(one, str) else one.name for one in self.sources)

    @property
    def subsets(self) -> tuple[tuple[int, ...], ...]:
        """Subsets that are asked, as ascending numbers of sources; all sources last."""
        n = len(self.sources)
        everything = tuple(range(n))
        if not self.orders:
            return tuple(chain.from_iterable(combinations(range(n), k) for k in range(1, n + 1)))
        begins = (tuple(sorted(order[:k])) for order in self.orders for k in range(1, n))
        alone = ((k,) for k in everything)
        without = (tuple(j for j in everything if j != k) for k in everything)
        return (*dict.fromkeys((*alone, *without, *begins)), everything)

    def weights(self, kind: Kind, source: int) -> np.ndarray:
        """Return the weight (subset,) of each value in a value of a source."""
        subsets = self.subsets
        everything = subsets[-1]
        if kind == "alone":
            return self._sum({(source,): 1.0})
        if kind == "unique":
            rest = tuple(k for k in everything if k != source)
            return self._sum({everything: 1.0, rest: -1.0})
        if self.orders:
            return np.asarray(self.order_weights(source).mean(axis=0))
        n, share = len(everything), {}
        for subset in subsets:
            # Each subset is added to by the source, or is what it was added to.
            with_source = source in subset
            others = len(subset) - with_source
            weight = factorial(others) * factorial(n - others - 1) / factorial(n)
            share[subset] = weight if with_source else -weight
        return self._sum(share)

    def order_weights(self, source: int) -> np.ndarray:
        """Return the weights (order, subset) of what a source adds in each order."""
        rows = []
        for order in self.orders:
            place = order.index(source)
            before, after = tuple(sorted(order[:place])), tuple(sorted(order[: place + 1]))
            rows.append(self._sum({after: 1.0, before: -1.0}))
        return np.array(rows)

    def _sum(self, parts: Mapping[tuple[int, ...], float]) -> np.ndarray:
        # The value of no source is 0: it has no question.
        return np.array([parts.get(subset, 0.0) for subset in self.subsets])


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SourceScores(Found):
    """What each source tells of each target, with intervals over time.

    Examples
    --------
    >>> found = om.sources("linear-gaussian", session, ["behavior", "other neurons"])
    >>> found.n_windows, found.is_complete, len(found.to_dataframe())
    (10, True, 80)
    >>> shares = sum(found.of("share", name).value for name in found.names)
    >>> bool(np.allclose(shares, found.total().value))
    True

    Attributes
    ----------
    plan
        The sources, see `SourcesPlan`.
    errors
        Sums of the finished targets.
    unit_ids, areas
        Name and area of each of these targets.
    n_planned
        Number of targets when everything is finished.
    refused
        Sources that were left out, and why.
    """

    KIND = RowFormat("sources", "an analysis of sources", Errors.plain, Errors.parsed)

    plan: SourcesPlan
    unit_ids: np.ndarray
    areas: np.ndarray
    n_planned: int
    refused: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sources."""
        return self.plan.names

    @property
    def neurons(self) -> np.ndarray:
        """Finished targets, int64 (n,) ascending."""
        return self.errors.neurons

    @property
    def is_complete(self) -> bool:
        """Whether all targets are finished."""
        return len(self.neurons) == self.n_planned

    def of(self, kind: Kind, source: str) -> Values:
        """Return "alone", "unique" or "share" of a source, for each target."""
        return self.errors.values(self._weights(kind, source))

    def mean_of(
        self, kind: Kind, source: str, columns: np.ndarray | slice = slice(None)
    ) -> Estimate:
        """Return the mean of `of` over some of the targets (places in `neurons`)."""
        return self.errors.mean(self._weights(kind, source), columns)

    def total(self) -> Values:
        """Return v(all sources) of each target."""
        return self.errors.values(self._all())

    def mean_total(self, columns: np.ndarray | slice = slice(None)) -> Estimate:
        """Return the mean of v(all sources) over some of the targets."""
        return self.errors.mean(self._all(), columns)

    def pooled(self, kind: Literal["alone", "without"], source: str | None = None) -> np.ndarray:
        """Return pooled correlations (n,): of one source, or of all without it.

        Without a source, those of all sources.
        """
        subsets, everything = self.plan.subsets, self.plan.subsets[-1]
        if source is None:
            return self.errors.pooled(len(subsets) - 1)
        number = self._number(source)
        rest = tuple(k for k in everything if k != number)
        subset = (number,) if kind == "alone" else rest
        if not subset:  # of a single source, nothing is left
            return np.zeros(len(self.neurons))
        return self.errors.pooled(subsets.index(subset))

    def sampling_error(self, source: str) -> np.ndarray:
        """Return the standard error (n,) of the shares from sampled orders; 0 without."""
        if not self.plan.orders:
            return np.zeros(len(self.neurons))
        each = self.plan.order_weights(self._number(source))
        # An order and its reverse are one draw.
        pairs = np.array([self.errors.parts(one)[0] for one in (each[::2] + each[1::2]) / 2])
        return pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs))

    @property
    def unsure(self) -> str:
        """Warning that intervals may be wrong, as one block has most of the variance; or ""."""
        n_events = int(self.errors.is_one_event.sum())
        if not n_events or self.errors.count.any(axis=1).sum() < MIN_BLOCKS:
            return ""
        of_whom = count(n_events, "target") if len(self.neurons) > 1 else "the target"
        whose = "their intervals" if n_events > 1 else "its intervals"
        return f"one block of time has most of the variance of {of_whom}: {whose} {UNSURE}"

    def largest(self) -> np.ndarray:
        """Return the number of the source with the largest share of each target, (n,)."""
        shares = np.array([self.of("share", name).value for name in self.names])
        return np.where(np.isfinite(shares), shares, -np.inf).argmax(axis=0)

    def _all(self) -> np.ndarray:
        weights = np.zeros(len(self.plan.subsets))
        weights[-1] = 1.0
        return weights

    def _number(self, source: str) -> int:
        if source not in self.names:
            raise ValueError(f"No source {source!r}; there are {', '.join(self.names)}.")
        return self.names.index(source)

    def _weights(self, kind: Kind, source: str) -> np.ndarray:
        return self.plan.weights(kind, self._number(source))

    # -- table and file -------------------------------------------------------------
    def table(self) -> list[dict[str, object]]:
        """Return one row per target and source, as JSON values."""
        total, everything = self.total(), self.pooled("alone")
        rows = []
        for name in self.names:
            found = {kind: self.of(kind, name) for kind in KINDS}
            pooled = {kind: self.pooled(kind, name) for kind in ("alone", "without")}
            sampling = self.sampling_error(name)
            for k, neuron in enumerate(self.neurons.tolist()):
                row: dict[str, object] = {
                    "neuron": neuron,
                    "unit_id": self.unit_ids[k].item(),
                    "area": str(self.areas[k]),
                    "source": name,
                    "v_all": number_or_none(total.value[k]),
                }
                for kind, values in found.items():
                    row[kind] = number_or_none(values.value[k])
                    row[f"{kind}_low"] = number_or_none(values.low[k])
                    row[f"{kind}_high"] = number_or_none(values.high[k])
                row["share_sampling_error"] = float(sampling[k])
                row["pooled_alone"] = number_or_none(pooled["alone"][k])
                row["pooled_without"] = number_or_none(pooled["without"][k])
                row["pooled_all"] = number_or_none(everything[k])
                row["n_windows"], row["predictor"] = self.n_windows, self.predictor
                row["session"], row["tier"] = self.session, self.tier
                rows.append(row)
        return rows

    def _asked(self) -> dict[str, Any]:
        return {
            "sources": [
                one if isinstance(one, str) else {"name": one.name, "ids": list(one.ids)}
                for one in self.plan.sources
            ],
            "orders": [list(order) for order in self.plan.orders],
            "neurons": self.neurons.tolist(),
            "unit_ids": self.unit_ids.tolist(),
            "areas": [str(area) for area in self.areas],
            "n_planned": self.n_planned,
            "refused": dict(self.refused),
        }

    @classmethod
    def _read(
        cls, facts: Mapping[str, Any], rows: Sequence[Errors], shared: dict[str, Any]
    ) -> "SourceScores":
        plan = SourcesPlan(
            tuple(
                one if isinstance(one, str) else NeuronGroup(str(one["name"]), tuple(one["ids"]))
                for one in facts["sources"]
            ),
            tuple(tuple(map(int, order)) for order in facts["orders"]),
        )
        if len(plan.sources) > MAX_ALL and not plan.orders:
            raise ValueError(f"All subsets of {len(plan.sources)} sources are too many.")
        everyone = np.array(facts["neurons"], np.int64)
        check_rows(rows, len(plan.subsets), everyone.tolist())
        empty = cls(
            **shared,
            plan=plan,
            errors=Errors.none(everyone[:0], len(plan.subsets), 1),
            unit_ids=np.array(facts["unit_ids"]),
            areas=np.array(facts["areas"], np.str_),
            n_planned=int(facts["n_planned"]),
            refused=dict(facts["refused"]),
        )
        return empty._with(everyone, rows)

    def _with(self, everyone: np.ndarray, parts: Sequence[Errors]) -> "SourceScores":
        """Return the scores with the sums of finished groups of `everyone`, the targets."""
        if not parts:
            return replace(self, unit_ids=self.unit_ids[:0], areas=self.areas[:0])
        errors = Errors.joined(parts)
        at = np.searchsorted(everyone, errors.neurons)
        return replace(self, errors=errors, unit_ids=self.unit_ids[at], areas=self.areas[at])

    def _facts(self) -> dict[str, str]:
        refused = {"left out": ", ".join(self.refused)} if self.refused else {}
        unsure = {"unsure": self.unsure} if self.unsure else {}
        return {
            "predictor": self.predictor,
            "session": self.session,
            "targets": f"{len(self.neurons):,} of {self.n_planned:,}",
            "windows": f"{self.n_windows} of tier {self.tier}",
            "intervals": "95 % over time",
            "v(all)": estimate_text(self.mean_total()),
            **unsure,
            **refused,
        }

    def _lines(self) -> list[tuple[str, str]]:
        return [
            (name, "; ".join(f"{kind} {estimate_text(self.mean_of(kind, name))}" for kind in KINDS))
            for name in self.names
        ]


def sources(
    predictor: "Predictor | PredictorSource | Path",
    session: Session | str | Path,
    sources: Sequence[str | NeuronGroup] | None = None,
    targets: Targets | None = None,
    *,
    tier: str = "test",
    max_windows: int | None = None,
    seed: int = 0,
    results: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    connect: Collection[str] = (),
    job: Job | None = None,
    on_part: Callable[[SourceScores], None] = lambda scores: None,
) -> SourceScores:
    """Measure how much of each neuron is predictable from each source.

    Examples
    --------
    >>> found = om.sources("linear-gaussian", session, ["behavior", "history"], targets="RL")
    >>> found.names, found.n_windows, len(found.neurons)
    (('behavior', 'history'), 10, 4)

    Notes
    -----
    Neurons that are sources are visible in the whole window, and the past of a target up
    to the guard; the second half of the window is scored. Targets are divided into
    groups of at most a tenth of each area: the members of a group are hidden together,
    and never each other's source.

    Parameters
    ----------
    predictor
        A predictor, or its name, path or factory. A scheduler needs one of the latter.
        `linear-gaussian` answers all subsets from one set of sums, in seconds.
    session
        An open session, or its name or path.
    sources
        "video", "behavior", a channel of behaviour, "history" (of the target itself),
        "same area", "other areas", "other neurons", the name of an area, or a
        `NeuronGroup`. By default video, behaviour, history, and the same and other
        areas, or other neurons of a recording without areas.
    targets
        Neurons: an area, a group, an index, indices or a bool for each; all by default.
    max_windows
        Maximum number of held-out windows, spread evenly over the tier; all if None. One
        neuron over 60 windows is uncertain.
    seed
        Seed of the groups, and of sampled orders of more than 6 sources.
    results
        File to which finished groups are added; if it exists, it is continued.
    about
        Notes for the header of a new results file; JSON values.
    scheduler
        Distribute the groups over workers: "local", "local:4" or an address.
    job
        Progress and stop request; see `progress.Job`.
    on_part
        Called with what is known after each batch of windows of the first group, and
        after each further group.

    Returns
    -------
    SourceScores
        Not `is_complete` if it was cancelled. Sources that the predictor cannot see, or
        the recording does not have, are left out and are in `refused`.

    Raises
    ------
    ValueError
        A source or a target does not exist.
    UnsupportedRequestError
        No source is left, or the predictor is a file of predictions.
    """
    session, loaded = opened(session), resolve_predictor(predictor, device, connect)
    check_answers(loaded)
    wanted = tuple(sources) if sources is not None else default_sources(session)
    left, refused = answered_sources(loaded.needs, session, wanted)
    if not left:
        raise UnsupportedRequestError(
            f"{loaded.predictor_id} has no source: {'; '.join(refused.values())}"
        )
    plan = SourcesPlan.of(left, seed)
    starts = scored_starts(session, tier, max_windows, loaded.needs.spec)
    groups = target_groups(areas_of(session), chosen_neurons(session, targets), seed)
    everyone = np.sort(np.concatenate(groups))
    empty = SourceScores(
        predictor=loaded.predictor_id,
        **fits_of(loaded),
        session=session.id,
        tier=tier,
        n_windows=len(starts),
        plan=plan,
        errors=Errors.none(everyone[:0], len(plan.subsets), 1),
        unit_ids=np.asarray(session.units.names)[everyone],
        areas=areas_of(session)[everyone],
        n_planned=len(everyone),
        refused=refused,
    )
    definition = empty.definition() | {
        "fingerprint": session.fingerprint,
        "neurons": everyone.tolist(),
        "starts": starts.tolist(),
        "seed": seed,
    }
    work = Work(SourceScores.KIND, definition, results, about, scheduler)
    model = TaskPredictor.of(predictor, device, loaded, scheduler, connect)
    ask = partial(ask_sources, plan)
    pieces = [Piece(model, session, group, starts, len(plan.subsets), ask) for group in groups]

    def show(parts: Sequence[Errors], n_windows: int) -> None:
        on_part(replace(empty._with(everyone, parts), n_windows=n_windows))

    with shown_job(job, unit="group") as shown:
        return empty._with(everyone, work.collected(pieces, shown, show))


# -- what the sources are -------------------------------------------------------------
def source_label(name: str) -> str:
    """Return the displayed name of a source."""
    return {BEHAVIOR: "behaviour", HISTORY: "own past"}.get(name, name)


def default_sources(session: Session) -> tuple[str, ...]:
    """Return the usual sources of a recording, without those that it does not have."""
    has_areas = len(np.unique(areas_of(session))) > 1
    neurons = (SAME_AREA, OTHER_AREAS) if has_areas else (OTHER_NEURONS,)
    video = (VIDEO,) if session.stimulus is not None else ()
    behavior = (BEHAVIOR,) if session.behavior_names else ()
    return (*video, *behavior, HISTORY, *neurons)


def answered_sources(
    needs: Needs, session: Session, sources: Sequence[str | NeuronGroup]
) -> tuple[tuple[str | NeuronGroup, ...], dict[str, str]]:
    """Return the sources that a predictor can see, and why it cannot see the others.

    Raises
    ------
    ValueError
        Two sources have one name.
    MaskError
        A source has no meaning in the recording.
    """
    names = [one if isinstance(one, str) else one.name for one in sources]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"There are two sources {name!r}.")
    left, refused = [], {}
    for name, source in zip(names, sources, strict=True):
        reason = _refusal(needs, session, source)
        if reason:
            refused[name] = reason
        else:
            left.append(source)
    return tuple(left), refused


def _refusal(needs: Needs, session: Session, source: str | NeuronGroup) -> str:
    """Return why a predictor cannot see a source, else ""."""
    if source == VIDEO:
        if session.stimulus is None:
            return "the recording has no video"
        return "" if needs.sees_video else "the model does not see the video"
    channels = () if needs.spec.behavior is None else needs.spec.behavior.channels
    if source == BEHAVIOR or source in channels:
        if source == BEHAVIOR and not session.behavior_names:
            return "the recording has no behaviour"
        if source != BEHAVIOR and source not in session.behavior_names:
            return f"the recording has no {source}"
        return "" if needs.sees_behavior else "the model does not see behaviour"
    if isinstance(source, NeuronGroup):
        source.indices(session)  # raises for neurons that do not exist
    elif source not in NEURONS:
        named = {*areas_of(session).tolist()} - {""}
        if source.lower() not in {name.lower() for name in named}:
            has_video = session.stimulus is not None
            behavior = [one for one in channels if one in session.behavior_names]
            inputs = (*[VIDEO] * has_video, *[BEHAVIOR] * bool(behavior), *behavior)
            areas = f", and the areas {', '.join(sorted(named))}" if named else ""
            raise MaskError(
                f"Session {session.id!r} has no source {source!r}; there are "
                f"{', '.join((*inputs, *NEURONS))}{areas}."
            )
    return "" if needs.sees_responses else "the model does not see responses"


def ask_sources(
    plan: SourcesPlan, session: Session, targets: np.ndarray, spec: WindowSpec
) -> list[Asked]:
    """Return the masks of all subsets for targets that are hidden together."""
    samples = Samples.of(session, spec)
    areas = areas_of(session)
    base = Mask.nothing(session, spec).ask(targets, samples.scored)
    channels = () if spec.behavior is None else spec.behavior.channels
    hidden = np.zeros(session.n_neurons, bool)
    hidden[targets] = True
    # Only these sources differ between the areas of the targets.
    is_by_area = any(one in (SAME_AREA, OTHER_AREAS) for one in plan.sources)
    parts = [targets]
    if is_by_area:
        parts = [targets[areas[targets] == area] for area in np.unique(areas[targets])]
    asked = []
    for number, subset in enumerate(plan.subsets):
        chosen = [plan.sources[k] for k in subset]
        own = samples.own if HISTORY in chosen else (0, 0)
        is_visible = [channel in chosen or BEHAVIOR in chosen for channel in channels]
        inputs = base.with_frames(VIDEO in chosen).with_behavior(
            tuple("visible" if one else "hidden" for one in is_visible) or "hidden"
        )
        is_input = bool(inputs.frames.any()) or inputs.has_visible_behavior or own[0] < own[1]
        # One mask for all areas in which the same neurons are visible.
        masks: dict[bytes, tuple[np.ndarray, list[np.ndarray]]] = {}
        for part in parts:
            shown = _shown_neurons(session, chosen, channels, areas, str(areas[part[0]])) & ~hidden
            masks.setdefault(np.packbits(shown).tobytes(), (shown, []))[1].append(part)
        for shown, members in masks.values():
            neurons = np.sort(np.concatenate(members))
            if not (is_input or shown.any()):
                asked.append(Asked(number, neurons, None))
                continue
            mask = inputs.show(np.flatnonzero(shown)) if shown.any() else inputs
            asked.append(Asked(number, neurons, Subset(mask, neurons, own)))
    return asked


def _shown_neurons(
    session: Session,
    chosen: Sequence[str | NeuronGroup],
    channels: Sequence[str],
    areas: np.ndarray,
    area: str,
) -> np.ndarray:
    """Return the neurons of some sources for targets of an area, bool (P,)."""
    shown = np.zeros(session.n_neurons, bool)
    for source in chosen:
        if source == SAME_AREA:
            shown |= (areas == area) & (area != "")
        elif source == OTHER_AREAS:
            shown |= (areas != area) & (areas != "")
        elif source == OTHER_NEURONS:
            shown[:] = True
        elif source not in (VIDEO, BEHAVIOR, HISTORY, *channels):
            shown[neurons_of(session, source)] = True
    return shown
