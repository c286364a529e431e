"""One small world, so that the baseline is fitted once."""

import pytest

import omnimouse_model as om
from omnimouse_model.simulate.coupled_neurons import CoupledSpec, simulate_coupled


@pytest.fixture(scope="package")
def session():
    """Forty neurons of two areas with behaviour, two minutes."""
    spec = CoupledSpec(n_neurons=40, minutes=2.0, n_driven=2, driven_by_running=0.3)
    return om.open_session(simulate_coupled(spec).arrays)
