"""Reading of the ground truth that `simulate.write` stores beside a simulated session.

The truth has conditional means, ceilings and tuning. Session readers and models never
open it; evaluation and training targets may use it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.simulate.ceilings import Ceilings
from omnimouse_model.storage.arrays.array_file import ArrayFile
from omnimouse_model.storage.arrays.npy import Npz, npy_file
from omnimouse_model.storage.trees import read_json_mapping

FOLDER = "truth"


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Ground truth of a simulated session, in raw response units.

    Attributes
    ----------
    drive
        float32 (T, N) in a file: the expected response given stimulus and behaviour. Row k
        belongs to response sample k.
    full
        The same, given the shared and private fluctuations as well.
    latents
        float32 (T, K) in a file: the shared fluctuations, unit variance.
    loadings
        (N, K): weights of the latents on the log rate.
    ceilings
        Correlation that `drive` and `full` reach with single trials, over the session.
    tuning
        Arrays (N, …) by name: receptive field centres (`centre_yx`, pixels),
        `direction`, `wavelength`, `speed_hz`, `is_complex` and the other fields of
        `population.Tuning`, which states their conventions.
    """

    drive: ArrayFile
    full: ArrayFile
    latents: ArrayFile
    loadings: Float[np.ndarray, "neuron latent"]
    ceilings: Ceilings
    tuning: dict[str, np.ndarray]


def has_truth(folder: str | Path) -> bool:
    """Return whether a session folder has ground truth."""
    return (Path(folder) / FOLDER / "meta.json").is_file()


def spec_fingerprint(folder: str | Path) -> str | None:
    """Return the fingerprint of the spec of a completely written folder, or None."""
    # This file is written last, so a folder that has it is complete.
    path = Path(folder) / FOLDER / "meta.json"
    if not path.is_file():
        return None
    value = read_json_mapping(path).get("fingerprint")
    return value if isinstance(value, str) else None


def open_truth(folder: str | Path) -> Truth:
    """Open the ground truth of a simulated session; large arrays are read later, in parts.

    Raises
    ------
    SessionFormatError
        The folder has no ground truth.
    """
    place = Path(folder) / FOLDER
    if not has_truth(folder):
        raise SessionFormatError(
            place,
            "no-truth",
            f"{folder} has no ground truth: {place / 'meta.json'} is missing",
            "only simulated sessions have one; write them with `omnimouse simulate`",
        )

    drive, full, latents, loadings = (
        npy_file(place / f"{name}.npy") for name in ("drive", "full", "latents", "loadings")
    )
    return Truth(
        drive,
        full,
        latents,
        loadings.open(),
        ceilings=Ceilings(**Npz(place / "ceilings.npz")),
        tuning=dict(Npz(place / "tuning.npz")),
    )
