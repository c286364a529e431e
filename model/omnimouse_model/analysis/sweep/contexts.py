"""Contexts of a sweep, and the plan of a sweep: all its contexts, and the curves.

The definitions follow Fig. S2 and S3 of the OmniMouse paper. Targets are the second
half of the window (OmniMouse: samples 30-60) of held-out neurons. The context consists
of other neurons in that half, the last samples of all neurons before it and its guard
(OmniMouse: before sample 25), video and behaviour. If all neurons enter in stored
order, these are the official masks `population_N_response…`, `causal_response_N…`,
`video_behavior` and their variants.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from operator import index
from typing import Any, Literal

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ, WindowSpec, default_spec
from omnimouse_model.errors import MaskError
from omnimouse_model.masks import Mask, input_cells
from omnimouse_model.masks.cells import (
    HasNeurons,
    count_neurons,
    guard_of,
    official_guard,
    recording_rate,
)
from omnimouse_model.masks.selection import NeuronGroup, neurons_of
from omnimouse_model.masks.strategies import FULL_POPULATION, SMALL_POPULATION, strategy_attachment
from omnimouse_model.metrics import named_metric
from omnimouse_model.predict.predictor import Needs

MAX_TARGETS = 3072
"""Targets of the official population masks; scaled down for small populations."""
MIN_SHARE = 0.1
"""Minimum share of the neurons that are targets."""
STORED = "Predictions of a file do not depend on the context."
"""Error message for a context sweep of stored predictions: its curve would be flat."""


class HistoryError(ValueError):
    """A history that a window of the predictor cannot have."""


@dataclass(frozen=True, slots=True)
class Context:
    """Amount of visible input.

    Attributes
    ----------
    neurons
        Number of other neurons that are visible in the target samples.
    history_samples
        Number of visible samples before the targets and their guard, of all neurons
        including the targets.
    video, behavior
        Whether all frames, and behaviour, are visible. For OmniMouse, behaviour that is
        not visible is a target, as in the official masks.

    Raises
    ------
    ValueError
        A number is negative.
    """

    neurons: int = 0
    history_samples: int = 0
    video: bool = True
    behavior: bool = True

    def __post_init__(self) -> None:
        if self.neurons < 0:
            raise ValueError(f"A context has 0 neurons or more, not {self.neurons}.")
        if self.history_samples < 0:
            raise ValueError(
                f"A context has 0 samples of history or more, not {self.history_samples}."
            )

    @property
    def label(self) -> str:
        """Displayed context of responses: "64 neurons, 10 samples of history"."""
        parts = [f"{self.neurons:,} neurons"] if self.neurons else []
        if self.history_samples:
            parts.append(f"{self.history_samples} samples of history")
        return ", ".join(parts) or "no responses"


def inputs_label(video: bool, behavior: bool, unread: Collection[str] = ()) -> str:
    """Return the displayed names of the visible inputs other than responses.

    Those in `unread` are left out; see `unread_inputs`.
    """
    names = ["video"] * video + ["behaviour"] * behavior
    return " + ".join(name for name in names if name not in unread) or "nothing"


def unread_inputs(needs: Needs) -> tuple[str, ...]:
    """Return the names in `inputs_label` of inputs that a predictor does not read."""
    read = {"video": needs.sees_video, "behaviour": needs.sees_behavior}
    return tuple(name for name, is_read in read.items() if not is_read)


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Target neurons, and the order in which other neurons enter a context.

    Attributes
    ----------
    targets
        int64 (n,): the target neurons, which are never in a context.
    others
        int64 (P - n,), or those of the pool: the first k are the context of k neurons,
        so that larger contexts contain the smaller ones.
    recording_rate_hz
        Rate at which the session was recorded; slow recordings have a wider guard. If
        it is unknown, contexts have the guard of the official masks.
    pool
        Neurons that may be shown, whose history is; None for all neurons.
    n_neurons
        Neurons of the session, P; 0 stands for the sum of targets and others.
    is_held_out
        Whether the targets were drawn as the neurons that no context contains.
    """

    targets: np.ndarray
    others: np.ndarray
    recording_rate_hz: float = RESPONSE_RATE_HZ
    pool: np.ndarray | None = None
    n_neurons: int = 0
    is_held_out: bool = False

    def __post_init__(self) -> None:
        total = self.n_neurons or len(self.targets) + len(self.others)
        object.__setattr__(self, "n_neurons", total)


