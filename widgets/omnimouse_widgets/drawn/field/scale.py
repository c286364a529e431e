"""Scale of the field: micrometres per pixel, from the positions of the neurons."""

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_widgets.drawn.field.layout import Field

_MOST = 200
"""Neurons that are compared; all pairs of them are."""
_TOLERANCE = 0.02
"""Largest deviation of distances in micrometres from one scale, as a share (r.m.s.)."""


def um_per_pixel(session: Session, field: Field) -> float | None:
    """Return the micrometres per pixel of the field; None without one common scale.

    Distances on the field and in the cortex must be proportional within an imaging
    plane. Fields of probes have two scales, and fields without positions none.
    """
    if field.texts:
        return None
    pixels = np.asarray(field.centres, float)
    micrometres = np.asarray(session.units.xyz_um, float)[:, 1::-1]
    plane = np.asarray(session.units.plane)
    known = np.isfinite(pixels).all(axis=1) & np.isfinite(micrometres).all(axis=1)
    if not known.any():
        return None
    # Planes lie side by side on the field: only distances within one are comparable.
    numbers, counts = np.unique(plane[known], return_counts=True)
    neurons = np.flatnonzero(known & (plane == numbers[counts.argmax()]))
    neurons = neurons[:: max(1, len(neurons) // _MOST)]
    drawn, real = _distances(pixels[neurons]), _distances(micrometres[neurons])
    if not drawn.any() or not real.any():
        return None
    scale = float((drawn * real).sum() / (drawn**2).sum())
    deviation = np.sqrt(((real - scale * drawn) ** 2).mean() / (real**2).mean())
    return scale if deviation < _TOLERANCE else None


def _distances(points: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=2))
