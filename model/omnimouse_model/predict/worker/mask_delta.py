"""What changed between two masks, packed: the undo stack keeps it, the worker gets it.

Codes take two bits. A delta holds the changed neurons only, as before XOR after, so
the same bytes undo and redo. A stroke over 37 of 10,000 neurons is under a kilobyte.
"""

import zlib
from dataclasses import dataclass, replace

import numpy as np

from omnimouse_model.masks import N_SAMPLES, BehaviorMode, Mask

_BYTES_PER_NEURON = N_SAMPLES // 4


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything of a mask but its cells and its order."""

    frames: tuple[bool, ...]
    behavior: BehaviorMode
    cuts: tuple[int, ...]
    context_span: tuple[int, int]
    query_phase: int
    guarded: bool
    name: str
    note: str


@dataclass(frozen=True, slots=True)
class MaskDelta:
    """The way from one mask to another, and back.

    `settings` and `orders` are (before, after), or None where they stayed.
    """

    neurons: bytes
    cells: bytes
    settings: tuple[Setting, Setting] | None
    orders: tuple[bytes, bytes] | None

    @property
    def n_neurons(self) -> int:
        """How many neurons changed."""
        return len(zlib.decompress(self.neurons)) // 4

    @property
    def n_bytes(self) -> int:
        """Memory held, near enough."""
        orders = sum(map(len, self.orders)) if self.orders else 0
        settings = 1000 if self.settings else 0
        return 200 + len(self.neurons) + len(self.cells) + orders + settings

    @property
    def is_empty(self) -> bool:
        """Whether the two masks are the same."""
        return not (self.settings or self.orders or self.n_neurons)

    def redo(self, before: Mask) -> Mask:
        """Go from the first mask to the second."""
        return self._applied(before, 1)

    def undo(self, after: Mask) -> Mask:
        """Go from the second mask back to the first."""
        return self._applied(after, 0)

    def _applied(self, mask: Mask, side: int) -> Mask:
        changed = mask
        neurons = np.frombuffer(zlib.decompress(self.neurons), np.int32)
        if len(neurons):
            cells = mask.cells.copy()
            cells[:, neurons] ^= _unpacked(zlib.decompress(self.cells))
            changed = mask.with_cells(cells)
        if self.orders is not None:
            order = np.frombuffer(zlib.decompress(self.orders[side]), np.int32)
            changed = replace(changed, order=order)
        if self.settings is not None:
            changed = _with_setting(changed, self.settings[side])
        return changed


def mask_delta(before: Mask, after: Mask) -> MaskDelta:
    """Find what changed between two masks of the same session."""
    neurons = np.flatnonzero((before.cells != after.cells).any(axis=0))
    flips = before.cells[:, neurons] ^ after.cells[:, neurons]
    old, new = _setting(before), _setting(after)
    return MaskDelta(
        neurons=_pressed(neurons),
        cells=zlib.compress(_packed(flips), 1),
        settings=None if old == new else (old, new),
        orders=None
        if _same_order(before, after)
        else (_pressed(before.order), _pressed(after.order)),
    )


def is_same(one: Mask, other: Mask) -> bool:
    """Whether two masks are equal, names included; quicker than their hashes."""
    return (
        _setting(one) == _setting(other)
        and _same_order(one, other)
        and np.array_equal(one.cells, other.cells)
    )


def _same_order(one: Mask, other: Mask) -> bool:
    return one.order is other.order or np.array_equal(one.order, other.order)


def _pressed(ids: np.ndarray) -> bytes:
    return zlib.compress(ids.astype(np.int32).tobytes(), 1)


def _setting(mask: Mask) -> Setting:
    return Setting(
        tuple(mask.frames.tolist()),
        mask.behavior,
        mask.cuts,
        mask.context_span,
        mask.query_phase,
        mask.guarded,
        mask.name,
        mask.note,
    )


def _with_setting(mask: Mask, setting: Setting) -> Mask:
    return replace(
        mask,
        frames=np.array(setting.frames),
        behavior=setting.behavior,
        cuts=setting.cuts,
        context_span=setting.context_span,
        query_phase=setting.query_phase,
        guarded=setting.guarded,
        name=setting.name,
        note=setting.note,
    )


def _packed(codes: np.ndarray) -> bytes:
    """Pack codes (60, n) to 15 bytes per neuron, neurons one after the other."""
    quads = np.ascontiguousarray(codes.T).reshape(codes.shape[1], _BYTES_PER_NEURON, 4)
    joined = (
        quads[..., 0] | quads[..., 1] << 2 | quads[..., 2] << 4 | quads[..., 3] << 6
    )
    return bytes(joined.astype(np.uint8))


def _unpacked(packed: bytes) -> np.ndarray:
    joined = np.frombuffer(packed, np.uint8).reshape(-1, _BYTES_PER_NEURON, 1)
    quads = joined >> np.array([0, 2, 4, 6], np.uint8) & 3
    return np.ascontiguousarray(quads.reshape(-1, N_SAMPLES).T)
