"""The mask: what a predictor sees and what it must predict in one window.

One code per (sample, neuron): 0 hidden (withheld, not scored), 1 visible, 2 target
(withheld, predicted, scored). Masks are immutable; their methods return new masks.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.errors import MaskError
from omnimouse_model.masks import algebra, files, time_mapping
from omnimouse_model.masks.cells import (
    HIDDEN,
    MIXED,
    PATTERN_NAMES,
    TARGET,
    VISIBLE,
    BehaviorMode,
    HasNeurons,
    Neurons,
    Samples,
    after_visible,
    count_neurons,
    fill,
    guard_samples,
    neuron_columns,
    sample_rows,
)
from omnimouse_model.masks.token_layout import TokenLayout

UNGUARDED = (
    "Targets beside visible samples can be read off their neighbours: scores are "
    "then too good."
)
BehaviorModes = BehaviorMode | tuple[BehaviorMode, ...]


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """What a predictor sees and must predict in one window.

    Attributes
    ----------
    cells
        uint8 (n_samples, P): 0 hidden, 1 visible, 2 target, neurons in stored order.
    frames
        bool (n_frames,): visible video frames.
    behavior
        "visible", "target" or "hidden" for all channels, or a tuple with one of these
        words per channel of the spec.
    spec
        Rates and sizes of the windows for which the mask is made.
    token_layout
        What only OmniMouse's tokeniser reads; None for other specs.
    guarded
        Whether target cells are left out where they can be read off their neighbours:
        at the beginning of the window, and shortly after a visible run of the same
        neuron. Strategies keep the rule by themselves.
    name
        The strategy from which the mask was made, "" for a mask made by hand.
    note
        How a strategy, or a mask of another spec, was adapted; "" if it was not.

    Examples
    --------
    >>> mask = om.Mask.nothing(100).show(range(50)).ask(range(50, 100), (30, 60))
    >>> mask.cells.shape, int(mask.target.sum())
    ((60, 100), 1500)
    """

    cells: np.ndarray
    frames: np.ndarray
    behavior: BehaviorModes
    spec: WindowSpec = OMNIMOUSE
    token_layout: TokenLayout | None = None
    guarded: bool = True
    name: str = ""
    note: str = ""
    _id: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        spec, cells = self.spec, np.asarray(self.cells, dtype=np.uint8)
        if cells.ndim != 2 or cells.shape[0] != spec.n_samples:
            raise MaskError(
                f"Mask.cells must be ({spec.n_samples}, P), found {cells.shape}."
            )
        if cells.size and cells.max() > TARGET:
            raise MaskError(
                f"Mask.cells must hold 0, 1 or 2, found {int(cells.max())}."
            )
        frames = np.asarray(self.frames, dtype=bool)
        if frames.shape != (spec.n_frames,):
            raise MaskError(
                f"Mask.frames must be ({spec.n_frames},), found {frames.shape}."
            )
        layout = self.token_layout
        if layout is None and spec == OMNIMOUSE:
            layout = TokenLayout.stored(cells.shape[1])
        if layout is not None:
            if spec != OMNIMOUSE:
                raise MaskError("Mask.token_layout is for windows of OmniMouse only.")
            layout.check(cells.shape[1])
        object.__setattr__(self, "cells", _frozen(cells.copy()))
        object.__setattr__(self, "frames", _frozen(frames.copy()))
        object.__setattr__(self, "behavior", _one_word(self.behavior, spec))
        object.__setattr__(self, "token_layout", layout)

    # -- making one -------------------------------------------------------------
    @classmethod
    def nothing(
        cls,
        session: "HasNeurons | int | np.integer[Any]",
        spec: WindowSpec = OMNIMOUSE,
    ) -> "Mask":
        """Return a mask that shows and asks nothing.

        Parameters
        ----------
        session
            A session, or its number of neurons.
        spec
            Rates and sizes of the windows.
        """
        n = count_neurons(session)
        return cls(
            cells=np.zeros((spec.n_samples, n), np.uint8),
            frames=np.zeros(spec.n_frames, bool),
            behavior="hidden",
            spec=spec,
        )

    @classmethod
    def from_strategy(
        cls, name: str, session: HasNeurons | int, seed: int | None = None
    ) -> "Mask":
        """Realise a named strategy; see `strategies.mask_from_strategy`."""
        strategies = import_module("omnimouse_model.strategies")
        mask: Mask = strategies.mask_from_strategy(name, session, seed)
        return mask

    # -- verbs ------------------------------------------------------------------
    def paint(self, neurons: Neurons, samples: Samples, code: int) -> "Mask":
        """Set the code of some neurons at some samples."""
        if code not in (HIDDEN, VISIBLE, TARGET):
            raise MaskError(f"A cell's code is 0, 1 or 2, found {code!r}.")
        cells = self.cells.copy()
        columns = neuron_columns(neurons, self.n_neurons)
        rows = sample_rows(samples, self.n_samples)
        fill(cells, rows, columns, code)
        changed = self.with_cells(cells)
        layout = changed.token_layout
        if layout is None:
            return changed
        if code == VISIBLE and len(rows):
            changed = changed._reaching(int(rows.min()), int(rows.max()) + 1)
        if code != HIDDEN and len(layout.order) < self.n_neurons:
            changed = changed._entering(columns)
        return changed

    def with_cells(self, cells: np.ndarray) -> "Mask":
        """Replace all codes by an array uint8 (n_samples, P) of 0, 1 and 2.

        The array is neither copied nor checked: a brush calls this for every mouse
        move.
        """
        changed: Mask = object.__new__(Mask)
        for name in ("frames", "behavior", "spec", "guarded"):
            object.__setattr__(changed, name, getattr(self, name))
        # a mask made by hand asks on the plain query grid
        layout = self.token_layout
        object.__setattr__(
            changed, "token_layout", None if layout is None else layout.by_hand()
        )
        object.__setattr__(changed, "cells", _frozen(cells))
        object.__setattr__(changed, "name", "")
        object.__setattr__(changed, "note", "")
        object.__setattr__(changed, "_id", [])
        return changed

    def _reaching(self, start: int, stop: int) -> "Mask":
        """Return a mask with time-slot latents for its visible samples."""
        return self._with_layout(self.require_layout().reaching(start, stop))

    def _entering(self, neurons: np.ndarray) -> "Mask":
        """Return a mask in which these neurons enter the model."""
        return self._with_layout(self.require_layout().entering(neurons))

    def require_layout(self) -> TokenLayout:
        """Return the token layout; raise `MaskError` for a mask of another model."""
        if self.token_layout is None:
            raise MaskError(
                "Order, cuts and context span exist in windows of OmniMouse only."
            )
        return self.token_layout

    def _with_layout(self, layout: TokenLayout) -> "Mask":
        if layout is self.token_layout:
            return self
        return self._by_hand(token_layout=layout)

    def show(self, neurons: Neurons, samples: Samples = slice(None)) -> "Mask":
        """Make cells visible to the predictor."""
        return self.paint(neurons, samples, VISIBLE)

    def ask(self, neurons: Neurons, samples: Samples | None = None) -> "Mask":
        """Withhold cells and ask the predictor for them; by default the second half."""
        if samples is None:
            samples = slice(self.n_samples // 2, self.n_samples)
        return self.paint(neurons, samples, TARGET)

    def hide(self, neurons: Neurons, samples: Samples = slice(None)) -> "Mask":
        """Withhold cells without asking for them."""
        return self.paint(neurons, samples, HIDDEN)

    def with_frames(self, frames: np.ndarray | slice | bool) -> "Mask":
        """Choose the visible video frames: all, none, a slice or a bool (n_frames,)."""
        if isinstance(frames, np.ndarray):
            chosen = frames.astype(bool)
        else:
            chosen = np.zeros(self.spec.n_frames, bool)
            chosen[slice(None) if frames is True else frames] = frames is not False
        return self._by_hand(frames=chosen)

    def with_behavior(
        self, behavior: BehaviorModes | bool, channels: Sequence[str] = ()
    ) -> "Mask":
        """Show, ask for or hide behaviour.

        Parameters
        ----------
        behavior
            "visible", "target" or "hidden", or one of these per channel of the spec;
            True is "visible", False "hidden".
        channels
            Names of the channels to change; all by default.
        """
        if isinstance(behavior, bool):
            behavior = "visible" if behavior else "hidden"
        if channels:
            names = () if self.spec.behavior is None else self.spec.behavior.channels
            for name in channels:
                if name not in names:
                    raise MaskError(
                        f"Mask.behavior has no channel {name!r}; the spec has "
                        f"{', '.join(names) or 'none'}."
                    )
            asked = (
                behavior if isinstance(behavior, tuple) else (behavior,) * len(names)
            )
            behavior = tuple(
                new if name in channels else old
                for name, new, old in zip(names, asked, self.channel_modes, strict=True)
            )
        return self._by_hand(behavior=behavior)

    def with_order(self, order: Sequence[int] | np.ndarray) -> "Mask":
        """Choose which neurons enter OmniMouse, and in which order."""
        return self._by_hand(
            token_layout=replace(self.require_layout(), order=np.asarray(order))
        )

    def with_cuts(self, *cuts: int) -> "Mask":
        """Choose the samples that no response token of OmniMouse crosses."""
        return self._by_hand(token_layout=replace(self.require_layout(), cuts=cuts))

    def with_context_span(self, start: int, stop: int) -> "Mask":
        """Choose the samples in which OmniMouse has time-slot latents."""
        span = (start, stop)
        return self._by_hand(
            token_layout=replace(self.require_layout(), context_span=span)
        )

    def with_guard(self, guarded: bool) -> "Mask":
        """Leave targets beside visible samples out, or ask them, with a warning."""
        if not guarded:
            warnings.warn(UNGUARDED, UserWarning, stacklevel=2)
        return self._by_hand(guarded=guarded)

    def _by_hand(self, **changes: object) -> "Mask":
        layout = changes.pop("token_layout", self.token_layout)
        if isinstance(layout, TokenLayout):
            layout = layout.by_hand()
        # mypy: `changes` holds fields of several types
        return replace(self, name="", note="", token_layout=layout, **changes)  # type: ignore[arg-type]

    # -- another model ------------------------------------------------------------
    def at(self, spec: WindowSpec, offset_s: float = 0.0) -> "Mask":
        """Map the mask to another spec by time.

        Nothing becomes visible that this mask withholds; see `time_mapping`. `note`
        says what the other spec cannot hold.

        Parameters
        ----------
        spec
            Rates and sizes of the other windows.
        offset_s
            Start of the other window minus the start of this one.

        Examples
        --------
        >>> spec = om.WindowSpec(duration_s=2.0, response_rate_hz=50.0)
        >>> mask = om.Mask.nothing(3).show([0]).ask([1]).at(spec)
        >>> mask.cells.shape, int(mask.visible.sum()), int(mask.target.sum())
        ((100, 3), 100, 50)
        """
        if spec == self.spec and not offset_s:
            return self
        modes = time_mapping.map_behavior(
            self.channel_modes, self.spec.behavior, spec.behavior
        )
        note = time_mapping.not_mapped(self.spec, spec, self.frames, self.channel_modes)
        return Mask(
            cells=time_mapping.map_cells(self.cells, self.spec, spec, offset_s),
            frames=time_mapping.map_frames(self.frames, self.spec, spec, offset_s),
            behavior=modes or "hidden",
            spec=spec,
            guarded=self.guarded,
            name=self.name,
            note=f"{self.note}; {note}" if self.note else note,
        )

    def stretched(self, spec: WindowSpec) -> "Mask":
        """Map the mask to windows of another spec by its share of the window.

        The first half stays the first half, whatever the durations: the same kind of
        question for another model. `at` maps by time instead.
        """
        if spec == self.spec:
            return self
        rows = _nearest_rows(spec.n_samples, self.n_samples)
        frames = np.zeros(spec.n_frames, bool)
        if len(self.frames) and spec.n_frames:
            frames = self.frames[_nearest_rows(spec.n_frames, len(self.frames))]
        elif spec.n_frames:
            frames[:] = True
        modes = time_mapping.map_behavior(
            self.channel_modes, self.spec.behavior, spec.behavior
        )
        return Mask(
            cells=self.cells[rows],
            frames=frames,
            behavior=modes or "hidden",
            spec=spec,
            guarded=self.guarded,
            note=f"adapted to windows of {spec.n_samples} samples",
        )

    # -- masks out of masks -----------------------------------------------------
    def __or__(self, other: "Mask") -> "Mask":
        """Give what either gives, ask what either asks and neither gives.

        Of two states the higher one stays, hidden < target < visible, in cells,
        frames and behaviour; `&` keeps the lower one. Order, cuts, span and guard are
        the left mask's, as if the right one had been painted onto it.
        """
        joined = self._combined(other, algebra.united)
        if joined.token_layout is None:
            return joined
        return joined._entering(np.flatnonzero(other.cells.any(axis=0)))

    def __and__(self, other: "Mask") -> "Mask":
        """Give what both give; ask what both have and one or both ask."""
        return self._combined(other, algebra.shared)

    def __sub__(self, other: "Mask") -> "Mask":
        """Hide whatever `other` gives or asks."""
        return self._combined(other, algebra.without)

    def invert(self) -> "Mask":
        """Show hidden cells and hide visible ones; targets, video, behaviour stay."""
        shown = np.flatnonzero((self.cells == HIDDEN).any(axis=0))
        changed = self.with_cells(algebra.inverted(self.cells))._reaching_visible()
        return changed if changed.token_layout is None else changed._entering(shown)

    def swap(self) -> "Mask":
        """Ask for what was visible and show what was asked; the rest stays."""
        return self.with_cells(algebra.swapped(self.cells))._reaching_visible()

    def with_history(self, n_samples: int) -> "Mask":
        """Keep only each neuron's last `n_samples` visible ones before the targets.

        "Before" is before the mask's first target sample, or the end of the window
        where no response is asked. Only hides; what is visible later stays.

        Examples
        --------
        >>> mask = om.Mask.nothing(session).show([0], slice(0, 30)).ask([0])
        >>> np.flatnonzero(mask.with_history(10).visible[:, 0]).tolist()
        [20, 21, 22, 23, 24, 25, 26, 27, 28, 29]
        """
        return self.with_cells(algebra.recent(self.cells, n_samples))

    def with_gap(self, n_samples: int) -> "Mask":
        """Leave `n_samples` without anything visible before the first target.

        Only hides. `with_gap(10).with_history(15)` is 15 samples that end 10 before.

        Examples
        --------
        >>> mask = om.Mask.nothing(session).show([0], slice(0, 30)).ask([0])
        >>> np.flatnonzero(mask.with_gap(20).visible[:, 0]).tolist()
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        """
        return self.with_cells(algebra.apart(self.cells, n_samples))

    def _combined(self, other: "Mask", rule: algebra.Rule) -> "Mask":
        if other.n_neurons != self.n_neurons:
            raise MaskError(
                f"Masks for {self.n_neurons} and {other.n_neurons} neurons cannot be "
                "combined: make both for the same session."
            )
        if other.spec != self.spec:
            raise MaskError(
                "Masks of two specs cannot be combined: map one to the other with "
                "at(spec)."
            )
        modes = (self.channel_modes, other.channel_modes)
        behavior = rule(*map(algebra.behavior_codes, modes))
        changed = self.with_cells(rule(self.cells, other.cells))
        return changed._by_hand(
            frames=rule(self.frames.view(np.uint8), other.frames.view(np.uint8)),
            behavior=algebra.behavior_modes(behavior) or "hidden",
        )._reaching_visible()

    def _reaching_visible(self) -> "Mask":
        if self.token_layout is None:
            return self
        shown = np.flatnonzero(self.visible.any(axis=1))
        return self._reaching(int(shown[0]), int(shown[-1]) + 1) if len(shown) else self

    # -- reading ----------------------------------------------------------------
    @property
    def n_neurons(self) -> int:
        """Neurons of the session, P."""
        return int(self.cells.shape[1])

    @property
    def n_samples(self) -> int:
        """Response samples of the window."""
        return int(self.cells.shape[0])

    @property
    def channel_modes(self) -> tuple[BehaviorMode, ...]:
        """Mode of each channel of behaviour of the spec; () without behaviour."""
        if isinstance(self.behavior, tuple):
            return self.behavior
        spec = self.spec.behavior
        return () if spec is None else (self.behavior,) * len(spec.channels)

    def mode_of(self, channel: int) -> BehaviorMode:
        """Mode of one channel of behaviour."""
        modes = self.behavior
        return modes[channel] if isinstance(modes, tuple) else modes

    @property
    def behavior_mode(self) -> str:
        """Mode of all channels of behaviour, "mixed" where they differ."""
        return "mixed" if isinstance(self.behavior, tuple) else self.behavior

    @property
    def has_visible_behavior(self) -> bool:
        """Whether a channel of behaviour is visible."""
        modes = self.behavior
        return "visible" in modes if isinstance(modes, tuple) else modes == "visible"

    @property
    def has_behavior_target(self) -> bool:
        """Whether a channel of behaviour must be predicted."""
        modes = self.behavior
        return "target" in modes if isinstance(modes, tuple) else modes == "target"

    @property
    def visible(self) -> np.ndarray:
        """bool (n_samples, P): the predictor may see it."""
        return np.asarray(self.cells == VISIBLE)

    @property
    def target(self) -> np.ndarray:
        """bool (n_samples, P): the predictor must predict it, and is scored."""
        return np.asarray(self.cells == TARGET)

    @property
    def mask_id(self) -> str:
        """A hash of everything that decides the tokens, queries and outputs."""
        if not self._id:
            digest = blake2b(digest_size=12)
            layout = self.token_layout
            order = np.zeros(0, np.int64) if layout is None else layout.order
            for part in (self.cells, self.frames, order):
                digest.update(np.ascontiguousarray(part).tobytes())
            rest: object = (self.behavior, self.spec)
            if layout is not None:
                rest = (self.behavior, *layout.values)
            # a guard that removes nothing is the same mask
            asked = np.packbits(scored_cells(self)).tobytes()
            digest.update(repr(rest).encode() + asked)
            self._id.append(digest.hexdigest())
        return self._id[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self.mask_id == other.mask_id

    def __hash__(self) -> int:
        return hash(self.mask_id)

    def state_in(self, span: tuple[int, int]) -> np.ndarray:
        """uint8 (P,): each neuron's code in a span of samples, 3 where mixed."""
        return _states(self.cells[slice(*span)])

    def pattern_of(self, neuron: int, span: tuple[int, int]) -> str:
        """One of `PATTERN_NAMES`: a neuron's state in a span of samples."""
        only = self.cells[slice(*span), [neuron]]
        return PATTERN_NAMES[int(_patterns(only)[0])]

    def patterns_in(self, span: tuple[int, int]) -> np.ndarray:
        """uint8 (P,): each neuron's place in `PATTERN_NAMES` in a span of samples."""
        return _patterns(self.cells[slice(*span)])

    # -- as text ----------------------------------------------------------------
    def to_dict(self) -> dict[str, Any]:
        """Everything a mask holds as plain JSON values; see `files`."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return files.facts_from(values)

    @classmethod
    def from_dict(cls, facts: object) -> "Mask":
        """Read `to_dict`'s values back.

        Raises
        ------
        MaskError
            Names the field, what was found and what was expected.
        """
        return cls(**files.fields_from(facts))

    def save(self, path: str | Path) -> Path:
        """Write the mask as JSON text, atomically."""
        return files.write_facts(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> "Mask":
        """Read a saved mask; raises as `from_dict` does, with the path."""
        with files.naming(path):
            return cls.from_dict(files.read_facts(path))


def input_cells(mask: Mask) -> np.ndarray:
    """Return the visible cells that reach the predictor, bool (n_samples, P).

    OmniMouse does not see runs that are too short for a token.
    """
    if mask.token_layout is None:
        return mask.visible
    return mask.token_layout.in_tokens(mask.visible)


def scored_cells(mask: Mask) -> np.ndarray:
    """Return the target cells that are predicted and scored, bool (n_samples, P)."""
    asked = mask.target
    if mask.token_layout is not None:
        asked &= mask.token_layout.enters(mask.n_neurons)
    if mask.guarded and (guard := guard_samples(mask.spec)):
        asked[:guard] = False
        asked &= ~after_visible(mask.visible, guard)
    return asked


def _nearest_rows(count: int, known: int) -> np.ndarray:
    """Return for each of `count` samples the sample of `known` at its middle."""
    return np.asarray((2 * np.arange(count) + 1) * known // (2 * count))


def _one_word(behavior: BehaviorModes, spec: WindowSpec) -> BehaviorModes:
    """Check the modes of behaviour, and give one word where all channels agree."""
    words = behavior if isinstance(behavior, tuple) else (behavior,)
    for word in words:
        if word not in ("visible", "target", "hidden"):
            raise MaskError(
                "Mask.behavior must be 'visible', 'target' or 'hidden', "
                f"found {word!r}."
            )
    if isinstance(behavior, tuple):
        count = 0 if spec.behavior is None else len(spec.behavior.channels)
        if len(words) != count:
            raise MaskError(
                f"Mask.behavior has {len(words)} words for the {count} channels of "
                "the spec."
            )
        return words[0] if len(set(words)) == 1 else behavior
    return "hidden" if spec.behavior is None else behavior


def _states(part: np.ndarray) -> np.ndarray:
    """Code of each neuron in a part (n, P) of the cells, `MIXED` where it changes."""
    if not len(part):
        return np.zeros(part.shape[1], np.uint8)
    low, high = part.min(axis=0), part.max(axis=0)
    return np.where(low == high, low, MIXED).astype(np.uint8)


def _patterns(part: np.ndarray) -> np.ndarray:
    """Place of each neuron in `PATTERN_NAMES`."""
    states, n = _states(part), np.uint8(MIXED)
    if not len(part):
        return states
    ends = np.where(states == MIXED, part[0] * n + part[-1], np.uint8(0))
    return np.asarray(states * (n * n) + ends)
