"""Time that was not recorded: no window touches it, and minutes leave it out."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from omnimouse_model.data.convert import convert, verify
from omnimouse_model.data.open import open_session
from omnimouse_model.data.readers.build.trial_files import (
    Placed,
    PlacedRows,
    sample_places,
    stretches,
)
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.spike_trains import Observed, SpikeTrains
from omnimouse_model.errors import TimeRangeError
from omnimouse_model.evaluation.stitching import predict_span
from omnimouse_model.live.pin import page_around
from omnimouse_model.masks import Mask
from omnimouse_model.storage.arrays.rows import MemoryRows
from tests.predictors import EchoPredictor

RATE_HZ = 30.0


def responses_of(rows, n_units: int, recorded_spans: np.ndarray, n_missing: int) -> Signal:
    """Responses whose statistics do not matter."""
    ones = np.ones(n_units)
    return Signal.of_rows(
        "responses",
        rows,
        RATE_HZ,
        0.0,
        mean=ones,
        std=ones,
        recorded_spans=recorded_spans,
        n_missing=n_missing,
    )


def paused(pause_s: float, trials: dict | None = None, joint: bool = False):
    """A recording of 60 s, a pause, and 40 s; with `joint`, of two files."""
    n, first = 3000, 1800
    plain = {"responses": np.ones((n, 3), "f4"), "rate_hz": RATE_HZ, **(trials or {})}
    times = np.arange(n) / RATE_HZ
    times[first:] += pause_s
    place = np.arange(n) if joint else sample_places(times, RATE_HZ)[0]
    n_rows = int(place[-1]) + 1
    rng = np.random.default_rng(0)
    rows = MemoryRows(Path("x"), rng.random((n, 3)).astype("f4"))
    spans, n_missing = stretches(place, n_rows, 0.0, RATE_HZ, (first,) if joint else ())
    placed = PlacedRows([Placed(rows, np.arange(n), place)], n_rows)
    signal = responses_of(placed, 3, spans, n_missing)
    return replace(open_session(plain), responses=signal)


@pytest.mark.parametrize("joint", [False, True])
def test_no_window_touches_a_pause_or_a_joint(joint):
    session = paused(600.0, joint=joint)
    starts = session.window_starts()
    second = 60.0 if joint else 660.0
    assert ((starts + 2.0 < 60.0) | (starts > second)).all()
    assert (starts < 60.0).any()
    assert (starts > second).any()
    for at in (59.9, 300.0, 659.0):
        window = session.nearest_window(at)
        assert window.missing is None
        assert window.stop_s < 60.0 or window.start_s > second


def test_duration_is_the_span_and_recorded_time_leaves_the_pause_out():
    session = paused(600.0)
    assert session.duration_s == pytest.approx(700.0)
    assert session.recorded_s == pytest.approx(100.0)
    assert sum(session.tiers().values()) * 60 == pytest.approx(97, abs=2)
    assert "1.7 min within 11.7 min" in repr(session)


def test_the_split_divides_recorded_time():
    minutes = paused(36_000.0).tiers()
    assert minutes["train"] / sum(minutes.values()) == pytest.approx(0.8, abs=0.03)


def test_a_trial_over_the_pause_counts_its_recorded_time():
    trials = {
        "trial_start": np.array([10.0, 50.0]),
        "trial_stop": np.array([20.0, 680.0]),
        "trial_tier": np.array(["train", "test"]),
    }
    minutes = paused(600.0, trials).tiers()
    assert minutes["train"] * 60 == pytest.approx(10.0)
    assert minutes["test"] * 60 == pytest.approx(30.0, abs=0.1)


def test_a_pause_of_days_costs_no_memory():
    session = paused(5 * 86_400.0)
    assert len(session.start_grid) == pytest.approx(3000, abs=100)
    assert len(session.overview(50).population) == 50


def test_units_are_unknown_outside_their_observed_time():
    # Unit 0 is observed from 0 to 4 s, unit 1 from 1 to 2.5 s.
    times = MemoryRows(Path("x"), np.array([0.5, 3.2, 1.5]))
    observed = Observed(np.array([[0.0, 4.0], [1.0, 2.5]]), np.array([0, 1, 2]))
    trains = SpikeTrains(times, np.array([0, 2, 3]), 0.0, 10.0, 40, observed)
    counts = trains.count(0.0, 1.0, 4)
    assert counts[:, 0].tolist() == [1.0, 0.0, 0.0, 1.0]
    # The bin from 2 to 3 s was observed in part only.
    assert np.isnan(counts[[0, 2, 3], 1]).all()
    assert counts[1, 1] == 1.0
    assert np.isnan(trains.read(0, 40)[:, 1]).sum() == 25
    assert observed.seconds().tolist() == [4.0, 1.5]
    assert observed.select(np.array([1])).spans.tolist() == [[1.0, 2.5]]
    assert observed.of_population().tolist() == [[0.0, 4.0]]


@pytest.mark.parametrize("shared", [True, False])
def test_bins_of_a_window_do_not_process_all_observed_time(shared):
    draw = np.random.default_rng(3)
    edges = np.sort(draw.uniform(0, 5000, (1 if shared else 100, 2000)), axis=1)
    spans = edges.reshape(-1, 2)
    offsets = None if shared else np.arange(101) * 1000
    observed = Observed(spans, offsets)
    tracemalloc.start()
    found = observed.in_bins(2503.1, 30.0, 60)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < max(spans.nbytes / 4, 50_000)
    left = 2503.1 + np.arange(60) / 30
    inside = (spans[:, 0] <= left[:, None]) & (spans[:, 1] >= left[:, None] + 1 / 30)
    expected = inside.reshape(60, -1, 1000).any(axis=2)
    assert expected.any()
    np.testing.assert_array_equal(found, expected)


def test_a_missing_response_stays_missing_in_windows():
    values = np.ones((600, 4), "f4")
    values[100:110, 2] = np.nan
    session = open_session({"responses": values, "rate_hz": RATE_HZ})
    window = session.window(2.0)
    assert window.missing is not None
    assert set(np.flatnonzero(window.missing.any(axis=0)).tolist()) == {2}
    assert session.window(10.0).missing is None


@pytest.mark.slow
def test_a_store_keeps_pauses_and_observed_time(tmp_path):
    session = paused(20.0)
    stored = open_session(convert(session, tmp_path / "paused.omses.zarr"))
    assert stored.recorded_s == pytest.approx(session.recorded_s)
    assert stored.window_starts().tolist() == session.window_starts().tolist()
    assert np.isnan(stored.responses.read(1900, 1901)).all()


@pytest.mark.slow
def test_a_store_holds_no_rows_of_a_pause(tmp_path):
    session = paused(3 * 86_400.0)
    store = convert(session, tmp_path / "days.omses.zarr", compare=True)
    stored = open_session(store)
    assert sum(f.stat().st_size for f in store.rglob("*")) < 2**20
    assert stored.responses.n_samples == session.responses.n_samples
    for first in (1795, session.responses.n_samples - 1205):
        rows = session.responses.read(first, first + 10)
        np.testing.assert_array_equal(stored.responses.read(first, first + 10), rows)
        assert np.isnan(rows).any()
        assert np.isfinite(rows).any()
    assert stored.window_starts().tolist() == session.window_starts().tolist()
    # Bins of 1 s, of which those in the pause are not stored either.
    level = stored.responses.levels[0]
    assert len(level.bins) == 100
    first = session.responses.read(0, 30).mean(axis=0)
    np.testing.assert_allclose(level.mean(slice(None))[0], first, rtol=2**-11)
    # Programs of before would read such a store on a wrong clock.
    assert zarr.open_group(str(store), mode="r").attrs["version"] == 2
    verify(store, session)


@pytest.mark.slow
def test_a_store_of_spikes_keeps_pauses_and_observed_time(tmp_path):
    trains = SpikeTrains(
        MemoryRows(Path("x"), np.arange(0.5, 100.0)),
        np.array([0, 60, 100]),
        0.0,
        RATE_HZ,
        3000,
        Observed(np.array([[0.0, 30.0], [70.0, 100.0], [0.0, 30.0]]), np.array([0, 2, 3])),
    )
    spans, n_missing = stretches(np.r_[np.arange(900), np.arange(2100, 3000)], 3000, 0.0, RATE_HZ)
    signal = responses_of(trains, 2, spans, n_missing)
    plain = {"responses": np.ones((3000, 2), "f4"), "rate_hz": RATE_HZ}
    session = replace(open_session(plain), responses=signal)
    stored = open_session(convert(session, tmp_path / "s.omses.zarr"))
    verify(tmp_path / "s.omses.zarr", session)
    np.testing.assert_array_equal(stored.responses.data, session.responses.data)
    assert stored.responses.file.observed.seconds().tolist() == [60.0, 30.0]
    assert stored.recorded_s == pytest.approx(60.0)


def test_the_time_line_has_no_tier_in_a_pause():
    overview = paused(600.0).overview(50)
    spans = [*zip(overview.trial_on.tolist(), overview.trial_off.tolist(), strict=True)]
    assert not any(on < 360.0 < off for on, off in spans)
    assert overview.trial_tier.tolist() == ["train", "train", "test"]


@pytest.mark.parametrize(("span", "n"), [((50.0, 670.0), 2), ((55.0, 70.0), 1)])
def test_no_window_of_a_stitched_span_touches_a_pause(span, n):
    session = paused(600.0)
    mask = Mask.nothing(session).ask(range(3), slice(30, 60)).with_frames(False)
    found = predict_span(EchoPredictor(), session, mask, *span)
    assert ((found.starts_s + 2.0 < 60.0) | (found.starts_s > 660.0)).all()
    assert (np.diff(found.time) > 1.0).sum() == n - 1
    # All recorded values are at their time; a window may read the sample before.
    rows = np.rint(found.time * RATE_HZ).astype(int)
    near = [session.responses.data[rows - early] for early in (0, 1)]
    is_same = [np.isclose(found.truth, x, equal_nan=True) for x in near]
    assert np.any(is_same, axis=0).all()
    assert np.isfinite(found.truth).all()


def test_a_page_of_the_traces_ends_at_a_pause():
    session = paused(5.0)
    before, after = session.nearest_window(59.0), session.nearest_window(65.0)
    assert page_around(session, before, "10 s") == pytest.approx((56.0, 60.0 - 1 / 30))
    assert page_around(session, after, "10 s") == pytest.approx((65.0, 74.0))


@pytest.mark.parametrize(("start_s", "step_s"), [(57.8, 2.0), (660.5, -2.0)])
def test_a_step_leads_over_a_pause(start_s, step_s):
    session = paused(600.0)
    window = session.nearest_window(start_s)
    direction = 1 if step_s > 0 else -1
    beyond = session.nearest_window(window.start_s + step_s, direction=direction)
    assert abs(beyond.start_s - window.start_s) > 590.0
    # Elsewhere, and for a click, the nearest window is shown.
    assert session.nearest_window(62.0).stop_s < 60.0
    near = session.nearest_window(20.01, direction=-1)
    assert near.start_s == session.nearest_window(20.01).start_s


def test_a_window_is_not_read_far_from_the_time_that_is_asked():
    session = paused(600.0)
    with pytest.raises(TimeRangeError, match=r"nothing was recorded from 59\.9667 to 660"):
        session.window(300.0)
    assert session.window(59.0).stop_s < 60.0
    assert session.nearest_window(300.0).stop_s < 60.0
