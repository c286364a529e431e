"""Images of any origin as grey levels: four formats, and a limit on pixels."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from omnimouse_model.extras import named_extras
from omnimouse_model.storage.byte_source import Budget
from omnimouse_model.storage.files import bad_file, damage_refused, open_binary

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_MOST_PIXELS = 2**26


def read_grey_levels(path: Path, budget: Budget) -> UInt8[np.ndarray, "height width"]:
    """Return the grey levels of an image, which are charged to the budget of its folder.

    Raises
    ------
    SessionFormatError
        The file is no image, or too large.
    ModuleNotFoundError
        Pillow is missing.
    """
    with named_extras():
        from PIL import Image
    with (
        open_binary(path) as stream,
        damage_refused(lambda problem: bad_file(path, "bad_image", f"is no image: {problem}")),
        # These formats alone: another of Pillow starts a program.
        Image.open(stream, formats=_FORMATS) as image,
    ):
        # Before any pixel is decoded.
        if math.prod(image.size) > _MOST_PIXELS:
            size = f"{image.width:,} x {image.height:,} pixels"
            raise bad_file(path, "too_large", f"has {size}; at most {_MOST_PIXELS:,} are read")
        budget.spend(path.name, math.prod(image.size))
        return np.asarray(image.convert("L"), np.uint8)
