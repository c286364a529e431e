"""A simulated session: what is stated about it is true of what is written."""

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.progress import CallbackJob
from omnimouse_model.simulate import (
    HeldOut,
    MouseSpec,
    Truth,
    open_truth,
    simulation,
    write_session,
)
from tests.small_sessions import rough_calibration

pytestmark = pytest.mark.slow
HELD_OUT = HeldOut(validation=3, final_test_1=4, oracle_clips=1, oracle_repeats=10)
SPEC = MouseSpec("test", "70001-1-1", 4, 5, 160, 9.0, HELD_OUT)
TINY = MouseSpec("tiny", "70002-1-1", 6, 7, 8, 1.0, HeldOut(1, 1, 1, 2))


class Recording:
    """A session folder with its raw responses and its truth."""

    def __init__(self, folder: Path, spec: MouseSpec) -> None:
        self.folder = folder
        flat = np.fromfile(folder / "responses" / "data.mem", "<f4")
        self.responses = flat.reshape(-1, spec.n_neurons).astype(float)
        self.truth: Truth = open_truth(folder)
        self.drive = self.truth.drive.open().astype(float)
        self.full = self.truth.full.open().astype(float)
        trials = json.loads((folder / "screen" / "combined_meta.json").read_text())
        self.videos = [t for t in trials.values() if t["modality"] == "video"]


@pytest.fixture(scope="module", autouse=True)
def textures_of_a_seed_are_drawn_once():
    with pytest.MonkeyPatch.context() as patch:
        textures = cache(simulation.draw_textures)
        patch.setattr(simulation, "draw_textures", textures)
        yield


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = write_session(SPEC, tmp_path_factory.mktemp("mice") / "test")
    return Recording(folder, SPEC)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    with rough_calibration():
        return write_session(TINY, tmp_path_factory.mktemp("mice") / "tiny")


@pytest.fixture
def calibrated_as_tiny(tiny):
    with rough_calibration():
        yield


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.sqrt((a * a).sum(0) * (b * b).sum(0))


def standardise(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / x.std(0)


def ridge(inputs: np.ndarray, wanted: np.ndarray, penalty: float) -> tuple[np.ndarray, slice]:
    """Predictions on the last quarter of a fit on the first three."""
    cut = len(inputs) * 3 // 4
    x, y = standardise(inputs), wanted - wanted[:cut].mean(0)
    gram = x[:cut].T @ x[:cut] + penalty * cut * np.eye(x.shape[1])
    test = slice(cut, None)
    return x[test] @ np.linalg.solve(gram, x[:cut].T @ y[:cut]), test


def running_mean(x: np.ndarray, width: int) -> np.ndarray:
    """Mean of the `width` rows before each row, without that row itself."""
    total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])
    means = np.zeros_like(x)
    means[width:] = (total[width:-1] - total[: -width - 1]) / width
    return means


# -- the conditional means and the ceilings -------------------------------------
@pytest.mark.parametrize("known", ["drive", "full"])
def test_the_stated_ceiling_is_what_the_conditional_mean_reaches(recording, known):
    reached = correlation(recording.responses, getattr(recording, known))
    stated = getattr(recording.truth.ceilings, known)
    assert abs(np.mean(reached - stated)) < 0.01
    assert np.max(np.abs(reached - stated)) < 0.15


@pytest.mark.parametrize("known", ["drive", "full"])
def test_responses_scatter_around_the_conditional_mean(recording, known):
    mean = getattr(recording, known)
    ratio = recording.responses.mean(0) / mean.mean(0)
    assert np.median(ratio) == pytest.approx(1, abs=0.02)
    centred = mean - mean.mean(0)
    slopes = (centred * recording.responses).sum(0) / (centred**2).sum(0)
    assert np.mean(slopes) == pytest.approx(1, abs=0.05)


def test_the_mean_over_repeats_approaches_the_drive(recording):
    oracle = [t for t in recording.videos if t["tier"] == "oracle"]
    starts = [trial["trial_idx"] * 315 + 15 for trial in oracle]
    rows = np.array(starts)[:, None] + np.arange(300)
    single = recording.responses[rows] - recording.drive[rows]
    repeats = single.mean(axis=0)
    ratio = (repeats**2).mean() / (single**2).mean()
    assert ratio == pytest.approx(1 / len(starts), rel=0.3)


