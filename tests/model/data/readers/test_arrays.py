import io
import pickle
import re
import zipfile
from typing import Any

import numpy as np
import pytest

from omnimouse_model.data.convert import convert
from omnimouse_model.data.open import is_session, open_session
from omnimouse_model.data.readers import arrays
from omnimouse_model.data.session import Session
from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from tests.model.data.refusals import check_refusal, check_session, left_out, warning_of

N, SECONDS = 6, 40.0


def session_arrays(**changes: Any) -> dict[str, Any]:
    """Everything that a session of arrays may have; None takes a name away."""
    draw = np.random.default_rng(2)
    labels = np.zeros((20, 30), np.int32)
    for neuron in range(N):
        labels[3 * neuron : 3 * neuron + 2, 4:9] = neuron + 1
    arrays = {
        "responses": draw.gamma(1, 2, (int(SECONDS * 30), N)).astype(np.float32),
        "rate_hz": 30.0,
        "start_s": 2.0,
        "unit_ids": np.arange(N) + 40,
        "area": np.array(["V1", "LM"] * 3),
        "plane": np.arange(N) % 2,
        "xyz_um": draw.normal(size=(N, 3)),
        "roi_labels": labels,
        "mean_image": draw.random((20, 30)),
        "video": draw.integers(0, 255, (900, 36, 64), dtype=np.uint8),
        "video_rate_hz": 30.0,
        "video_start_s": 5.0,
        "running": draw.normal(size=2000),
        "running_rate_hz": 50.0,
        "pupil_size": draw.normal(size=900),
        "pupil_x": draw.normal(size=900),
        "pupil_y": draw.normal(size=900),
        "pupil_rate_hz": 20.0,
        "trial_start": np.array([5.0, 15.0, 25.0]),
        "trial_stop": np.array([15.0, 25.0, 35.0]),
        "trial_tier": np.array(["train", "test", "train"]),
        "trial_stim_id": np.array(["a", "b", "a"]),
        "id": "mine-1",
        "animal_id": "7",
        **changes,
    }
    return {name: value for name, value in arrays.items() if value is not None}


def assert_holds(session: Session, arrays: dict[str, Any]) -> None:
    np.testing.assert_array_equal(session.responses.data, arrays["responses"])
    assert (session.id, session.animal_id) == ("mine-1", "7")
    assert session.units.unit_id.tolist() == arrays["unit_ids"].tolist()
    assert session.units.area.tolist() == arrays["area"].tolist()
    for neuron in range(N):
        yx, _ = session.units.roi.pixels(neuron)
        expected = np.argwhere(arrays["roi_labels"] == neuron + 1)
        np.testing.assert_array_equal(yx, expected)
        centre = expected.mean(axis=0)[::-1]
        np.testing.assert_allclose(session.units.xy_px[neuron], centre)
    times = 5.0 + np.arange(900) / 30
    frames, valid = session.stimulus.sample(times + 1e-3)
    assert len(valid) == 900
    np.testing.assert_array_equal(frames, arrays["video"])
    readable = session.trials.readable
    assert session.trials.tier[readable].tolist() == ["train", "test", "train"]
    assert session.trials.stim_id[readable].tolist() == ["a", "b", "a"]
    eye = session.behavior["eye_tracker"].data
    np.testing.assert_array_equal(eye[:, 0], arrays["pupil_size"])
    np.testing.assert_allclose(eye[:, 1], np.gradient(arrays["pupil_size"]) * 20)
    np.testing.assert_array_equal(eye[:, 3], arrays["pupil_y"])
    treadmill = session.behavior["treadmill"].data
    np.testing.assert_array_equal(treadmill[:, 0], arrays["running"])
    start = float(session.window_starts("test")[3])
    window = session.window(start)
    rows = session.responses.index(window.times("responses"))
    np.testing.assert_allclose(
        window.responses, arrays["responses"][rows] / session.response_scale, rtol=1e-6
    )
    assert all(valid.all() for valid in window.valid.values())


@pytest.mark.slow
@pytest.mark.parametrize("save", [None, np.savez, np.savez_compressed])
def test_a_mapping_is_a_session_and_an_npz_the_same(save, tmp_path):
    arrays = session_arrays()
    path = tmp_path / "mine.bin.npz"
    if save is not None:
        save(path, **arrays)
        assert is_session(path)
    session = open_session(arrays if save is None else path)
    assert_holds(session, arrays)
    assert_holds(pickle.loads(pickle.dumps(session)), arrays)
    if save is np.savez:
        path.write_bytes(path.read_bytes() + b"x")
        with pytest.raises(SessionFormatError, match="changed while"):
            _ = session.window(3.0).responses


