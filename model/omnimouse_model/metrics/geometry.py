"""Where on a monitor an eye looks: rotations, rays, and where they hit its plane.

Distances are in half widths of the monitor, angles in radians; x is along its width.
"""

import numpy as np
from jaxtyping import Float

_LEAST_FORWARD = 1e-5
"""A ray goes at least so much towards the monitor, which it would never meet else."""


def rotation(angles: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """R = Rz Ry Rx of the angles about x, y and z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, np.float64)


def ray(
    polar: Float[np.ndarray, "*ray"], azimuth: Float[np.ndarray, "*ray"]
) -> Float[np.ndarray, "*ray 3"]:
    """Unit vector at a polar angle from straight ahead (z) and an azimuth from x."""
    across = np.sin(polar)
    return np.stack(
        [across * np.cos(azimuth), across * np.sin(azimuth), np.cos(polar)], axis=-1
    )


def monitor_hit(
    rays: Float[np.ndarray, "*ray 3"],
    centre: Float[np.ndarray, " 3"],
    angles: Float[np.ndarray, " 3"],
) -> Float[np.ndarray, "*ray 2"]:
    """Where rays from the eye meet a monitor's plane: (x, y) from its centre."""
    along_x, along_y, normal = rotation(angles).T
    forward = np.maximum(rays @ normal, _LEAST_FORWARD)
    away = rays * (centre @ normal / forward)[..., None] - centre
    return np.stack([away @ along_x, away @ along_y], axis=-1)