def test_the_other_neurons_tell_what_stimulus_and_behaviour_do_not(recording):
    rest = (recording.responses - recording.drive) / np.sqrt(recording.drive)
    noise = (recording.responses - recording.full) / np.sqrt(recording.full)
    half = SPEC.n_neurons // 2
    found = []
    for residual in (rest, noise):
        smooth = running_mean(residual, 15)[15:]
        guess, test = ridge(smooth[:, :half], smooth[:, half:], 1.0)
        found.append(correlation(guess, smooth[test, half:]).mean())
    assert found[0] > 0.1
    assert abs(found[1]) < 0.04


@pytest.mark.parametrize("which", [0, 100, 2500, -1])
def test_a_window_holds_the_samples_and_frames_that_belong_together(recording, which):
    """No rounding anywhere between the clocks: sample k goes with frame k."""
    session = open_session(recording.folder)
    starts = session.window_starts(tier="train", include_blanks=True)
    window = session.window(start_s=float(starts[which]))
    first = round(window.start_s * 30 - 0.5)
    stds = np.load(recording.folder / "responses" / "meta" / "stds.npy")
    expected = recording.responses[first : first + 60] / stds
    np.testing.assert_allclose(window.responses, expected, rtol=1e-4)
    for row, sample in enumerate(range(first, first + 60)):
        block, position = divmod(sample, 315)
        frame = np.full((36, 64), 113, np.uint8)
        if position >= 15:
            name = f"{2 * block + 1:05d}.npy"
            frame = np.load(recording.folder / "screen" / "data" / name)[position - 15]
        np.testing.assert_array_equal(window.frames_u8[row], frame)


def test_tiers_are_as_planned_and_held_out_video_is_never_shown_in_training(recording):
    shown: dict[str, list[str]] = {}
    for trial in recording.videos:
        shown.setdefault(trial["tier"], []).append(trial["condition_hash"])
    assert len(shown["validation"]) == 3
    assert len(shown["final_test_1"]) == 4
    assert len(shown["oracle"]) == 10
    assert len(set(shown["oracle"])) == 1
    assert len(set(shown["train"])) == len(shown["train"])
    rest = {name for tier, names in shown.items() if tier != "train" for name in names}
    assert not rest & set(shown["train"])


# -- writing ------------------------------------------------------------------------
def file_contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.usefixtures("calibrated_as_tiny")
def test_an_interrupted_run_leaves_nothing_and_changes_no_file(tiny, tmp_path):
    def stop(done: float, total: float, step: str) -> None:
        if done > 0.4 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_session(TINY, tmp_path / "mouse", CallbackJob(stop))
    assert list(tmp_path.iterdir()) == []
    calls: list[float] = []
    again = write_session(
        TINY, tmp_path / "mouse", CallbackJob(lambda n, of, _: calls.append(n / of))
    )
    assert file_contents(again) == file_contents(tiny)
    assert open_truth(again).drive.shape == (TINY.n_samples, 8)
    assert calls == sorted(calls)
    assert len(calls) == TINY.n_trials
    assert calls[-1] == 1


@pytest.mark.usefixtures("calibrated_as_tiny")
def test_only_what_a_killed_run_left_is_removed(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "mouse")
    killed, foreign = tmp_path / ".mouse.77-01234567.part", tmp_path / ".mouse.part"
    for part in (killed, foreign):
        part.mkdir()
    write_session(TINY, tmp_path / "mouse")
    assert set(tmp_path.iterdir()) == {tmp_path / "mouse", foreign}


def test_a_folder_with_something_else_is_refused(tiny, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path, tiny):
        with pytest.raises(FileExistsError, match="delete it or choose another folder"):
            write_session(replace(TINY, minutes=1.2), folder)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_recordings_without_truth_and_impossible_specs_are_refused(tmp_path):
    with pytest.raises(SessionFormatError, match="only simulated sessions have one"):
        open_truth(tmp_path)
    with pytest.raises(ValueError, match="use more minutes"):
        replace(TINY, minutes=0.5)