def test_responses_alone_suffice():
    session = check_session(
        {"responses": np.ones((300, 4)), "rate_hz": 10},
        {"stimulus": None, "responses.mode": "linear"},
        {"no_areas": "", "no_identity": "", "resampled": ""},
    )
    assert session.window(3.0).responses.shape == (60, 4)
    assert [note.code for note in session.assumptions].count("missing_stream") == 3


@pytest.mark.parametrize(
    ("recorded_hz", "model_hz", "expected"),
    [
        (8.0, 8.0, [0, 1, 2, 3]),  # as recorded
        (8.0, 4.0, [0, 2, 4, 6]),  # the last sample at each time
        (8.0, 16.0, [0, 0.5, 1, 1.5]),  # interpolated
        (30.0, 60.0, [0, 0.5, 1, 1.5]),
        (29.5, 30.0, [0, 0, 1, 2]),  # nearly equal: the last sample
    ],
)
def test_only_slower_responses_are_interpolated(recorded_hz, model_hz, expected):
    rows = np.arange(300.0)[:, None] + np.zeros(3)
    session = open_session({"responses": rows, "rate_hz": recorded_hz})
    times = session.responses.start + np.arange(4) / model_hz
    values, valid = session.responses.window(times)
    assert valid.all()
    assert np.allclose(values[:, 0], expected)


def test_a_rate_may_be_said_beside():
    arrays = session_arrays(rate_hz=None)
    assert check_refusal(arrays, "gives no rate_hz").code == MISSING_RATE
    check_session(arrays, {"responses.rate_hz": 30.0}, rate_hz=30.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"response": 1}, "response is not an accepted name .*did you mean responses"),
        ({"speed": np.zeros(3)}, "did you mean running"),
        ({"Frame_Period": 0.5}, "did you mean rate_hz, which is 1 / period"),
        ({"rate_hz": "30"}, "is the text '30'; .*as a number, without quotes"),
        ({"responses": np.zeros(90)}, r"responses\[:, None\]"),
        ({"responses": None}, "responses is missing"),
        ({"responses": np.ones(5)}, r"responses is \(5,\) float64"),
        ({"responses": np.array([["a"]])}, "numbers expected"),
        ({"rate_hz": 0.0}, r"rate_hz is 0.0; a finite number above 0"),
        ({"rate_hz": [30.0, 10.0]}, r"rate_hz is \(2,\)"),
        ({"rate_hz": np.nan}, "rate_hz is nan"),
        ({"responses": np.array([[{}]])}, "object"),
        ({"responses": np.ones((9, 60, N))}, "join trials"),
        ({"responses": np.full((900, N), np.nan)}, "all values are NaN"),
    ],
)
def test_responses_that_do_not_fit_are_refused_with_a_remedy(changes, words):
    check_refusal(session_arrays(**changes), words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"xyz_um": np.ones((6, 2))}, r"xyz_um is \(6, 2\)"),
        ({"roi_labels": np.full((4, 4), 9)}, "9 to 9; they are numbers from 0 to 6"),
        ({"unit_ids": np.arange(N) + 0.5}, "contains numbers that are not whole"),
        # What does not fit is told with what its name holds.
        ({"unit_ids": np.arange(N) + 0.5}, r"unit_ids is \(neuron,\) whole numbers"),
        ({"quality": np.ones(5)}, r"\(neuron,\) texts or numbers: the quality label of each unit"),
        ({"xy_px": np.ones((N, 3))}, r"xy_px is \(neuron, 2\) x and y on the mean image"),
        ({"area": np.array(["V1"] * 5)}, r"area is \(5,\)"),
        ({"quality": np.ones((6, 2))}, r"quality is \(6, 2\)"),
        ({"mean_image": np.ones(5)}, r"mean_image is \(5,\)"),
        ({"video": np.ones((5, 4))}, r"video is \(5, 4\)"),
        ({"video_times": np.zeros(900)}, "video_times has times that do not increase"),
        ({"video_times": np.arange(890)}, "890 times for 900 frames"),
        ({"video_times": np.full(900, np.nan)}, "900 times that are NaN"),
        ({"video_rate_hz": None}, "video_rate_hz is missing; video needs it"),
        ({"video_start_s": 5000.0}, "no common 2-s window"),
        ({"pupil_x": np.ones(5)}, "pupil is left out: .*differs in length"),
        ({"pupil_rate_hz": np.nan}, "pupil is left out: .*pupil_rate_hz is nan"),
        ({"running_rate_hz": None}, "running is left out: .* running needs it"),
        ({"running": np.ones((40, 7))}, r"running is left out: .* \(40, 7\)"),
        ({"running": np.array([{}] * 9)}, "running is left out: .* object"),
        ({"running_rate_hz": 1e-9}, "running is left out: .* more than a week"),
        ({"running_start_s": 1e6}, "running is left out: .* no common 2-s window"),
        ({"trial_start": None}, "trial_start is missing"),
        ({"trial_stop": np.zeros(2)}, r"trials is left out: .* \(2,\)"),
        ({"trial_start": np.array(["a"])}, r"; \(trial,\) numbers expected"),
        ({"trial_tier": np.array(["train"])}, r"trial_tier is \(1,\)"),
    ],
)
def test_a_faulty_stream_is_left_out_with_a_remedy(changes, words):
    arrays = session_arrays(**changes)
    session = open_session(arrays)
    np.testing.assert_array_equal(session.responses.data, arrays["responses"])
    assert re.search(words, left_out(session)), left_out(session)


