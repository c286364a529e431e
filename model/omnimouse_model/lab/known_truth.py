"""Errors of recovered tuning and places in a simulated session."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from omnimouse_model.data.session import Session
from omnimouse_model.metrics.tuning import orientation_distance
from omnimouse_model.simulate.truth import has_truth, open_truth


@dataclass(frozen=True, slots=True, eq=False)
class KnownTuning:
    """True tuning parameters of the neurons of a simulated session.

    Attributes
    ----------
    preferred_deg
        Preferred direction of motion: 0 to the right, 90 up.
    center
        Row and column of the receptive field, in pixels of 36 x 64.
    """

    preferred_deg: Float[np.ndarray, " neuron"]
    center: Float[np.ndarray, "neuron 2"]

    def orientation_error(
        self, orientation_deg: Float[np.ndarray, " neuron"]
    ) -> Float[np.ndarray, " neuron"]:
        """Return the angle between orientations, 0 to 90 degrees."""
        found, true = np.radians(orientation_deg), np.radians(self.preferred_deg)
        return np.asarray(np.degrees(orientation_distance(found, true)))

    def position_error(
        self, places_px: Float[np.ndarray, "neuron 2"], size: tuple[int, int]
    ) -> Float[np.ndarray, " neuron"]:
        """Return the distance of places in frames of some size, in monitor widths."""
        away = places_px / size[1] - self.center / _WIDTH
        return np.asarray(np.hypot(away[:, 0], away[:, 1]))


_WIDTH = 64
"""Width in pixels of the simulated frames."""


def known_tuning(session: Session) -> KnownTuning | None:
    """Return the true tuning of a simulated session, None for a recording."""
    if session.format != "experanto" or not has_truth(session.path):
        return None
    tuning = open_truth(session.path).tuning
    # The wave vector points against the preferred motion, and rows count downwards.
    preferred = np.degrees(np.pi - tuning["direction"]) % 360
    return KnownTuning(preferred, np.asarray(tuning["centre_yx"], float))


def errors_of(
    columns: Mapping[str, Float[np.ndarray, " neuron"]],
    session: Session,
    size: tuple[int, int],
    neurons: Int64[np.ndarray, " neuron"],
) -> dict[str, np.ndarray]:
    """Return true values and errors of the columns of an experiment.

    Empty for a recording, and for experiments whose truth is not stored.

    Parameters
    ----------
    size
        Height and width of the frames that were shown.
    neurons
        Indices of the neurons in the session.
    """
    truth = known_tuning(session)
    if truth is None:
        return {}
    found = KnownTuning(truth.preferred_deg[neurons], truth.center[neurons])
    if "orientation_deg" in columns:
        return {
            "true_preferred_deg": found.preferred_deg,
            "orientation_error_deg": found.orientation_error(columns["orientation_deg"]),
        }
    if "row_px" in columns:
        places = np.stack([columns["row_px"], columns["column_px"]], axis=1)
        return {"field_error_widths": found.position_error(places, size)}
    return {}
