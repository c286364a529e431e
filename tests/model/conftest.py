"""A controller that shows a small recording, and a net of the official form."""

import pytest

from tests.hub_server import local_server
from tests.predictors import open_controller


@pytest.fixture
def controller(session):
    """The session open, with a predictor that answers at once with truth plus one."""
    with open_controller(session) as made:
        yield made


@pytest.fixture(scope="module")
def scheduler():
    """Address of a Dask scheduler whose two workers are in this process."""
    from tests.model.dask_clusters import cluster_address

    with cluster_address(2, processes=False) as address:
        yield address


@pytest.fixture(scope="module")
def server():
    """A local server of hubs."""
    with local_server() as server:
        yield server


@pytest.fixture(scope="session")
def net():
    """A net of random weights in the official architecture, narrowed."""
    from tests.model.official_shards import official_net

    return official_net()
