import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnimouse_model.data.open import is_session, open_session
from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from tests import SUITE2P
from tests.model.data.refusals import check_refusal, check_session

FS = 7.5


def raw_array(root: Path, plane: int, name: str) -> Any:
    path = root / "suite2p" / f"plane{plane}" / f"{name}.npy"
    return np.load(path, allow_pickle=True)


def cell_rows(root: Path, plane: int) -> np.ndarray:
    return np.flatnonzero(raw_array(root, plane, "iscell")[:, 0] > 0)


def traces_of_cells(root: Path, name: str) -> np.ndarray:
    """Traces of the cells of both planes, (frames, neurons)."""
    planes = [raw_array(root, p, name)[cell_rows(root, p)] for p in (0, 1)]
    return np.concatenate(planes).T


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(SUITE2P, tmp_path / "m77_day3"))


@pytest.fixture(scope="module")
def session():
    return open_session(SUITE2P)


def change_ops(root: Path, **changes: Any) -> None:
    for plane in (0, 1):
        path = root / "suite2p" / f"plane{plane}" / "ops.npy"
        ops = np.load(path, allow_pickle=True).item()
        for key, value in changes.items():
            ops.pop(key, None)
            if value is not None:
                ops[key] = value
        np.save(path, ops, allow_pickle=True)


def test_responses_are_the_cells_deconvolved_activity(session):
    expected = traces_of_cells(SUITE2P, "spks")
    np.testing.assert_array_equal(session.responses.data, expected)
    np.testing.assert_array_equal(session.responses.read(10, 13), expected[10:13])
    rows = np.array([3, 50, 599])
    picked = session.responses.file.pick(rows, slice(2, 5))
    np.testing.assert_array_equal(picked, expected[rows, 2:5])
    assert session.responses.rate_hz == FS
    np.testing.assert_allclose(session.units.std, expected.std(axis=0), rtol=1e-4)


def test_neurons_are_where_their_regions_are(session):
    at = 0
    for plane in (0, 1):
        stat = raw_array(SUITE2P, plane, "stat")
        for region in cell_rows(SUITE2P, plane):
            yx, weight = session.units.roi.pixels(at)
            np.testing.assert_array_equal(yx[:, 0], stat[region]["ypix"])
            np.testing.assert_array_equal(yx[:, 1], stat[region]["xpix"])
            np.testing.assert_array_equal(weight, stat[region]["lam"])
            assert session.units.xy_px[at].tolist() == stat[region]["med"][::-1]
            assert session.units.plane[at] == plane
            at += 1
        image = raw_array(SUITE2P, plane, "ops").item()["meanImg"]
        np.testing.assert_array_equal(session.images[f"mean_{plane}"], image)
    n_first = len(raw_array(SUITE2P, 0, "stat"))
    ids = [*cell_rows(SUITE2P, 0), *(cell_rows(SUITE2P, 1) + n_first)]
    assert session.units.unit_id.tolist() == ids
    assert np.isnan(session.units.xyz_um).all()


def test_a_plane_lags_by_its_place_in_the_volume(session):
    n_first = len(cell_rows(SUITE2P, 0))
    shift = session.responses.shift_s
    assert shift[:n_first].tolist() == [0.0] * n_first
    np.testing.assert_allclose(shift[n_first:], 1 / (FS * 2))


def test_windows_are_interpolated_to_the_models_rate(session):
    window = session.window(10.0)
    times = window.times("responses")
    stored, shift = traces_of_cells(SUITE2P, "spks"), session.responses.shift_s
    for neuron in (0, session.n_neurons - 1):
        at = np.arange(len(stored)) / FS + shift[neuron]
        expected = np.interp(times, at, stored[:, neuron])
        expected = expected / session.response_scale[neuron]
        found = window.responses[:, neuron]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
    assert window.valid["responses"].all()
    assert not window.valid["video"].any()
    assert window.behavior.shape == (40, 0)
    assert len(session.window_starts()) > 2000
    codes = [note.code for note in session.assumptions]
    assert codes.count("missing_stream") == 3
    assert {"resampled", "cells_only", "plane_lags", "series"} <= set(codes)


@pytest.mark.slow
def test_any_of_the_folders_may_be_opened(folder):
    whole = open_session(folder)
    assert whole.id == "m77_day3"
    inner = open_session(folder / "suite2p")
    assert inner.id == "m77_day3"
    np.testing.assert_array_equal(inner.responses.data, whole.responses.data)
    one = open_session(folder / "suite2p" / "plane1")
    np.testing.assert_array_equal(
        one.responses.data, raw_array(folder, 1, "spks")[cell_rows(folder, 1)].T
    )
    assert set(one.images) == {"mean"}
    assert is_session(folder)


