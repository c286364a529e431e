from pathlib import Path

import numpy as np
import pytest

from omnimouse_model.analysis import scaling_fits
from omnimouse_model.analysis.scaling_fits import scaling_curves
from omnimouse_model.data.session_index import Catalogue, Entry
from tests.model.context_predictor import ContextPredictor, world

SIZES = (8, 16, 32, 64, 323)
SESSIONS = [f"mouse {k}" for k in range(6)]
NEURONS = {name: 100 + 10 * k for k, name in enumerate(SESSIONS)}


def growth_runs(model, limit, sizes=SIZES, seeds=3, order="random 0"):
    """Runs whose score is limit - 0.5 size^-0.6 plus each mouse's own offset."""
    draw = np.random.default_rng(1)
    offset = dict(zip(SESSIONS, draw.normal(0, 0.03, len(SESSIONS)), strict=True))
    for size in sizes:
        for seed in range(seeds):
            run = scaling_fits.ScalingRun(
                model, 5_000_000, size, 10**6 * size, 0, 1e15 * size, seed, order
            )
            score = limit - 0.5 * size**-0.6 + 0.002 * draw.normal()
            scores = {name: score + offset[name] for name in SESSIONS}
            name = f"{model}-{size}-{seed}"
            yield scaling_fits.RunScore(run, name, "stim", scores, NEURONS, loss=1.5 - score)


@pytest.fixture(scope="module")
def rows():
    other = growth_runs("5M", 0.35, seeds=1, order="random 1")
    two = [*growth_runs("5M", 0.35), *other]
    return (*two, *growth_runs("1M", 0.3, sizes=(8, 16, 32)))


@pytest.fixture
def results(rows, tmp_path):
    path = tmp_path / "runs.scaling.jsonl"
    scaling_fits.add_rows(path, rows)
    return path


@pytest.fixture
def mice():
    draw = np.random.default_rng(2)
    entries = tuple(
        Entry(
            Path(f"/recordings/{k}"),
            id=f"{k}-1-1",
            animal_id=str(k // 2),
            neurons=int(draw.integers(100, 900)),
            minutes={"train": float(draw.integers(20, 60)), "test": 5.0},
            stimulus_minutes={"video": 25.0},
        )
        for k in range(12)
    )
    return Catalogue(Path("/recordings"), entries)


def test_sessions_can_be_ranked_instead_of_drawn(mice):
    worth = {entry.id: float(entry.neurons) for entry in mice}
    best = mice.nested([4], 0, worth=worth)[0]
    worst = mice.nested([4], 0, worth={k: -v for k, v in worth.items()})[0]
    neurons = sorted((entry.neurons for entry in mice), reverse=True)
    assert [entry.neurons for entry in best] == neurons[:4]
    assert [entry.neurons for entry in worst] == neurons[::-1][:4]
    with pytest.raises(ValueError, match="cannot hold the 3"):
        mice.nested([2], 0, always=["0-1-1", "1-1-1", "2-1-1"])
    with pytest.raises(ValueError, match="No session nobody"):
        mice.nested([2], 0, always=["nobody"])


def test_runs_come_back_as_they_were_added_once(results, rows):
    assert scaling_fits.read_runs(results) == rows
    scaling_fits.add_rows(results, rows)
    assert scaling_fits.read_runs(results) == rows


def test_a_run_is_scored_as_an_evaluation_is(tmp_path):
    session = world(tmp_path, "1-1-1", n_neurons=20)
    path, run = tmp_path / "runs.jsonl", scaling_fits.ScalingRun("tiny", sessions=3)
    asked = ["test/video_behavior", "test/video_only"]
    scaling_fits.add_run(path, run, ContextPredictor(), session, asked, max_windows=3)
    assert [row.condition for row in scaling_fits.read_runs(path)] == asked
    assert scaling_fits.read_runs(path)[0].n_neurons == {"1-1-1": 20}


@pytest.mark.slow
def test_a_saturating_curve_is_found_with_its_interval(rows):
    (big, small) = scaling_curves(rows, n_resamples=60)
    assert (big.name, small.name) == ("5M", "1M")
    assert big.law.exponent == pytest.approx(0.6, abs=0.1)
    assert big.preferred == "power law"
    low, high = big.intervals["limit"]
    assert low < big.law.limit < high
    assert high - low > 0.01  # mice differ
    assert set(big.x) == set(SIZES)
    assert big.seeds.count(0) == 2 * len(SIZES)


@pytest.mark.slow
def test_three_sizes_are_points_without_a_fit_and_the_largest_is_off_the_line(rows):
    big, small = scaling_curves(rows, n_resamples=10)
    assert small.law is None
    assert small.line is None
    assert "found 3" in small.refusal
    assert len(small.x) == 9
    far = big.extrapolation
    assert far.size == 323
    assert not far.is_inside
    assert far.measured < far.low
    assert far.law == pytest.approx(far.measured, abs=0.01)


@pytest.mark.slow
def test_a_loss_falls_to_its_limit(rows):
    curve = scaling_curves(rows, quantity="loss", axis="compute")[0]
    assert curve.law.limit == pytest.approx(1.5 - 0.35, abs=0.03)
    assert curve.law.amplitude > 0
    assert curve.intervals == {}


def test_what_no_run_tells_has_no_curve(rows):
    assert scaling_curves(rows, axis="trials") == ()
    assert scaling_curves(rows, axis="parameters", n_resamples=5)[0].law is None
