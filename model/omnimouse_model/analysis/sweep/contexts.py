"""What a point of a sweep is asked under: so much context, and the same targets.

The definitions are those of the paper's Fig. S2 and S3 (spec/evaluation.md, 1.4): the
last second (samples 30-60) of held-out neurons is asked, given some other neurons in
that second, the last samples of everyone before the gap at 25, video or not, and
behaviour or not. With every neuron entering in stored order these are the official
masks `population_N_response…`, `causal_response_N…`, `video_behavior` and their kin.
"""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.masks import N_FRAMES, N_SAMPLES, Mask
from omnimouse_model.masks.token_layout import TOKEN_SAMPLES
from omnimouse_model.strategies import FULL_POPULATION, SMALL_POPULATION, Strategy

ASKED_FROM = 30
"""First asked sample; the last is 59."""
HISTORY_END = 25
"""History ends here: the 5 samples before the asked ones stay hidden."""
MOST_TARGETS = 3072
"""Targets of the official population masks, in proportion on small populations."""
LEAST_SHARE = 0.1
"""A context leaves at least this share of the neurons to be predicted."""


@dataclass(frozen=True, slots=True)
class Context:
    """How much is given.

    Attributes
    ----------
    neurons
        Other neurons that are visible while the targets are asked, samples 30-60.
    history_samples
        The last samples before 25 that are visible, of every neuron, targets too.
    video, behavior
        Whether all frames, and behaviour, are visible. Behaviour that is not visible
        is asked for, as in the official masks.

    Raises
    ------
    ValueError
        For a history that no token fits into, or that reaches into the gap.
    """

    neurons: int = 0
    history_samples: int = 0
    video: bool = True
    behavior: bool = True

    def __post_init__(self) -> None:
        if self.neurons < 0:
            raise ValueError(f"A context has 0 neurons or more, not {self.neurons}.")
        history = self.history_samples
        if history and not TOKEN_SAMPLES <= history <= HISTORY_END:
            raise ValueError(
                f"history_samples is 0 or {TOKEN_SAMPLES} to {HISTORY_END}, found "
                f"{history}: a token takes {TOKEN_SAMPLES} samples, and history ends "
                f"at sample {HISTORY_END}."
            )

    @property
    def label(self) -> str:
        """The responses given, for people: "64 neurons, 10 samples of history"."""
        parts = [f"{self.neurons:,} neurons"] if self.neurons else []
        if self.history_samples:
            parts.append(f"{self.history_samples} samples of history")
        return ", ".join(parts) or "no responses"


def inputs_label(video: bool, behavior: bool) -> str:
    """Which inputs are given beside responses, for people."""
    given = ["video"] * video + ["behaviour"] * behavior
    return " + ".join(given) or "nothing"


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Who is asked, and in which order the others come into a context.

    Attributes
    ----------
    targets
        int64 (n,): the neurons that are asked, never in a context themselves.
    others
        int64 (P - n,): the first k of them are the context of k neurons, so that
        larger contexts contain the smaller ones.
    """

    targets: np.ndarray
    others: np.ndarray

    @property
    def n_neurons(self) -> int:
        """Neurons of the session, P."""
        return len(self.targets) + len(self.others)


def held_out_draw(n_neurons: int, largest: int, seed: int) -> Draw:
    """Draw targets and the order of the others, the same for one seed.

    Parameters
    ----------
    n_neurons
        Neurons of the session, P.
    largest
        The largest context that the targets leave room for; see `largest_context`.
    """
    permuted = np.random.default_rng(seed).permutation(n_neurons)
    most = MOST_TARGETS
    if n_neurons < SMALL_POPULATION:
        most = round(MOST_TARGETS * n_neurons / FULL_POPULATION)
    count = max(1, min(most, n_neurons - largest))
    return Draw(np.sort(permuted[-count:]), permuted[:-count])


def largest_context(n_neurons: int, wanted: tuple[int, ...]) -> int:
    """Return the largest of the wanted contexts that leaves enough to be predicted."""
    room = n_neurons - _least_targets(n_neurons)
    return max((count for count in wanted if count <= room), default=0)


def too_large(context: Context, draw: Draw) -> str:
    """Why a population cannot give a context, "" where it can."""
    if context.neurons <= len(draw.others):
        return ""
    total = draw.n_neurons
    return (
        f"The session has {total:,} neurons; a context of {context.neurons:,} leaves "
        f"fewer than {_least_targets(total):,} of them to be predicted."
    )


def context_mask(context: Context, draw: Draw) -> Mask:
    """Show a context, and ask for the targets of a draw."""
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
    order = np.concatenate([draw.others, draw.targets])
    mask = strategy.to_mask(draw.n_neurons, order)
    if not context.history_samples:
        return mask
    return mask.show(
        slice(None), slice(HISTORY_END - context.history_samples, HISTORY_END)
    )


def _least_targets(n_neurons: int) -> int:
    return max(1, round(LEAST_SHARE * n_neurons))
