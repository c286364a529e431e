"""The acceptance check on public recordings, on a simulated folder of suite2p."""

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.masks import scored_cells
from tests.acceptance import public_recordings
from tests.acceptance.public_recordings import N_HOLE, folds, hole, main, opened

RATE_HZ, N_NEURONS, N_FRAMES = 6.0, 20, 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Neurons that follow one state of 2 s, with noise; two regions are no cells."""
    generator = np.random.default_rng(0)
    state = np.zeros(N_FRAMES)
    noise = generator.normal(size=N_FRAMES)
    for k in range(1, N_FRAMES):
        state[k] = 0.92 * state[k - 1] + noise[k]
    gain = generator.uniform(0.5, 1.5, (N_NEURONS, 1))
    spks = np.exp(0.4 * gain * state) + generator.exponential(size=(N_NEURONS, N_FRAMES))
    path = tmp_path_factory.mktemp("public") / "mouse"
    path.mkdir()
    np.save(path / "spks.npy", spks.astype(np.float32))
    np.save(path / "iscell.npy", (np.arange(N_NEURONS) > 1).astype(float))
    return path


@pytest.fixture(scope="module")
def session(folder):
    return opened(f"{folder},rate_hz={RATE_HZ}")


def test_a_fit_reads_nothing_within_two_seconds_of_its_test_windows(session):
    scored = []
    for fold in folds(session):
        grid = fold.start_grid
        train, test = (grid[fold.inside_trials(frozenset({tier}))] for tier in ("train", "test"))
        assert np.abs(train[:, None] - test).min() >= 2.0
        scored.append(test)
    np.testing.assert_allclose(np.diff(np.concatenate(scored)), 1 / 30)


@pytest.mark.parametrize("rate_hz", [30.0, 6.0])
def test_twenty_samples_of_a_hole_are_scored_at_any_rate(folder, rate_hz):
    mask = hole(open_session(folder, rate_hz=rate_hz))
    cells = scored_cells(mask).sum(axis=0)
    assert set(cells.tolist()) == {0, N_HOLE}
    # All that is hidden is a target, or within the guard of a visible sample.
    assert mask.visible[:, cells > 0].sum(axis=0).max() == 40 - 2 * mask.guard.after


@pytest.mark.slow
def test_the_table_has_the_scores_or_the_reason_of_each_recording(folder, monkeypatch, capsys):
    monkeypatch.setattr(public_recordings, "MAX_WINDOWS", 8)
    assert main([f"{folder},rate_hz={RATE_HZ}", f"{folder / 'none'}"]) == 1
    head, _, found, missing = capsys.readouterr().out.splitlines()
    names, cells = (line.strip("| ").split(" | ") for line in (head, found))
    row = dict(zip(names, cells, strict=True))
    assert (row["format"], row["neurons"]) == ("suite2p spks", "18")
    assert float(row["half"].split("→")[1].split()[0]) > 0.5
    assert {"half", "forecast", "hole"} < set(names)
    assert "does not exist" in missing
