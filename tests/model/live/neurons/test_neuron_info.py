"""Receptive fields, tuning and repeats of simulated neurons with known truth."""

import os
from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis import direction_tuning as tuning_module
from omnimouse_model.analysis.direction_tuning import direction_tuning, selectivity
from omnimouse_model.analysis.motion_energy import (
    MotionBank,
    block_starts,
    directions_deg,
    stimulus_blocks,
)
from omnimouse_model.analysis.receptive_fields import receptive_fields
from omnimouse_model.data.open import open_session
from omnimouse_model.evaluation.repeats import clip_repeats, repeated_clips
from omnimouse_model.live.inference.engine import Execution
from omnimouse_model.live.neurons.neuron_info import NeuronInfo
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks.neuron_table import matching_neurons
from omnimouse_model.metrics import Status, cc_scores, correlation
from omnimouse_model.progress import CallbackJob
from omnimouse_model.simulate import HeldOut, MouseSpec, Truth, open_truth
from omnimouse_model.simulate import write_session as simulate
from tests.predictors import open_controller
from tests.small_sessions import write_session

N = 32


@pytest.fixture(scope="module")
def mouse(tmp_path_factory):
    """Nine minutes of 32 neurons; one clip is shown eight times."""
    held_out = HeldOut(validation=2, final_test_1=2, oracle_clips=1, oracle_repeats=8)
    spec = MouseSpec("facts", "80020-1-1", 21, 22, N, 9.0, held_out)
    folder = simulate(spec, tmp_path_factory.mktemp("facts") / "mouse")
    return open_session(folder), open_truth(folder)


@pytest.fixture(scope="module")
def fields(mouse):
    return receptive_fields(mouse[0], np.arange(N))


