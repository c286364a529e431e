"""Masking schemes of the neural data transformer (Zhang et al. 2024).

A scheme hides entries of trials (bin, neuron) and names those that are predicted:

    neuron         random neurons, in all bins (co-smoothing)
    causal         random bins, of all neurons (forward prediction)
    inter-region   one region, all of it; units without a region are hidden, too
    intra-region   random neurons of one region; all other regions are hidden, too
    temporal       as causal, also in spans of several bins
    random         random entries
    co-smooth      neurons of a list
    forward-pred   bins of a list

Neurons and bins are drawn for each trial, the region once for all of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, UInt8

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import MaskError
from omnimouse_model.masks.cells import HIDDEN, TARGET, VISIBLE
from omnimouse_model.masks.mask import Mask

SCHEMES: Final = (
    *("neuron", "causal", "inter-region", "intra-region"),
    *("temporal", "random", "co-smooth", "forward-pred"),
)
RATIO: Final = 0.3
_TRIES: Final = 1000


@dataclass(frozen=True, slots=True)
class SchemeSettings:
    """Settings of masking schemes.

    Attributes
    ----------
    ratio
        Share of neurons, bins or entries that are hidden.
    max_span, expand
        Longest span of bins of "temporal", and the probability of spans; the length of
        a batch's spans is drawn.
    neurons, bins
        What "co-smooth" and "forward-pred" hide.
    region
        The region of "inter-region" and "intra-region"; "" draws one.
    allow_degenerate
        Whether "inter-region" may hide everything, where there is one region alone.
    """

    ratio: float = RATIO
    max_span: int = 1
    expand: float = 0.0
    neurons: tuple[int, ...] = ()
    bins: tuple[int, ...] = ()
    region: str = ""
    allow_degenerate: bool = False


DEFAULT: Final = SchemeSettings()


@dataclass(frozen=True, slots=True, eq=False)
class SchemeMasks:
    """Hidden and predicted entries of a batch of trials.

    Attributes
    ----------
    hidden, target
        Entries that are hidden, and those of them that are predicted.
    region
        The region of the batch, "" for schemes without one.
    """

    hidden: Bool[np.ndarray, "trial bin neuron"]
    target: Bool[np.ndarray, "trial bin neuron"]
    region: str = ""

    def mask_of(self, trial: int, session: Session, spec: WindowSpec) -> Mask:
        """Return the mask of one trial for windows of a session.

        Raises
        ------
        MaskError
            The session has another number of neurons, or the spec of bins.
        """
        hidden, target = self.hidden[trial], self.target[trial]
        if hidden.shape != (spec.n_samples, session.n_neurons):
            raise MaskError(
                f"The scheme has {hidden.shape} bins and neurons; windows of "
                f"{session.id!r} have ({spec.n_samples}, {session.n_neurons})."
            )
        cells = np.where(hidden, np.where(target, TARGET, HIDDEN), VISIBLE)
        empty = Mask.nothing(session, spec)
        return replace(empty, cells=cells.astype(np.uint8))


def draw_scheme(
    scheme: str,
    shape: tuple[int, int, int],
    regions: Sequence[str],
    rng: np.random.Generator,
    settings: SchemeSettings = DEFAULT,
) -> SchemeMasks:
    """Draw the masks of a batch; empty ones are drawn again.

    Parameters
    ----------
    shape
        Trials, bins and neurons.
    regions
        Region of each neuron; "" belongs to none. Without any region, all neurons are
        one.

    Raises
    ------
    MaskError
        The scheme is unknown, hides everything ("inter-region" with one region), or
        nothing.

    Examples
    --------
    >>> from omnimouse_model.masks.schemes import draw_scheme
    >>> regions, rng = ["VISp", "VISp", "CA1", "CA1"], np.random.default_rng(0)
    >>> drawn = draw_scheme("inter-region", (2, 5, 4), regions, rng)
    >>> drawn.region, drawn.target[0, 0].tolist()
    ('VISp', [True, True, False, False])
    """
    names = np.asarray(regions, dtype=str)
    region = ""
    if scheme in ("inter-region", "intra-region"):
        # Without a name, all neurons are one region, "".
        known = np.unique(names[names != ""]) if (names != "").any() else names[:1]
        region = settings.region or str(rng.choice(known))
        if region not in names:
            raise MaskError(f"No neuron is in {region!r}; there are {known.tolist()}.")
        if (
            np.isin(names, (region, "")).all()
            and scheme == "inter-region"
            and not settings.allow_degenerate
        ):
            raise MaskError(
                f"The only region is {region!r}: without it, there is nothing to predict it from."
            )
    for _ in range(_TRIES):
        hidden, target = _draw(scheme, shape, names, region, rng, settings)
        if target.any():
            return SchemeMasks(
                np.broadcast_to(hidden, shape), np.broadcast_to(target, shape), region
            )
    raise MaskError(
        f"Scheme {scheme!r} hides nothing of {shape[2]} neurons in {shape[1]} bins at "
        f"a ratio of {settings.ratio}."
    )


def nearest_scheme(
    cells: UInt8[np.ndarray, "bin neuron"], regions: Sequence[str] | None = None
) -> str:
    """Return the scheme with a prompt that fits the cells of a mask.

        causal         the last bins are hidden, of all neurons
        inter-region   whole regions are hidden, in all bins
        intra-region   one region is visible in part; targets are in it alone
        neuron         all else

    Parameters
    ----------
    cells
        Codes of a mask.
    regions
        Region of each neuron, if known.

    Examples
    --------
    >>> from omnimouse_model.masks.schemes import nearest_scheme
    >>> cells = np.ones((4, 3), np.uint8)  # all is visible
    >>> cells[2:] = 2
    >>> nearest_scheme(cells)
    'causal'
    """
    visible = cells == VISIBLE
    n_seen = int(visible.all(axis=1).sum())
    if 0 < n_seen < len(cells) and visible[:n_seen].all() and not visible[n_seen:].any():
        return "causal"
    seen = visible.all(axis=0)
    # Neurons that are visible in some bins alone are in no scheme over regions.
    if regions is None or not seen.any() or (visible.any(axis=0) & ~seen).any():
        return "neuron"
    names = np.asarray(regions, dtype=str)
    shown, hidden = set(names[seen]), set(names[~seen])
    if hidden and not shown & hidden:
        return "inter-region"
    targets = set(names[(cells == TARGET).any(axis=0)])
    if len(shown | hidden) > 1 and len(shown) == 1 and targets == shown:
        return "intra-region"
    return "neuron"


def _draw(
    scheme: str,
    shape: tuple[int, int, int],
    names: np.ndarray,
    region: str,
    rng: np.random.Generator,
    settings: SchemeSettings,
) -> tuple[np.ndarray, np.ndarray]:
    """Return hidden and target entries, which broadcast to `shape`."""
    n_trials, n_bins, n_neurons = shape
    ratio, inside = settings.ratio, names == region
    if scheme == "neuron":
        hidden = rng.random((n_trials, 1, n_neurons)) < ratio
    elif scheme == "causal":
        hidden = rng.random((n_trials, n_bins, 1)) < ratio
    elif scheme == "temporal":
        hidden = _spans(n_trials, n_bins, rng, settings)[:, :, None]
    elif scheme == "random":
        hidden = rng.random(shape) < ratio
    elif scheme == "inter-region":
        # A unit without a region can lie in any, also in the predicted one.
        hidden = np.broadcast_to(inside | (names == ""), (1, 1, n_neurons))
        return hidden, np.broadcast_to(inside, (1, 1, n_neurons))
    elif scheme == "intra-region":
        target = inside & (rng.random((n_trials, 1, n_neurons)) < ratio)
        return target | ~inside, target
    elif scheme == "co-smooth":
        hidden = np.isin(np.arange(n_neurons), settings.neurons)[None, None]
    elif scheme == "forward-pred":
        hidden = np.isin(np.arange(n_bins), settings.bins)[None, :, None]
    else:
        raise MaskError(f"There is no scheme {scheme!r}; choose of {SCHEMES}.")
    return hidden, hidden


def _spans(
    n_trials: int, n_bins: int, rng: np.random.Generator, settings: SchemeSettings
) -> np.ndarray:
    """Return hidden bins (trial, bin) in spans, whose share is about the ratio."""
    span = 1
    if rng.random() < settings.expand:
        span = int(rng.integers(1, settings.max_span + 1))
    first = rng.random((n_trials, n_bins)) < settings.ratio / span
    hidden = first.copy()
    before, after = span // 2, (span - 1) // 2
    for shift in range(1, max(before, after) + 1):
        if shift <= before:
            hidden[:, :-shift] |= first[:, shift:]
        if shift <= after:
            hidden[:, shift:] |= first[:, :-shift]
    return hidden
