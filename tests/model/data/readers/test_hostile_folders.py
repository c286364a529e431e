"""Small files of folders that claim or unfold to far more than they hold."""

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.readers import experanto
from omnimouse_model.data.readers.build.finalise import _train_rows
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.npy import Npz
from omnimouse_model.storage.arrays.rows import MemoryRows
from tests import SESSIONS
from tests.memory import check_memory
from tests.model.data.readers.test_arrays import session_arrays
from tests.model.data.readers.test_errors import folder as folder
from tests.model.data.refusals import give_away, left_out
from tests.model.experanto_folder import save_json


def refusal(root: Path | dict[str, Any]) -> SessionFormatError:
    errors = []

    def open_it() -> None:
        with pytest.raises(SessionFormatError) as caught:
            open_session(root)
        errors.append(caught.value)

    check_memory(open_it, 100)
    assert errors[0].code != "unexpected"
    return errors[0]


def warnings_of(session: Session) -> str:
    return "\n".join(note.message for note in session.warnings)


def left_out_unread(root: Path) -> str:
    """Open a recording in 100 MiB; return its warning about what was left out."""
    found = []
    check_memory(lambda: found.append(left_out(root)), 100)
    return str(found[0])


def test_aliases_of_images_do_not_unfold(folder):
    lines = ["a0: &a0 [x, x]", *(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]" for k in range(1, 28))]
    (folder / "imaging").mkdir()
    (folder / "imaging/meta.yml").write_text("\n".join(lines))
    assert "aliases stand for more than" in left_out_unread(folder)


def test_a_header_that_claims_too_much_is_not_believed(folder):
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (0, 1%s)}" % (b"0" * 30)
    data = b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text + bytes(64)
    (folder / "screen" / "timestamps.npy").write_bytes(data)
    assert "timestamps.npy" in left_out_unread(folder)
    (folder / "responses" / "data.mem").unlink()
    (folder / "responses" / "data.npy").write_bytes(data)
    assert refusal(folder).code == "not_npy"


def npy_bytes(values: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def claim_size(path: Path, size: int) -> None:
    """Have an archive say that its first member unpacks to a size."""
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 24 : at + 28] = size.to_bytes(4, "little")
    path.write_bytes(data)


def test_an_archive_that_numpy_does_not_write_is_refused(tmp_path):
    path = tmp_path / "mine.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("responses.npy", npy_bytes(np.zeros((100, 3))))
    assert refusal(path).code == "not_npz"


@pytest.mark.slow
def test_an_array_unpacks_to_what_it_declares_at_most(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("offsets.npy", npy_bytes(np.zeros(2**23)))  # 64 MiB
    claim_size(path, 200)

    def read() -> None:
        with pytest.raises(SessionFormatError, match="valid"):
            Npz(path)["offsets"]

    check_memory(read, 20)


def test_masks_may_not_unpack_to_gigabytes(folder):
    path = folder / "imaging" / "rois.npz"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_bytes(np.zeros(2**10)))
    claim_size(path, 2**31)
    assert f"{2**31:,}" in left_out_unread(folder)


@pytest.mark.parametrize(
    "changed",
    [
        {"offsets": np.zeros(1)},
        {"offsets": np.array(["a"] * 10)},
        {"offsets": np.zeros(10, "M8[s]")},
        {"weight": np.array(["x"] * 9)},
        {"yx": np.zeros(())},
    ],
)
def test_odd_masks_are_left_out(folder, changed):
    arrays = {"offsets": np.arange(10), "yx": np.zeros((9, 2)), "weight": np.ones(9)}
    (folder / "imaging").mkdir()
    np.savez(folder / "imaging" / "rois.npz", **arrays)
    assert open_session(folder).units.roi is not None
    np.savez(folder / "imaging" / "rois.npz", **{**arrays, **changed})
    session = open_session(folder)
    assert session.units.roi is None
    assert "rois.npz does not fit" in warnings_of(session)


def test_an_image_of_texts_is_left_out(folder):
    (folder / "imaging").mkdir()
    np.save(folder / "imaging" / "mean_image.npy", np.array([["a"]]))
    session = open_session(folder)
    assert session.images == {}
    assert "mean_image.npy holds <U1" in warnings_of(session)


def test_one_sample_of_pupil_is_left_out():
    arrays = session_arrays(pupil_size=np.ones(1), pupil_x=None, pupil_y=None)
    session = open_session(arrays)
    assert session.behavior["eye_tracker"] is None
    assert "left_out_stream" in {note.code for note in session.warnings}


@pytest.fixture
def sensorium(tmp_path):
    copied = shutil.copytree(SESSIONS / "sensorium2023_small", tmp_path / "s")
    return Path(copied)


def test_a_trial_of_no_time_is_refused(sensorium):
    for path in (sensorium / "data").glob("*/1.npy"):
        values = np.load(path)
        np.save(path, values[..., :0])
    assert refusal(sensorium).code == "bad_trials"