def test_archives_are_not_trusted(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, responses=np.array([{}], object), rate_hz=1.0)
    check_refusal(path, "pickled")
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10)}
    )
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("responses.npy", out.getvalue())
        check_refusal(path, "less of")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("responses.npy", out.getvalue() + bytes(10**7))
        archive.getinfo("responses.npy").file_size = 10**12
    check_refusal(path, r"x\.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    check_refusal(path, r"not a valid \.npz")


@pytest.mark.parametrize("name", ["area", "id", "video", "running", "trial_tier"])
def test_pickles_beside_the_responses_are_not_opened(name, tmp_path):
    arrays = session_arrays(**{name: np.array(["V1", "LM", None] * 2, object)})
    np.savez(tmp_path / "s.npz", **arrays)
    session = open_session(tmp_path / "s.npz")
    assert "pickled" in left_out(session)
    np.testing.assert_array_equal(session.responses.data, arrays["responses"])


def test_arrays_of_another_shape_type_or_time_are_another_session():
    values = np.arange(5400, dtype=np.float32).reshape(900, 6)
    alike = [values, values.reshape(1800, 3), values.view(np.int32)]
    found = {open_session({"responses": v, "rate_hz": 30.0}).fingerprint for v in alike}
    late = open_session({"responses": values, "rate_hz": 30.0, "start_s": 3.0})
    assert len({*found, late.fingerprint}) == 4
    again = open_session({"responses": values.copy(), "rate_hz": 30.0})
    assert again.fingerprint in found


@pytest.mark.parametrize("video", [{}, {"video": None, "video_rate_hz": None}])
def test_statistics_are_those_of_the_train_tier_on_any_clock(video):
    # Trials of the train tier have larger responses, so that other spans would differ.
    arrays = session_arrays(**video)
    at_s = arrays["start_s"] + np.arange(len(arrays["responses"])) / arrays["rate_hz"]
    is_train = (at_s >= 5) & (at_s < 15) | (at_s >= 25)
    arrays["responses"] = arrays["responses"] * np.where(is_train, 5, 1)[:, None]
    clocks = ("running_start_s", "pupil_start_s")
    arrays = dict.fromkeys(clocks, 0.0) | arrays
    late = {
        name: value + 1000.0
        for name, value in arrays.items()
        if name.endswith("start_s") or name in ("trial_start", "trial_stop")
    }
    early, moved = open_session(arrays), open_session(arrays | late)
    np.testing.assert_array_equal(moved.responses.std, early.responses.std)
    assert early.responses.std.min() > 1.5 * arrays["responses"][~is_train].std()


def test_texts_of_bytes_are_texts():
    area = np.array([b"V\xff"] * N)
    odd = session_arrays(id=b"mouse", animal_id=np.bytes_("7"), area=area)
    values = {"id": "mouse", "animal_id": "7", "units.area": ["V\ufffd"] * N}
    session = check_session({**odd, "trial_tier": np.array([b"train", b"a", b"b"])}, values)
    assert "train" in session.trials.tier.tolist()


@pytest.mark.parametrize(
    ("numbers", "ids"),
    [
        (np.array([90, 270, 90]), ["90", "270", "90"]),
        (np.array([90, 270, 90], np.float32), ["90", "270", "90"]),
        (np.array([22.5, np.nan, 0]), ["22.5", "", "0"]),
    ],
)
def test_stimulus_ids_may_be_numbers(numbers, ids):
    trials = open_session(session_arrays(trial_stim_id=numbers)).trials
    assert trials.stim_id[trials.readable].tolist() == ids


@pytest.mark.parametrize(
    ("stored", "names"),
    [
        (np.arange(1, N + 1), ["1", "2", "3", "4", "5", "6"]),
        (np.array([1.0, np.nan] * 3), ["1", ""] * 3),
        (np.array(["V1  ", "LM  "] * 3), ["V1", "LM"] * 3),
    ],
)
def test_areas_may_be_numbers_and_filled_up_with_spaces(stored, names):
    check_session(session_arrays(area=stored), {"units.area": names}, {"left_out_stream": None})


@pytest.mark.parametrize(("per_um", "is_told"), [(1.0, False), (1e-3, True), (1e-6, True)])
def test_positions_in_another_unit_are_told(per_um, is_told):
    places = np.random.default_rng(4).uniform(0, 600, (N, 3)) * per_um
    told = {"small_field": "are they in mm or meters?" if is_told else None}
    check_session(session_arrays(xyz_um=places), {}, told)


def test_responses_wider_than_any_store_are_read_as_float64(tmp_path):
    wide = np.random.default_rng(0).random((600, 4)).astype(np.longdouble)
    np.savez(tmp_path / "a.npz", responses=wide, rate_hz=30.0)
    responses = open_session(tmp_path / "a.npz").responses
    assert responses.dtype == np.float64
    np.testing.assert_array_equal(responses.data, wide.astype(np.float64))


@pytest.mark.parametrize("missing", [np.nan, ""])
def test_areas_that_are_all_missing_are_none(missing):
    arrays = session_arrays()
    arrays["area"] = np.full(arrays["responses"].shape[1], missing)
    check_session(arrays, {"units.area": None}, {"no_areas": ""})


@pytest.mark.parametrize("n_channels", [1, 4])
def test_frames_may_have_an_alpha_or_a_single_channel(n_channels):
    gray = session_arrays()["video"]
    video = np.repeat(gray[..., None], n_channels, axis=3)
    session = open_session(session_arrays(video=video))
    frames, _ = session.stimulus.sample(5.0 + np.arange(900) / 30 + 1e-3)
    shown = gray if n_channels == 1 else video[..., :3]
    np.testing.assert_array_equal(frames, shown)


def test_missing_pixels_do_not_count_for_the_range_of_gray():
    video = session_arrays()["video"].astype(np.float32)
    video[:, 0] = np.nan
    notes = {"not_finite": "mean gray", "gray_range": None}
    check_session(session_arrays(video=video), {}, notes)


def test_spikes_from_the_start_of_each_trial_are_refused_as_such():
    times = np.sort(np.random.default_rng(0).random(600) * 2)
    arrays = {"spike_times": times, "spike_unit": np.arange(600) % 3}
    check_refusal(arrays, "not from the start of each trial")


def test_trials_that_stop_as_they_start_are_told():
    stop = session_arrays()["trial_start"]
    arrays = session_arrays(trial_stop=stop, video=None, video_rate_hz=None)
    check_session(arrays, {}, {"empty_trials": "3 of 3 trials stop as they start"})


def test_frames_that_lie_on_their_side_are_told():
    video = np.zeros((900, 64, 36), np.uint8)
    check_session(session_arrays(video=video), {}, {"frame_axes": "64 × 36"})


@pytest.mark.slow
def test_trials_and_tiers_count_without_a_video(tmp_path):
    np.savez(tmp_path / "s.npz", **session_arrays(video=None, video_rate_hz=None))
    tiers = {"trials.tier": ["train", "test", "train"]}
    ids = {"trials.stim_id": ["a", "b", "a"]}
    session = check_session(tmp_path / "s.npz", {"stimulus": None, **tiers, **ids})
    np.testing.assert_allclose(session.trials.t_on, [3.0, 13.0, 23.0])
    assert session.tiers() == pytest.approx({"train": 20 / 60, "test": 10 / 60})
    test = session.window_starts("test")
    assert test[0] == pytest.approx(13.0, abs=1 / 30)
    assert test[-1] == pytest.approx(21.0, abs=1 / 30)
    assert session.overview(10).trial_tier.tolist() == tiers["trials.tier"]
    convert(session, tmp_path / "s.omses.zarr")
    again = check_session(tmp_path / "s.omses.zarr", tiers)
    np.testing.assert_array_equal(again.window_starts("test"), test)


def test_a_rate_beside_the_files_own_is_told():
    notes = {"rate_disagrees": "7.5 Hz was given, the file says 30"}
    check_session(session_arrays(), {"responses.rate_hz": 30.0}, notes, rate_hz=7.5)


def test_units_of_spikes_are_chosen_and_trials_divided_by_a_seed():
    draw = np.random.default_rng(4)
    begin = np.arange(20) * 3.0
    session = check_session(
        {
            "spike_times": draw.uniform(0, 60, 900),
            "spike_unit": np.repeat([0, 1, 2], [30, 420, 450]),
            "stop_s": 60.0,
            "unit_ids": np.array([7, 8, 9]),
            "area": np.array(["CA1", "VISp", "PO"]),
            "quality": np.array(["good", "good", "mua"]),
            "trial_start": begin,
            "trial_stop": begin + 2.5,
        },
        {"units.unit_id": [8], "units.area": ["VISp"], "units.properties.quality": ["good"]},
        {"unit_selection": "", "trial_split": ""},
        quality="good",
        min_rate_hz=1.0,
        split_seed=2,
    )
    assert session.responses.data.sum() == 420
    assert sorted(set(session.trials.tier)) == ["test", "train", "validation"]


# -- axes, units and clocks ----------------------------------------------------------
def traces(n_samples: int, n_neurons: int) -> np.ndarray:
    """Traces that decay within ten samples."""
    draw = np.random.default_rng(3)
    values = draw.gamma(0.3, 1.0, (n_samples, n_neurons))
    for k in range(1, n_samples):
        values[k] += 0.9 * values[k - 1]
    return values


def test_more_neurons_than_samples_are_refused_with_both_readings():
    arrays = {"responses": traces(900, 120).T, "rate_hz": 30.0}
    error = check_refusal(arrays, "900 neurons in 4 s")
    assert "(neuron, time) 120 neurons in 30 s" in str(error)
    square = traces(120, 120)
    check_refusal({"responses": square.T, "rate_hz": 30.0}, "leave out one sample")
    noise = np.random.default_rng(0).normal(size=(120, 900))
    check_refusal({"responses": noise, "rate_hz": 30.0}, "no array shows which")


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize(
    "proof",
    [
        {"area": ["V1"] * 120},
        {"running": np.ones(600), "running_rate_hz": 20.0},
        {"trial_start": [0.0, 10.0, 20.0], "trial_stop": [9.0, 19.0, 29.0]},
    ],
)
def test_other_arrays_prove_the_order_of_the_axes(proof, saved, tmp_path):
    values = traces(900, 120)
    arrays = {"responses": values.T, "rate_hz": 30.0, **proof}
    if saved:
        np.savez(tmp_path / "s.npz", **arrays)
    session = open_session(tmp_path / "s.npz" if saved else arrays)
    np.testing.assert_array_equal(session.responses.data, values)
    assert "120 neurons in 30 s" in warning_of(session, "axes")
    window = session.window(5.0)
    rows = session.responses.index(window.times("responses"))
    expected = values[rows] / session.response_scale
    np.testing.assert_allclose(window.responses, expected, rtol=1e-5)


@pytest.mark.parametrize("proof", [{}, {"unit_ids": np.arange(900)}])
def test_few_samples_of_many_neurons_are_read_if_that_is_clear(proof):
    values = traces(240, 900)
    session = open_session({"responses": values, "rate_hz": 30.0, **proof})
    np.testing.assert_array_equal(session.responses.data, values)


def test_half_a_stream_does_not_turn_the_axes():
    values = traces(900, 300)  # running lasts as long as 300 samples
    arrays = {"running": np.ones(200), "running_rate_hz": 20.0}
    session = open_session({"responses": values, "rate_hz": 30.0, **arrays})
    np.testing.assert_array_equal(session.responses.data, values)
    assert "running 9.95 s" in warning_of(session, "stream_lengths")


def test_a_rate_in_other_units_is_read_by_the_other_streams_or_refused():
    values = traces(900, 6)
    running = {"running": np.ones(600), "running_rate_hz": 20.0}
    for rate in (1 / 30, 0.03):
        arrays = {"responses": values, "rate_hz": rate}
        hz = {"responses.rate_hz": pytest.approx(30.0, rel=0.12)}
        check_session(arrays | running, hz, {"converted_rate": "running 30 s"})
        check_refusal(arrays, "in kHz")
    for stored, given, hz, notes in (
        (0.05, 0.05, 0.05, {}),
        (np.nan, 30.0, 30.0, {"bad_rate": "30 Hz, as given"}),
        (np.full(9, 30.0), None, 30.0, {}),
    ):
        arrays = {"responses": values, "rate_hz": stored}
        check_session(arrays, {"responses.rate_hz": hz}, notes, rate_hz=given)


@pytest.mark.parametrize(
    ("unit", "per_second"), [("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)]
)
def test_times_in_another_unit_are_recognised_by_the_responses(unit, per_second):
    video = np.zeros((900, 4, 6), np.uint8)
    times = 5.0 + np.arange(900) / 30
    session = check_session(
        session_arrays(
            video=video,
            video_times=per_second * times,
            trial_start=per_second * np.array([5.0, 15.0, 25.0]),
            trial_stop=per_second * np.array([15.0, 25.0, 35.0]),
        ),
        notes={f"times_in_{unit}": unit, f"trials_in_{unit}": unit},
    )
    np.testing.assert_allclose(session.stimulus.slot_t[:900], times)
    readable = session.trials.readable
    assert session.trials.tier[readable].tolist() == ["train", "test", "train"]


def test_time_without_any_response_is_a_pause():
    values = traces(1800, 6)
    values[600:900] = np.nan
    session = check_session(
        {"responses": values, "rate_hz": 30.0}, {"duration_s": 60.0, "recorded_s": 50.0}
    )
    assert warning_of(session, "pauses").endswith("not recorded, with 1 pause")
    assert warning_of(session, "pauses").startswith("300 of 1,800 samples are NaN")
    starts = session.window_starts(None)
    assert not ((starts > 18.0) & (starts < 30.0)).any()


@pytest.mark.parametrize("rate_hz", [2.0, 30.0])
def test_pauses_of_large_files_are_found_by_a_few_rows(rate_hz, monkeypatch, tmp_path):
    values = traces(1800, 6)
    values[601:900] = np.nan
    values[1700] = values[:, 0] = np.nan
    monkeypatch.setattr(arrays, "_MAX_SEARCHED", 0)
    np.savez(tmp_path / "r.npz", responses=values, rate_hz=rate_hz)
    session = open_session(tmp_path / "r.npz")
    spans = session.responses.recorded_spans * rate_hz
    assert spans.tolist() == [[0.0, 600.0], [900.0, 1799.0]]
    assert warning_of(session, "pauses").startswith("at least ")


def test_infinite_samples_of_behaviour_are_missing():
    speed = np.sin(np.arange(2000.0))
    speed[500] = np.inf
    eye = np.cos(np.arange(900.0))
    eye[100] = -np.inf
    session = open_session(session_arrays(running=speed, pupil_size=eye))
    for name in ("treadmill", "eye_tracker"):
        signal = session.behavior[name]
        assert np.isfinite(signal.mean).all()
        assert not np.isinf(signal.data).any()


@pytest.mark.parametrize(
    "area",
    [
        np.array(["V1", "LM"] * 3, object),
        np.array([["V1", "LM"] * 3]),
        np.ma.array(["V1", "LM"] * 3),
    ],
)
def test_vectors_of_other_programs_are_read(area):
    arrays = session_arrays(area=area, unit_ids=np.arange(N)[None], rate_hz=[[30.0]])
    check_session(arrays, {"units.area": ["V1", "LM"] * 3, "units.unit_id": list(range(N))})
    values = np.ma.array(traces(900, 6), mask=np.zeros((900, 6), bool))
    values[3, 2] = np.ma.masked
    arrays, notes = {"responses": values, "rate_hz": 30.0}, {"missing_responses": "1 responses"}
    assert np.isnan(check_session(arrays, {}, notes).responses.data[3, 2])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spike_times": np.arange(60.0)}, "whole numbers as spike times, 0 to 59"),
        ({"scale": 1000.0}, "60 of 60 spikes lie outside|spikes lie outside"),
        ({"stop_s": None, "scale": 1000.0}, "milliseconds"),
        (
            {"nan": slice(None)},
            "no finite time .* 60 of 60 spikes, the first at index 0",
        ),
        ({"spike_unit": np.arange(60) % 3 + 1}, "begin with 0"),
    ],
)
def test_spikes_of_another_clock_are_refused_with_both_readings(changes, words):
    times = np.linspace(1.03, 59.0, 60) * changes.pop("scale", 1.0)
    if (at := changes.pop("nan", None)) is not None:
        times[at] = np.nan
    arrays: dict[str, Any] = {
        "spike_times": times,
        "spike_unit": np.arange(60) % 3,
        "unit_ids": np.arange(3),
        "stop_s": 60.0,
        "trial_start": np.arange(6) * 10.0,
        "trial_stop": np.arange(6) * 10.0 + 9,
        **changes,
    }
    check_refusal({k: v for k, v in arrays.items() if v is not None}, words)


@pytest.mark.parametrize(("per_second", "is_refused"), [(1.0, False), (1e3, True), (1e6, True)])
def test_unix_times_of_spikes_are_seconds(per_second, is_refused):
    times = per_second * (1.7e9 + np.linspace(0.3, 90.1, 900))
    arrays = {"spike_times": times, "spike_unit": np.arange(900) % 3}
    if is_refused:
        check_refusal(arrays, "spike_times has spike times from .* after the year 5000")
    else:
        check_session(arrays, {"n_neurons": 3})


def test_spikes_outside_the_recording_are_counted():
    arrays = {"spike_times": np.linspace(0.3, 80.1, 800), "spike_unit": np.zeros(800, int)}
    session = check_session(arrays | {"stop_s": 60.0}, {}, {"spikes_outside": "202 of 800"})
    assert session.responses.data.sum() == 598
    assert len(session.responses.events(0.0, 1e9)[0]) == 598


@pytest.mark.parametrize("first", [1.7e9, 3600.0, -5.0])
def test_spikes_of_any_clock_begin_with_the_first_one(first):
    times = first + np.linspace(0.03, 60.0, 600)
    arrays = {"spike_times": times, "spike_unit": np.arange(600) % 3}
    trials = {"trial_start": first + np.array([9.0, 20.0])}
    values = {"duration_s": pytest.approx(60, rel=0.01)}
    session = check_session(arrays | trials, values)
    assert session.t0 == times[0]
    assert len(session.trials) == 2
    assert open_session({**arrays, "start_s": first}).t0 == first


@pytest.mark.parametrize(
    ("start", "stop", "code", "words"),
    [
        (1e3, 1e3, "trials_in_milliseconds", "taken as milliseconds"),
        (1e6, 1e6, "trials_in_microseconds", "taken as microseconds"),
        (1.0, [1.0] * 59 + [170.0], "trials_beyond_spikes", "to 101320 s, and"),
        ([-1e5] + [1.0] * 59, 1.0, "trials_beyond_spikes", "back to -100000 s"),
    ],
)
def test_trials_do_not_lengthen_a_recording_of_spikes(start, stop, code, words):
    on = 1.0 + np.arange(60) * 10.0
    arrays = {
        "spike_times": np.linspace(0.3, 600.1, 900),
        "spike_unit": np.arange(900) % 3,
        "trial_start": on * np.array(start),
        "trial_stop": (on + 5) * np.array(stop),
    }
    values = {"duration_s": pytest.approx(600, rel=0.01)}
    assert len(check_session(arrays, values, {code: words}).trials) == 60


def test_columns_that_are_no_neurons_of_their_own_are_named():
    values = np.random.default_rng(0).gamma(1.0, 2.0, (900, 7))
    values[:, 2], values[:, 4] = np.arange(900), values[:, 1]
    values[:, 5:] = np.nan
    arrays = {"responses": values, "rate_hz": 30.0}
    notes = {"clock_columns": "columns 2 rise", "copied_columns": "columns 4 are"}
    check_session(arrays, {"n_neurons": 7}, notes)


def test_a_long_pause_of_all_spikes_is_missing_and_not_silent():
    times = np.concatenate([np.linspace(0.3, 90.1, 900), np.linspace(800.3, 890.1, 900)])
    arrays = {"spike_times": times, "spike_unit": np.arange(1800) % 3}
    notes = {"pauses": "1 pause of 709 s in all, the first from 91 to 800 s"}
    session = check_session(arrays, {}, notes)
    assert session.recorded_s == pytest.approx(890.1 - 709, abs=0.1)
    assert np.isnan(session.responses.data[100 * 30 : 799 * 30]).all()
    # Rare spikes pause by chance.
    few = {"spike_times": times[::200], "spike_unit": np.zeros(9, int)}
    assert not any(note.code == "pauses" for note in open_session(few).warnings)


def test_numbers_of_units_from_one_and_of_no_unit_are_told():
    times, unit = np.linspace(1.03, 59.0, 60), 1 + np.arange(60) % 3
    arrays = {"spike_times": times, "spike_unit": unit}
    check_session(arrays, {"n_neurons": 4}, {"unit_numbers": "begins with 1: unit 0 is"})
    check_refusal({**arrays, "spike_unit": unit - 2}, "leave out spikes of no unit, such as -1")


def test_spikes_of_days_with_few_spikes_are_told():
    times = 1000 * np.linspace(0.3003, 300.1, 900)
    arrays = {"spike_times": times, "spike_unit": np.arange(900) % 3}
    check_session(arrays, {}, {"rare_spikes": "83.3 hours"})


def test_tiers_of_other_spellings_have_their_names():
    tiers = np.array(["Training", "TEST", "val"])
    session = check_session(
        session_arrays(trial_tier=tiers), {}, {"tier_names": "'Training' as train"}
    )
    readable = session.trials.readable
    assert session.trials.tier[readable].tolist() == ["train", "test", "validation"]


def test_numbers_of_units_that_are_ids_are_told():
    ids = np.array([204, 3, 17])
    unit = ids[np.arange(60) % 3]
    arrays = {"spike_times": np.linspace(1.03, 59.0, 60), "spike_unit": unit}
    check_session(arrays, {"n_neurons": 205}, {"unit_numbers": "3 of these numbers"})
    values = {"units.unit_id": [204, 3, 17]}
    session = check_session({**arrays, "unit_ids": ids}, values, {"unit_numbers": "3 to 204"})
    rows, times = session.responses.events(0.0, 3.5)
    assert rows[np.argsort(times)].tolist() == [0, 1, 2]


def test_spikes_without_a_time_are_left_out():
    times = np.linspace(1.03, 59.0, 60)
    times[[7, 9]] = np.nan
    arrays = {"spike_times": times, "spike_unit": np.arange(60) % 3}
    notes = {"missing_spikes": "2 of 60 spikes, the first at index 7"}
    session = check_session(arrays, {}, notes)
    counts = np.bincount(session.responses.events(0.0, 1e9)[0])
    assert counts.tolist() == [19, 19, 20]


def test_arrays_in_folders_of_an_archive_are_no_session(tmp_path):
    np.savez(tmp_path / "r.zip.npz", **{"suite2p/plane0/F": np.ones((3, 9))})
    assert check_refusal(tmp_path / "r.zip.npz").code == "archive"


def test_ids_that_repeat_are_told():
    ids, plane = np.array([1, 2, 2, 3, 3, 3]), np.array([0, 0, 1, 0, 1, 2])
    arrays = session_arrays(unit_ids=ids, plane=plane * 0)
    check_session(arrays, {}, {"repeated_ids": ("5 of 6 neurons", "(ids 2, 3)")})
    session = check_session(
        session_arrays(unit_ids=ids, plane=plane), {}, {"repeated_ids": "of another plane"}
    )
    assert "repeated_ids" not in [note.code for note in session.warnings]


class _Failing:
    shape, ndim, dtype = (60, 3), 2, "f4"

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise RuntimeError("no values")


def _itself() -> list[object]:
    one: list[object] = []
    one.append(one)
    return one


ODD = {
    "fails": _Failing(),
    "itself": _itself(),
    "ragged": [[1, 2], [3]],
    "a huge number": 10**400,
    "records": np.zeros((60, 3), [("a", "f4")]),
    "void": np.zeros((60, 3), "V4"),
    "repeated": np.broadcast_to(np.float32(0), (10**6, 10**6)),
    "no axis": np.array(None),
    "a set": {1, 2},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", ["responses", "rate_hz", "video", "id", "running", "mean_image"])
def test_odd_objects_in_memory_are_expected(name, odd):
    codes = ["unexpected"]
    try:
        session = open_session(session_arrays() | {name: odd})
        codes = [note.code for note in session.warnings]
    except SessionFormatError as error:
        codes = [error.code]
    assert "unexpected" not in codes


def test_trials_of_a_video_that_goes_on_last_until_the_next_one_begins():
    arrays = session_arrays()
    begin = np.array([5.0, 10.0, 15.0])
    arrays |= {"trial_start": begin, "trial_stop": begin + 4.0, "trial_tier": ["train"] * 3}
    arrays["trial_stim_id"] = ["a", "b", "a"]
    session = open_session(arrays)
    named = session.trials.tier == "train"
    np.testing.assert_allclose(session.trials.t_on[named], begin - 2.0, atol=0.05)
    # The last one as well, though the video goes on.
    np.testing.assert_allclose(session.trials.t_off[named], begin + 3.0, atol=0.05)
    (note,) = [one for one in session.assumptions if one.code == "trial_ends"]
    assert note.message.startswith("3 of 3 trials end in the trial table 0.9")
