"""Files of most exciting inputs: arrays, and a picture or a film of the best one."""

import json
from dataclasses import asdict
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8

from omnimouse_model.errors import ExportError
from omnimouse_model.extras import missing_extra, named_extras
from omnimouse_model.lab.exciting_search import ExcitingInputs
from omnimouse_model.lab.stimuli.stimulus import GRAY
from omnimouse_model.storage.arrays.npy import packed_arrays
from omnimouse_model.storage.write import atomic_path, write_bytes

_HEIGHT: Final = 288
"""Height of a film in pixels, about; players show small ones as a stamp."""
_QUALITY: Final = "12"
"""Rate factor of H.264: differences to the arrays are below the steps of the eye."""


def write_exciting(found: ExcitingInputs, folder: Path) -> list[Path]:
    """Write all stimuli as NPZ, and the best one as PNG (an image) or MP4 (a video).

    Returns the paths. Existing files are replaced, each as a whole.

    Raises
    ------
    ExportError
        PyAV (the extra `video`), which writes films, is not installed. The arrays are
        written.
    """
    with named_extras():
        from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    arrays = folder / "exciting.npz"
    write_bytes(arrays, packed_arrays(_arrays(found)))
    best = found.videos[0]
    picture = folder / ("exciting.png" if found.settings.is_static else "exciting.mp4")
    with atomic_path(picture) as temporary:
        if found.settings.is_static:
            Image.fromarray(best[0]).save(temporary, "PNG")
        else:
            write_film(temporary, best, found.rate_hz)
    return [picture, arrays]


def write_film(path: Path, frames: UInt8[np.ndarray, "frame height width"], rate_hz: float) -> None:
    """Write gray frames as MP4 (H.264); pixels become blocks of an even number.

    Raises
    ------
    ExportError
        PyAV is not installed.
    """
    av = film_module()
    # H.264 in four to two colours, which all players read, needs even sizes.
    side = 2 * max(1, round(_HEIGHT / (2 * frames.shape[1])))
    with av.open(str(path), "w", format="mp4") as film:
        stream = film.add_stream("h264", rate=Fraction(rate_hz).limit_denominator(1001))
        stream.height, stream.width = (side * n for n in frames.shape[1:])
        stream.pix_fmt, stream.options = "yuv420p", {"crf": _QUALITY}
        for frame in frames:
            large = np.repeat(np.repeat(frame, side, axis=0), side, axis=1)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(large, format="gray")))
        film.mux(stream.encode())


def film_module() -> Any:
    """Return PyAV; raise `ExportError` if it is missing."""
    try:
        return import_module("av")
    except ImportError as error:
        raise ExportError(missing_extra(error) or str(error)) from None


def _arrays(found: ExcitingInputs) -> dict[str, np.ndarray]:
    about = {
        "settings": asdict(found.settings),
        "rate_hz": found.rate_hz,
        "seeds": found.seeds,
        "neurons": found.neurons.tolist(),
        "predictor": found.predictor_id,
        "session": found.session_id,
        "gray": GRAY,
        "gray_response": found.gray_response,
    }
    return {
        "videos": found.videos,
        "responses": found.responses,
        "courses": found.courses,
        "about": np.array(json.dumps(about)),
    }
