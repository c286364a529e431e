"""Ground truth beside a simulated session: its ceilings, and the files that store it.

The truth has conditional means, ceilings and tuning. Session readers and models never
open it; evaluation and training targets may use it.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.simulate.population import Calcium, CalciumBlock, noise_variance
from omnimouse_model.storage.arrays.npy import Npz, npy_file
from omnimouse_model.storage.arrays.rows import ArrayFile
from omnimouse_model.storage.trees import read_json_mapping


# -- exact single-trial ceilings: the correlation that the best prediction reaches ----
# A ceiling is the correlation of the responses with a conditional mean. The noise of the
# events is integrated out, so the ceiling depends on the rates of this session and not on
# one draw of the events.
@dataclass(frozen=True, slots=True, eq=False)
class Ceilings:
    """Ceiling per neuron given stimulus and behaviour, and given all fluctuations."""

    drive: Float[np.ndarray, " neuron"]
    full: Float[np.ndarray, " neuron"]


@dataclass(slots=True, eq=False)
class ResponseSums:
    """Running sums over the blocks of a session, in float64."""

    count: int = 0
    _sums: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, block: CalciumBlock) -> None:
        """Add a block."""
        responses, drive, full = (
            part.astype(np.float64) for part in (block.responses, block.drive, block.full)
        )
        self.count += len(responses)
        products = {
            "responses": responses.sum(axis=0),
            "responses²": (responses**2).sum(axis=0),
            "drive": drive.sum(axis=0),
            "drive²": (drive**2).sum(axis=0),
            "full": full.sum(axis=0),
            "full²": (full**2).sum(axis=0),
            "drive·full": (drive * full).sum(axis=0),
        }
        for name, value in products.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def mean(self, name: str) -> Float[np.ndarray, " neuron"]:
        """Return the mean over time of `responses`, `drive` or `full`."""
        return self._sums[name] / self.count

    def variance(self, name: str) -> Float[np.ndarray, " neuron"]:
        """Return the variance over time of `responses`, `drive` or `full`."""
        second = self._sums[f"{name}²"] / self.count
        return np.maximum(second - self.mean(name) ** 2, 0.0)

    def ceilings(self, calcium: Calcium) -> Ceilings:
        """Return the ceilings of the blocks added so far."""
        # Responses are `full` plus independent noise. The noise adds to their variance
        # but not to their covariance with a conditional mean.
        noise = noise_variance(self.mean("full"), calcium)
        total = np.sqrt(self.variance("full") + noise)
        product = self.mean("drive·full") - self.mean("drive") * self.mean("full")
        return Ceilings(
            drive=product / np.sqrt(self.variance("drive")) / total,
            full=np.sqrt(self.variance("full")) / total,
        )


# -- reading of the ground truth that `simulate.write` stores beside a simulated session
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