@pytest.fixture(scope="module")
def tunings(mouse, fields):
    nowhere = (np.nan, np.nan)
    places = np.array([nowhere if f.problem else f.centre_yx for f in fields])
    return direction_tuning(mouse[0], np.arange(N), places)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Twenty seconds of noise, no clip twice."""
    return open_session(write_session(tmp_path_factory.mktemp("short") / "mouse", 12))


def moving_grating(deg: float, wavelength: float = 18.0) -> np.ndarray:
    """A grating that moves to the right at 0°, up at 90°."""
    rows, columns = np.mgrid[:36, :64]
    theta = np.radians(deg)
    along = (columns * np.cos(theta) - rows * np.sin(theta)) / wavelength
    time = np.arange(90)[:, None, None] / 30
    return np.sin(2 * np.pi * (along - 2 * time)).astype(np.float32)


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """A cache in which nothing is kept yet."""
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path))
    return tmp_path / "tuning"


@pytest.mark.parametrize("cell", [2, 4])
@pytest.mark.parametrize("deg", [0, 45, 90, 180, 270, 337.5])
def test_motion_energy_is_largest_in_the_direction_of_motion(deg, cell):
    bank = MotionBank(np.array([[18.0, 32.0], [10.0, 20.0]]), cell=cell)
    energy = bank.energies(moving_grating(deg)).mean(axis=0)
    assert directions_deg()[energy.argmax(axis=0)].tolist() == [deg, deg]
    assert energy[:, 0].max() > 3 * energy[(energy.argmax(axis=0)[0] + 8) % 16, 0]


@pytest.mark.slow
def test_blocks_are_the_session_without_a_seam(mouse):
    session, _ = mouse
    parts = stimulus_blocks(session, np.array([3]), before=5, after=4, max_blocks=999)
    first, second, *rest = parts
    np.testing.assert_array_equal(first.frames[-5:], second.frames[:5])
    np.testing.assert_array_equal(first.responses[-4:], second.responses[:4])
    assert len(rest) + 2 == len(block_starts(session))
    assert len(block_starts(session, 4)) == 4


# -- receptive fields ------------------------------------------------------------------
@pytest.mark.slow
def test_receptive_fields_lie_where_the_neurons_look(mouse, fields):
    truth = mouse[1].tuning["centre_yx"]
    apart = np.hypot(*(np.array([f.centre_yx for f in fields]) - truth).T)
    sure = np.array([not f.problem for f in fields])
    assert sure.mean() > 0.5
    assert np.median(apart[sure]) < 6.0
    assert (apart[sure] < 10.0).mean() > 0.75


@pytest.mark.slow
def test_simple_cells_have_a_plain_average_and_complex_cells_have_none(mouse):
    session, truth = mouse
    plain = receptive_fields(session, np.arange(N), kind="plain")
    energy = receptive_fields(session, np.arange(N), kind="energy")
    is_complex = truth.tuning["is_complex"]
    shown = np.array([not f.problem for f in plain])
    moved = np.array([not f.problem for f in energy])
    assert shown[~is_complex].mean() > 0.5
    assert shown[is_complex].mean() < 0.2
    assert moved[is_complex].mean() > 0.25


@pytest.mark.slow
def test_the_ridge_undoes_the_blur_of_the_videos_own_correlation(mouse):
    session, truth = mouse
    simple = np.flatnonzero(~truth.tuning["is_complex"])
    blur, off = {}, {}
    for ridge in (None, 3.0):
        found = receptive_fields(session, simple, kind="plain", ridge=ridge)
        strong = [np.abs(f.map) > 0.5 * np.abs(f.map).max() for f in found]
        blur[ridge] = np.median([part.mean() for part in strong])
        places = np.array([f.centre_yx for f in found])
        apart = places - truth.tuning["centre_yx"][simple]
        off[ridge] = np.median(np.hypot(*apart.T))
    assert blur[3.0] < 0.8 * blur[None]
    assert off[3.0] < 5.0


@pytest.mark.slow
def test_lags_are_those_of_a_visual_response(fields):
    lags = [f.lag_s for f in fields if not f.problem]
    assert 0.1 < np.median(lags) < 0.35
    for field in fields:
        assert field.course.shape == field.lags_s.shape
        assert field.lags_s[np.abs(field.course).argmax()] == field.lag_s


@pytest.mark.slow
def test_responses_of_another_time_have_no_receptive_field(mouse, monkeypatch):
    from omnimouse_model.analysis import receptive_fields as module

    def shifted(session, neurons, **options):
        blocks = list(stimulus_blocks(session, neurons, **options))
        blocks = [b for b in blocks if len(b.recorded) == len(blocks[0].recorded)]
        for i, block in enumerate(blocks):
            other = blocks[(i + len(blocks) // 3) % len(blocks)]
            yield replace(block, responses=other.responses, recorded=other.recorded)

    monkeypatch.setattr(module, "stimulus_blocks", shifted)
    found = receptive_fields(mouse[0], np.arange(N))
    told = [f for f in found if f.problem]
    assert len(told) >= 0.85 * N
    assert all("halves agree" in f.problem for f in told)


def test_too_little_video_is_reported(short):
    (field,) = receptive_fields(short, np.array([1]))
    assert "60 s are needed" in field.problem
    assert not field.map.size
    (tuning,) = direction_tuning(short, np.array([1]))
    assert "Too little video" in tuning.problem


def test_full_field_gratings_tell_no_place():
    draw, at = np.random.default_rng(0), np.arange(2700) / 30
    deg = np.repeat(draw.integers(0, 8, 45) * 45, 60)
    along = np.cos(np.deg2rad(deg))[:, None, None] * np.arange(64)
    across = np.sin(np.deg2rad(deg))[:, None, None] * np.arange(36)[:, None]
    phase = 2 * np.pi * (0.06 * (along + across) - 2 * at[:, None, None])
    video = np.uint8(128 + 100 * np.sin(phase))
    # The first neuron sees the brightness of one pixel, the second the direction alone.
    seen = np.stack([video[:, 10, 10] / 255, deg == 90], axis=1) + draw.gamma(1, 0.2, (2700, 2))
    arrays = {"responses": seen, "rate_hz": 30.0, "video": video, "video_rate_hz": 30.0}
    for field in receptive_fields(om.open_session(arrays), np.arange(2)):
        assert "they tell no place" in field.problem
        assert np.isnan(field.centre_yx).all()


def test_a_session_without_video_is_reported():
    session = om.open_session(
        {"responses": np.random.default_rng(0).gamma(2, 1, (900, 3)), "rate_hz": 30.0}
    )
    assert "no video" in receptive_fields(session, np.array([0]))[0].problem
    assert "no video" in direction_tuning(session, np.array([0]))[0].problem
    assert repeated_clips(session) == ()


# -- tuning ----------------------------------------------------------------------------
def true_directions(truth: Truth) -> np.ndarray:
    """Degrees of motion; the simulator names where motion comes from, y downwards."""
    return np.degrees(-(truth.tuning["direction"] + np.pi)) % 360


@pytest.mark.slow
def test_directions_are_those_of_the_neurons(mouse, tunings):
    truth = true_directions(mouse[1])
    found = np.array([t.preferred_deg for t in tunings])
    off = np.abs((found - truth + 180) % 360 - 180)
    sure = np.array([t.is_direction_selective for t in tunings])
    assert sure.mean() > 0.3
    assert (off[sure] < 45).mean() > 0.85
    assert (off < 45).mean() > 0.75


def test_indices_of_known_curves():
    directions = np.arange(8) * 45.0
    only = np.eye(8)[2]
    both = only + np.eye(8)[6]
    dsi, osi, preferred = selectivity(directions, np.stack([only, both, np.ones(8)]))
    np.testing.assert_allclose(dsi, [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(osi, [1, 1, 0], atol=1e-12)
    assert preferred[0] == pytest.approx(90.0)


@pytest.mark.slow
def test_directions_of_trials_are_used(mouse, monkeypatch):
    """The direction of the trials with the largest response is the preferred one."""
    session, _ = mouse
    trials = session.trials
    video = np.flatnonzero(trials.kind == "video")
    extra = [dict(e) for e in trials.extra]
    means = []
    for trial in video:
        times = np.arange(trials.t_on[trial] + 0.1, trials.t_off[trial], 1 / 30)
        found, _ = session.responses.window(session.t0 + times)
        means.append(found[:, 5].mean())
    rank = np.argsort(np.argsort(means))
    by_rank = np.array([180, 225, 135, 270, 90, 315, 45, 0])
    for trial, place in zip(video, rank, strict=True):
        extra[trial]["direction"] = int(by_rank[place * 8 // len(video)])
    told = replace(session, trials=replace(trials, extra=tuple(extra)))
    found, _ = direction_tuning(told, np.array([5, 6]))
    assert found.source == "trials"
    assert found.directions_deg.tolist() == [45.0 * k for k in range(8)]
    assert found.directions_deg[found.response.argmax()] == 0
    assert abs((found.preferred_deg + 180) % 360 - 180) < 20
    assert found.p_direction < 0.01


@pytest.mark.slow
def test_repeats_are_the_recorded_responses(mouse):
    session, _ = mouse
    (clip,) = repeated_clips(session)
    assert clip.tiers == ("oracle",) * 8
    repeats = clip_repeats(session, clip, np.array([4, 9]))
    row = int(repeats.onset_s[2] * 30)
    stored = session.responses.read(row, row + len(repeats.time_s))[:, 9]
    expected = stored / session.response_scale[9]
    np.testing.assert_allclose(repeats.responses[1, 2], expected, rtol=1e-5)
    np.testing.assert_allclose(repeats.average[1], repeats.responses[1].mean(axis=0))
    spread = repeats.responses[1].std(axis=0, ddof=1)
    np.testing.assert_allclose(repeats.spread[1], spread, rtol=1e-4)


@pytest.mark.slow
def test_the_ceiling_is_what_the_truth_reaches(mouse):
    session, truth = mouse
    (clip,) = repeated_clips(session)
    repeats = clip_repeats(session, clip, np.arange(N))
    rows = [round(on * 30) + np.arange(len(repeats.time_s)) for on in repeats.onset_s]
    values = truth.drive.open()
    drive = np.mean([values[r] for r in rows], axis=0).T
    reached = correlation(drive, repeats.average, axis=1)
    known = repeats.status == Status.OK
    gap = np.median(reached[known] - repeats.cc_max[known])
    assert known.mean() > 0.8
    # The truth knows behaviour as well, of which repeats have nothing in common.
    assert -0.05 < gap < 0.2
    expected = cc_scores(repeats.responses[:, :1], repeats.responses).cc_max
    np.testing.assert_array_equal(repeats.cc_max, expected)
    assert np.nanmedian(repeats.single_trial_max) < np.nanmedian(repeats.cc_max)


@pytest.mark.slow
def test_live_properties_equal_the_library(mouse, fields, tunings):
    with open_controller(mouse[0]) as live_facts:
        live_facts.selection.select([7])
        live_facts.neuron_info.follow()
        found = live_facts.neuron_info.current
        assert found.neuron == 7
        np.testing.assert_allclose(found.field.map, fields[7].map, atol=1e-5)
        assert found.field.reliability == pytest.approx(fields[7].reliability, abs=1e-4)
        assert found.tuning.dsi == pytest.approx(tunings[7].dsi, rel=1e-3)
        assert len(found.repeats) == 1
        assert found.repeats[0].responses.shape[:2] == (1, 8)


def test_tuning_of_every_neuron_is_computed_in_pieces_and_goes_on_after_a_stop(
    mouse, tunings, monkeypatch
):
    monkeypatch.setattr(tuning_module, "_PIECE", 12)
    with open_controller(mouse[0]) as controller:
        colouring, info = controller.colouring, controller.neuron_info
        colouring.choose("osi")
        assert colouring.message == f"0 of {N} neurons known · colours: states"
        assert colouring.measured_columns() == {}
        info.measured.connect(colouring.stop_computing, max_args=0)
        colouring.compute_all()
        assert colouring.message == f"12 of {N} neurons known"
        info.measured.disconnect(colouring.stop_computing)
        assert colouring.can_compute_all
        n_told = []
        info.measured.connect(lambda: n_told.append(colouring.n_so_far))
        colouring.compute_all()
        assert n_told[0] == 24
        assert colouring.n_so_far is None
        wanted = [np.nan if t.problem else t.osi for t in tunings]
        # Products of pieces have other shapes, and round otherwise.
        np.testing.assert_allclose(colouring.scale_of("osi").values, wanted, rtol=1e-6)
        assert not colouring.can_compute_all
        columns = colouring.measured_columns()
        np.testing.assert_allclose(columns["recorded_osi"], wanted, rtol=1e-6)
        is_selective = np.array([t.is_direction_selective for t in tunings])
        np.testing.assert_array_equal(np.isfinite(columns["recorded_preferred_deg"]), is_selective)
        axes = np.array([t.preferred_orientation_deg for t in tunings])
        is_oriented = np.array([t.is_orientation_selective for t in tunings])
        shown = columns["recorded_preferred_orientation_deg"]
        np.testing.assert_allclose(shown, np.where(is_oriented, axes, np.nan), rtol=1e-5)
        assert set(colouring.definitions()) == set(columns)
        with pytest.raises(ValueError, match=rf"neurons: found {N}, expected 0\.\.{N - 1}"):
            om.recorded_tuning(mouse[0], [7, N])
        steps: list[str] = []
        job = CallbackJob(lambda done, total, step: steps.append(step))
        table = om.recorded_tuning(mouse[0], [7, 3], job=job)
        assert steps == []  # read: all were computed
        assert table["neuron"].tolist() == [7, 3]
        for name, values in columns.items():
            np.testing.assert_allclose(table[name], values[[7, 3]], rtol=1e-5, atol=1e-6)
        is_tuned = np.isin([7, 3], matching_neurons("tuned", {"id": np.arange(N)} | columns))
        assert table["tuned"].tolist() == is_tuned.tolist()
        colouring.choose("field_row")
        n = int(np.isfinite(colouring.scale.values).sum())
        assert colouring.message.startswith(f"{n} of {N} neurons have one: ")
        assert "r = " not in colouring.message  # of one neuron
        controller.loader.open_now(short_copy(mouse[0]))
        assert colouring.measured_columns() == {}
        assert colouring.can_compute_all
        controller.loader.open_now(mouse[0])
        np.testing.assert_array_equal(
            colouring.measured_columns()["recorded_osi"], columns["recorded_osi"]
        )
        assert not colouring.can_compute_all


@pytest.mark.slow
def test_what_a_call_computes_is_kept_for_the_next_and_for_the_panels(mouse):
    steps: list[str] = []
    job = CallbackJob(lambda done, total, step: steps.append(step))
    first = om.recorded_tuning(mouse[0], [7, 3], job=job)
    assert {*steps} == {"fields and tuning of 2 neurons"}
    steps.clear()
    second = om.recorded_tuning(mouse[0], [7, 5], job=job)
    assert {*steps} == {"fields and tuning of 1 neuron"}
    assert second["neuron"].tolist() == [7, 5]
    assert second.loc[:0].equals(first.loc[:0])
    with open_controller(mouse[0]) as controller:
        assert sorted(info.neuron for info in controller.neuron_info.computed) == [3, 5, 7]


@pytest.mark.slow
def test_a_recording_that_was_open_before_keeps_what_is_computed(mouse, monkeypatch):
    monkeypatch.setattr(tuning_module, "_PIECE", 12)
    state = LiveState()
    state.session = mouse[0]
    info = NeuronInfo(state, Execution(synchronous=True))
    info.measured.connect(info.population.stop, max_args=0)
    info.compute_all()
    assert len(info.computed) == 12
    info.close()


@pytest.mark.slow
def test_what_was_computed_for_all_neurons_survives_a_restart(mouse, kept, monkeypatch):
    monkeypatch.setattr(tuning_module, "_PIECE", 12)

    def opened() -> tuple[list[int], dict[str, np.ndarray], bool]:
        with open_controller(mouse[0]) as controller:
            controller.colouring.choose("osi")
            known = sorted(info.neuron for info in controller.neuron_info.computed)
            columns = controller.colouring.measured_columns()
            return known, columns, controller.colouring.can_compute_all

    with open_controller(mouse[0]) as controller:
        controller.neuron_info.measured.connect(controller.colouring.stop_computing, max_args=0)
        controller.neuron_info.compute_all()
    assert opened()[0] == list(range(12))
    with open_controller(mouse[0]) as controller:
        controller.colouring.choose("osi")
        controller.colouring.compute_all()
        columns = controller.colouring.measured_columns()
        problems = [
            (one.field.problem, one.tuning.problem) for one in controller.neuron_info.computed
        ]
    assert opened()[0] == list(range(N))
    assert not opened()[2]
    for name, values in opened()[1].items():
        np.testing.assert_array_equal(values, columns[name])
    with open_controller(mouse[0]) as controller:
        again = [(one.field.problem, one.tuning.problem) for one in controller.neuron_info.computed]
        assert again == problems
    # Its last line was cut, or it is damaged: what is missing is computed again.
    [file] = kept.iterdir()
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]) + lines[-1][:100])
    assert opened()[0] == list(range(24))
    file.write_bytes(lines[0] + lines[1].replace(b'"neuron": 3,', b'"neuron": 99,'))
    assert opened()[0] == []
    file.write_bytes(b"{}\n" + b"".join(lines[1:]))
    known, _, can_compute_all = opened()
    assert (known, can_compute_all) == ([], True)


@pytest.mark.slow
def test_what_is_kept_of_all_neurons_has_a_limit(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning_module, "LIMIT_BYTES", 20)
    kept.mkdir()
    for day in (1, 2, 3):
        path = kept / f"{day}.jsonl"
        path.write_text("x" * 10)
        os.utime(path, (86400 * day, 86400 * day))
    state = LiveState()
    state.session = open_session(write_session(tmp_path / "9-1-1", 3))
    info = NeuronInfo(state, Execution(synchronous=True))
    info.compute_all()
    info.close()
    [own] = kept.iterdir()  # the newest, larger than all there is room for
    assert own.stat().st_size > 20


def test_a_recording_without_video_has_no_columns_of_it():
    rng = np.random.default_rng(0)
    session = om.open_session({"responses": rng.random((900, 5)), "rate_hz": 30.0})
    with open_controller(session) as controller:
        controller.selection.select([1])
        controller.neuron_info.follow()
        assert controller.neuron_info.current.tuning.problem
        assert controller.colouring.measured_columns() == {}
        assert controller.colouring.definitions() == {}


@pytest.mark.slow
def test_a_drive_that_keeps_nothing_stops_no_computation(mouse, kept, monkeypatch):
    kept.write_text("a file where the folder would be")
    with open_controller(mouse[0]) as controller:
        controller.colouring.choose("osi")
        controller.colouring.compute_all()
        assert not controller.colouring.can_compute_all


@pytest.mark.slow
def test_a_neuron_of_known_repeats_alone_does_not_count_as_known(mouse, monkeypatch):
    monkeypatch.setattr(tuning_module, "_PIECE", 12)
    with open_controller(mouse[0]) as controller:
        colouring, info = controller.colouring, controller.neuron_info
        controller.selection.select([30, 31])
        # The search for fields ends where it begins.
        info.changed.connect(info.stop, max_args=0)
        info.follow()
        info.changed.disconnect(info.stop)
        assert [one.field for one in info.computed] == [None, None]
        n_told = []
        info.measured.connect(lambda: n_told.append(colouring.n_so_far))
        info.measured.connect(colouring.stop_computing, max_args=0)
        colouring.choose("osi")
        colouring.compute_all()
        assert n_told == [12]


def short_copy(session):
    """The same recording as another session."""
    return replace(session, id="another")
