"""Windows of many kinds of session, against the format's rules in plain numpy."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.readers.build.finalise import train_spans
from omnimouse_model.data.recording import part_name
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.predict.compatibility import check_compatibility
from omnimouse_model.storage.arrays.rows import MemoryRows
from tests.model.experanto_folder import Folder, Trial, write_folder
from tests.model.plain_rules import PlainSession

STILLS = tuple(trial for _ in range(12) for trial in (Trial("image", "train"), Trial("blank")))
KINDS = {
    "usual": Folder(),
    "epoch clock": Folder(t0=1_523_456_789.123, n_neurons=40),
    "epoch clock, commensurate": Folder(t0=1_523_456_789.0, shifts=False),
    "npy, no shifts": Folder(mem=False, shifts=False),
    "float64 npy": Folder(mem=False, dtype="float64", n_neurons=33),
    "float16": Folder(dtype="float16"),
    "integers": Folder(dtype="int16"),
    "8 Hz responses": Folder(rate_hz=8.0, n_neurons=50),
    "29.9994 Hz responses": Folder(rate_hz=29.9994, n_neurons=300),
    "stills only": Folder(trials=STILLS),
    "no combined json": Folder(combined=False),
    "gaps, also at the ends": Folder(missing=((0, 3), (150, 153), (355, 360))),
    "three eye columns": Folder(eye_columns=3),
    "one neuron": Folder(n_neurons=1),
    "float frames": Folder(frame_dtype="float32"),
    "no treadmill": Folder(streams=("responses", "screen", "eye_tracker")),
}
PLANS = [
    (["train"], 1, True),
    (["train"], 1, False),
    (["validation"], 60, False),
    (["validation", "oracle"], 60, True),
    (["final_test_1"], 30, True),
]
QUICK_KINDS = {"usual", "epoch clock", "npy, no shifts", "gaps, also at the ends"}
"""Formats of the quick tests; the complete tests have all."""


@pytest.mark.parametrize(
    "kind",
    [kind if kind in QUICK_KINDS else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
def test_window_starts_and_values_are_the_formats(kind, tmp_path):
    root = write_folder(tmp_path / "a", KINDS[kind])
    session, plain = om.open_session(root), PlainSession(root)
    seen = 0
    for tiers, stride, blanks in PLANS:
        chosen = session.window_indices(tiers, stride, blanks)
        wanted = plain.starts(tiers, stride, blanks)
        np.testing.assert_array_equal(session.start_grid[chosen], wanted)
        for index in chosen[:: max(1, len(chosen) // 4)]:
            _check_window(om.Window(session, int(index)), plain)
            seen += 1
    assert seen > 0


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return om.open_session(write_folder(tmp_path_factory.mktemp("windows") / "a"))


def _check_window(window: om.Window, plain: PlainSession) -> None:
    start, session = window.native_start, window.session
    at_30 = np.linspace(start, start + 2.0, 60, endpoint=False)
    at_20 = np.linspace(start, start + 2.0, 40, endpoint=False)
    responses = plain.streams["responses"]
    scale = np.maximum(responses.std, 1.0).astype(np.float32)
    np.testing.assert_array_equal(window.responses, responses.at(at_30) / scale)
    column = 0
    for name in ("eye_tracker", "treadmill"):
        if name in plain.streams:
            stream = plain.streams[name]
            values = stream.at(at_20) - stream.mean.astype(np.float32)
            values /= stream.std.astype(np.float32)
            width = values.shape[1]
            found = window.behavior[:, column : column + width]
            np.testing.assert_array_equal(found, values)
            column += width
    frames = plain.frames(at_30)
    video = (frames - np.float32(113)) / np.float32(59)
    np.testing.assert_array_equal(window.video, video)
    assert all(valid.all() for valid in window.valid.values())
    relative = (at_20 - session.t0).astype(np.float32)
    np.testing.assert_array_equal(window.timestamps["eye_tracker"], relative)


def test_a_window_snaps_to_the_start_grid_and_stays_inside(session):
    grid = session.start_grid - session.t0
    assert session.window(5.0).start_s == pytest.approx(5.0, abs=1 / 60)
    assert session.nearest_window(-100.0).start_index == 0
    assert session.nearest_window(1e9).start_index == len(grid) - 60
    for start in session.window_starts("train", include_blanks=True):
        assert session.window(start).start_s == start


@pytest.mark.parametrize("start_s", [-0.1, 1e9, float("nan")])
def test_a_time_outside_the_recording_is_refused(session, start_s):
    with pytest.raises(om.TimeRangeError) as refused:
        session.window(start_s)
    for value in (start_s, session.duration_s):
        assert f"{value:g} s" in str(refused.value)


def test_window_starts_survive_the_way_through_seconds_at_epoch_times(tmp_path):
    session = om.open_session(write_folder(tmp_path / "a", t0=1.52e9 + 0.377))
    chosen = session.window_indices("train")
    starts = session.window_starts("train")
    again = [session.window(start).start_index for start in starts]
    np.testing.assert_array_equal(again, chosen)


@pytest.mark.parametrize(("end", "first", "known"), [("stop", -30, 31), ("start", -5, None)])
def test_positions_outside_a_stream_are_zero_and_marked(session, end, first, known):
    edge = getattr(session.responses.valid_interval(), end)
    times = edge + np.arange(first, first + 60) / 30.0
    values, valid = session.responses.window(times)
    assert known is None or valid.sum() == known
    assert not values[~valid].any()
    sampled, found = session.responses.sample(times)
    np.testing.assert_array_equal(np.flatnonzero(valid), found)
    np.testing.assert_array_equal(values[valid], sampled)


def test_missing_behavior_is_zero_and_marked(tmp_path):
    session = om.open_session(write_folder(tmp_path / "a", missing=((150, 155),)))
    window = session.window((150 / 20 - 0.75) - 1.0)
    behavior, valid = window.behavior, window.valid["behavior"]
    assert np.isfinite(behavior).all()
    assert 4 <= (~valid).sum() <= 6
    assert not behavior[~valid][:, :4].any()


def test_streams_a_session_lacks_are_empty_not_zero(tmp_path):
    session = om.open_session(write_folder(tmp_path / "a", streams=("responses",)))
    window = session.window(3.0)
    assert session.stimulus is None
    assert session.behavior_names == ()
    assert window.behavior.shape == (40, 0)
    assert not window.valid["video"].any()
    assert not window.valid["behavior"].any()
    assert window.video.shape == (60, 36, 64)
    assert len(session.window_starts()) > 0


def test_other_frame_sizes_and_colour_are_averaged_for_the_model(tmp_path):
    session = om.open_session(write_folder(tmp_path / "a", size=(72, 128, 3)))
    window = session.window(2.0)
    assert window.video.shape == (60, 36, 64)
    frames, _ = session.stimulus.sample(window.times("screen"))
    blocks = frames.mean(axis=3).reshape(60, 36, 2, 64, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(window.video * 59 + 113, blocks, atol=1e-3)
    (text,) = check_compatibility(om.load_predictor("video-ridge").needs, session).missing
    assert text == "frames of 72×128×3: averaged to the model's 36×64, gray"


def test_a_missing_response_stays_missing(tmp_path):
    root = write_folder(tmp_path / "a", mem=False)
    data = np.load(root / "responses/data.npy")
    data[:, 2] = np.nan
    np.save(root / "responses/data.npy", data)
    responses = om.open_session(root).window(5.0).responses
    assert np.isnan(responses[:, 2]).all()
    assert np.isfinite(np.delete(responses, 2, axis=1)).all()


def test_windows_and_sessions_travel_to_other_processes(session):
    window = session.window(4.0)
    sent = pickle.dumps(window)
    assert len(sent) < 5_000
    again = pickle.loads(sent)
    assert again == window
    assert hash(again) == hash(window)
    np.testing.assert_array_equal(again.responses, window.responses)
    np.testing.assert_array_equal(again.video, window.video)
    assert pickle.loads(sent).session is again.session


def test_tier_test_means_every_held_out_test_tier(tmp_path):
    tiers = ("train", "final_test_2", "live_test_main", "oracle", "test", "latest_x")
    trials = tuple(Trial("video", tier, 75) for tier in tiers)
    session = om.open_session(write_folder(tmp_path / "a", trials=trials))
    named = session.named_tiers("test")
    assert set(named) == {"final_test_2", "live_test_main", "test"}
    parts = ["train", "test", "test", "oracle", "test", "latest_x"]
    assert [part_name(tier) for tier in tiers] == parts
    together = session.window_indices("test")
    np.testing.assert_array_equal(together, session.window_indices(list(named)))
    assert len(together) > 0


def test_behavior_with_one_missing_channel_is_missing(tmp_path):
    root = write_folder(tmp_path / "a", mem=False)
    path = root / "eye_tracker" / "data.npy"
    values = np.load(path)
    values[80:90, 1] = np.nan
    np.save(path, values)
    valid = om.open_session(root).window(3.0).valid["behavior"]
    assert 9 <= (~valid).sum() <= 11


def test_samples_beyond_the_last_stored_row_are_invalid(tmp_path):
    rows = MemoryRows(tmp_path, np.ones((90, 2), np.float32))
    shift = np.array([0.0, 0.01])
    signal = Signal("responses", rows, 30.0, 0.0, 99.0, shift_s=shift)
    values, valid = signal.window(2.5 + 0.02 + np.arange(60) / 30)
    assert valid.sum() == 15  # rows 75 to 89 of 90
    assert not values[~valid].any()


def test_spans_of_train_trials_end_with_the_video(session):
    trials = session.trials
    spans = train_spans(session.stimulus, trials)
    onset = session.stimulus.slot_t[trials.first_slot]
    ends = np.append(onset[1:], session.stimulus.slot_t[-1])
    np.testing.assert_array_equal(spans[:, 1], ends[trials.tier == "train"])
    all_train = replace(trials, tier=np.full(len(trials), "train"))
    spans = train_spans(session.stimulus, all_train)
    assert spans[-1, 1] == session.stimulus.slot_t[-1]
    assert train_spans(None, replace(trials, tier=np.full(len(trials), "test"))) is None


def test_a_gray_that_is_no_byte_stays_a_float(session):
    stimulus = session.stimulus
    blank = np.full(len(session.trials), 256.0, np.float32)
    brighter = replace(stimulus, trials=replace(stimulus.trials, blank_value=blank))
    number = int(np.flatnonzero(session.trials.kind == "blank")[0])
    frame = brighter.frame(int(session.trials.first_slot[number]))
    assert frame.dtype == np.float32
    assert (frame == 256).all()


def test_a_session_without_trials_has_no_window_aligned_to_trials():
    session = om.open_session({"responses": np.ones((300, 2)), "rate_hz": 30.0})
    spec = om.WindowSpec(1.0, 30.0, align="trial")
    assert session.window_starts(spec=spec).tolist() == []
    window = session.window(0.0, om.WindowSpec(1.0, 30.0))
    assert window.times("screen").tolist() == []


def test_the_last_samples_are_the_end_of_a_window_without_warm_up(session):
    spec = replace(OMNIMOUSE, warmup_s=0.5)
    window = session.window(6.0, spec)
    last = window.last_samples(12)
    assert last.warmup is None
    np.testing.assert_array_equal(last.responses, window.responses[-12:])
    np.testing.assert_array_equal(last.video, window.video[-12:])
    np.testing.assert_array_equal(last.behavior, window.behavior[-8:])


def test_behavior_before_its_recording_is_zero_and_marked(session):
    spec = replace(OMNIMOUSE, warmup_s=1.5)
    first = om.Window(session, 0, spec=spec).warmup
    values, valid = first.stream("eye_tracker")  # it starts 0.75 s before responses
    assert valid.any()
    assert not valid.all()
    assert not values[~valid].any()


@pytest.mark.parametrize("start_s", [0.0, 3.7, 9000.0123, 1.7e9, 1.52e9 + 1 / 3])
@pytest.mark.parametrize("rate_hz", [30.0, 60.0, 15.0])
def test_windows_at_the_rate_of_a_recording_repeat_and_lose_no_sample(start_s, rate_hz):
    n = int(200 * rate_hz)
    values = np.tile(np.arange(n, dtype="f8")[:, None], 2)
    arrays = {"responses": values, "rate_hz": rate_hz, "start_s": start_s}
    session = om.open_session(arrays)
    spec = om.WindowSpec(2.0, rate_hz)
    for at in np.arange(1.0, 190.0, 7.3):
        window = session.window(float(at), spec)
        rows = np.rint(window.responses[:, 0] * session.response_scale[0])
        assert (np.diff(rows) == 1).all()
        # The row is the last sample at or before the time, up to rounding.
        position = (window.native_start - start_s) * rate_hz
        assert -1e-3 <= position - rows[0] < 1.0


def test_spikes_in_rows_are_counted_once_in_windows_at_the_rate_of_the_rows():
    # One spike in the middle of every bin of 1/30 s: all rows are 1.
    times = (np.arange(3000) + 0.5) / 30
    spikes = {"spike_times": times, "spike_unit": np.zeros(3000, int), "stop_s": 100.0}
    session = om.open_session(spikes | {"start_s": 0.0})
    rows = session.responses.index(session.window(20.0).times("responses"))
    assert np.diff(rows).tolist() == [1] * 59
