"""Reader of suite2p: planes that are written for one test each."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.readers import suite2p
from omnimouse_model.errors import MISSING_RATE
from tests.model.data.refusals import check_refusal, check_session, notes_of


def small_plane(place: Path, *, n=6, frames=300, seed=0, **changes: Any) -> dict:
    """Write a plane of suite2p; changes are files (None: left out) or settings."""
    draw = np.random.default_rng(seed)
    steps = draw.random((3, n, frames)) * (draw.random((3, n, frames)) < 0.2)
    decay = 0.9 ** np.arange(20)
    traces = [[np.convolve(row, decay)[:frames] for row in rows] for rows in steps]
    F, Fneu, spks = (np.float32(rows).reshape(n, frames) + 1 for rows in traces)
    row, column = np.mgrid[0:3, 0:3]
    regions = [
        {"ypix": row.ravel() + 3 * k, "xpix": column.ravel(), "lam": np.ones(9)} for k in range(n)
    ]
    files = {
        **{"F": F, "Fneu": Fneu, "spks": spks},
        "iscell": np.stack([np.arange(n) % 3 < 2, np.ones(n)], axis=1),
        "stat": np.array(regions, object),
    }
    settings = {"fs": 10.0, "tau": 0.7, "nplanes": 1, "Ly": 64, "Lx": 64}
    for name, value in changes.items():
        (files if name in files else settings)[name] = value
    place.mkdir(parents=True)
    for name, values in ({**files, "ops": settings}).items():
        if values is not None:
            np.save(place / f"{name}.npy", values, allow_pickle=True)
    return files


def cells(files: dict, name: str = "spks") -> np.ndarray:
    """Traces of the cells of one plane, (frames, neurons)."""
    return files[name][files["iscell"][:, 0] > 0].T


def test_pixels_are_whole_numbers_of_any_type(tmp_path):
    files = small_plane(tmp_path / "plane0", seed=1)
    expected = open_session(tmp_path).units.roi
    stat = files["stat"]
    for region in stat:
        region["ypix"] = region["ypix"].astype(float)[None]
        region["xpix"] = region["xpix"].tolist()
    np.save(tmp_path / "plane0/stat.npy", stat, allow_pickle=True)
    np.testing.assert_array_equal(open_session(tmp_path).units.roi.yx, expected.yx)
    stat[0]["ypix"] = stat[0]["ypix"] + 0.5
    np.save(tmp_path / "plane0/stat.npy", stat, allow_pickle=True)
    words = ("has 0.5 in ypix or xpix of region 0; whole numbers", "1 of 4 regions")
    session = check_session(tmp_path, {}, {"bad_regions": words})
    assert np.isnan(session.units.xy_px).any(axis=1).tolist() == [True] + [False] * 3


def test_parts_of_a_merged_region_are_not_read_beside_it(tmp_path):
    files = small_plane(tmp_path / "plane0", iscell=np.ones((6, 2)))
    stat = files["stat"]
    for region in stat:
        region["imerge"] = []
    stat[5]["imerge"] = np.array([1, 2])
    np.save(tmp_path / "plane0/stat.npy", stat, allow_pickle=True)
    notes = {"merged_regions": "2 regions are parts"}
    check_session(tmp_path, {"units.unit_id": [0, 3, 4, 5]}, notes)
    check_session(tmp_path, {"n_neurons": 6}, cells_only=False)


def test_without_neuropil_to_subtract_f_is_read_as_it_is(tmp_path):
    files = small_plane(tmp_path / "plane0", neucoeff=0.0, Fneu=None)
    notes = {"neuropil": "F is read as it is", "series": "spks"}
    session = check_session(tmp_path, {"series": "F-neu"}, notes)
    np.testing.assert_array_equal(session.responses.data, cells(files, "F"))
    deconvolved = open_session(tmp_path, series="spks")
    np.testing.assert_array_equal(deconvolved.responses.data, cells(files))


def test_f_alone_is_refused_with_what_reads_it(tmp_path):
    small_plane(tmp_path / "plane0", spks=None, Fneu=None)
    check_refusal(tmp_path, "neucoeff of 0 in ops.npy says that F needs no Fneu")


def test_truth_values_are_numbers(tmp_path):
    draw = np.random.default_rng(0)
    files = small_plane(tmp_path / "plane0", spks=draw.random((6, 300)) < 0.1)
    np.testing.assert_array_equal(open_session(tmp_path).responses.data, cells(files))


# What a plane is written with, values and notes.
ONE_PLANE: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "probabilities in place of marks": (
        {"iscell": np.linspace(0.1, 0.9, 6)},
        {"units.unit_id": [3, 4, 5]},
        {"probabilities": "3 of 6 regions above 0.5"},
    ),
    "marks that are transposed": (
        {"iscell": np.stack([np.arange(6) % 3 < 2, np.linspace(0.1, 0.9, 6)])},
        {"units.unit_id": [0, 1, 3, 4]},
        {"transposed": ("iscell.npy is (2, 6)", "6 regions")},
    ),
    "labels in place of marks": (
        {"iscell": np.array([1, 1, 2, 1, 1, 2])},
        {"units.unit_id": [0, 1, 2, 3, 4, 5]},
        {"odd_marks": "numbers from 1 to 2, and no marks"},
    ),
    "a rate in a list": ({"fs": [10.0]}, {"responses.rate_hz": 10.0}, {"bad_setting": None}),
    "two lengths": (
        {"nframes": 600},
        {},
        {"length_disagrees": ("300 frames", "30 and 60 s")},
    ),
    "files of one folder": (
        {"frames_per_folder": [300], "frames_per_file": [100, 200]},
        {"responses.recorded_spans": None},
        {},
    ),
    "joints that do not fit": (
        {"frames_per_folder": [100, 100]},
        {},
        {"joints_unknown": "counts 200 frames"},
    ),
}


@pytest.mark.parametrize(("settings", "values", "notes"), ONE_PLANE.values(), ids=ONE_PLANE)
def test_settings_and_marks_of_a_plane_are_read_with_a_note(tmp_path, settings, values, notes):
    small_plane(tmp_path / "plane0", **settings)
    check_session(tmp_path, values, notes)


EMPTY = {
    "no regions": {"n": 0, "iscell": np.zeros((0, 2)), "stat": np.array([], object)},
    "marks none of 6 regions": {"iscell": np.zeros((6, 2))},
    "has no regions": {
        **dict.fromkeys(("F", "Fneu", "spks"), np.zeros((0, 0))),
        **{"iscell": np.zeros(0), "stat": np.array([], object)},
    },
    "plane0 has no regions": {
        **dict.fromkeys(("F", "Fneu", "spks", "iscell"), np.zeros(0)),
        "stat": np.array([], object),
    },
}


@pytest.mark.parametrize("words", EMPTY)
def test_a_plane_without_neurons_is_left_out(tmp_path, words):
    small_plane(tmp_path / "plane0", nplanes=2, **EMPTY[words])
    check_refusal(tmp_path, words)
    files = small_plane(tmp_path / "plane1", nplanes=2)
    session = open_session(tmp_path)
    np.testing.assert_array_equal(session.responses.data, cells(files))
    assert words in notes_of(session)["empty_plane"]
    np.testing.assert_allclose(session.responses.shift_s, 0.5 / 10)


def test_a_plane_without_traces_says_why(tmp_path):
    small_plane(tmp_path / "suite2p/plane0", F=None, Fneu=None, spks=None)
    check_refusal(tmp_path, "found no regions, or did not extract")


@pytest.mark.parametrize("fs", [0, float("nan"), np.array([10.0, 10.0])])
def test_a_rate_that_cannot_be_is_replaced_by_the_option(tmp_path, fs):
    small_plane(tmp_path / "plane0", fs=fs)
    assert check_refusal(tmp_path, "fs must be a positive number").code == MISSING_RATE
    values, notes = {"responses.rate_hz": 12.0}, {"bad_setting": "fs must be"}
    check_session(tmp_path, values, notes, rate_hz=12.0)


def test_settings_that_the_series_does_not_need_may_be_wrong(tmp_path):
    wrong = {"neucoeff": float("nan"), "tau": -1, "nplanes": 0, "Ly": 0}
    small_plane(tmp_path / "plane0", **wrong)
    session = open_session(tmp_path)
    assert {n.code for n in session.warnings} == {"bad_setting"}
    assert list(session.series_choices) == ["spks"]
    check_refusal(tmp_path, "neucoeff must be a number from 0 on", series="F-neu")


def test_settings_may_be_a_list_of_one_and_lack_what_another_file_states(tmp_path):
    files = small_plane(tmp_path / "plane0", fs=None)
    ops = np.load(tmp_path / "plane0/ops.npy", allow_pickle=True)
    np.save(tmp_path / "plane0/ops.npy", ops.reshape(1))
    np.save(tmp_path / "plane0/db.npy", np.array({"fs": 8.0}, object))
    session = check_session(tmp_path, {"responses.rate_hz": 8.0})
    np.testing.assert_array_equal(session.responses.data, cells(files))


def test_damaged_settings_are_left_out_if_the_rate_is_given(tmp_path):
    files = small_plane(tmp_path / "plane0")
    (tmp_path / "plane0/ops.npy").write_bytes(b"?")
    assert "rate_hz=" in check_refusal(tmp_path, r"ops\.npy is not a \.npy file").hint
    notes = {"left_out": "ops.npy is not a .npy file"}
    session = check_session(tmp_path, {}, notes, rate_hz=12.0)
    np.testing.assert_array_equal(session.responses.data, cells(files))


def test_zeros_in_place_of_activity_are_not_chosen(tmp_path):
    small_plane(tmp_path / "plane0", spikedetect=False, spks=np.zeros((6, 300)))
    notes = {"not_deconvolved": "did not deconvolve"}
    assert "spks" not in check_session(tmp_path, {}, notes, series="F-neu").series_choices


# -- axes ------------------------------------------------------------------------------
def transposed(place: Path, **changes: Any) -> dict:
    files = small_plane(place, **changes)
    for name in ("F", "Fneu", "spks"):
        np.save(place / f"{name}.npy", files[name].T)
    return files


@pytest.mark.parametrize("facts", [{}, {"stat": None, "iscell": None, "nframes": 300}])
def test_transposed_traces_are_turned(tmp_path, facts):
    files = transposed(tmp_path / "plane0", **facts)
    session = open_session(tmp_path, cells_only=False)
    np.testing.assert_array_equal(session.responses.data, files["spks"].T)
    assert "it is transposed" in notes_of(session)["transposed"]


def test_axes_that_nothing_decides_are_refused_with_both_readings(tmp_path):
    transposed(tmp_path / "plane0", stat=None, iscell=None)
    check_refusal(tmp_path, "300 regions of 6 frames, or 6 regions of 300 frames")


@pytest.mark.slow
def test_a_square_array_is_read_as_its_smoothness_says(tmp_path):
    square = {"n": 60, "frames": 60, "Ly": 200}
    files = small_plane(tmp_path / "right/plane0", **square)
    session = open_session(tmp_path / "right")
    np.testing.assert_array_equal(session.responses.data, cells(files))
    assert "60 × 60" in notes_of(session)["square"]
    transposed(tmp_path / "wrong/plane0", **square)
    check_refusal(tmp_path / "wrong", "regions × frames or frames × regions")


# -- time that was not recorded --------------------------------------------------------
FLAGS = np.isin(np.arange(300), [0, 7, *range(100, 130)])


@pytest.mark.parametrize(
    "bad", [FLAGS, np.uint8(FLAGS), np.flatnonzero(FLAGS)], ids=["bool", "0-1", "rows"]
)
def test_bad_frames_are_missing(tmp_path, bad):
    files = small_plane(tmp_path / "plane0", badframes=bad)
    session = open_session(tmp_path)
    expected = np.where(FLAGS[:, None], np.nan, cells(files))
    np.testing.assert_array_equal(session.responses.data, expected)
    # A long run of bad frames is a pause.
    spans = session.responses.recorded_spans
    np.testing.assert_allclose(spans, [[0.1, 9.9], [13.0, 29.9]])
    assert session.responses.n_missing == 1
    assert session.recorded_s == pytest.approx((300 - FLAGS.sum()) / 10)
    assert "32 in plane0, of 300" in notes_of(session)["bad_frames"]


@pytest.mark.parametrize("length", [299, 301])
def test_flags_of_another_length_are_told_and_not_taken_for_numbers(tmp_path, length):
    flags = np.resize(np.uint8(FLAGS), length)
    small_plane(tmp_path / "plane0", badframes=flags)
    session = open_session(tmp_path)
    assert not np.isnan(session.responses.data).any()
    check_session(session, {}, {"bad_setting": f"{length} flags for 300 frames: not used"})


def test_flags_count_the_longest_plane(tmp_path):
    small_plane(tmp_path / "suite2p/plane0")
    small_plane(tmp_path / "suite2p/plane1", frames=299)
    for marks in (np.uint8(FLAGS), np.array([*np.flatnonzero(FLAGS), 299])):
        np.save(tmp_path / "bad_frames.npy", marks)
        session = open_session(tmp_path)
        missing = np.isnan(session.responses.data)
        np.testing.assert_array_equal(missing.all(axis=1), FLAGS[:299])
        assert "bad_setting" not in notes_of(session)


def test_threads_that_ask_together_get_the_same_baselines(tmp_path, monkeypatch):
    for plane in (0, 1):
        small_plane(tmp_path / f"plane{plane}", seed=plane)
    rows = open_session(tmp_path, series="dff").responses.file
    expected, barrier = rows.read(0, 300), Barrier(2, timeout=10)

    def in_step(values: np.ndarray) -> np.ndarray:
        barrier.wait()
        return low(values)

    low = suite2p._low
    monkeypatch.setattr(suite2p, "_low", in_step)
    for part in rows._parts:
        part.rows._baselines = None
    with ThreadPoolExecutor(2) as threads:
        for found in threads.map(rows.read, [0, 0], [300, 300]):
            np.testing.assert_array_equal(found, expected)


def test_a_plane_without_a_good_frame_has_no_baseline(tmp_path):
    small_plane(tmp_path / "plane0", badframes=np.ones(300, bool))
    small_plane(tmp_path / "plane1", seed=1)
    missing = np.isnan(open_session(tmp_path, series="dff").responses.data)
    assert missing.all(axis=0).tolist() == [True] * 4 + [False] * 4
    assert not missing[:, 4:].any()


@pytest.mark.slow
def test_bad_frames_of_one_plane_are_missing_there(tmp_path):
    small_plane(tmp_path / "suite2p/plane0", badframes=np.array([5]))
    small_plane(tmp_path / "suite2p/plane1", seed=1)
    np.save(tmp_path / "bad_frames.npy", np.array([9, 400]))
    whole, inner = open_session(tmp_path), open_session(tmp_path / "suite2p")
    for session in (whole, inner):
        missing = np.isnan(session.responses.data)
        assert np.flatnonzero(missing[:, 0]).tolist() == [5, 9]
        assert np.flatnonzero(missing[:, -1]).tolist() == [9]
        assert session.responses.n_missing == 1
        assert "1 of 2 numbers" in notes_of(session)["bad_setting"]
    np.save(tmp_path / "bad_frames.npy", np.array([10]))
    assert open_session(tmp_path / "suite2p").fingerprint != inner.fingerprint


def test_recordings_without_a_good_frame_are_refused(tmp_path):
    small_plane(tmp_path / "plane0", badframes=np.ones(300, bool))
    check_refusal(tmp_path, "all frames but 0 as bad")


def test_no_window_touches_the_joint_of_two_folders(tmp_path):
    frames = np.array([100, 0, 200])
    small_plane(tmp_path / "plane0", frames_per_folder=frames)
    session = open_session(tmp_path)
    starts = session.window_starts()
    assert len(starts)
    assert not ((starts > 10.0 - 2.0) & (starts < 10.0)).any()
    assert "2 folders (100, 200 frames)" in notes_of(session)["joints"]
    assert session.recorded_s == pytest.approx(30.0)


def test_planes_are_aligned_folder_by_folder(tmp_path):
    counts = {0: [101, 101, 100], 1: [100, 101, 99]}
    files = [
        small_plane(tmp_path / f"plane{p}", seed=p, frames=sum(n), frames_per_folder=n)
        for p, n in counts.items()
    ]
    rows = [[*range(100), *range(101, 202), *range(202, 301)], range(300)]
    planes = [cells(own)[list(row)] for own, row in zip(files, rows, strict=True)]
    session = open_session(tmp_path)
    np.testing.assert_array_equal(session.responses.data, np.concatenate(planes, 1))
    np.testing.assert_allclose(session.responses.recorded_spans[:, 0], [0, 10, 20.1])


def test_baselines_do_not_count_bad_frames(tmp_path):
    flags = np.arange(300) < 60
    files = small_plane(tmp_path / "plane0", badframes=flags, neucoeff=0.0)
    files["F"][:, flags] = -1e6
    np.save(tmp_path / "plane0/F.npy", files["F"])
    found = open_session(tmp_path, series="dff").responses.data[60:]
    good = cells(files, "F")[60:]
    low = np.percentile(good, 8, axis=0)
    np.testing.assert_allclose(found, (good - low) / low, rtol=1e-4)


@pytest.mark.slow
def test_calcium_does_not_decay_over_bad_frames_and_joints(tmp_path):
    bad = np.arange(300) % 50 == 7
    settings = {"badframes": bad, "frames_per_folder": [100, 200]}
    files = small_plane(tmp_path / "a/plane0", spks=None, **settings)
    found = open_session(tmp_path / "a").responses.data
    np.testing.assert_array_equal(np.isnan(found), np.repeat(bad[:, None], 4, axis=1))
    # The second folder is deconvolved as a recording of its own.
    parts = {name: files[name][:, 100:] for name in ("F", "Fneu")}
    settings = {"badframes": bad[100:], "frames": 200}
    small_plane(tmp_path / "b/plane0", spks=None, **parts, **settings)
    alone = open_session(tmp_path / "b").responses.data
    np.testing.assert_allclose(found[100:], alone, rtol=1e-5)


# -- planes ----------------------------------------------------------------------------
def regions_of_planes(numbers: list[int]) -> np.ndarray:
    """Regions of a folder `combined`, each with the number of its plane."""
    return np.array(
        [
            {"ypix": np.arange(3), "xpix": np.arange(3), "lam": np.ones(3), "iplane": n}
            for n in numbers
        ],
        object,
    )


@pytest.mark.parametrize(
    ("settings", "planes"),
    [
        ({"nplanes": 3}, [0, 0, 2, 2]),
        # Version 1.1 counts planes without those of the flyback.
        ({"nplanes": 4, "ignore_flyback": [0]}, [1, 1, 3, 3]),
        ({"nplanes": 4, "ignore_flyback": [3]}, [0, 0, 2, 2]),
    ],
)
def test_the_folder_of_all_planes_is_read_alone(tmp_path, settings, planes):
    stat = regions_of_planes([0, 0, 1, 2, 2, 2])
    place = tmp_path / "m5/suite2p/combined"
    files = small_plane(place, stat=stat, **settings)
    for opened in (tmp_path / "m5", place):
        session = open_session(opened)
        assert session.id == "m5"
        np.testing.assert_array_equal(session.responses.data, cells(files))
        assert session.units.plane.tolist() == planes
        lags = np.array(planes) / settings["nplanes"] / 10
        np.testing.assert_allclose(session.responses.shift_s, lags)
    small_plane(tmp_path / "m5/suite2p/plane0", n=3)
    assert open_session(tmp_path / "m5").n_neurons == 2


@pytest.mark.parametrize("padding", [1, 2])
@pytest.mark.parametrize("n_flags", [298, 300])
def test_padding_of_the_folder_of_all_planes_is_cut(tmp_path, padding, n_flags):
    files, n_frames = small_plane(tmp_path / "source"), 300 - padding
    for name in ("F", "Fneu", "spks"):
        files[name][3:, n_frames:] = 0
    stat = regions_of_planes([0, 0, 0, 1, 1, 1])
    flags = FLAGS[: max(n_flags, n_frames)]
    settings = {"nplanes": 2, "badframes": flags, "frames_per_folder": [100, 200]}
    small_plane(tmp_path / "r/combined", **{**files, "stat": stat, **settings})
    session = open_session(tmp_path / "r")
    missing = np.isnan(session.responses.data).all(axis=1)
    np.testing.assert_array_equal(missing, FLAGS[:n_frames])
    joints = f"2 folders (100, {n_frames - 100} frames)"
    words = {1: "up to 1 frame early", 2: "up to 2 frames early"}[padding]
    check_session(session, {}, {"bad_setting": None, "joints": joints, "cut_frames": words})


def test_regions_that_do_not_state_their_plane_are_told(tmp_path):
    small_plane(tmp_path / "combined", nplanes=3)
    assert "3 planes" in notes_of(open_session(tmp_path))["planes_unknown"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "lags"),
    [
        # Before version 1, `nplanes` counts folders; from version 1 on, planes.
        ({"nplanes": 4, "nrois": 4, "mesoscan": True}, [0, 0, 0, 0]),
        ({"nplanes": 1, "nrois": 4}, [0, 0, 0, 0]),
        ({"nplanes": 4, "nrois": 2, "mesoscan": True}, [0, 0, 0.5, 0.5]),
        ({"nplanes": 2, "nrois": 2}, [0, 0, 0.5, 0.5]),
        ({"nplanes": 4, "nrois": 2, "db_path": "db.npy"}, [0, 0, 0.25, 0.25]),
        ({"nplanes": 4, "mesoscan": True, "iplane": 0}, [0, 0, 0, 0]),
        ({"nplanes": 4, "bruker_bidirectional": True}, [0, 0, 0, 0]),
        ({"nplanes": 4}, [0, 0.25, 0.5, 0.75]),
    ],
)
def test_regions_of_a_mesoscope_lag_with_their_plane(tmp_path, settings, lags):
    for plane in range(4):
        small_plane(tmp_path / f"plane{plane}", n=2, frames=60, **settings)
    shift = open_session(tmp_path).responses.shift_s
    # Lags that change from volume to volume are unknown.
    assert (shift is None) == (not any(lags))
    found = [0, 0, 0, 0] if shift is None else shift[::2] * 10
    np.testing.assert_allclose(found, lags)


# -- files -----------------------------------------------------------------------------
def test_links_are_followed_and_content_that_was_not_fetched_is_named(tmp_path):
    files = small_plane(tmp_path / "store")
    place = tmp_path / "rec/suite2p/plane0"
    place.mkdir(parents=True)
    for path in (tmp_path / "store").iterdir():
        (place / path.name).symlink_to(path)
    session = open_session(tmp_path / "rec")
    np.testing.assert_array_equal(session.responses.data, cells(files))
    (place / "spks.npy").unlink()
    (place / "spks.npy").symlink_to("../../.git/annex/objects/x/y")
    assert "git annex get spks.npy" in check_refusal(tmp_path / "rec").hint


def save_mat(path: Path, **variables: Any) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy_io.savemat(path, variables)


@pytest.mark.slow
def test_the_output_for_matlab_is_read_alone(tmp_path):
    files = small_plane(tmp_path / "source", neucoeff=0.5, badframes=[4])
    expected = open_session(tmp_path / "source")
    ops = np.load(tmp_path / "source/ops.npy", allow_pickle=True).item()
    path = tmp_path / "m9/suite2p/plane0/Fall.mat"
    save_mat(path, **files, ops=ops, redcell=np.zeros((6, 2)))
    for opened in (tmp_path / "m9", path):
        session = open_session(opened)
        assert session.id == "m9"
        data = session.responses.data
        np.testing.assert_array_equal(data, expected.responses.data)
        np.testing.assert_array_equal(session.units.roi.yx, expected.units.roi.yx)
    path.rename(tmp_path / "m9.mat")
    session = open_session(tmp_path / "m9.mat", series="F-neu")
    assert session.id == "m9"
    same = open_session(tmp_path / "source", series="F-neu").responses.data
    np.testing.assert_array_equal(session.responses.data, same)


@pytest.mark.slow
def test_the_output_for_matlab_without_settings_needs_the_rate(tmp_path):
    files = small_plane(tmp_path / "source")
    save_mat(tmp_path / "m/Fall.mat", F=files["F"], Fneu=files["Fneu"])
    error = check_refusal(tmp_path / "m", "ops of Fall.mat", series="F-neu")
    assert error.code == MISSING_RATE
    session = open_session(tmp_path / "m", series="F-neu", rate_hz=5.0)
    assert session.n_neurons == 6
    # Cells that were chosen later are in a file of their own.
    np.save(tmp_path / "m/iscell.npy", files["iscell"])
    session = open_session(tmp_path / "m", series="F-neu", rate_hz=5.0)
    assert session.n_neurons == 4
