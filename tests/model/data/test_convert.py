import json
import os
import pickle
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

from omnimouse_model.data import convert as conversion
from omnimouse_model.data.convert import convert, verify
from omnimouse_model.data.open import is_session, open_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.store import CODECS, SHARD_ROWS
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import ResultsFileError, SessionFormatError
from omnimouse_model.progress import CallbackJob
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_model.storage.journal import Journal
from omnimouse_model.storage.trees import read_json
from omnimouse_model.storage.write import write_json
from tests import SESSIONS
from tests.model.data.refusals import check_refusal
from tests.model.experanto_folder import write_folder

SOURCES = sorted(p.name for p in SESSIONS.iterdir() if p.suffix != ".npz")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder that no test changes."""
    return write_folder(tmp_path_factory.mktemp("source") / "s")


@pytest.fixture(scope="module")
def session(source):
    return open_session(source)


@pytest.fixture(scope="module")
def sound_store(session, tmp_path_factory):
    return convert(session, tmp_path_factory.mktemp("store") / "m.zarr")


@pytest.fixture
def store(sound_store, tmp_path):
    """A store to be damaged."""
    return Path(shutil.copytree(sound_store, tmp_path / "m.zarr"))


def assert_same(first: Session, second: Session) -> None:
    """Every stored number and word is the same."""
    for name in ("id", "animal_id", "behavior_names", "warnings"):
        assert getattr(first, name) == getattr(second, name)
    for name in ("dtype", "start", "end_declared", "rate_hz", "mode"):
        assert getattr(second.responses, name) == getattr(first.responses, name)
    assert set(first.assumptions) <= set(second.assumptions)
    np.testing.assert_array_equal(second.responses.data, first.responses.data)
    for part, columns in (
        ("units", ("unit_id", "plane", "xyz_um", "xy_px", "mean", "std", "scale")),
        ("trials", ("key", "kind", "tier", "t_on", "t_off", "readable", "stim_id")),
    ):
        for name in columns:
            ours, theirs = (getattr(getattr(s, part), name) for s in (first, second))
            np.testing.assert_array_equal(theirs, ours)
    for name, image in first.images.items():
        np.testing.assert_array_equal(second.images[name], image)
    for tier in (None, "train", "test"):
        starts = first.window_starts(tier)
        np.testing.assert_array_equal(second.window_starts(tier), starts)
    starts = first.window_starts()
    for start in (*starts[:: max(1, len(starts) // 8)], 3.0, first.duration_s):
        one, other = first.window(float(start)), second.window(float(start))
        for name in ("responses", "video", "behavior"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name, valid in one.valid.items():
            np.testing.assert_array_equal(other.valid[name], valid)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_a_session_of_any_format_is_the_same_to_the_bit(name, tmp_path):
    session = open_session(SESSIONS / name)
    store = convert(session, tmp_path / "m.omses.zarr")
    again = open_session(store)
    assert_same(session, again)
    assert again.format == f"store ({session.format})"
    verify(store, session)
    assert is_session(store)
    assert_same(again, pickle.loads(pickle.dumps(again)))


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_keeps_every_bit(codec, tmp_path):
    folder = write_folder(tmp_path / "s", mem=False, seconds=150.0)
    path = folder / "responses" / "data.npy"
    values = np.load(path)
    assert len(values) > SHARD_ROWS
    values[:40] = -0.0
    odd = [0x7FC00001, 0xFFA12345, 0x00000001, 0x7F800000]  # NaNs, least, infinity
    values[50, :4] = np.array(odd, np.uint32).view(np.float32)
    np.save(path, values)
    session = open_session(folder)
    store = convert(session, tmp_path / "m.zarr", codec)
    verify(store, session)
    assert open_session(store).responses.data.tobytes() == values.tobytes()


@pytest.mark.slow
def test_the_overview_of_a_store_reads_its_pyramid(tmp_path, monkeypatch):
    session = open_session(write_folder(tmp_path / "s", seconds=95.0, n_neurons=4))
    store = open_session(convert(session, tmp_path / "m.zarr"))
    monkeypatch.setattr(type(store.responses.file), "pick", None)  # reads no samples
    overview = store.overview(19)
    data = session.responses.data / session.response_scale
    for row, value in enumerate(overview.population[:-1]):
        expected = data[row * 150 : (row + 1) * 150].mean()
        assert value == pytest.approx(expected, rel=0.03)
    monkeypatch.undo()
    fine = store.overview(500)  # finer than the pyramid: samples
    np.testing.assert_array_equal(fine.population, session.overview(500).population)


class StopConversion(Exception):
    """Stops a conversion."""


def stop_after(calls: int, step: str = "writing") -> CallbackJob:
    """A job that stops a step when it is told its progress once more than that."""
    left = iter(range(calls))

    def stop(done: float, total: float, what: str) -> None:
        if what == step and next(left, None) is None:
            raise StopConversion

    return CallbackJob(stop)


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr("omnimouse_model.data.store.SHARD_ROWS", 64)
    monkeypatch.setattr("omnimouse_model.data.store.FRAME_SHARD", 64)


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped(session, tmp_path, small_pieces):
    whole = convert(session, tmp_path / "whole.zarr")
    store = tmp_path / "m.zarr"
    stops = 0
    while not store.exists():
        stops += 1
        try:
            convert(session, store, job=stop_after(stops))
        except StopConversion:
            check_refusal(tmp_path / "m.zarr.part", "was not finished")
    assert stops > 8
    assert_same(session, open_session(store))
    for path in whole.rglob("*"):
        if path.is_file() and path.name != "zarr.json":
            assert (store / path.relative_to(whole)).read_bytes() == path.read_bytes()
    assert not (tmp_path / "m.zarr.part").exists()


@pytest.mark.slow
def test_finished_pieces_are_kept(session, tmp_path, small_pieces, monkeypatch):
    with pytest.raises(StopConversion):
        convert(session, tmp_path / "m.zarr", job=stop_after(4))
    part = tmp_path / "m.zarr.part"
    done = (part / "journal.jsonl").read_text().count("\n") - 1
    half = part / "responses" / "data" / "c" / f"0.{'a' * 32}.partial"
    half.write_text("half")
    written, add = [], Journal.add

    def noted(self: Journal, note: dict[str, str]) -> None:
        written.append(note["piece"])
        add(self, note)

    monkeypatch.setattr(Journal, "add", noted)
    convert(session, tmp_path / "m.zarr")
    hashes = zarr.open_group(str(tmp_path / "m.zarr")).attrs["hashes"]
    assert 0 < done < len(hashes)
    assert len(written) == len(hashes) - done
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.slow
@pytest.mark.parametrize("note", ['{"piece": [1], "hash": {}}', '{"piece": "x"}', "{}"])
def test_a_note_that_names_no_piece_does_not_count(note, session, tmp_path, small_pieces):
    with pytest.raises(StopConversion):
        convert(session, tmp_path / "m.zarr", job=stop_after(4))
    with (tmp_path / "m.zarr.part" / "journal.jsonl").open("a") as journal:
        journal.write(f"{note}\n")
    assert_same(session, open_session(convert(session, tmp_path / "m.zarr")))


@pytest.mark.parametrize(
    "name", ["thesis.txt", "responses/data.mem", "stimulus.xlsx", "zarr.json", "zarr/0"]
)
def test_a_folder_that_is_no_begun_store_is_left_alone(name, session, tmp_path):
    part = tmp_path / "m.zarr.part"
    mine = part / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(ResultsFileError, match="is no unfinished work"):
        convert(session, tmp_path / "m.zarr")
    if name != "zarr.json":  # beside a store of ours
        zarr.create_group(str(part), attributes={"format": "omses"})
        with pytest.raises(ResultsFileError, match="is no unfinished work"):
            convert(session, tmp_path / "m.zarr")
    assert mine.read_text() == "mine"


@pytest.mark.slow
def test_a_damaged_piece_is_not_moved_but_written_anew(session, tmp_path, small_pieces):
    store = tmp_path / "m.zarr"
    with pytest.raises(StopConversion):
        convert(session, store, compare=True, job=stop_after(0, "comparing"))
    part = store.with_name("m.zarr.part")
    path = part / "responses" / "data" / "c" / "2" / "0"
    sound = path.read_bytes()
    flip_bit(path, 0)
    with pytest.raises(SessionFormatError, match="is damaged"):
        convert(session, store, compare=True, job=stop_after(1000, "comparing"))
    assert not store.exists()
    convert(session, store, compare=True, job=stop_after(1000, "comparing"))
    assert (store / path.relative_to(part)).read_bytes() == sound
    assert not part.exists()


@pytest.mark.slow
def test_a_kill_while_a_begun_store_is_removed_is_no_dead_end(session, tmp_path, monkeypatch):
    part, remove = tmp_path / "m.zarr.part", shutil.rmtree

    def killed(path: Path) -> None:
        remove(path)
        raise StopConversion

    with pytest.raises(StopConversion):
        convert(session, tmp_path / "m.zarr", job=stop_after(0))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(StopConversion):
            convert(session, tmp_path / "m.zarr")
    assert (part / "journal.jsonl").exists()
    assert convert(session, tmp_path / "m.zarr").is_dir()


@pytest.mark.slow
def test_a_stop_before_the_rename_is_no_dead_end(session, tmp_path, monkeypatch):
    store, replace = tmp_path / "m.zarr", Path.replace

    def stopped(path: Path, target: Path) -> Path:
        if path.name == "m.zarr.part":
            raise StopConversion
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stopped)
        with pytest.raises(StopConversion):
            convert(session, store)
    assert convert(session, store, job=stop_after(0)) == store
    assert_same(session, open_session(store))
    assert [path.name for path in tmp_path.iterdir()] == ["m.zarr"]
    with pytest.raises(FileExistsError, match="is there already"):
        convert(session, store)


@pytest.mark.slow
def test_spikes_are_stored_as_times_with_their_probes(tmp_path):
    session = open_session(spiking_arrays(SpikingSpec(n_trials=6)))
    again = open_session(convert(session, tmp_path / "m.zarr"))
    verify(tmp_path / "m.zarr", session)
    bins = WindowSpec(1.0, 50.0, "count")
    first, second = (s.window(3.0, bins).responses for s in (session, again))
    np.testing.assert_array_equal(first, second)
    assert again.units.probe.tolist() == session.units.probe.tolist()


@pytest.mark.slow
def test_the_pyramid_holds_least_most_and_mean(tmp_path):
    folder = write_folder(tmp_path / "s", seconds=150.0, mem=False)
    path = folder / "responses" / "data.npy"
    values = np.load(path)
    values[40:100, 3], values[330:640, 5], values[700, 2] = np.nan, np.nan, np.inf
    np.save(path, values)
    store = convert(open_session(folder), tmp_path / "m.zarr")
    for level, step in (("1s", 30), ("10s", 300)):
        found = zarr.open_array(str(store), path=f"responses/pyramid/{level}")[...]
        assert len(found) == -(-4501 // step)
        for row, bins in enumerate(found):
            part = values[row * step : (row + 1) * step].astype(np.float64)
            part[~np.isfinite(part)] = np.nan
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of bins where all is missing
                expected = [f(part, axis=0) for f in (np.nanmin, np.nanmax, np.nanmean)]
            # As precise as a float16.
            np.testing.assert_allclose(bins.T, expected, rtol=2**-11)


def flip_bit(path: Path, at: int) -> None:
    stored = bytearray(path.read_bytes())
    stored[at] ^= 1
    path.write_bytes(stored)


def edit_attributes(path: Path, **changes: object) -> None:
    words = json.loads(path.read_text())
    words["attributes"].update(changes)
    path.write_text(json.dumps(words))


def test_unfinished_and_newer_stores_say_so(store):
    edit_attributes(store / "zarr.json", version=3)
    check_refusal(store, r"newer version \(3 > 2\)")
    edit_attributes(store / "zarr.json", version=1, complete=False)
    check_refusal(store, "was not finished")


DATA = "responses/data/c/0/0"


@pytest.mark.parametrize(
    ("name", "at"),
    [(DATA, 100), (DATA, -2), ("units/unit_id/c/0", -6)],  # chunk, index, small table
)
def test_flipped_bytes_are_found_by_their_checksum(store, name, at):
    flip_bit(store / name, at)
    with pytest.raises(SessionFormatError, match=r"a checksum differs|is damaged"):
        _ = open_session(store).responses.data


@pytest.mark.parametrize(
    "name",
    [
        "responses/data",
        "behaviour/treadmill/data",
        "units/unit_id",
        "responses/std",
        "trials/t_on",
    ],
)
def test_a_missing_piece_is_named_and_not_read_as_zeros(name, store):
    (path,) = (p for p in (store / name / "c").rglob("*") if p.is_file())
    path.unlink()
    check_refusal(store, f"{Path(name).name}: the piece")


def test_shapes_beyond_their_files_are_refused(store):
    """One shard that claims more chunks than its file has room to list."""
    for name, step in (("data", 1), ("pyramid/1s", 30), ("pyramid/10s", 300)):
        path = store / "responses" / name / "zarr.json"
        about = json.loads(path.read_text())
        rows = about["shape"][0] = 3 * 10**13 // step
        chunk = about["codecs"][0]["configuration"]["chunk_shape"][0]
        grid = about["chunk_grid"]["configuration"]
        grid["chunk_shape"][0] = -(-rows // chunk) * chunk
        path.write_text(json.dumps(about))
    check_refusal(store, "an index of 15,000,000,000,004 bytes")


@pytest.mark.slow
def test_verify_reads_the_pyramid_and_the_words(store):
    verify(store)
    path = store / "responses/pyramid/10s/c/0/0/0"
    flip_bit(path, 1)
    with pytest.raises(SessionFormatError, match="is damaged"):
        verify(store)
    flip_bit(path, 1)
    words = store / "trials" / "zarr.json"
    words.write_text(words.read_text().replace('"train"', '"trial"'))
    with pytest.raises(SessionFormatError, match="its tables are not those"):
        verify(store)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["treadmill/data.mem", "screen/data/00004.npy"])
def test_verify_compares_with_the_source(name, sound_store, source, session, tmp_path):
    verify(sound_store, session)
    changed = shutil.copytree(source, tmp_path / "s")
    flip_bit(changed / name, -3)
    with pytest.raises(SessionFormatError, match=r"differs from|is not the source"):
        verify(sound_store, open_session(changed))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "frame_dtype"), [("uint16", "uint16"), ("uint64", ">f4"), (">i2", "float64")]
)
def test_any_numbers_are_stored_read_and_compared(dtype, frame_dtype, tmp_path):
    folder = write_folder(tmp_path / "s", mem=False, frame_dtype=frame_dtype)
    for stream, kind in (("responses", dtype), ("eye_tracker", ">f8")):
        path = folder / stream / "data.npy"
        np.save(path, np.load(path).astype(kind))
    session = open_session(folder)
    store = convert(session, tmp_path / "m.zarr")
    verify(store, session)
    again = open_session(store)
    for stream in ("responses", "eye_tracker"):
        found, stored = (s.streams[stream].data for s in (session, again))
        np.testing.assert_array_equal(stored, found)
        assert stored.dtype == found.dtype.newbyteorder("<")
    found, stored = (s.stimulus.source.read(1, 0, 120, s.stimulus.size) for s in (session, again))
    np.testing.assert_array_equal(stored, found)


def test_what_a_store_cannot_hold_is_refused_before_it_is_begun(tmp_path, monkeypatch):
    video, times = np.zeros((2, 20, 30), np.float32), np.array([1.0, 4.0])
    arrays = {"responses": np.ones((300, 3), np.float32), "rate_hz": 30.0}
    session = open_session({**arrays, "video": video, "video_times": times})
    monkeypatch.setattr(conversion, "MAX_CHUNK_BYTES", 2000)
    with pytest.raises(SessionFormatError, match="frames of 2,400 bytes"):
        convert(session, tmp_path / "m.zarr")
    monkeypatch.undo()
    monkeypatch.setattr(type(session.responses), "dtype", np.dtype("c8"))
    with pytest.raises(SessionFormatError, match="responses of 0 bytes, complex64"):
        convert(session, tmp_path / "m.zarr")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="names are UTF-8 on other systems")
def test_a_recording_in_a_folder_whose_name_is_no_utf8_is_converted(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xe4use"))
    folder.mkdir()
    np.savez(folder / "a.npz", responses=np.ones((300, 2)), rate_hz=30.0)
    convert(open_session(folder / "a.npz"), tmp_path / "a.omses.zarr")
    assert open_session(tmp_path / "a.omses.zarr").n_neurons == 2
    # Settings and analyses hold such names, too.
    write_json(tmp_path / "a.json", {"path": str(folder), "other": "\U0001f4e4 ä \\udce4"})
    found = read_json(tmp_path / "a.json")
    assert found == {"path": f"{tmp_path}/m?use", "other": "\U0001f4e4 ä \\udce4"}
