"""The named structured masks of OmniMouse, realised exactly (spec §6).

Names: "train/57" (index in the training list), "validation/NAME", "test/NAME",
"test_additional/NAME"; a bare name means test, then test_additional. On small
populations counts shrink by one rule (`adapted`), used by training, the faces and
evaluation alike.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

import numpy as np

from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.errors import EmptyMaskError, MaskError
from omnimouse_model.masks import (
    HIDDEN,
    TARGET,
    VISIBLE,
    BehaviorMode,
    HasNeurons,
    Mask,
    TokenLayout,
)
from omnimouse_model.masks.selection import random_order, random_subset

N_SAMPLES, N_FRAMES = OMNIMOUSE.n_samples, OMNIMOUSE.n_frames
FULL_POPULATION = 4096
SMALL_POPULATION = 3500
KERNEL, STRIDE = 10, 5
SKIP_SAMPLES = 5
INTERPOLATION_BUFFER = 5
_COUNTS = (
    "n_visible_neurons",
    "max_n_reconstructed_neurons",
    "prefix_len",
    "full_population_prefix_len",
    "max_response_context_samples",
    "suffix_len",
    "n_visible_frames",
)


@dataclass(frozen=True, slots=True)
class Strategy:
    """A structured mask as the official code states it; field names are its own.

    Counts are neurons, lengths and starts response samples (frames for the video).
    None means the default that `realise` fills in.

    Raises
    ------
    MaskError
        At construction, where the fields contradict each other.
    """

    n_visible_neurons: int | None = None
    prefix_start_idx: int | None = None
    prefix_len: int | None = None
    full_population_prefix_len: int | None = None
    response_context_start_idx: int | None = None
    max_response_context_samples: int | None = None
    max_n_reconstructed_neurons: int | None = None
    suffix_start_idx: int | None = None
    suffix_len: int | None = None
    n_visible_frames_start_idx: int | None = None
    n_visible_frames: int | None = None
    behavior_encoded: bool = True
    behavior_reconstructed: bool = False
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise MaskError(
                f"A strategy's weight must be above 0, found {self.weight}."
            )
        if self.prefix_len is None:
            self._set("prefix_len", self.max_response_context_samples)
        if (self.n_visible_neurons == 0) != (self.prefix_len == 0):
            raise MaskError(
                "No visible neurons and no visible samples go together: found "
                f"n_visible_neurons {self.n_visible_neurons}, prefix_len "
                f"{self.prefix_len}."
            )
        if self.full_population_prefix_len is None or self.n_visible_neurons is None:
            self._set("full_population_prefix_len", 0)
        full = self.full_population_prefix_len or 0
        if self.prefix_len is not None and full > self.prefix_len:
            raise MaskError(
                f"full_population_prefix_len {full} is longer than the prefix "
                f"({self.prefix_len})."
            )
        if self.response_context_start_idx is None:
            self._set("response_context_start_idx", 0)
        if self.prefix_start_idx is None:
            self._set("prefix_start_idx", self.response_context_start_idx)
        self._check_context()
        if self.behavior_encoded and self.behavior_reconstructed:
            raise MaskError("Behaviour cannot be both given and asked.")

    def _set(self, name: str, value: int | None) -> None:
        object.__setattr__(self, name, value)

    def _check_context(self) -> None:
        length, context = self.prefix_len, self.max_response_context_samples
        if length is None or context is None:
            return
        start = self.response_context_start_idx or 0
        first = self.prefix_start_idx or 0
        if not start <= first <= first + length <= start + context:
            raise MaskError(
                f"The visible samples {first}-{first + length} must lie in the "
                f"context {start}-{start + context}."
            )

    @property
    def behavior(self) -> BehaviorMode:
        """Behaviour's part in the mask."""
        if self.behavior_encoded:
            return "visible"
        return "target" if self.behavior_reconstructed else "hidden"

    def adapted(self, n_neurons: int) -> "Strategy":
        """Shrink the counts to a small population (contract, "Small populations")."""
        if n_neurons >= SMALL_POPULATION:
            return self
        visible = _scaled(self.n_visible_neurons, n_neurons)
        asked = _scaled(self.max_n_reconstructed_neurons, n_neurons)
        n_visible = n_neurons if visible is None else min(visible, n_neurons)
        if 0 < n_visible < n_neurons:
            n_asked = n_neurons if asked is None else asked
            asked = min(n_asked, n_neurons - n_visible)
        return replace(
            self, n_visible_neurons=visible, max_n_reconstructed_neurons=asked
        )

    def realise(
        self, n_neurons: int, n_samples: int = N_SAMPLES, n_frames: int = N_FRAMES
    ) -> "Strategy":
        """Fill in every default for a population; construction rules run again."""
        n, s = n_neurons, n_samples
        start = min(max(self.response_context_start_idx or 0, 0), s)
        context = _at_most(self.max_response_context_samples, s - start)
        end = start + context
        first = min(max(self.prefix_start_idx or 0, start), end)
        prefix = _at_most(self.prefix_len, end - first)
        full = min(self.full_population_prefix_len or 0, prefix)
        visible = _at_most(self.n_visible_neurons, n)
        # the default ignores the prefix's start, as in the official code
        suffix_default = full if visible < n else prefix
        suffix = (
            suffix_default if self.suffix_start_idx is None else self.suffix_start_idx
        )
        suffix = min(max(suffix, 0), s)
        frame = min(max(self.n_visible_frames_start_idx or 0, 0), n_frames)
        return Strategy(
            n_visible_neurons=visible,
            prefix_start_idx=first,
            prefix_len=prefix,
            full_population_prefix_len=full,
            response_context_start_idx=start,
            max_response_context_samples=context,
            max_n_reconstructed_neurons=_at_most(self.max_n_reconstructed_neurons, n),
            suffix_start_idx=suffix,
            suffix_len=_at_most(self.suffix_len, s - suffix),
            n_visible_frames_start_idx=frame,
            n_visible_frames=_at_most(self.n_visible_frames, n_frames - frame),
            behavior_encoded=self.behavior_encoded,
            behavior_reconstructed=self.behavior_reconstructed,
            weight=self.weight,
        )

    def _check_counts(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 0:
                raise EmptyMaskError(f"{name} is {value}; give 0 or more, or null.")

    def to_mask(
        self, n_total: int, order: np.ndarray | None = None, name: str = ""
    ) -> Mask:
        """Realise the strategy as a mask over a population.

        Parameters
        ----------
        n_total
            Neurons of the session, P.
        order
            The N neurons that enter, first visible ones first; all by default.
        name
            Kept on the mask.

        Raises
        ------
        MaskError
            Where a slice cannot be cut into tokens or queries.
        EmptyMaskError
            Where nothing is asked.
        """
        self._check_counts()
        order = np.arange(n_total) if order is None else np.asarray(order)
        plain = self.realise(len(order))
        seen = _visible_blocks(plain, len(order))
        asked = _target_blocks(plain, len(order))
        if not asked and not plain.behavior_reconstructed:
            raise EmptyMaskError("This strategy asks for nothing.")
        cells = np.full((N_SAMPLES, n_total), HIDDEN, np.uint8)
        for code, blocks in ((VISIBLE, seen), (TARGET, asked)):
            for start, stop, neurons in blocks:
                cells[start:stop, order[neurons]] = code
        frames = np.zeros(N_FRAMES, bool)
        first = plain.n_visible_frames_start_idx or 0
        frames[first : first + (plain.n_visible_frames or 0)] = True
        context = plain.response_context_start_idx or 0
        return Mask(
            cells=cells,
            frames=frames,
            behavior=plain.behavior,
            token_layout=TokenLayout(
                order=order,
                cuts=tuple(block[0] for block in seen[1:]),
                context_span=(
                    context,
                    context + (plain.max_response_context_samples or 0),
                ),
                query_phase=asked[0][0] % STRIDE if asked else 0,
            ),
            name=name,
        )


CellBlock = tuple[int, int, slice]


def _visible_blocks(plain: Strategy, n: int) -> list[CellBlock]:
    """Visible slices as (start, stop, positions), each tokenised on its own."""
    first, length = plain.prefix_start_idx or 0, plain.prefix_len or 0
    full, visible = (
        plain.full_population_prefix_len or 0,
        plain.n_visible_neurons or 0,
    )
    blocks: list[CellBlock] = []
    if full > 0 and 0 < visible < n:
        blocks.append((first, first + full, slice(0, n)))
    # with everyone visible the full-population part is dropped, as officially
    if length > 0 and visible > 0 and full < length:
        blocks.append((first + full, first + length, slice(0, visible)))
    for start, stop, _ in blocks:
        if stop - start < KERNEL or (stop - start - KERNEL) % STRIDE:
            raise MaskError(
                f"Visible samples {start}-{stop} cannot be cut into tokens: a slice "
                f"needs {KERNEL} samples plus a multiple of {STRIDE}."
            )
    return blocks


def _target_blocks(plain: Strategy, n: int) -> list[CellBlock]:
    """Asked slices as (start, stop, positions), in the order they are answered."""
    start, length = plain.suffix_start_idx or 0, plain.suffix_len or 0
    n_asked, visible = (
        plain.max_n_reconstructed_neurons or 0,
        plain.n_visible_neurons or 0,
    )
    if length == 0 or n_asked == 0:
        return []
    if start < SKIP_SAMPLES:
        raise MaskError(
            f"Targets start at sample {start}; the first {SKIP_SAMPLES} samples "
            "cannot be asked."
        )
    first = plain.prefix_start_idx or 0
    full_end = first + (plain.full_population_prefix_len or 0)
    end = first + (plain.prefix_len or 0)
    after_full = after_prefix = 0
    if plain.full_population_prefix_len:
        after_full = min(full_end + INTERPOLATION_BUFFER, N_SAMPLES)
    if plain.prefix_len:
        after_prefix = min(end + INTERPOLATION_BUFFER, N_SAMPLES)
    stop, first_asked = start + length, n - n_asked
    if first_asked >= visible or start >= after_prefix:
        blocks = [(max(start, after_full), stop, slice(first_asked, n))]
    else:
        # the first block is not limited to n_asked, as officially
        blocks = [(max(start, after_full), min(after_prefix, stop), slice(visible, n))]
        if stop > after_prefix:
            blocks.append((after_prefix, stop, slice(first_asked, n)))
    for begin, finish, neurons in blocks:
        if neurons.stop <= neurons.start:
            raise MaskError(
                f"All {n} neurons are visible beside the targets of samples "
                f"{begin}-{finish}: none is left to ask. Take a session with more, or "
                "show fewer (n_visible_neurons)."
            )
        if finish <= begin or (finish - begin) % STRIDE:
            raise MaskError(
                f"Targets of samples {begin}-{finish} are not a multiple of {STRIDE}."
            )
    return blocks


def _scaled(count: int | None, n_neurons: int) -> int | None:
    if not count:
        return count
    return max(1, round(count * n_neurons / FULL_POPULATION))


def _at_most(value: int | None, limit: int) -> int:
    return limit if value is None else min(value, limit)


# -- names ----------------------------------------------------------------------


@cache
def _tables() -> dict[str, Strategy]:
    folder = files("omnimouse_model") / "strategy_tables"
    training = json.loads((folder / "training.json").read_text("utf-8"))["masks"]
    evaluation = json.loads((folder / "evaluation.json").read_text("utf-8"))
    named = {f"train/{m['index']}": _from_fact(m) for m in training}
    for group in ("validation", "test", "test_additional"):
        rows = evaluation[group]
        items = (
            rows.items() if isinstance(rows, dict) else ((r["name"], r) for r in rows)
        )
        named |= {f"{group}/{name}": _from_fact(row) for name, row in items}
    return named


def _from_fact(row: dict[str, object]) -> Strategy:
    names = {f.name for f in fields(Strategy)}
    # mypy: a JSON row holds values of several types
    return Strategy(**{k: v for k, v in row.items() if k in names})  # type: ignore[arg-type]


def strategy_names() -> tuple[str, ...]:
    """Every full name, training first.

    Examples
    --------
    >>> names = om.strategy_names()
    >>> len(names), names[0], names[-1]
    (174, 'train/0', 'test_additional/causal_response_10_video_behavior')
    """
    return tuple(_tables())


def full_name(name: str) -> str:
    """Complete a bare name: test first, then test_additional."""
    table = _tables()
    for candidate in (name, f"test/{name}", f"test_additional/{name}"):
        if candidate in table:
            return candidate
    complete = name if "/" in name else f"test/{name}"
    nearest = get_close_matches(complete, table, cutoff=0.0)
    raise MaskError(
        f"There is no strategy {name!r}; the nearest are {', '.join(nearest)}. In "
        "Python, omnimouse_model.strategy_names() has them all."
    )


def find_strategy(name: str) -> Strategy:
    """The official strategy of a name, before any adaptation.

    Examples
    --------
    >>> strategy = om.find_strategy("population_1024_response_video_behavior")
    >>> strategy.n_visible_neurons, strategy.suffix_start_idx, strategy.behavior
    (1024, 30, 'visible')
    """
    return _tables()[full_name(name)]


def mask_from_strategy(
    strategy: str | Strategy, session: HasNeurons | int, seed: int | None = None
) -> Mask:
    """Realise a strategy for a session.

    Parameters
    ----------
    strategy
        A name, or a strategy of your own.
    session
        A session, or its number of neurons.
    seed
        None keeps the stored order and the whole population (evaluation); an int
        draws the permutation and the subset of at most 4,096.

    Returns
    -------
    Mask
        Its `note` says how counts were adapted to a small population.

    Examples
    --------
    >>> mask = om.mask_from_strategy("population_256_response_behavior", session)
    >>> mask.cells.shape, mask.behavior
    ((60, 40), 'visible')
    >>> mask.note
    'adapted to 40 neurons: visible 256 → 2, asked 3072 → 30'
    """
    total = session if isinstance(session, int) else session.n_neurons
    order = None
    if seed is not None:
        order = random_order(total, seed)[:FULL_POPULATION]
    count = total if order is None else len(order)
    name = full_name(strategy) if isinstance(strategy, str) else ""
    official = find_strategy(strategy) if isinstance(strategy, str) else strategy
    adapted = official.adapted(count)
    mask = adapted.to_mask(total, order, name)
    if adapted == official:
        return mask
    return replace(mask, note=_adaptation(official, adapted, count))


def _adaptation(official: Strategy, adapted: Strategy, count: int) -> str:
    before, after = asdict(official), asdict(adapted)
    words = {
        "n_visible_neurons": "visible",
        "max_n_reconstructed_neurons": "asked",
    }
    changes = [
        f"{word} {'all' if before[key] is None else before[key]} → {after[key]}"
        for key, word in words.items()
        if before[key] != after[key]
    ]
    return f"adapted to {count} neurons: {', '.join(changes)}"


def half_population_mask(
    session: HasNeurons | int,
    seed: int = 0,
    video: bool = True,
    behavior: bool = True,
    asked: Sequence[int] | np.ndarray = (),
    spec: WindowSpec = OMNIMOUSE,
) -> Mask:
    """Show a random half for the whole window, ask the second half of the others.

    OmniMouse: the last second of the window.

    Parameters
    ----------
    session
        A session, or its number of neurons.
    seed
        Order in which neurons are drawn.
    video, behavior
        Whether video and behaviour are visible.
    asked
        Neurons that belong to the asked half, as far as it has room. The halves keep
        their sizes, and the other neurons their random order.
    spec
        Rates and sizes of the windows.

    Examples
    --------
    >>> from omnimouse_model.strategies import half_population_mask
    >>> mask = half_population_mask(100)
    >>> int(mask.visible.any(axis=0).sum()), int(mask.target.any(axis=0).sum())
    (50, 50)
    """
    total = session if isinstance(session, int) else session.n_neurons
    wanted = np.asarray(asked, int)[: total - total // 2]
    others = np.setdiff1d(np.arange(total), wanted)
    seen = random_subset(total, total // 2, seed, among=others)
    rest = np.setdiff1d(np.arange(total), seen)
    mask = Mask.nothing(total, spec).show(seen).ask(rest)
    mask = mask.with_frames(video).with_behavior(behavior)
    return replace(mask, name="half of the population")
