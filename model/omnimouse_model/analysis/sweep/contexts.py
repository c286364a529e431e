"""Contexts of a sweep: the visible input of a point, with the same targets for all.

The definitions follow Fig. S2 and S3 of the OmniMouse paper. The target is the last
second (samples 30-60) of held-out neurons. The context consists of other neurons in
that second, the last samples before sample 25 of all neurons, video and behaviour.
If all neurons enter in stored order, these are the official masks
`population_N_response…`, `causal_response_N…`, `video_behavior` and their variants.
"""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.masks import Mask
from omnimouse_model.masks.cells import guard_samples
from omnimouse_model.masks.token_layout import FULL_POPULATION, TOKEN_SAMPLES
from omnimouse_model.strategies import SMALL_POPULATION, Strategy

N_SAMPLES, N_FRAMES = OMNIMOUSE.n_samples, OMNIMOUSE.n_frames
ASKED_FROM = 30
"""First target sample; the last is 59."""
HISTORY_END = 25
"""End of history: the 5 samples before the target samples stay hidden."""
MOST_TARGETS = 3072
"""Targets of the official population masks; scaled down for small populations."""
LEAST_SHARE = 0.1
"""Minimum share of the neurons that are targets."""


class HistoryError(ValueError):
    """A history that a window of the predictor cannot have."""


@dataclass(frozen=True, slots=True)
class Context:
    """Amount of visible input.

    Attributes
    ----------
    neurons
        Number of other neurons that are visible in the target samples 30-60.
    history_samples
        Number of visible samples before sample 25, of all neurons including targets.
    video, behavior
        Whether all frames, and behaviour, are visible. Behaviour that is not visible
        is a target, as in the official masks.

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
                f"A context has 0 samples of history or more, not "
                f"{self.history_samples}."
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
    given = ["video"] * video + ["behaviour"] * behavior
    return " + ".join(given) or "nothing"


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Target neurons, and the order in which other neurons enter a context.

    Attributes
    ----------
    targets
        int64 (n,): the target neurons, which are never in a context.
    others
        int64 (P - n,): the first k are the context of k neurons, so that larger
        contexts contain the smaller ones.
    """

    targets: np.ndarray
    others: np.ndarray

    @property
    def n_neurons(self) -> int:
        """Neurons of the session, P."""
        return len(self.targets) + len(self.others)


def held_out_draw(n_neurons: int, largest: int, seed: int) -> Draw:
    """Draw the targets and the order of the other neurons from a seed.

    Parameters
    ----------
    n_neurons
        Neurons of the session, P.
    largest
        Number of neurons in the largest context; see `largest_context`.
    """
    permuted = np.random.default_rng(seed).permutation(n_neurons)
    most = MOST_TARGETS
    # The same rule as for official masks on small populations.
    if n_neurons < SMALL_POPULATION:
        most = round(MOST_TARGETS * n_neurons / FULL_POPULATION)
    # The targets depend on the largest context and not on each one, so that they are
    # the same along a curve.
    count = max(1, min(most, n_neurons - largest))
    return Draw(np.sort(permuted[-count:]), permuted[:-count])


def largest_context(n_neurons: int, wanted: tuple[int, ...]) -> int:
    """Return the largest of the wanted contexts that leaves enough targets."""
    room = n_neurons - _least_targets(n_neurons)
    return max((count for count in wanted if count <= room), default=0)


def too_large(context: Context, draw: Draw) -> str:
    """Return the reason if a population is too small for a context, else ""."""
    if context.neurons <= len(draw.others):
        return ""
    total = draw.n_neurons
    return (
        f"The session has {total:,} neurons; a context of {context.neurons:,} leaves "
        f"fewer than {_least_targets(total):,} of them to be predicted."
    )


def history_end(spec: WindowSpec = OMNIMOUSE) -> int:
    """Return the end of history: before the samples that the guard leaves out."""
    return spec.n_samples // 2 - guard_samples(spec)


def check_history(history: int, spec: WindowSpec = OMNIMOUSE) -> None:
    """Raise `HistoryError` for a history that windows of a spec cannot have."""
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
    if spec != OMNIMOUSE:
        return _plain_mask(context, draw, spec)
    shown = N_SAMPLES - ASKED_FROM if context.neurons else 0
    start = ASKED_FROM if context.neurons else 0
    strategy = Strategy(
        n_visible_neurons=context.neurons,
        prefix_start_idx=start,
        prefix_len=shown,
        response_context_start_idx=start,
        max_response_context_samples=shown,
        max_n_reconstructed_neurons=len(draw.targets),
        suffix_start_idx=ASKED_FROM,
        suffix_len=N_SAMPLES - ASKED_FROM,
        n_visible_frames_start_idx=0,
        n_visible_frames=N_FRAMES if context.video else 0,
        behavior_encoded=context.behavior,
        behavior_reconstructed=not context.behavior,
    )
    # A strategy shows the first neurons of the order.
    order = np.concatenate([draw.others, draw.targets])
    mask = strategy.to_mask(draw.n_neurons, order)
    if not context.history_samples:
        return mask
    # The fields of a strategy describe one visible block of responses, so history is
    # added to the mask.
    return mask.show(
        slice(None), slice(HISTORY_END - context.history_samples, HISTORY_END)
    )


def _plain_mask(context: Context, draw: Draw, spec: WindowSpec) -> Mask:
    """Return the mask of a context for a model without strategies."""
    later = (spec.n_samples // 2, spec.n_samples)
    mask = Mask.nothing(draw.n_neurons, spec).ask(draw.targets, later)
    if context.neurons:
        mask = mask.show(draw.others[: context.neurons], later)
    if context.history_samples:
        end = history_end(spec)
        mask = mask.show(slice(None), (end - context.history_samples, end))
    return mask.with_frames(context.video).with_behavior(context.behavior)


def _least_targets(n_neurons: int) -> int:
    return max(1, round(LEAST_SHARE * n_neurons))
