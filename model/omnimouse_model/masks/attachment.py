"""The part of a mask that one family of models reads, and its registered decoders.

A mask carries an attachment unchanged through files, undo and the worker. What it holds,
its family alone knows: OmniMouse's attachment is the layout of its tokens.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import count
from omnimouse_model.own_families import ATTACHMENTS, GROUP


@dataclass(frozen=True, slots=True, eq=False)
class Remark:
    """A rule that applies to some cells of a mask.

    Examples
    --------
    >>> mask = om.Mask.nothing(session).show([0], slice(0, 30)).ask([0])
    >>> remark = om.remarks_on(mask)[0]
    >>> remark.neurons, int(remark.cells.sum())
    (array([0]), 5)

    Attributes
    ----------
    code
        Name of the rule, for programs.
    message
        The effect, the rule, and how to avoid it.
    cells
        bool (n_samples, P): the cells that it concerns; none if it concerns the whole
        mask.
    """

    code: str
    message: str
    cells: np.ndarray

    @property
    def neurons(self) -> np.ndarray:
        """int64 (n,): the neurons that it concerns."""
        return np.flatnonzero(self.cells.any(axis=0))

    @classmethod
    def on_cells(cls, code: str, cells: np.ndarray, effect: str) -> "tuple[Remark, ...]":
        """Return a remark that begins with the numbers of cells and neurons, if any."""
        if not (n_cells := int(cells.sum())):
            return ()
        n_neurons = int(cells.any(axis=0).sum())
        counts = f"{count(n_cells, 'sample')} of {count(n_neurons, 'neuron')}"
        return (cls(code, f"{counts} {effect}", cells),)


@runtime_checkable
class Attachment(Protocol):
    """What a family keeps in a mask: immutable, with an equality and a hash by value.

    Equal attachments have equal JSON values, which are part of a mask's identity.
    """

    @property
    def name(self) -> str:
        """Name under which the family registers the decoder."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return the JSON values from which the decoder makes an equal attachment."""
        ...

    def after_edit(self, cells: np.ndarray) -> "Attachment":
        """Return the attachment for a mask in which cells became visible or targets.

        `cells` are all codes of the changed mask, uint8 (n_samples, P).
        """
        ...

    def read_cells(self, visible: np.ndarray) -> np.ndarray:
        """Return which visible cells the family can read, bool of the same shape.

        For each neuron, the answer depends on its own cells alone, as in
        `predicted_cells`: after a stroke, only those of changed neurons are passed.
        """
        ...

    def predicted_cells(self, target: np.ndarray) -> np.ndarray:
        """Return which targets the family can predict, bool of the same shape.

        Raises
        ------
        MaskError
            The attachment is for another number of neurons. A mask asks once with no
            sample, (0, P), to find this.
        """
        ...

    # The mask is `Any`, because its module imports this one.
    def remarks(self, mask: Any) -> Iterable[Remark]:
        """Return remarks on what the family does not read or predict as the mask says."""
        ...


Decoder = Callable[[Mapping[str, Any], WindowSpec, int], Attachment]
"""From JSON values, spec and number of neurons; raises `MaskError`. Without values, the
attachment of a mask without visible cells and targets."""


class _Kind(NamedTuple):
    decode: Decoder
    spec: WindowSpec | None


_KINDS: dict[str, _Kind] = {}


def register_attachment(name: str, decode: Decoder, spec: WindowSpec | None = None) -> None:
    """Register the decoder of a family's attachments.

    Parameters
    ----------
    name
        The family's name; the first decoder of a name stays.
    decode
        See `Decoder`.
    spec
        Masks of this spec have the attachment from the start.
    """
    _KINDS.setdefault(name, _Kind(decode, spec))


def attachment_of(
    name: str, values: Mapping[str, Any], spec: WindowSpec, n_neurons: int
) -> Attachment:
    """Return the attachment of a name from JSON values, `UnknownAttachment` without decoder.

    Raises
    ------
    MaskError
        The family of the name refuses the values.
    """
    _register_own()
    # The family of another package may not be imported yet.
    for point in () if name in _KINDS else entry_points(group=GROUP, name=name):
        try:
            point.load()
        except Exception:  # foreign code fails in many ways; the registry warns about it
            continue
    if name not in _KINDS:
        return UnknownAttachment(name, dict(values))
    return _KINDS[name].decode(values, spec, n_neurons)


def first_attachment(spec: WindowSpec, n_neurons: int) -> Attachment | None:
    """Return the attachment of a mask of a spec that states none, or None."""
    _register_own()
    kinds = (kind for kind in _KINDS.values() if kind.spec == spec)
    kind = next(kinds, None)
    return None if kind is None else kind.decode({}, spec, n_neurons)


def _register_own() -> None:
    for name, module in ATTACHMENTS.items():
        if name not in _KINDS:
            import_module(module)


@dataclass(frozen=True, slots=True)
class UnknownAttachment:
    """Attachment of a family that is not installed; files keep it unchanged."""

    name: str
    values: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the values as they were read."""
        return self.values

    def after_edit(self, cells: np.ndarray) -> "UnknownAttachment":
        """Return the same attachment."""
        return self

    def read_cells(self, visible: np.ndarray) -> np.ndarray:
        """Return all visible cells."""
        return visible

    def predicted_cells(self, target: np.ndarray) -> np.ndarray:
        """Return all targets."""
        return target

    def remarks(self, mask: Any) -> tuple[Remark, ...]:
        """Return no remark."""
        return ()

    def __hash__(self) -> int:
        return hash((self.name, repr(self.values)))
