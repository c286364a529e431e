"""The mask: what a predictor sees and what it must predict in one window.

One code per (sample, neuron): 0 hidden (withheld, not scored), 1 visible, 2 target
(withheld, predicted, scored). Masks are immutable; their methods return new masks.

The module is longer than usual because all methods of a mask are in one class, which
users read as one reference. The rules that they apply are in the other modules.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.data.window_spec import ASSUMED_RATE_HZ, WindowSpec, default_spec
from omnimouse_model.display import HasSummary, data_frame
from omnimouse_model.errors import MaskError
from omnimouse_model.masks import files, time_mapping
from omnimouse_model.masks.attachment import Attachment, first_attachment
from omnimouse_model.masks.cells import (
    HIDDEN,
    NO_GUARD,
    PATTERN_NAMES,
    TARGET,
    VISIBLE,
    BehaviorMode,
    BehaviorModes,
    Guard,
    HasNeurons,
    Neurons,
    Samples,
    changed_columns,
    checked_modes,
    count_neurons,
    fill,
    guard_of,
    is_stored_slowly,
    near_visible,
    neuron_columns,
    official_guard,
    patterns,
    random_order,
    recording_rate,
    sample_rows,
    states,
)
from omnimouse_model.masks.strategies import (
    FULL_POPULATION,
    Strategy,
    adaptation,
    find_strategy,
    full_name,
)
from omnimouse_model.storage.write import write_json

if TYPE_CHECKING:
    import pandas

UNGUARDED = (
    "Targets next to visible samples can be read off their neighbours: their scores are too high."
)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Mask(HasSummary):
    """Visible input and targets of one window.

    Examples
    --------
    >>> mask = om.Mask.nothing(100).show(range(50)).ask(range(50, 100), (30, 60))
    >>> mask.cells.shape, int(mask.target.sum())
    ((60, 100), 1500)
    >>> mask
    Mask: size 60 samples x 100 neurons; cells 3,000 visible, 1,500 target, 1,500 \
