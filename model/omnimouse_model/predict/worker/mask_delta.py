"""What changed between two masks, packed: the undo stack keeps it, the worker gets it.

Codes take two bits. A delta holds the changed neurons only, as before XOR after, so
the same bytes undo and redo. A stroke over 37 of 10,000 neurons is under a kilobyte.
"""

import zlib
from dataclasses import dataclass, replace

import numpy as np

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.masks import Mask, TokenLayout
from omnimouse_model.masks.mask import BehaviorModes

_NO_ORDER = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Setting:
    """All fields of a mask but its cells and the order of its neurons."""

    frames: tuple[bool, ...]
    behavior: BehaviorModes
    spec: WindowSpec
    token_layout: TokenLayout | None
    """Without an order, which is long and seldom changes."""
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
            cells[:, neurons] ^= _unpacked(zlib.decompress(self.cells), len(cells))
            changed = mask.with_cells(cells)
        order = _order(mask)
        if self.orders is not None:
            order = np.frombuffer(zlib.decompress(self.orders[side]), np.int32)
            layout = replace(changed.require_layout(), order=order)
            changed = replace(changed, token_layout=layout)
        if self.settings is not None:
            changed = _with_setting(changed, self.settings[side], order)
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
        else (_pressed(_order(before)), _pressed(_order(after))),
    )


def is_same(one: Mask, other: Mask) -> bool:
    """Whether two masks are equal, names included; quicker than their hashes."""
    return (
        _setting(one) == _setting(other)
        and _same_order(one, other)
        and np.array_equal(one.cells, other.cells)
    )


def _order(mask: Mask) -> np.ndarray:
    """Order of the neurons, empty for a mask without a token layout."""
    return _NO_ORDER if mask.token_layout is None else mask.token_layout.order


def _same_order(one: Mask, other: Mask) -> bool:
    first, second = _order(one), _order(other)
    return first is second or np.array_equal(first, second)


def _pressed(ids: np.ndarray) -> bytes:
    return zlib.compress(ids.astype(np.int32).tobytes(), 1)


def _setting(mask: Mask) -> Setting:
    layout = mask.token_layout
    return Setting(
        tuple(mask.frames.tolist()),
        mask.behavior,
        mask.spec,
        None if layout is None else replace(layout, order=_NO_ORDER),
        mask.guarded,
        mask.name,
        mask.note,
    )


def _with_setting(mask: Mask, setting: Setting, order: np.ndarray) -> Mask:
    layout = setting.token_layout
    return replace(
        mask,
        frames=np.array(setting.frames, bool),
        behavior=setting.behavior,
        spec=setting.spec,
        token_layout=None if layout is None else replace(layout, order=order),
        guarded=setting.guarded,
        name=setting.name,
        note=setting.note,
    )


def _packed(codes: np.ndarray) -> bytes:
    """Pack codes (n_samples, n) to two bits each, neurons one after the other."""
    n_samples, n = codes.shape
    n_bytes = -(-n_samples // 4)
    padded = np.zeros((n, 4 * n_bytes), np.uint8)
    padded[:, :n_samples] = codes.T
    quads = padded.reshape(n, n_bytes, 4)
    joined = (
        quads[..., 0] | quads[..., 1] << 2 | quads[..., 2] << 4 | quads[..., 3] << 6
    )
    return bytes(joined.astype(np.uint8))


def _unpacked(packed: bytes, n_samples: int) -> np.ndarray:
    n_bytes = -(-n_samples // 4)
    joined = np.frombuffer(packed, np.uint8).reshape(-1, n_bytes, 1)
    quads = joined >> np.array([0, 2, 4, 6], np.uint8) & 3
    return np.ascontiguousarray(quads.reshape(-1, 4 * n_bytes)[:, :n_samples].T)