def held_out_draw(session: HasNeurons | int, largest: int, seed: int) -> Draw:
    """Draw the targets and the order of the other neurons from a seed.

    Parameters
    ----------
    session
        A session, or its number of neurons.
    largest
        Number of neurons in the largest context; see `largest_context`.
    """
    n_neurons = count_neurons(session)
    permuted = np.random.default_rng(seed).permutation(n_neurons)
    most = MAX_TARGETS
    # The same rule as for official masks on small populations.
    if n_neurons < SMALL_POPULATION:
        most = round(MAX_TARGETS * n_neurons / FULL_POPULATION)
    # The targets depend on the largest context and not on each one, so that they are
    # the same along a curve.
    count = max(1, min(most, n_neurons - largest))
    return Draw(
        np.sort(permuted[-count:]),
        permuted[:-count],
        recording_rate(session, RESPONSE_RATE_HZ),
        is_held_out=True,
    )


def chosen_draw(
    session: Session,
    seed: int,
    *,
    largest: int,
    targets: np.ndarray | None = None,
    pool: np.ndarray | None = None,
) -> Draw:
    """Draw the order of the neurons of a pool; without targets, those outside it.

    A pool of all neurons, and none, give `held_out_draw`, whose parameters these are.

    Raises
    ------
    MaskError
        There are no targets.
    """
    if targets is not None and not len(targets):
        raise MaskError(f"Session {session.id!r}: there are no targets.")
    permuted = np.random.default_rng(seed).permutation(session.n_neurons)
    in_pool = permuted if pool is None else permuted[np.isin(permuted, pool)]
    if targets is None and len(in_pool) == session.n_neurons:
        return held_out_draw(session, largest, seed)
    if targets is None:
        targets = np.sort(np.setdiff1d(permuted, in_pool))
    return Draw(
        np.asarray(targets),
        in_pool[~np.isin(in_pool, targets)],
        recording_rate(session, RESPONSE_RATE_HZ),
        None if pool is None else np.sort(in_pool),
        session.n_neurons,
    )


def largest_context(n_neurons: int, counts: tuple[int, ...]) -> int:
    """Return the largest number of context neurons that leaves enough targets."""
    most = n_neurons - _least_targets(n_neurons)
    return max((count for count in counts if count <= most), default=0)


def too_large(context: Context, draw: Draw) -> str:
    """Return the reason if a population is too small for a context, else ""."""
    # Not clipped to what is there: the point would look like a larger context.
    if context.neurons <= len(draw.others):
        return ""
    total = draw.n_neurons
    if not draw.is_held_out:
        where = "recording" if draw.pool is None else "pool"
        return (
            f"The {where} has {len(draw.others):,} neurons that are no targets, fewer than "
            f"the {context.neurons:,} of the context."
        )
    return (
        f"The recording has {total:,} neurons; a context of {context.neurons:,} leaves "
        f"fewer than {_least_targets(total):,} of them to be predicted."
    )


def history_end(spec: WindowSpec) -> int:
    """Return the end of history: before the official guard."""
    return spec.n_samples // 2 - official_guard(spec).after


def check_history(history: int, spec: WindowSpec) -> None:
    """Raise `HistoryError` for a history that windows of a spec cannot have."""
    end = history_end(spec)
    if 0 <= history <= end and (not history or _is_read(history, spec)):
        return
    least = next((n for n in range(1, end + 1) if _is_read(n, spec)), 1)
    shortest = f"or {least} " if least > 1 else ""
    reason = f"shorter runs are not read ({least} samples), and " if least > 1 else ""
    raise HistoryError(
        f"history_samples is 0 {shortest}to {end}, found {history}: {reason}history ends "
        f"at sample {end} of {spec.n_samples}."
    )


@cache
def _is_read(n_samples: int, spec: WindowSpec) -> bool:
    """Return whether a run of visible samples is read, by the attachment of the spec."""
    return bool(input_cells(Mask.nothing(1, spec).show([0], (0, n_samples))).any())


