"""Pinned condition: a mask and a predictor that are compared with other conditions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from omnimouse_model.errors import MaskError
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Predictor

LETTERS: Final = "ABCD"
"""Letters of the slots; a slot also determines the colour of its pin."""
MAX_PINS: Final = len(LETTERS)


@dataclass(frozen=True, slots=True, eq=False)
class Pin:
    """A mask and a predictor under a name, in one of four slots.

    Attributes
    ----------
    slot
        Slot 0-3; determines the letter and the colour.
    name
        Name for the user.
    mask, preset
        Mask, and the name of its preset ("" for a mask painted by hand).
    predictor, predictor_name
        Predictor or the name that loads it, and its name for the user.
    is_shown
        Whether the condition is predicted and drawn.
    pin_id
        Unique id that stays the same when the name or the slot changes.
    """

    slot: int
    name: str
    mask: Mask
    preset: str
    predictor: str | Predictor
    predictor_name: str
    is_shown: bool = True
    pin_id: str = field(default_factory=lambda: uuid4().hex)

    @property
    def n_bytes(self) -> int:
        """Memory of the mask, in bytes."""
        layout = self.mask.token_layout
        order = 0 if layout is None else layout.order.nbytes
        return self.mask.cells.nbytes + order

    @property
    def key(self) -> tuple[int, str, str, str, bool]:
        """Values that must be equal for two pins to be saved as the same."""
        name, mask_id = self.predictor_name, self.mask.mask_id
        return self.slot, self.name, name, mask_id, self.is_shown

    @property
    def letter(self) -> str:
        """Letter of the slot: A, B, C or D."""
        return LETTERS[self.slot]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; a predictor object is stored as ""."""
        return {
            "slot": self.slot,
            "name": self.name,
            "preset": self.preset,
            "predictor": self.predictor if isinstance(self.predictor, str) else "",
            "predictor_name": self.predictor_name,
            "is_shown": self.is_shown,
            "mask": self.mask.to_dict(),
        }

    @classmethod
    def from_dict(
        cls,
        facts: Mapping[str, Any],
        predictor: str | Predictor,
        n_neurons: int | None = None,
    ) -> "Pin":
        """Make a pin from `to_dict`'s values; `predictor` is used if none is named.

        Without `n_neurons`, the mask may have any number of neurons.

        Raises
        ------
        MaskError
            The mask is damaged or has another number of neurons.
        KeyError, TypeError, ValueError
            Another field is missing or damaged.
        """
        mask = Mask.from_dict(facts["mask"])
        if n_neurons is not None and mask.n_neurons != n_neurons:
            raise MaskError(
                f"The pinned mask is for {mask.n_neurons} neurons, "
                f"the session has {n_neurons}."
            )
        slot = int(facts["slot"])
        if not 0 <= slot < MAX_PINS:
            raise ValueError(f"A pin's slot is 0-{MAX_PINS - 1}, found {slot}.")
        return cls(
            slot=slot,
            name=str(facts["name"]),
            mask=mask,
            preset=str(facts["preset"]),
            # "" stands for a predictor object, which cannot be saved.
            predictor=str(facts["predictor"]) or predictor,
            predictor_name=str(facts["predictor_name"]),
            is_shown=bool(facts["is_shown"]),
        )