hidden; video 0 of 60 frames visible; behaviour hidden; strategy made by hand

    Attributes
    ----------
    cells
        uint8 (n_samples, P): 0 hidden, 1 visible, 2 target, neurons in stored order.
    frames
        bool (n_frames,): visible video frames.
    behavior
        "visible", "target" or "hidden" for all channels, or a tuple with one of these
        modes per channel of the spec.
    spec
        Rates and sizes of the windows for which the mask is made.
    attachment
        What one family of models keeps in a mask, such as OmniMouse the layout of its
        tokens; None for a spec of other families, which ignore it.
    guarded
        Whether target cells that their neighbours reveal are not scored; see `guard`.
    recording_rate_hz
        Rate at which the responses were recorded, before they were upsampled; 8 Hz if
        it is unknown. Slower recordings have wider guards.
    name
        Strategy from which the mask was made, "" for a mask made by hand.
    note
        How a strategy, or a mask of another spec, was adapted; "" if it was not.
    """

    cells: np.ndarray
    frames: np.ndarray
    behavior: BehaviorModes
    spec: WindowSpec = field(default_factory=default_spec)
    attachment: Attachment | None = None
    guarded: bool = True
    recording_rate_hz: float = ASSUMED_RATE_HZ
    name: str = ""
    note: str = ""
    # Computed at first use; a list and dicts, because the fields are frozen.
    _id: list[str] = field(default_factory=list, init=False, repr=False)
    # "scored": scored cells; "allowed": what the guard leaves, packed along time; and what
    # others keep by `cached`.
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)
    # The same of an earlier mask, and whether a neuron's may differ, bool (P,).
    _shared: dict[str, tuple[np.ndarray, np.ndarray]] = field(
        default_factory=dict, init=False, repr=False
    )
    # Cells of an earlier mask, and whether a neuron's may differ: few may, bool (P,).
    _origin: list[tuple[np.ndarray, np.ndarray]] = field(
        default_factory=list, init=False, repr=False
    )

    def __post_init__(self) -> None:
        spec, cells = self.spec, np.asarray(self.cells, dtype=np.uint8)
        if cells.ndim != 2 or cells.shape[0] != spec.n_samples:
            raise MaskError(f"Mask.cells must be ({spec.n_samples}, P), found {cells.shape}.")
        if cells.size and cells.max() > TARGET:
            raise MaskError(f"Mask.cells must hold 0, 1 or 2, found {int(cells.max())}.")
        frames = np.asarray(self.frames, dtype=bool)
        if frames.shape != (spec.n_frames,):
            raise MaskError(f"Mask.frames must be ({spec.n_frames},), found {frames.shape}.")
        attachment = self.attachment
        if attachment is None:
            attachment = first_attachment(spec, cells.shape[1])
        else:
            # Raises where the attachment is for another number of neurons.
            attachment.predicted_cells(np.zeros((0, cells.shape[1]), bool))
        object.__setattr__(self, "cells", _frozen(cells))
        object.__setattr__(self, "frames", _frozen(frames))
        object.__setattr__(self, "behavior", checked_modes(self.behavior, spec))
        object.__setattr__(self, "attachment", attachment)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a copy is made from: not what is computed at first use."""
        return type(self), tuple(getattr(self, f.name) for f in fields(self) if f.init)

    # -- making one -------------------------------------------------------------
    @classmethod
    def nothing(
        cls, session: "HasNeurons | int | np.integer[Any]", spec: WindowSpec | None = None
    ) -> "Mask":
        """Return a mask without visible input and without targets.

        Parameters
        ----------
        session
            A session, or its number of neurons.
        spec
            Rates and sizes of the windows; those of `default_spec()` by default.

        Examples
        --------
        >>> om.Mask.nothing(session).cells.shape
        (60, 40)
        """
        spec = spec or default_spec()
        return cls(
            cells=np.zeros((spec.n_samples, count_neurons(session)), np.uint8),
            frames=np.zeros(spec.n_frames, bool),
            behavior="hidden",
            spec=spec,
            recording_rate_hz=recording_rate(session),
        )

    @classmethod
    def from_strategy(
        cls, strategy: str | Strategy, session: HasNeurons | int, seed: int | None = None
    ) -> "Mask":
        """Return the mask of a strategy for a session.

        Parameters
        ----------
        strategy
            A name, or a strategy.
        session
            A session, or its number of neurons.
        seed
            None keeps the stored order and the whole population (evaluation); an int
            draws the permutation and the subset of at most 4,096.

        Returns
        -------
        Mask
            Its `note` states how counts were adapted to a small population, and which
            targets were left out for a recording stored below 12 Hz. Such a mask may
            have no target left.

        Examples
        --------
        >>> mask = om.Mask.from_strategy("population_256_response_behavior", session)
        >>> mask.cells.shape, mask.behavior
        ((60, 40), 'visible')
        >>> mask.note
        'adapted to 40 neurons: visible 256 → 2, targets 3072 → 30'
        """
        total, order = count_neurons(session), None
        if seed is not None:
            order = random_order(total, seed)[:FULL_POPULATION]
        count = total if order is None else len(order)
        # A value of another type gets the error of an unknown name.
        name = "" if isinstance(strategy, Strategy) else full_name(str(strategy))
        official = strategy if isinstance(strategy, Strategy) else find_strategy(name)
        adapted = official.adapted(count)
        mask = cls(
            **adapted.mask_fields(total, order),
            recording_rate_hz=recording_rate(session),
            name=name,
            # The name stays that of the official strategy: the note says what differs.
            note="" if adapted == official else adaptation(official, adapted, count),
        )
        return mask.without_revealed() if is_stored_slowly(session) else mask

    def without_revealed(self) -> "Mask":
        """Return the mask of a strategy without targets that interpolation reveals.

        They are hidden, and `note` states it. For recordings stored below 12 Hz.
        """
        guard = guard_of(self.spec, self.recording_rate_hz)
        revealed = self.target & near_visible(self.visible, guard)
        # Those of the official guard are no targets of the official mask either.
        revealed &= scored_cells(self)
        if not revealed.any():
            return self
        cells = np.where(revealed, np.uint8(HIDDEN), self.cells)
        seconds = guard.after / self.spec.response_rate_hz
        left = "" if (cells == TARGET).any() else ", so that no target is left"
        note = (
            f"adapted to a recording at {self.recording_rate_hz:.3g} Hz: targets within "
            f"{seconds:.2g} s of a visible sample of the same neuron are left out, "
            f"because interpolation reveals them{left}"
        )
        note = f"{self.note}; {note}" if self.note else note
        return replace(self, cells=cells, note=note)

    # -- changing cells, frames and behaviour -------------------------------------
    def paint(self, neurons: Neurons, samples: Samples, code: int) -> "Mask":
        """Set the code of some neurons at some samples."""
        if code not in (HIDDEN, VISIBLE, TARGET):
            raise MaskError(f"A cell's code is 0, 1 or 2, found {code!r}.")
        cells = self.cells.copy()
        columns = neuron_columns(neurons, self.n_neurons)
        rows = sample_rows(samples, self.n_samples)
        fill(cells, rows, columns, code)
        cells.flags.writeable = False
        mask = self._by_hand(cells=cells) if code == HIDDEN else self.with_cells(cells)
        return sharing_guard(mask, self, columns)

    def with_cells(self, cells: np.ndarray) -> "Mask":
        """Replace all codes by an array uint8 (n_samples, P) of 0, 1 and 2."""
        attachment = self.attachment
        if attachment is not None:
            attachment = attachment.after_edit(cells)
        return self._by_hand(cells=cells, attachment=attachment)

    def show(self, neurons: Neurons, samples: Samples = slice(None)) -> "Mask":
        """Make cells visible to the predictor.

        Examples
        --------
        >>> om.Mask.nothing(3).show([0, 2], slice(0, 30)).visible.sum(axis=0).tolist()
        [30, 0, 30]
        """
        return self.paint(neurons, samples, VISIBLE)

    def ask(self, neurons: Neurons, samples: Samples | None = None) -> "Mask":
        """Make cells targets; by default those of the second half of the window.

        Examples
        --------
        >>> om.Mask.nothing(3).ask([1]).target.sum(axis=0).tolist()
        [0, 30, 0]
        """
        if samples is None:
            samples = slice(self.n_samples // 2, self.n_samples)
        return self.paint(neurons, samples, TARGET)

    def hide(self, neurons: Neurons, samples: Samples = slice(None)) -> "Mask":
        """Withhold cells without making them targets.

        Examples
        --------
        >>> om.Mask.nothing(2).show([0, 1]).hide([0]).visible.sum(axis=0).tolist()
        [0, 60]
        """
        return self.paint(neurons, samples, HIDDEN)

    def with_frames(self, frames: np.ndarray | slice | bool) -> "Mask":
        """Choose the visible video frames: all, none, a slice or a bool (n_frames,).

        Examples
        --------
        >>> int(om.Mask.nothing(2).with_frames(slice(0, 30)).frames.sum())
        30
        """
        if isinstance(frames, np.ndarray):
            chosen = frames.astype(bool)
        else:
            chosen = np.zeros(self.spec.n_frames, bool)
            chosen[slice(None) if frames is True else frames] = frames is not False
        return self._by_hand(frames=chosen)

    def with_behavior(self, behavior: BehaviorModes | bool, channels: Sequence[str] = ()) -> "Mask":
        """Choose the mode of behaviour.

        Parameters
        ----------
        behavior
            "visible", "target" or "hidden", or one of these per channel of the spec;
            True is "visible", False "hidden".
        channels
            Names of the channels to change; all by default.

        Examples
        --------
        >>> mask = om.Mask.nothing(2).with_behavior("target").with_behavior(True)
        >>> mask.behavior, mask.with_behavior("hidden", ["running"]).channel_modes[-1]
        ('visible', 'hidden')
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
            if not isinstance(behavior, tuple):
                behavior = (behavior,) * len(names)
            modes = zip(names, behavior, self.channel_modes, strict=True)
            behavior = tuple(new if name in channels else old for name, new, old in modes)
        return self._by_hand(behavior=behavior)

    @property
    def guard(self) -> Guard:
        """Samples beside visible ones, and at the start, that can be read off others.

        Official strategies leave out the samples after a visible run only; masks made
        by hand also those before it, and more in slow recordings.
        """
        if self.name:
            return official_guard(self.spec)
        return guard_of(self.spec, self.recording_rate_hz)

    def with_guard(self, guarded: bool) -> "Mask":
        """Choose whether targets beside visible samples are left out; warn if not."""
        if not guarded:
            warnings.warn(UNGUARDED, UserWarning, stacklevel=2)
        return self._by_hand(guarded=guarded)

    def with_attachment(self, **changes: object) -> "Mask":
        """Change fields of what a family keeps in the mask.

        Examples
        --------
        >>> mask = om.Mask.nothing(3).with_attachment(order=[2, 0], cuts=(30,))
        >>> mask.attachment.order.tolist(), mask.attachment.cuts
        ([2, 0], (30,))
        """
        if not is_dataclass(self.attachment):
            raise MaskError("Masks of this spec have no attachment whose fields can change.")
        known = [f.name for f in fields(self.attachment) if f.init]
        for name in changes:
            if name not in known:
                raise MaskError(
                    f"The attachment {self.attachment.name!r} has no field {name!r}; it has "
                    f"{', '.join(known)}."
                )
            before = getattr(self.attachment, name)
            if isinstance(before, np.ndarray):  # a list serves, too
                changes[name] = np.asarray(changes[name], before.dtype)
        return self._by_hand(attachment=replace(self.attachment, **changes))

    def _by_hand(self, **changes: object) -> "Mask":
        # mypy: `changes` holds fields of several types
        return replace(self, name="", note="", **changes)  # type: ignore[arg-type]

    # -- another model ------------------------------------------------------------
    def at(
        self, spec: WindowSpec, offset_s: float = 0.0, duration_s: float | None = None
    ) -> "Mask":
        """Map the mask to another spec by time.

        Nothing becomes visible that this mask withholds; see `time_mapping`. `note`
        states what the other spec cannot hold.

        Parameters
        ----------
        spec
            Rates and sizes of the other windows.
        offset_s
            Start of the other window minus the start of this one.
        duration_s
            Time that the mask is stretched to before it is mapped; its own duration by
            default.

        Examples
        --------
        >>> spec = om.WindowSpec(duration_s=2.0, response_rate_hz=50.0)
        >>> mask = om.Mask.nothing(3).show([0]).ask([1]).at(spec)
        >>> mask.cells.shape, int(mask.visible.sum()), int(mask.target.sum())
        ((100, 3), 100, 50)
        """
        own_s = self.spec.duration_s
        speed = own_s / (duration_s or own_s)
        if spec == self.spec and not offset_s and speed == 1:
            return self
        old = self.spec
        cells = time_mapping.map_cells(self.cells, old, spec, offset_s, speed)
        frames = time_mapping.map_frames(self.frames, old, spec, offset_s, speed)
        note = time_mapping.describe_mapping(old, spec, self.frames, self.channel_modes)
        note = f"{self.note}; {note}" if self.note else note
        return self._mapped(spec, cells, frames, note, self.name)

    def stretched(self, spec: WindowSpec) -> "Mask":
        """Map the mask to windows of another spec by its share of the window.

        The first half stays the first half, whatever the durations: the same kind of
        task for another model. `at` maps by time instead.
        """
        if spec == self.spec:
            return self
        cells = time_mapping.stretch(self.cells, spec.n_samples)
        # A mask of a spec without video does not hide the video of another model.
        frames = np.ones(spec.n_frames, bool)
        if len(self.frames):
            frames = time_mapping.stretch(self.frames, spec.n_frames)
        note = f"adapted to windows of {spec.n_samples} samples"
        return self._mapped(spec, cells, frames, note)

    def _mapped(
        self, spec: WindowSpec, cells: np.ndarray, frames: np.ndarray, note: str, name: str = ""
    ) -> "Mask":
        modes = time_mapping.map_behavior(self.channel_modes, self.spec.behavior, spec.behavior)
        behavior: BehaviorModes = modes or "hidden"
        rate_hz = self.recording_rate_hz
        return Mask(cells, frames, behavior, spec, None, self.guarded, rate_hz, name, note)

    # -- masks out of masks -----------------------------------------------------
    def __or__(self, other: "Mask") -> "Mask":
        """Union: a cell is visible if it is in one of the masks, else a target.

        Of two states the higher one remains, hidden < target < visible, in cells,
        frames and behaviour; `&` takes the lower one. Attachment and guard are those of
        the left mask, as if the right one had been painted onto it.
        """
        return self._combined(other, time_mapping.united)

    def __and__(self, other: "Mask") -> "Mask":
        """Show what both masks show; predict other cells that both show or predict."""
        return self._combined(other, time_mapping.shared)

    def __sub__(self, other: "Mask") -> "Mask":
        """Hide whatever `other` shows or predicts."""
        return self._combined(other, time_mapping.without)

    def invert(self) -> "Mask":
        """Show hidden cells and hide visible ones; targets, video, behaviour stay.

        Examples
        --------
        >>> om.Mask.nothing(2).show([0]).invert().visible.sum(axis=0).tolist()
        [0, 60]
        """
        return self.with_cells(time_mapping.inverted(self.cells))

    def swap(self) -> "Mask":
        """Make visible cells targets and targets visible; the rest stays.

        Examples
        --------
        >>> om.Mask.nothing(2).show([0]).swap().target.sum(axis=0).tolist()
        [60, 0]
        """
        return self.with_cells(time_mapping.swapped(self.cells))

    def with_history(self, n_samples: int) -> "Mask":
        """Hide all but each neuron's last `n_samples` visible ones before the targets.

        "Before" is before the mask's first target sample, or the end of the window
        if no response is a target. Only hides; later visible samples stay.

        Examples
        --------
        >>> mask = om.Mask.nothing(session).show([0], slice(0, 30)).ask([0])
        >>> np.flatnonzero(mask.with_history(10).visible[:, 0]).tolist()
        [20, 21, 22, 23, 24, 25, 26, 27, 28, 29]
        """
        return self._by_hand(cells=time_mapping.recent(self.cells, n_samples))

    def with_gap(self, n_samples: int) -> "Mask":
        """Hide all visible cells within `n_samples` before the first target.

        Only hides. `with_gap(10).with_history(15)` is 15 samples that end 10 before.

        Examples
        --------
        >>> mask = om.Mask.nothing(session).show([0], slice(0, 30)).ask([0])
        >>> np.flatnonzero(mask.with_gap(20).visible[:, 0]).tolist()
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        """
        return self._by_hand(cells=time_mapping.apart(self.cells, n_samples))

    def _combined(self, other: "Mask", rule: time_mapping.Rule) -> "Mask":
        if other.n_neurons != self.n_neurons:
            raise MaskError(
                f"Masks for {self.n_neurons} and {other.n_neurons} neurons cannot be "
                "combined: make both for the same session."
            )
        if other.spec != self.spec:
            raise MaskError(
                "Masks of two specs cannot be combined: map one to the other with at(spec)."
            )
        modes = (self.channel_modes, other.channel_modes)
        behavior = rule(*map(time_mapping.behavior_codes, modes))
        return self.with_cells(rule(self.cells, other.cells))._by_hand(
            # As codes, True is visible and False is hidden: the same rule applies.
            frames=rule(self.frames.view(np.uint8), other.frames.view(np.uint8)),
            behavior=time_mapping.behavior_modes(behavior) or "hidden",
        )

    # -- reading ----------------------------------------------------------------
    @property
    def n_neurons(self) -> int:
        """Number of neurons of the session, P."""
        return int(self.cells.shape[1])

    @property
    def n_samples(self) -> int:
        """Number of response samples of the window."""
        return int(self.cells.shape[0])

    @property
    def channel_modes(self) -> tuple[BehaviorMode, ...]:
        """Mode of each channel of behaviour of the spec; () without behaviour."""
        if isinstance(self.behavior, tuple):
            return self.behavior
        spec = self.spec.behavior
        return () if spec is None else (self.behavior,) * len(spec.channels)

    def mode_of(self, channel: int) -> BehaviorMode:
        """Return the mode of one channel of behaviour."""
        # Not from `channel_modes`: a session may have more channels than the spec of a
        # model that reads them in stored order.
        modes = self.behavior
        return modes[channel] if isinstance(modes, tuple) else modes

    @property
    def behavior_mode(self) -> str:
        """Mode of all channels of behaviour, "mixed" where they differ."""
        return "mixed" if isinstance(self.behavior, tuple) else self.behavior

    @property
    def has_visible_behavior(self) -> bool:
        """Whether a channel of behaviour is visible."""
        return "visible" in (self.behavior, *self.channel_modes)

    @property
    def has_behavior_target(self) -> bool:
        """Whether a channel of behaviour is a target."""
        return "target" in (self.behavior, *self.channel_modes)

    @property
    def visible(self) -> np.ndarray:
        """bool (n_samples, P): cells that the predictor may see."""
        return np.asarray(self.cells == VISIBLE)

    @property
    def target(self) -> np.ndarray:
        """bool (n_samples, P): cells that must be predicted and are scored."""
        return np.asarray(self.cells == TARGET)

    @property
    def mask_id(self) -> str:
        """Hash of everything that affects the tokens, queries and outputs."""
        if not self._id:
            digest = blake2b(digest_size=12)
            for part in (self.cells, self.frames):
                digest.update(np.ascontiguousarray(part).data)
            attached = self.attachment and (self.attachment.name, self.attachment.to_json())
            rest = self.behavior, self.spec, json.dumps(attached, sort_keys=True)
            # The scored cells and not `guarded`: a guard without effect does not
            # change the mask.
            scored = np.packbits(scored_cells(self)).tobytes()
            digest.update(repr(rest).encode() + scored)
            self._id.append(digest.hexdigest())
        return self._id[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self.mask_id == other.mask_id

    def __hash__(self) -> int:
        return hash(self.mask_id)

    def state_in(self, span: tuple[int, int]) -> np.ndarray:
        """Return uint8 (P,): each neuron's code in a span of samples, 3 if mixed.

        A neuron that is hidden in some of them and a target in the others is a target.
        """
        return states(self.cells[slice(*span)])

    def pattern_of(self, neuron: int, span: tuple[int, int]) -> str:
        """Return the name of a neuron's pattern in a span, from `PATTERN_NAMES`."""
        return PATTERN_NAMES[int(patterns(self.cells[slice(*span), [neuron]])[0])]

    def patterns_in(self, span: tuple[int, int]) -> np.ndarray:
        """Return uint8 (P,): each neuron's index in `PATTERN_NAMES` in a span."""
        return patterns(self.cells[slice(*span)])

    # -- as text and as a table ---------------------------------------------------
    def _facts(self) -> dict[str, str]:
        counts = np.bincount(self.cells.ravel(), minlength=TARGET + 1)
        order = {"visible": VISIBLE, "target": TARGET, "hidden": HIDDEN}
        cells = ", ".join(f"{counts[code]:,} {name}" for name, code in order.items())
        modes = ", ".join(dict.fromkeys(self.channel_modes)) or self.behavior_mode
        facts = {
            "size": f"{self.n_samples} samples x {self.n_neurons:,} neurons",
            "cells": cells,
            "video": f"{int(self.frames.sum())} of {len(self.frames)} frames visible",
            "behaviour": modes,
            "strategy": self.name or "made by hand",
        }
        return {**facts, "note": self.note} if self.note else facts

    def to_dataframe(self) -> "pandas.DataFrame":
        """Return a pandas table with one row per sample and neuron.

        Columns: `sample`, `time_s` from the start of the window, `neuron`, `state`
        ("hidden", "visible" or "target"), and `is_scored`.

        Examples
        --------
        >>> table = om.Mask.nothing(3).show([0]).ask([1]).to_dataframe()
        >>> table.state.value_counts().to_dict()
        {'hidden': 90, 'visible': 60, 'target': 30}
        """
        samples, neurons = np.indices(self.cells.shape)
        names = np.array(["hidden", "visible", "target"])
        return data_frame(
            {
                "sample": samples.ravel(),
                "time_s": self.spec.sample_times_s[samples.ravel()],
                "neuron": neurons.ravel(),
                "state": names[self.cells.ravel()],
                "is_scored": scored_cells(self).ravel(),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values; see `files`."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return files.to_json_values(values)

    @classmethod
    def from_dict(cls, values: object) -> "Mask":
        """Return the mask of the values of `to_dict`.

        Raises
        ------
        MaskError
            A value is invalid; the message names the field, the value and what is
            expected.
        """
        return cls(**files.from_json_values(values))

    def save(self, path: str | Path) -> Path:
        """Write the mask as JSON text, atomically.

        Examples
        --------
        >>> mask = om.Mask.nothing(2).show([0])
        >>> om.Mask.load(mask.save("mask.json")) == mask
        True
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, self.to_dict())
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Mask":
        """Read a saved mask; errors are those of `from_dict`, with the path."""
        with files.error_names(path):
            return cls.from_dict(files.read_json(path))


def input_cells(mask: Mask, neurons: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Return the visible cells that reach the predictor, bool (n_samples, n).

    OmniMouse, for example, does not see runs that are too short for a token.
    """
    visible = mask.cells[:, neurons] == VISIBLE
    if mask.attachment is None:
        return np.asarray(visible)
    return np.asarray(visible & _ruled(mask, mask.attachment.read_cells, visible, neurons))


def _ruled(
    mask: Mask,
    rule: Callable[[np.ndarray], np.ndarray],
    cells: np.ndarray,
    neurons: np.ndarray | slice,
) -> np.ndarray:
    """Apply a rule of an attachment, which is for all neurons, to cells of some."""
    if isinstance(neurons, slice) and cells.shape == mask.cells.shape:
        return rule(cells)
    every = np.zeros(mask.cells.shape, bool)
    every[:, neurons] = cells
    return rule(every)[:, neurons]


def scored_cells(mask: Mask, neurons: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Return the target cells that are predicted and scored, read-only bool (n_samples, n)."""
    # All of them are kept. A few are faster found again than all.
    is_few = isinstance(neurons, np.ndarray) and 8 * len(neurons) < mask.n_neurons
    if is_few and "scored" not in mask._cache:
        return _found_scored(mask, neurons)
    if mask.guarded and mask.guard != NO_GUARD:
        _all_found(mask, "allowed", _found_allowed)
    return _all_found(mask, "scored", _found_scored)[:, neurons]


def _all_found(
    mask: Mask, name: str, find: Callable[[Mask, np.ndarray | slice], np.ndarray]
) -> np.ndarray:
    """Return what `find` finds for all neurons; what an earlier mask shares is not sought."""
    if name not in mask._cache:
        kept = mask._shared.get(name)
        if kept is None or 8 * np.count_nonzero(kept[1]) >= mask.n_neurons:
            found = find(mask, slice(None))
        else:
            found, neurons = kept[0].copy(), np.flatnonzero(kept[1])
            found[:, neurons] = find(mask, neurons)
        found.flags.writeable = False
        mask._cache[name] = found
        # Last: a stroke of another thread takes what it shares from one of them.
        mask._shared.pop(name, None)
    return mask._cache[name]


def _found_scored(mask: Mask, neurons: np.ndarray | slice) -> np.ndarray:
    scored = target = np.asarray(mask.cells[:, neurons] == TARGET)
    if mask.attachment is not None:
        scored = _ruled(mask, mask.attachment.predicted_cells, target, neurons)
    if scored is not target:  # it may be the attachment's own
        scored = scored.copy()
    if mask.guarded and mask.guard != NO_GUARD:
        known = mask._cache.get("allowed")
        allowed = _found_allowed(mask, neurons) if known is None else known[:, neurons]
        # Eight samples at a time: unpacked, all cells of many neurons fill no cache.
        for first, packed in zip(range(0, len(scored), 8), allowed, strict=True):
            rows = scored[first : first + 8]
            rows &= np.unpackbits(packed[None], axis=0, count=len(rows)).view(bool)
    scored.flags.writeable = False
    return scored


def has_rules_of(mask: Mask, other: Mask) -> bool:
    """Whether equal cells of two masks are read and scored alike."""
    return (
        mask.cells.shape == other.cells.shape
        and (mask.guarded, mask.guard) == (other.guarded, other.guard)
        and mask.attachment == other.attachment
    )


def changed_neurons(before: Mask, after: Mask) -> np.ndarray:
    """Return the neurons whose cells differ between two masks of one size, int64.

    Of masks with a common origin, only the neurons that a change named are compared.
    """
    own = np.zeros(before.n_neurons, bool)
    for cells, touched in ((before.cells, own), *before._origin):
        for others, also in ((after.cells, own), *after._origin):
            if cells is others:
                named = np.flatnonzero(touched | also)
                differ = before.cells[:, named] != after.cells[:, named]
                return np.asarray(named[differ.any(axis=0)])
    return changed_columns(before.cells, after.cells)


def sharing_guard(mask: Mask, before: Mask, neurons: np.ndarray) -> Mask:
    """Return `mask`, of which only the cells of `neurons` differ from those of `before`.

    What the guard leaves of the others, and which of their cells are scored, is taken from
    there: a stroke costs the neurons that it touches.
    """
    changed = np.zeros(mask.n_neurons, bool)
    changed[neurons] = True
    for cells, touched in (*before._origin, (before.cells, changed)):
        named = touched | changed
        # To compare many neurons would cost more than it saves.
        if 32 * np.count_nonzero(named) <= mask.n_neurons:
            mask._origin[:] = [(cells, named)]
            break
    shared: tuple[str, ...] = ()
    if mask.guard == before.guard:
        is_ruled_alike = mask.guarded == before.guarded and mask.attachment is before.attachment
        shared = ("allowed", "scored") if is_ruled_alike else ("allowed",)
    for name in shared:
        # First what goes when the other is there.
        kept, found = before._shared.get(name), before._cache.get(name)
        if found is not None:
            mask._shared[name] = found, changed
        elif kept is not None:
            mask._shared[name] = kept[0], kept[1] | changed
    return mask


def _found_allowed(mask: Mask, neurons: np.ndarray | slice) -> np.ndarray:
    guard = mask.guard
    guarded = near_visible(mask.cells[:, neurons] == VISIBLE, guard)
    # `skip_n_samples` and `interpolation_buffer` of the official code, both 5.
    guarded[: guard.first] = True
    return np.packbits(~guarded, axis=0)


def _frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only array that is not a view, a copy of one that can change."""
    # A copy, so that a later change of the caller's array cannot change the mask.
    if array.flags.writeable or array.base is not None:
        array = array.copy()
        array.flags.writeable = False
    return array