def context_mask(context: Context, draw: Draw, spec: WindowSpec | None = None) -> Mask:
    """Return the mask with a visible context and the targets of a draw.

    Raises
    ------
    HistoryError
        The history does not fit into a window; see `check_history`.
    """
    spec = spec or default_spec()
    check_history(context.history_samples, spec)
    later = (spec.n_samples // 2, spec.n_samples)
    # The guard of a slow recording reaches into the second half. Its samples are no
    # targets in any context, so that all contexts are scored on the same samples.
    end = history_end(spec)
    guard = guard_of(spec, draw.recording_rate_hz)
    scored = (max(later[0], end + guard.after), spec.n_samples)
    mask = replace(
        Mask.nothing(draw.n_neurons, spec), recording_rate_hz=draw.recording_rate_hz
    ).ask(draw.targets, scored)
    mask = mask.show(draw.others[: context.neurons], later)
    mask = mask.with_frames(context.video).with_behavior(context.behavior)
    # As in the official masks: context neurons enter first, and time-slot latents exist
    # only where a response is visible.
    order = np.concatenate([draw.others, draw.targets])
    span = later if context.neurons else (0, 0)
    attachment = strategy_attachment(spec, draw.n_neurons, order, span)
    if attachment is not None:
        if not context.behavior:
            mask = mask.with_behavior("target")
        mask = replace(mask, attachment=attachment)
    # History last: it shows the past of targets in the pool too, and extends the context span.
    shown = slice(None) if draw.pool is None else draw.pool
    return mask.show(shown, (end - context.history_samples, end))


def _least_targets(n_neurons: int) -> int:
    return max(1, round(MIN_SHARE * n_neurons))


# -- amount of context in a mask, in the units of a sweep: its position on the curve --
# A mask of a sweep has exactly the context of its point, also of one with a pool. For a
# painted mask, the context is averaged over samples or over the visible neurons.
@dataclass(frozen=True, slots=True)
class ContextAmount:
    """Amount of context in a mask.

    Attributes
    ----------
    neurons
        Number of visible neurons, mean over the target samples.
    history_samples
        Visible samples before the target samples, mean over the neurons that are visible in
        any sample: the pool of the curves.
    video, behavior
        Whether any frame is visible, and whether behaviour is visible.
    """

    neurons: float
    history_samples: float
    video: bool
    behavior: bool


def measure_context(mask: Mask) -> ContextAmount:
    """Return the context of a mask; without targets, that of the last second."""
    rows = np.flatnonzero(mask.target.any(axis=1))
    # A mask without targets still has a place on the axis: the half usually predicted.
    if not len(rows):
        rows = np.arange(mask.n_samples // 2, mask.n_samples)
    n_visible = np.count_nonzero(mask.visible, axis=1)
    # Averages, because a painted mask may show other neurons at each sample.
    before, in_pool = n_visible[: rows[0]].sum(), mask.visible.any(axis=0)
    return ContextAmount(
        neurons=float(n_visible[rows].mean()),
        history_samples=float(before / max(np.count_nonzero(in_pool), 1)),
        video=bool(mask.frames.any()),
        behavior=mask.has_visible_behavior,
    )


# -- plan of a sweep: its contexts and the curves through them ------------------------
ContextAxis = Literal["neurons", "history_samples"]
AXES: tuple[ContextAxis, ...] = ("neurons", "history_samples")


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """Contexts, draws and windows of a sweep.

    Without `grid`, there is one curve per axis with the other axis at 0; with `grid`,
    all combinations. Either is repeated for each choice of video and behaviour.

    Attributes
    ----------
    metric
        Name of the metric of the scores.
    centred
        Whether correlations are about the means of the train tier, as in every score;
        False for pooled ones, as in publications and in sweeps of older versions.
    targets
        Area or group whose neurons are predicted; None for a held-out part that each
        seed draws.
    pool
        Area or group whose neurons may be shown, in the target samples (but the
        targets) and as history; None for all neurons.
    rate_hz
        Response samples per second: the unit of `history_samples`.

    Raises
    ------
    ValueError
        There is no context, a value is invalid for a context, or the metric is unknown.
    MaskError
        Values are no list.
    """

    neurons: tuple[int, ...] = ()
    history_samples: tuple[int, ...] = ()
    video: tuple[bool, ...] = (True,)
    behavior: tuple[bool, ...] = (True,)
    seeds: tuple[int, ...] = (0,)
    tier: str = "test"
    max_windows: int | None = None
    grid: bool = False
    metric: str = "correlation"
    rate_hz: float = RESPONSE_RATE_HZ
    centred: bool = True
    targets: str | NeuronGroup | None = None
    pool: str | NeuronGroup | None = None

    def __post_init__(self) -> None:
        for name in ("neurons", "history_samples", "video", "behavior", "seeds"):
            object.__setattr__(self, name, plain_values(name, getattr(self, name)))
        if not (self.neurons or self.history_samples):
            raise ValueError(
                "A sweep needs neurons or history_samples; for the score without "
                "either give neurons=[0]."
            )
        for name in ("video", "behavior", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"A sweep needs at least one value of {name}.")
        named_metric(self.metric)
        _ = self.contexts  # creating a context checks its values

    @property
    def targets_name(self) -> str:
        """Targets in words: an area, the name of a group, "held-out neurons"."""
        return _name_of(self.targets) or "held-out neurons"

    @property
    def pool_name(self) -> str:
        """Neurons that may be shown, in words; "all others" by default."""
        return _name_of(self.pool) or "all others"

    @property
    def asked(self) -> str:
        """What the sweep asks, such as "V1 from LM": targets and pool."""
        return f"{self.targets_name} from {self.pool_name}"

    def of(self, sessions: Collection[Session]) -> "SweepPlan":
        """Return the plan for sessions: a pool of all neurons without targets is none.

        Then targets are held-out neurons (`chosen_draw`), which each seed draws.
        """
        if self.pool is None or self.targets is not None:
            return self
        is_all = all(len(neurons_of(one, self.pool)) == one.n_neurons for one in sessions)
        return replace(self, pool=None) if is_all else self

    def n_draws(self, context: Context, pool: int | None = None) -> int:
        """Return the number of different draws: one of chosen neurons, with none or all shown.

        `pool` is the number of neurons that may be shown, None if it is not known.
        """
        is_chosen = self.targets is not None or self.pool is not None
        is_whole = pool is not None and context.neurons >= pool
        return 1 if is_chosen and (is_whole or not context.neurons) else len(self.seeds)

    @property
    def contexts(self) -> tuple[Context, ...]:
        """All different contexts, ordered by their visible inputs."""
        return tuple(
            dict.fromkeys(
                context
                for behavior in self.behavior
                for video in self.video
                for curve in self._lines(video, behavior)
                for context in curve.contexts
            )
        )

    def lines(self) -> Iterator["Line"]:
        """Yield the curves: those over neurons first, then those over history."""
        lines = [
            line
            for behavior in self.behavior
            for video in self.video
            for line in self._lines(video, behavior)
        ]
        yield from sorted(lines, key=lambda line: AXES.index(line.axis))

    def _lines(self, video: bool, behavior: bool) -> Iterator["Line"]:
        for fixed in self.history_samples if self.grid else (0,):
            if self.neurons:
                yield Line("neurons", self.neurons, fixed, video, behavior)
        for fixed in self.neurons if self.grid else (0,):
            if self.history_samples:
                values = self.history_samples
                yield Line("history_samples", values, fixed, video, behavior)


def plain_values(name: str, values: Iterable[Any]) -> tuple[Any, ...]:
    """Return the values of a field of a plan as plain Python values, without repeats.

    Raises
    ------
    MaskError
        They are not several whole numbers, or switches.
    """
    # Plans are compared after a round trip through JSON, and NumPy integers are not JSON.
    is_switch = name in ("video", "behavior")
    kind, such = (_switch, [True, False]) if is_switch else (_whole, [0, 16])
    try:
        return tuple(dict.fromkeys(kind(value) for value in values))
    except TypeError:
        pass
    raise MaskError(f"{name} is a list of values, such as {such}; found {values!r:.80}.")


def _whole(value: Any) -> int:
    return int(index(value))  # not 1.7


def _switch(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError
    return bool(value)


def _name_of(neurons: str | NeuronGroup | None) -> str:
    return neurons.name if isinstance(neurons, NeuronGroup) else neurons or ""


@dataclass(frozen=True, slots=True)
class Line:
    """One planned curve: its axis and the fixed inputs.

    `fixed` is the value of the other axis.
    """

    axis: ContextAxis
    values: tuple[int, ...]
    fixed: int
    video: bool
    behavior: bool

    @property
    def contexts(self) -> tuple[Context, ...]:
        """Contexts of the curve, in the order of `values`."""
        # (neurons, history): the fixed value takes the place of the other axis.
        pairs = [(value, self.fixed) for value in self.values]
        if self.axis == "history_samples":
            pairs = [(other, value) for value, other in pairs]
        return tuple(Context(n, h, self.video, self.behavior) for n, h in pairs)

    @property
    def smallest(self) -> Context:
        """Context with the least value."""
        return self.contexts[self.values.index(min(self.values))]
