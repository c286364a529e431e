"""Figures of sources, informants and areas: the numbers of the results."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.simulate.coupled_neurons import CoupledSpec, simulate_coupled
from omnimouse_widgets.figures import (
    areas_figure,
    informants_figure,
    source_bars_figure,
    sources_figure,
)


@pytest.fixture(scope="module")
def session():
    spec = CoupledSpec(n_neurons=24, minutes=1.5, driven_by_running=0.3)
    return om.open_session(simulate_coupled(spec).arrays)


def test_means_and_bars_have_the_shares(session):
    found = om.sources("linear-gaussian", session, ["behavior", "history"], max_windows=12)
    means = sources_figure(found)
    assert [trace.name for trace in means.data] == ["alone", "share", "unique"]
    assert means.data[1].y[0] == pytest.approx(found.mean_of("share", "behavior").value, abs=1e-4)
    bars = source_bars_figure(found)
    assert [trace.name for trace in bars.data] == ["behaviour", "own past"]
    shares = found.of("share", "behavior").value
    np.testing.assert_allclose(sorted(bars.data[0].y), sorted(shares.round(3)), atol=2e-3)
    assert list(bars.layout.xaxis.ticktext) == ["LM", "V1"]


def test_curves_and_matrix_have_their_values(session):
    found = om.informants("linear-gaussian", session, [1], k=2, n_random=1, max_windows=12)
    figure = informants_figure(found)
    assert list(figure.data[0].x) == [1, 2]
    matrix = om.area_matrix("linear-gaussian", session, draws=1, max_windows=12)
    cells = areas_figure(matrix, "alone").data[0]
    np.testing.assert_allclose(np.array(cells.z[:2], float), matrix.matrix("alone")[0], atol=1e-4)