def test_other_series_are_read_where_asked(folder):
    raw, around = (traces_of_cells(folder, name) for name in ("F", "Fneu"))
    corrected = raw - np.float32(0.7) * around
    found = open_session(folder, series="F-neu").responses.data
    np.testing.assert_allclose(found, corrected, rtol=1e-5)
    baseline = np.percentile(corrected, 8, axis=0)
    raw_baseline = np.percentile(traces_of_cells(folder, "F"), 8, axis=0)
    found = open_session(folder, series="dff").responses.data
    np.testing.assert_allclose(found, (corrected - baseline) / raw_baseline, atol=1e-4)
    check_refusal(folder, "spks, deconvolved, F-neu, dff", series="calcium")


def test_what_else_could_be_read_is_said(folder, session):
    assert session.series == "spks"
    assert list(session.series_choices) == ["spks", "deconvolved", "F-neu", "dff"]
    assert open_session(folder, series="dff").series == "dff"
    change_ops(folder, tau=None)
    (folder / "suite2p" / "plane1" / "spks.npy").unlink()
    assert list(open_session(folder, series="dff").series_choices) == ["F-neu", "dff"]
    (folder / "suite2p" / "plane0" / "Fneu.npy").unlink()
    check_refusal(folder, "in common")


@pytest.mark.slow
def test_a_fit_to_one_series_is_not_taken_for_another(folder):
    plain = open_session(folder)
    readings = ({"series": "dff"}, {"series": "F-neu"}, {"cells_only": False})
    others = [open_session(folder, **reading) for reading in readings]
    assert len({s.fingerprint for s in (plain, *others)}) == 4
    assert open_session(folder, series="dff").fingerprint == others[0].fingerprint
    again = pickle.loads(pickle.dumps(others[0]))
    assert again.fingerprint == others[0].fingerprint


@pytest.mark.slow
def test_without_spks_the_traces_are_deconvolved(folder):
    for plane in (0, 1):
        (folder / "suite2p" / f"plane{plane}" / "spks.npy").unlink()
    session = open_session(folder)
    found = session.responses.data
    assert any("OASIS" in n.message for n in session.assumptions if n.code == "series")
    assert (found >= 0).all()
    decay = np.exp(-1 / (0.7 * FS))
    calcium = np.zeros_like(found)
    for k in range(len(found)):
        calcium[k] = found[k] + (decay * calcium[k - 1] if k else 0)
    corrected = traces_of_cells(folder, "F") - 0.7 * traces_of_cells(folder, "Fneu")
    agreement = [np.corrcoef(calcium[:, i], corrected[:, i])[0, 1] for i in range(found.shape[1])]
    assert np.median(agreement) > 0.9


def test_a_rate_that_no_file_says_is_asked_for(folder):
    change_ops(folder, fs=None)
    assert check_refusal(folder, "gives fs").code == MISSING_RATE
    session = check_session(folder, {"responses.rate_hz": 12.0}, {"given_rate": ""}, rate_hz=12.0)
    again = pickle.loads(pickle.dumps(session))
    assert again.responses.rate_hz == 12.0
    check_refusal(folder, r"between 0\.1 and 1000", rate_hz=0.01)


def test_settings_of_version_1_are_found(folder):
    expected = open_session(folder)
    for number in (0, 1):
        plane = folder / "suite2p" / f"plane{number}"
        ops = np.load(plane / "ops.npy", allow_pickle=True).item()
        (plane / "ops.npy").unlink()
        groups = {
            "settings": {"fs": ops["fs"], "tau": ops["tau"]},
            "db": {name: ops[name] for name in ("Ly", "Lx", "nplanes")},
            "reg_outputs": {"meanImg": ops["meanImg"]},
        }
        for name, values in groups.items():
            np.save(plane / f"{name}.npy", values, allow_pickle=True)
    session = check_session(folder, {"responses.rate_hz": FS})
    np.testing.assert_array_equal(session.images["mean_1"], expected.images["mean_1"])
    np.testing.assert_array_equal(session.responses.shift_s, expected.responses.shift_s)


