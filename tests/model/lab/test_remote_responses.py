"""Experiments whose videos are spread over the workers of a Dask scheduler."""

import numpy as np
import pytest

from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.lab.experiments import run_experiment
from omnimouse_model.progress import CallbackJob
from tests.model.lab.energy_neurons import EnergyNeurons

FOUR = np.arange(4)
COUNTED = EnergyNeurons(reads_places=True)


def counted():
    """The model that workers in this process share, with the number of predictions."""
    return COUNTED


def places():
    return EnergyNeurons(reads_places=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fields", {"grid": (3, 5)}),
        ("size", {"n_directions": 1}),
        ("noise", {"duration_s": 3.0, "n_directions": 3}),
    ],
)
def test_workers_find_the_same(name, settings, session, scheduler):
    ask = {"repeats": 2, "seed": 3} | settings
    here = run_experiment(name, places(), session, FOUR, **ask)
    seen = []
    there = run_experiment(
        name,
        places,
        session,
        FOUR,
        scheduler=scheduler,
        job=CallbackJob(lambda *of: seen.append(of[:2])),
        **ask,
    )
    np.testing.assert_allclose(there.responses, here.responses, rtol=0, atol=1e-6)
    n = here.stimulus.n_videos
    assert seen == sorted(set(seen))  # one for each piece that a worker has finished
    assert seen[-1] == (n, n)
    assert there.predictor_id == here.predictor_id


@pytest.mark.slow
def test_finished_videos_are_kept_and_only_missing_ones_are_computed(session, scheduler, tmp_path):
    ask = {"repeats": 1, "results": tmp_path / "responses.zarr"}
    ask |= {"scheduler": scheduler}
    finished = []
    with pytest.raises(StoppedError, match="of 135 videos"):
        run_experiment(
            "fields",
            places,
            session,
            FOUR,
            job=CallbackJob(lambda done, *_: finished.append(done), lambda: bool(finished)),
            **ask,
        )
    before = COUNTED.asked
    found = run_experiment("fields", counted, session, FOUR, **ask)
    assert COUNTED.asked - before == 135 - finished[-1]
    again = run_experiment("fields", counted, session, FOUR, **ask)
    assert COUNTED.asked - before == 135 - finished[-1]
    np.testing.assert_array_equal(again.responses, found.responses)


@pytest.mark.parametrize(
    ("predictor", "error", "message"),
    [
        (EnergyNeurons(), ValueError, "by its name or path"),
        ("mean", UnsupportedRequestError, "sees no video"),
    ],
)
def test_a_refusal_leaves_no_file(predictor, error, message, session, tmp_path):
    path = tmp_path / "responses.zarr"
    ask = {"scheduler": "local:1", "results": path}
    with pytest.raises(error, match=message):
        run_experiment("fields", predictor, session, **ask)
    assert not path.exists()
