"""A pinned condition: a mask and a predictor, kept to be compared with others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from omnimouse_model.errors import MaskError
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Predictor

LETTERS: Final = "ABCD"
"""A pin's letter says its slot, and so its colour; there are so many at most."""
MAX_PINS: Final = len(LETTERS)


@dataclass(frozen=True, slots=True, eq=False)
class Pin:
    """A condition that stays while another is tried.

    Attributes
    ----------
    slot
        0-3: its letter and its colour.
    name
        The user's word for it.
    mask, preset
        What is seen and asked, and the preset that is, "" for one made by hand.
    predictor, predictor_name
        Whom it asks, and what that is called.
    is_shown
        Whether it is predicted and drawn.
    pin_id
        What it stays by, whatever name and slot it gets.
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
        """Memory that its mask holds."""
        layout = self.mask.token_layout
        order = 0 if layout is None else layout.order.nbytes
        return self.mask.cells.nbytes + order

    @property
    def key(self) -> tuple[int, str, str, str, bool]:
        """What tells pins apart."""
        name, mask_id = self.predictor_name, self.mask.mask_id
        return self.slot, self.name, name, mask_id, self.is_shown

    @property
    def letter(self) -> str:
        """A, B, C or D."""
        return LETTERS[self.slot]

    def to_dict(self) -> dict[str, Any]:
        """Facts for JSON; a predictor that was handed in has no name to load it by."""
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
        """Read it back; `predictor` is asked where none is named.

        Without `n_neurons` its mask may be for any number of them.

        Raises
        ------
        MaskError
            The mask is damaged, or for another number of neurons.
        KeyError, TypeError, ValueError
            Something else is.
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
            predictor=str(facts["predictor"]) or predictor,
            predictor_name=str(facts["predictor_name"]),
            is_shown=bool(facts["is_shown"]),
        )
