"""Gaze on a monitor: rotations, viewing rays, and their hits on the monitor plane.

Distances are in half widths of the monitor, angles in radians; x is along its width.
"""

import numpy as np
from jaxtyping import Float

# A ray parallel to the monitor or away from it has no hit. The limit keeps the point
# finite and far outside instead of mirrored through the eye.
_MIN_FORWARD = 1e-5
"""Lower limit of a unit ray's component towards the monitor."""


def rotation(angles: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """Return R = Rz Ry Rx for the angles about x, y and z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, np.float64)


def ray(
    polar: Float[np.ndarray, "*ray"], azimuth: Float[np.ndarray, "*ray"]
) -> Float[np.ndarray, "*ray 3"]:
    """Return unit vectors at a polar angle from z (straight ahead), azimuth from x."""
    across = np.sin(polar)
    return np.stack([across * np.cos(azimuth), across * np.sin(azimuth), np.cos(polar)], axis=-1)


def monitor_hit(
    rays: Float[np.ndarray, "*ray 3"],
    centre: Float[np.ndarray, " 3"],
    angles: Float[np.ndarray, " 3"],
) -> Float[np.ndarray, "*ray 2"]:
    """Return where rays from the eye meet the monitor plane, (x, y) from its centre."""
    # The columns of the rotation are the monitor's own axes; a point of the plane
    # differs from the centre by a vector at right angles to the normal.
    along_x, along_y, normal = rotation(angles).T
    forward = np.maximum(rays @ normal, _MIN_FORWARD)
    away = rays * (centre @ normal / forward)[..., None] - centre
    return np.stack([away @ along_x, away @ along_y], axis=-1)
