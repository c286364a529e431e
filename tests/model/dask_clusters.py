"""Clusters of Dask on this machine: in this process, or of processes that can die.

Dask is imported when it is needed: processes of tests import their module.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omnimouse_model.inference.dask_map import PLAIN_SCHEDULER


@contextmanager
def cluster_address(n_workers: int = 1, **options: Any) -> Iterator[str]:
    """The scheduler's address; `processes=False` starts none, and is fast."""
    from distributed import LocalCluster

    # Tests run on machines of one user.
    os.environ[PLAIN_SCHEDULER] = "1"
    with LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        **({"protocol": "tcp://"} | options),
    ) as cluster:
        yield cluster.scheduler_address


def worker_process_ids(address: str) -> list[int]:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        return list(client.run(os.getpid).values())
