"""The imaged field of recordings with several planes."""

import shutil

import numpy as np

from omnimouse_model.data.open import open_session
from omnimouse_widgets.views.field.layout import session_field
from tests import SUITE2P


def test_images_lie_under_the_neurons_of_their_plane(tmp_path):
    # Plane 0 of the flyback was not read.
    for plane in (0, 1):
        source = SUITE2P / "suite2p" / f"plane{plane}"
        shutil.copytree(source, tmp_path / f"plane{plane + 1}")
    session = open_session(tmp_path)
    field = session_field(session)
    for neuron, plane in enumerate(session.units.plane.tolist()):
        x, y = session.units.xy_px[neuron]
        own = session.images[f"mean_{plane}"][round(float(y)), round(float(x))]
        row, column = np.rint(field.centres[neuron]).astype(int)
        near = field.mean[row - 3 : row + 4, column - 3 : column + 4]
        assert np.isin(own, near)
