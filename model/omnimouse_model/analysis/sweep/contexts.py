"""Contexts of a sweep: the visible input of a point, with the same targets for all.

The definitions follow Fig. S2 and S3 of the OmniMouse paper. Targets are the second
half of the window (OmniMouse: samples 30-60) of held-out neurons. The context consists
of other neurons in that half, the last samples of all neurons before it and its guard
(OmniMouse: before sample 25), video and behaviour. If all neurons enter in stored
order, these are the official masks `population_N_response…`, `causal_response_N…`,
`video_behavior` and their variants.
"""

from dataclasses import dataclass, replace

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import OMNIMOUSE, RESPONSE_RATE_HZ, WindowSpec
from omnimouse_model.masks import Mask
from omnimouse_model.masks.cells import (
    HasNeurons,
    count_neurons,
    guard_of,
    official_guard,
    recording_rate,
)
from omnimouse_model.masks.strategies import SMALL_POPULATION
from omnimouse_model.masks.token_layout import (
    FULL_POPULATION,
    TOKEN_SAMPLES,
    TokenLayout,
)

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


def inputs_label(video: bool, behavior: bool) -> str:
    """Return the displayed names of the visible inputs other than responses."""
    names = ["video"] * video + ["behaviour"] * behavior
    return " + ".join(names) or "nothing"


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
    ValueError
        There are no targets.
    """
    if targets is not None and not len(targets):
        raise ValueError(f"Session {session.id!r}: there are no targets.")
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
        where = "session" if draw.pool is None else "pool"
        return (
            f"The {where} has {len(draw.others):,} neurons that are no targets, fewer than "
            f"the {context.neurons:,} of the context."
        )
    return (
        f"The session has {total:,} neurons; a context of {context.neurons:,} leaves "
        f"fewer than {_least_targets(total):,} of them to be predicted."
    )


def history_end(spec: WindowSpec = OMNIMOUSE) -> int:
    """Return the end of history: before the official guard."""
    return spec.n_samples // 2 - official_guard(spec).after


def check_history(history: int, spec: WindowSpec = OMNIMOUSE) -> None:
    """Raise `HistoryError` for a history that windows of a spec cannot have."""
    # OmniMouse reads no run shorter than a token; other models read single samples.
    end = history_end(spec)
    if spec != OMNIMOUSE and history > end:
        raise HistoryError(
            f"history_samples is 0 to {end}, found {history}: history ends at sample "
            f"{end} of {spec.n_samples}."
        )
    if spec == OMNIMOUSE and history and not TOKEN_SAMPLES <= history <= end:
        raise HistoryError(
            f"history_samples is 0 or {TOKEN_SAMPLES} to {end}, found "
            f"{history}: a token takes {TOKEN_SAMPLES} samples, and history ends "
            f"at sample {end}."
        )


def context_mask(context: Context, draw: Draw, spec: WindowSpec = OMNIMOUSE) -> Mask:
    """Return the mask with a visible context and the targets of a draw.

    Raises
    ------
    HistoryError
        The history does not fit into a window; see `check_history`.
    """
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
    if mask.token_layout is not None:
        if not context.behavior:
            mask = mask.with_behavior("target")
        # As in the official masks: context neurons enter first, and time-slot latents
        # exist only where a response is visible.
        order = np.concatenate([draw.others, draw.targets])
        span = later if context.neurons else (0, 0)
        mask = replace(mask, token_layout=TokenLayout(order, context_span=span))
    # History last: it shows the past of targets in the pool too, and extends the context span.
    shown = slice(None) if draw.pool is None else draw.pool
    return mask.show(shown, (end - context.history_samples, end))


def _least_targets(n_neurons: int) -> int:
    return max(1, round(MIN_SHARE * n_neurons))
