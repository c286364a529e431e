import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.metrics.information import bits_per_spike
from omnimouse_model.simulate.spiking_laboratory import (
    ANIMALS,
    RELATIVES,
    STRANGERS,
    UNSEEN_SPIKES,
    LaboratorySpec,
    dynamics,
    laboratory_animal,
    laboratory_rates,
    write_animal,
)

SMALL = LaboratorySpec(n_units=24, n_trials=30)
TRIALS = om.WindowSpec(3.0, 50.0, "count", align="trial", trial_offset_s=-0.5)


@pytest.fixture(scope="module")
def arrays():
    return laboratory_animal("spikes", SMALL)


@pytest.fixture(scope="module")
def session(arrays):
    return om.open_session(arrays)


def test_an_animal_is_a_recording_with_regions_trials_and_movements(session):
    tiers = [len(session.window_starts(t, spec=TRIALS)) for t in session.tiers()]
    assert sorted(tiers) == [3, 3, 24]
    assert len(set(session.units.area)) == 4
    assert len(set(session.units.probe)) == 2
    assert set(session.units.properties["quality"]) == {"good", "mua"}
    assert {"side", "choice", "block", "outcome"} < session.trials.extra[0].keys()
    assert session.behavior_names == ("wheel_speed", "pose")


def test_no_prediction_tells_more_than_the_true_rates(session):
    rates = laboratory_rates("spikes", SMALL)
    starts = session.trials.t_on - 0.5
    counts = np.stack([session.window(float(t), TRIALS).responses for t in starts])
    oracle = bits_per_spike(rates, counts).value
    mean = np.broadcast_to(counts.mean(axis=(0, 1), dtype=float), counts.shape)
    assert bits_per_spike(mean, counts).value == pytest.approx(0, abs=1e-12)
    assert oracle > 0.2
    assert bits_per_spike(rates**1.1, counts).value < oracle
    assert bits_per_spike(np.roll(rates, 1, axis=1), counts).value < oracle
    assert counts.mean() == pytest.approx(rates.mean(), rel=0.02)


def test_relatives_share_dynamics_and_strangers_do_not():
    assert set(ANIMALS) == {*RELATIVES, *STRANGERS, UNSEEN_SPIKES}
    shared = dynamics(UNSEEN_SPIKES)
    assert all((dynamics(name) == shared).all() for name in RELATIVES)
    angle = np.angle(np.linalg.eigvals(shared)).max()
    for name in STRANGERS:
        other = np.angle(np.linalg.eigvals(dynamics(name))).max()
        assert abs(np.log(other / angle)) > np.log(2)


def test_the_choice_follows_the_stimulus_and_drives_the_units(arrays):
    is_left = arrays["trial_choice"] == "left"
    is_right_side = arrays["trial_outcome"] == "reward"
    assert ((arrays["trial_side"] == "left") == is_left)[is_right_side].all()
    assert is_right_side.mean() > 0.7
    # 0.5 s to 1 s after the onset, the most selective unit tells the choice.
    late = laboratory_rates("spikes", SMALL)[:, 50:75].mean(axis=1)
    difference = late[is_left].mean(axis=0) - late[~is_left].mean(axis=0)
    assert (np.abs(difference) / late.std(axis=0)).max() > 1


def test_an_unknown_animal_is_refused():
    with pytest.raises(ValueError, match="'cat' is no animal; there are spikes"):
        laboratory_animal("cat")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"running": np.ones(9)}, "running are both present"),
        ({"pose": np.ones(9)}, "pose is"),
        ({"trial_choice": np.zeros(4)}, "trial_choice is"),
    ],
)
def test_wrong_movements_and_trial_columns_are_left_out(arrays, changes, problem):
    session = om.open_session({**arrays, **changes})
    (warning,) = [note for note in session.warnings if problem in note.message]
    assert "left out" in warning.message
    assert session.n_neurons == om.open_session(arrays).n_neurons


def test_a_file_of_another_version_is_refused(tmp_path, arrays, monkeypatch):
    module = "omnimouse_model.simulate.spiking_laboratory.laboratory_animal"
    monkeypatch.setattr(module, lambda name: arrays)
    path = write_animal("spikes", tmp_path)
    assert om.open_session(path).id == "spikes"
    written = path.stat().st_mtime_ns
    assert write_animal("spikes", tmp_path) == path
    assert path.stat().st_mtime_ns == written
    for write in (lambda: np.savez(path, **arrays), lambda: path.write_bytes(b"x")):
        write()
        with pytest.raises(FileExistsError, match=r"spikes\.npz is no animal"):
            write_animal("spikes", tmp_path)