def test_a_plane_one_frame_short_is_cut_and_more_refused(folder):
    plane = folder / "suite2p" / "plane1"
    for name in ("F", "Fneu", "spks"):
        np.save(plane / f"{name}.npy", np.load(plane / f"{name}.npy")[:, :-1])
    check_session(folder, {"responses.n_samples": 599}, {"cut_frames": ""})
    for name in ("F", "Fneu", "spks"):
        np.save(plane / f"{name}.npy", np.load(plane / f"{name}.npy")[:, :-5])
    check_refusal(folder, "594 to 600 frames")


@pytest.mark.parametrize(
    ("name", "part", "words"),
    [
        ("spks", np.s_[:-1], "has 14 regions for 13 traces"),
        ("iscell", np.s_[:3], "iscell.npy has 3 rows for 14"),
        ("stat", np.s_[:5], "has 5 regions for 14 traces"),
    ],
)
def test_arrays_of_another_length_are_refused(folder, name, part, words):
    path = folder / "suite2p" / "plane0" / f"{name}.npy"
    np.save(path, raw_array(folder, 0, name)[part], allow_pickle=True)
    check_refusal(folder, words)


def test_settings_that_do_not_fit_are_refused(folder):
    change_ops(folder, fs="fast")
    check_refusal(folder, "fs must be a positive number, found 'fa")


def test_regions_without_usable_pixels_have_no_place(folder):
    plane = folder / "suite2p" / "plane0"
    stat, first = raw_array(folder, 0, "stat"), int(cell_rows(folder, 0)[0])
    del stat[first]["lam"]
    np.save(plane / "stat.npy", stat, allow_pickle=True)
    words = ("has ypix, xpix and lam of [(", f"in region {first};")
    check_session(folder, {}, {"bad_regions": words})
    change_ops(folder, Ly=20)
    check_session(folder, {}, {"bad_regions": "20×160"})


def test_without_regions_a_plane_has_no_contours(folder):
    expected = open_session(folder)
    (folder / "suite2p" / "plane0" / "stat.npy").unlink()
    values = {"n_neurons": expected.n_neurons}
    session = check_session(folder, values, {"no_contours": "plane0"})
    is_lost = session.units.plane == 0
    assert np.isnan(session.units.xy_px[is_lost]).all()
    np.testing.assert_array_equal(session.units.xy_px[~is_lost], expected.units.xy_px[~is_lost])
    rows = np.arange(20)
    np.testing.assert_array_equal(
        session.responses.file.pick(rows, slice(None)),
        expected.responses.file.pick(rows, slice(None)),
    )


@pytest.mark.parametrize("is_cut", [True, False])
def test_what_the_series_does_not_need_is_left_out(folder, is_cut):
    path = folder / "suite2p" / "plane0" / "Fneu.npy"
    if is_cut:
        path.write_bytes(path.read_bytes()[:-100])
    else:
        np.save(path, np.load(path)[:-1])
    session = open_session(folder)
    assert session.series == "spks"
    assert [note.code for note in session.warnings] == ["left_out"]
    assert set(session.series_choices) == {"spks"}
    with pytest.raises(SessionFormatError, match=r"Fneu\.npy"):
        open_session(folder, series="dff")


@pytest.mark.parametrize("lost", [0, 1])
def test_a_plane_without_traces_is_named(folder, lost):
    for name in ("F", "spks"):
        (folder / "suite2p" / f"plane{lost}" / f"{name}.npy").unlink()
    change_ops(folder, nplanes=None)
    session = check_session(folder, {}, {"lost_plane": f"plane{lost}"})
    assert set(session.units.plane.tolist()) == {1 - lost}
    shift_s = pytest.approx(0.5 / FS) if lost == 0 else None
    assert session.responses.shift_s == shift_s


def test_a_complete_plane_beside_the_opened_one_is_no_problem(folder):
    session = check_session(folder / "suite2p" / "plane1", {}, {"other_plane": "plane0"})
    assert not session.warnings
    assert session.responses.shift_s == pytest.approx(0.5 / FS)


def test_regions_that_are_no_cells_are_named_where_they_are_read(folder):
    rois = sum(len(raw_array(folder, p, "iscell")) for p in (0, 1))
    others = rois - sum(len(cell_rows(folder, p)) for p in (0, 1))
    check_session(folder, {}, {"no_cells": f"{others} of {rois} regions"}, cells_only=False)
    (folder / "suite2p" / "plane1" / "iscell.npy").unlink()
    check_session(folder, {}, {"cells_unknown": "plane1"})
