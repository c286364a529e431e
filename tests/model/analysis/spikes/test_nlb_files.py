"""Files of the Neural Latents Benchmark: round trip, scores, what is wrong."""

import h5py
import numpy as np
import pytest

from omnimouse_model.analysis.spike_scores import (
    read_nlb,
    score_submission,
    write_submission,
)
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.metrics.information import bits_per_spike

NAMES = [f"{tier}_rates_{kind}" for tier in ("train", "eval") for kind in ("heldin", "heldout")]
FORWARD = [f"eval_rates_{kind}_forward" for kind in ("heldin", "heldout")]


@pytest.fixture
def rates():
    draw = np.random.default_rng(0)
    return {name: draw.uniform(0.1, 1, (5, 8, 3)) for name in (*NAMES, *FORWARD)}


@pytest.fixture
def target(rates, tmp_path):
    draw = np.random.default_rng(1)
    path = tmp_path / "target.h5"
    with h5py.File(path, "w") as file:
        for name in ("eval_rates_heldout", *FORWARD):
            counts = draw.poisson(rates[name]).astype(float)
            counts[0, -1] = np.nan  # not recorded
            file[f"mc_maze_20/{name.replace('rates', 'spikes')}"] = counts
        file["mc_maze_20/names"] = "no numbers"
    return path


def test_a_submission_is_scored_as_its_arrays(rates, target, tmp_path):
    path = tmp_path / "submission.h5"
    write_submission(path, {"mc_maze_20": rates})
    for name, values in read_nlb(path)["mc_maze_20"].items():
        np.testing.assert_array_equal(values, rates[name])
    spikes = read_nlb(target)["mc_maze_20"]
    assert "names" not in spikes
    scores = score_submission(target, path)["mc_maze_20"]
    held_out = bits_per_spike(rates["eval_rates_heldout"], spikes["eval_spikes_heldout"])
    assert scores["co-bps"] == pytest.approx(held_out.value)
    later = [
        np.concatenate([part[n] for n in names], axis=-1)
        for part, names in (
            (rates, FORWARD),
            (spikes, [n.replace("rates", "spikes") for n in FORWARD]),
        )
    ]
    assert scores["fp-bps"] == pytest.approx(bits_per_spike(*later).value)


def test_what_is_wrong_is_named(rates, target, tmp_path):
    path = tmp_path / "submission.h5"
    with pytest.raises(ValueError, match="eval_rates_heldout is missing"):
        write_submission(path, {"m": {n: rates[n] for n in NAMES[:-1]}})
    with pytest.raises(ValueError, match="train_rates_heldin has rates"):
        write_submission(path, {"m": rates | {"train_rates_heldin": -rates[NAMES[0]]}})
    assert not path.exists()
    write_submission(path, {"mc_rtt_20": rates})
    with pytest.raises(SessionFormatError, match="no dataset mc_maze_20"):
        score_submission(target, path)
    write_submission(path, {"mc_maze_20": rates | {FORWARD[0]: rates[FORWARD[0]][:4]}})
    with pytest.raises(SessionFormatError, match=r"heldin_forward is \(4, 8, 3\)"):
        score_submission(target, path)
    write_submission(path, {"mc_maze_20": {n: rates[n] for n in NAMES}})
    with pytest.raises(SessionFormatError, match="no mc_maze_20/eval_rates_heldin_f"):
        score_submission(target, path)
    (tmp_path / "torn.h5").write_bytes(path.read_bytes()[:500])
    with pytest.raises(SessionFormatError):
        read_nlb(tmp_path / "torn.h5")
