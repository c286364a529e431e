"""What the neurons of each area tell those of each area, with equal numbers of neurons.

Of each area the same number of neurons is visible, drawn at random, and some other
neurons of all areas are targets; each draw has other neurons. *alone* is the value of the
visible neurons, see `errors`. *beyond* is what they add to video and behaviour: the gain
of the squared correlation, because a regression on video and behaviour is shrunk, and to
undo this is no information. What is left is shared beyond stimulus and state: by a
coupling, or by something not recorded.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from omnimouse_model.analysis.sources.errors import (
    Asked,
    Errors,
    Found,
    Piece,
    Samples,
    Work,
    areas_of,
    check_answers,
    check_rows,
    target_groups,
)
from omnimouse_model.analysis.sources.sources import BEHAVIOR, VIDEO, answered_sources
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import count
from omnimouse_model.errors import MaskError
from omnimouse_model.evaluation.results import number_or_none
from omnimouse_model.evaluation.results_store import RowFormat, row_key
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.inference.dask_map import TaskPredictor
from omnimouse_model.inference.registry import Source as PredictorSource
from omnimouse_model.inference.registry import resolve_predictor
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import NeuronGroup
from omnimouse_model.metrics.time_blocks import MIN_BLOCKS, Estimate
from omnimouse_model.predict.predictor import Predictor, Subset, fits_of
from omnimouse_model.progress import Job, shown_job
from omnimouse_model.simulate.demo import opened
from omnimouse_model.storage.trees import decode

DEPTH_STEP_UM: Final = 100.0
By = Literal["area", "plane", "depth"]
Kind = Literal["alone", "beyond"]
KINDS: Final[tuple[Kind, ...]] = ("alone", "beyond")
LEVEL: Final = 0.95
"""Level of the intervals."""


@dataclass(frozen=True, slots=True)
class AreasPlan:
    """Sets of neurons that are compared, and what is visible of them.

    Attributes
    ----------
    labels
        Names of the sets.
    n_visible
        Visible neurons of each set.
    inputs
        "video" and "behavior", as far as they are visible in *beyond*.
    is_lagged
        Whether only the past of the visible neurons is visible.
    """

    labels: tuple[str, ...]
    n_visible: int
    inputs: tuple[str, ...]
    is_lagged: bool = False

    @property
    def n_questions(self) -> int:
        """The inputs alone, then each set alone, then each with the inputs."""
        return 1 + 2 * len(self.labels)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AreaMatrix(Found):
    """What each set of neurons tells each set, with intervals over time.

    Examples
    --------
    >>> found = om.area_matrix("linear-gaussian", session, draws=1)
    >>> found.plan.labels, found.plan.n_visible, len(found.to_dataframe())
    (('AL', 'LM', 'RL', 'V1'), 3, 32)

    Attributes
    ----------
    plan
        The sets, see `AreasPlan`.
    errors
        Sums of the targets of all finished draws.
    target_labels
        Set of each target.
    n_draws
        Planned draws.
    is_complete
        Whether all draws are finished.
    n_finished
        Finished draws.
    """

    KIND = RowFormat("areas", "a matrix of areas", Errors.plain, Errors.parsed)
    FIRST = "source"

    plan: AreasPlan
    target_labels: np.ndarray
    n_draws: int
    is_complete: bool
    n_finished: int = 0

    def of(self, kind: Kind, source: str, target: str) -> Estimate:
        """Return the value of one set for the targets of another, mean over targets."""
        columns = np.flatnonzero(self.target_labels == target)
        number, labels = self.plan.labels.index(source), self.plan.labels
        if kind == "beyond":
            columns = columns if self.plan.inputs else columns[:0]
            return self.errors.mean_gain(1 + len(labels) + number, 0, columns)
        weights = np.zeros(self.plan.n_questions)
        weights[1 + number] = 1.0
        return self.errors.mean(weights, columns)

    def inputs_alone(self, kind: Kind, target: str) -> Estimate:
        """Return what video and behaviour tell the targets of a set, without any neurons.

        In the unit of a kind: of *beyond*, the squared correlation that gains add to.
        """
        columns = np.flatnonzero(self.target_labels == target)
        columns = columns if self.plan.inputs else columns[:0]
        if kind == "beyond":
            return self.errors.mean_gain(0, None, columns)
        weights = np.zeros(self.plan.n_questions)
        weights[0] = 1.0
        return self.errors.mean(weights, columns)

    def matrix(self, kind: Kind) -> np.ndarray:
        """Return value and ends of the interval, float64 (3, source, target)."""
        labels = self.plan.labels
        cells = [[self.of(kind, source, target) for target in labels] for source in labels]
        return np.array(
            [
                [[getattr(one, name) for one in row] for row in cells]
                for name in ("value", "low", "high")
            ]
        )

    def table(self) -> list[dict[str, object]]:
        """Return one row per kind, source and target, as JSON values."""
        rows: list[dict[str, object]] = []
        for kind in KINDS:
            for source in self.plan.labels:
                for target in self.plan.labels:
                    found = self.of(kind, source, target)
                    rows.append(
                        {
                            "source": source,
                            "target": target,
                            "kind": kind,
                            "value": number_or_none(found.value),
                            "low": number_or_none(found.low),
                            "high": number_or_none(found.high),
                            "n_visible": self.plan.n_visible,
                            "n_targets": int((self.target_labels == target).sum()),
                            "is_lagged": self.plan.is_lagged,
                            "inputs": " + ".join(self.plan.inputs if kind == "beyond" else ()),
                            "n_draws": self.n_draws,
                            "n_windows": self.n_windows,
                            "predictor": self.predictor,
                            "session": self.session,
                            "tier": self.tier,
                        }
                    )
        return rows

    def _asked(self) -> dict[str, Any]:
        return {
            "plan": asdict(self.plan),
            "n_draws": self.n_draws,
            "targets": [
                [int(neuron), str(label)]
                for neuron, label in zip(self.errors.neurons, self.target_labels, strict=True)
            ],
        }

    @classmethod
    def _read(
        cls, facts: Mapping[str, Any], rows: Sequence[Errors], shared: dict[str, Any]
    ) -> "AreaMatrix":
        plan = decode(AreasPlan, facts["plan"], "the file", "plan")
        labels = {int(neuron): str(label) for neuron, label in facts["targets"]}
        check_rows(rows, plan.n_questions, labels)
        empty = cls(
            **shared,
            plan=plan,
            errors=Errors.none(np.zeros(0, np.int64), plan.n_questions, 1),
            target_labels=np.zeros(0, np.str_),
            n_draws=int(facts["n_draws"]),
            is_complete=False,
        )
        return empty._with(labels, rows)

    def _with(self, labels: Mapping[int, str], parts: Sequence[Errors]) -> "AreaMatrix":
        """Return the matrix with the sums of finished draws."""
        if not parts:
            return self
        errors = Errors.joined(parts)
        found = np.array([labels[neuron] for neuron in errors.neurons.tolist()])
        is_complete = len(found) == len(labels)
        return replace(
            self, errors=errors, target_labels=found, is_complete=is_complete, n_finished=len(parts)
        )

    def _facts(self) -> dict[str, str]:
        past = ", past of the source" if self.plan.is_lagged else ""
        return {
            "predictor": self.predictor,
            "session": self.session,
            "visible": f"{self.plan.n_visible:,} neurons of each{past}",
            "targets": f"{len(self.target_labels):,}",
            "windows": f"{self.n_windows} of tier {self.tier}",
            "values": f"{self._meaning}; {self.stars_text}",
        }

    @property
    def inputs_text(self) -> str:
        """Video and behaviour in words, as far as they are visible in *beyond*."""
        return " and ".join(self.plan.inputs).replace("behavior", "behaviour")

    @property
    def stars_text(self) -> str:
        """What a star at a value is, and how many chance makes; or why there is none."""
        has_intervals = np.isfinite(self.matrix(self._printed)[1]).any()
        if len(self.target_labels) and not has_intervals:
            n_windows = count(self.n_windows, "window")
            return f"no 95 % intervals over {n_windows}: at least {MIN_BLOCKS} are needed"
        n_cells = len(self.plan.labels) ** 2
        # An interval of 95 % lies above 0 by chance in half of 5 % of all cells.
        by_chance = f"{n_cells * (1 - LEVEL) / 2:.1f} of the {n_cells} cells by chance"
        preliminary = "" if self.is_complete else "preliminary: "
        return f"{preliminary}* the 95 % interval lies above 0, as in about {by_chance}"

    @property
    def _meaning(self) -> str:
        if not self.plan.inputs:
            return "share of the targets' variance that each area tells alone"
        return f"gain of the squared correlation beyond {self.inputs_text}"

    @property
    def _printed(self) -> Kind:
        return "beyond" if self.plan.inputs else "alone"

    def _lines(self) -> list[tuple[str, str]]:
        # A row of the matrix is a line: intervals of all pairs would be a page.
        value, low, _ = self.matrix(self._printed)
        base = []
        if self.plan.inputs:
            alone = (
                f"{label} {self.inputs_alone(self._printed, label).value:z.3f}"
                for label in self.plan.labels
            )
            base = [(f"{self.inputs_text} alone (r²)", ", ".join(alone))]
        return base + [
            (
                f"from {source}",
                ", ".join(
                    f"{target} {one:z.3f}{'*' if least > 0 else ''}"
                    for target, one, least in zip(self.plan.labels, row, lows, strict=True)
                ),
            )
            for source, row, lows in zip(self.plan.labels, value, low, strict=True)
        ]


def area_matrix(
    predictor: "Predictor | PredictorSource | Path",
    session: Session | str | Path,
    *,
    by: By | Sequence[NeuronGroup] = "area",
    neurons: int | None = None,
    lagged: bool = False,
    draws: int = 5,
    tier: str = "test",
    max_windows: int | None = None,
    seed: int = 0,
    results: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    connect: Collection[str] = (),
    job: Job | None = None,
    on_part: Callable[[AreaMatrix], None] = lambda matrix: None,
) -> AreaMatrix:
    """Measure what each area tells each area, also beyond video and behaviour.

    Examples
    --------
    >>> found = om.area_matrix("linear-gaussian", session, neurons=2, draws=1)
    >>> found.plan.labels, found.matrix("beyond").shape
    (('AL', 'LM', 'RL', 'V1'), (3, 4, 4))

    Parameters
    ----------
    predictor
        A predictor, or its name, path or factory; a scheduler needs one of the latter.
    by
        Sets of neurons: areas, imaging planes, depths in steps of 100 µm, or groups.
    neurons
        Visible neurons of each set; by default as many as the smallest set has.
    lagged
        Show only the past of the source, up to the guard.
    draws
        Draws of visible neurons and targets; at most ten, because a draw has a tenth
        of each set as targets, which are no targets of another draw.
    max_windows, results, about, scheduler, job, on_part
        As in `sources`.

    Raises
    ------
    MaskError
        There are fewer than two sets, or one has too few neurons.
    UnsupportedRequestError
        The predictor does not see responses.
    """
    session, loaded = opened(session), resolve_predictor(predictor, device, connect)
    check_answers(loaded, of_neurons=True)
    needs = loaded.needs
    label_of = neuron_labels(session, by)
    labels = tuple(sorted({*label_of.tolist()} - {""}))
    if len(labels) < 2:
        raise MaskError(
            f"Session {session.id!r} has {len(labels)} sets of neurons; two are compared."
        )
    groups = target_groups(label_of, np.flatnonzero(label_of != ""), seed)[:draws]
    left = [
        int((label_of == label).sum() - (label_of[group] == label).sum())
        for label in labels
        for group in groups
    ]
    n_visible = min(left) if neurons is None else neurons
    if not 0 < n_visible <= min(left):
        raise MaskError(
            f"From 1 to {min(left):,} neurons of each set can be visible, not {n_visible:,}: "
            "the smallest set has no more beside its targets."
        )
    inputs, _ = answered_sources(needs, session, (VIDEO, BEHAVIOR))
    plan = AreasPlan(labels, n_visible, tuple(map(str, inputs)), lagged)
    starts = scored_starts(session, tier, max_windows, needs.spec)
    known = {int(k): str(label_of[k]) for group in groups for k in group}
    empty = AreaMatrix(
        predictor=loaded.predictor_id,
        **fits_of(loaded),
        session=session.id,
        tier=tier,
        n_windows=len(starts),
        plan=plan,
        errors=Errors.none(np.zeros(0, np.int64), plan.n_questions, 1),
        target_labels=np.zeros(0, np.str_),
        n_draws=len(groups),
        is_complete=False,
    )
    definition = empty.definition() | {
        "targets": [[k, label] for k, label in known.items()],
        "fingerprint": session.fingerprint,
        "starts": starts.tolist(),
        "seed": seed,
        # Of all neurons: those that are no targets may be visible.
        "sets": row_key(labels=label_of.tolist()),
    }
    work = Work(AreaMatrix.KIND, definition, results, about, scheduler)
    model = TaskPredictor.of(predictor, device, loaded, scheduler, connect)
    pieces = [
        Piece(
            model,
            session,
            group,
            starts,
            plan.n_questions,
            partial(ask_areas, plan, label_of, (seed, draw)),
            by_block=True,
        )
        for draw, group in enumerate(groups)
    ]

    def show(parts: Sequence[Errors], n_windows: int) -> None:
        # Before the first draw is finished, of its first windows.
        n_finished = len(parts) if n_windows == len(starts) else 0
        found = replace(empty._with(known, parts), n_windows=n_windows, n_finished=n_finished)
        on_part(found)

    with shown_job(job, unit="draw") as shown:
        return empty._with(known, work.collected(pieces, shown, show))


def neuron_labels(session: Session, by: By | Sequence[NeuronGroup]) -> np.ndarray:
    """Return the set of each neuron, "" for none.

    Raises
    ------
    MaskError
        Two groups have a neuron in common.
    """
    if by == "area":
        return areas_of(session)
    labels = np.full(session.n_neurons, "", object)
    if by == "plane":
        plane = session.units.plane
        labels[plane >= 0] = [f"plane {k}" for k in plane[plane >= 0]]
    elif by == "depth":
        depth = np.asarray(session.units.xyz_um, float)[:, 2]
        is_known = np.isfinite(depth)
        low = np.floor(depth[is_known] / DEPTH_STEP_UM) * DEPTH_STEP_UM
        # Padded, so that the sets are in the order of depth.
        labels[is_known] = [f"{one:4.0f} to {one + DEPTH_STEP_UM:.0f} µm" for one in low]
    else:
        for group in by:
            indices = group.indices(session)
            if (labels[indices] != "").any():
                raise MaskError(f"A neuron of the group {group.name!r} is in another group.")
            labels[indices] = group.name
    return labels.astype(np.str_)


def ask_areas(
    plan: AreasPlan,
    label_of: np.ndarray,
    seed: tuple[int, int],
    session: Session,
    targets: np.ndarray,
    spec: WindowSpec,
) -> list[Asked]:
    """Return the masks of a draw, in the order of the questions of the plan."""
    samples = Samples.of(session, spec)
    base = Mask.nothing(session, spec).ask(targets, samples.scored)
    shown = base.with_frames(VIDEO in plan.inputs).with_behavior(BEHAVIOR in plan.inputs)
    rows = slice(*samples.own) if plan.is_lagged else slice(None)
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(label_of))
    order = order[~np.isin(order, targets)]
    sources = [order[label_of[order] == label][: plan.n_visible] for label in plan.labels]
    masks = [
        *(base.show(neurons, rows) for neurons in sources),
        *(shown.show(neurons, rows) for neurons in sources),
    ]
    inputs = Subset(shown, targets) if plan.inputs else None
    return [
        Asked(0, targets, inputs),
        *(Asked(1 + k, targets, Subset(mask, targets)) for k, mask in enumerate(masks)),
    ]