def test_a_file_of_any_number_takes_no_memory(sensorium):
    np.save(sensorium / "data" / "videos" / "999999999999.npy", np.zeros(3))
    error = refusal(sensorium)
    assert error.code == "missing_trials"
    assert "999999999999" in error.message


@pytest.mark.parametrize("end", [1.5e9, 1e15, 1e300])
def test_spikes_are_no_longer_than_a_week(folder, end):
    shutil.rmtree(folder / "responses")
    (folder / "responses").mkdir()
    np.array([1001.0, 1002.0]).tofile(folder / "responses" / "spikes.mem")
    about = {"modality": "spikes", "start_time": 1000.0, "end_time": end}
    about |= {"spike_indices": [0, 1, 2], "dtype": "float64"}
    save_json(folder / "responses" / "meta.yml", about)
    assert refusal(folder).code == "bad_clock"


def _rows_by_the_rule(signal: Signal, train: np.ndarray) -> np.ndarray:
    """Every row of train time, one by one."""
    every = np.arange(signal.n_samples)
    at = signal.start + every / signal.rate_hz
    place = np.searchsorted(train[:, 0], at, side="right") - 1
    inside = (place >= 0) & (at < train[np.maximum(place, 0), 1])
    return every[inside] if inside.any() else every


@pytest.mark.parametrize("seed", range(20))
def test_statistics_take_runs_that_lie_evenly_in_train_time(seed):
    draw = np.random.default_rng(seed)
    n, rate = int(draw.integers(1, 3000)), float(draw.choice([30.0, 29.97, 7.5]))
    start = float(draw.choice([0.0, 1000.0, 1.52e9]))
    signal = Signal("x", MemoryRows(Path("x"), np.zeros((n, 1))), rate, start, start)
    begin = start + np.sort(draw.integers(-50, n + 50, int(draw.integers(1, 9)))) / rate
    train = np.stack([begin, begin + draw.integers(-3, 400, len(begin)) / rate], axis=1)
    wanted = _rows_by_the_rule(signal, train)
    np.testing.assert_array_equal(_train_rows(signal, train, 10**6), wanted)
    for most in (5, 97, 640):
        rows = _train_rows(signal, train, most)
        assert np.isin(rows, wanted).all()
        assert (np.diff(rows) > 0).all()
        assert min(most, len(wanted)) / 2 < len(rows) <= most
        ends = wanted[[0, -1]]
        assert (np.abs(rows[[0, -1]] - ends) <= len(wanted) / len(rows)).all()


def move_out(folder: Path, *names: str) -> None:
    """Move files out of the session, and leave links to them."""
    outside = folder.parent / "outside"
    outside.mkdir(exist_ok=True)
    for name in names:
        place = outside / name.replace("/", "-")
        (folder / name).rename(place)
        (folder / name).symlink_to(place)


SMALL = ("responses/meta.yml", "screen/timestamps.npy", "meta.json")
DATA = ("responses/data.mem", "screen/data/00001.npy")


def test_links_of_the_owner_are_followed(folder):
    before = open_session(folder)
    move_out(folder, *SMALL, *DATA)
    after = open_session(folder)
    assert after.id == before.id
    window = after.window(3.0)
    np.testing.assert_array_equal(window.responses, before.window(3.0).responses)
    np.testing.assert_array_equal(window.video, before.window(3.0).video)


def test_a_name_elsewhere_is_told_and_not_taken(folder, monkeypatch):
    move_out(folder, "meta.json")
    give_away(folder / "meta.json", monkeypatch)
    session = open_session(folder)
    assert session.id == folder.name
    assert "meta.json is a link, and is not followed" in warnings_of(session)


def test_linked_folders_are_named_and_not_followed(folder):
    place = folder.parent / "place"
    (folder / "responses").rename(place)
    (folder / "responses").symlink_to(place)
    error = refusal(folder)
    assert error.code == "outside"
    assert "responses is a link to a folder" in error.message
    assert str(place) in error.hint


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (b"/annex/objects/SHA256E-s1--0a.npy\n", "git annex get"),
        (b"../../.git/annex/objects/x/y/SHA256E-s1--0a.npy", "git annex get"),
        (b"version https://git-lfs.github.com/spec/v1\noid x\n", "git lfs pull"),
    ],
)
def test_pointers_to_content_that_was_not_fetched_say_so(folder, text, command):
    (folder / "screen/timestamps.npy").write_bytes(text)
    assert command in left_out_unread(folder)
    (folder / "responses/meta.yml").write_bytes(text)
    error = refusal(folder)
    assert error.code == "not_fetched"
    assert command in error.hint


@pytest.mark.parametrize("error", [KeyError("units"), MemoryError("1 TiB")])
def test_what_no_reader_foresaw_is_typed_and_logged(folder, error, monkeypatch, caplog):
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(experanto, "read_screen", fails)
    with pytest.raises(SessionFormatError) as caught:
        open_session(folder)
    assert caught.value.code == "unexpected"
    assert type(error).__name__ in str(caught.value)
    assert caught.value.__cause__ is error
    assert caplog.records[0].exc_info is not None
