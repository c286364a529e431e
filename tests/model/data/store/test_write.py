"""The store: the same session to the bit, whole or not at all, damage told.

Over 600 lines because it is one promise: every test writes a store and reads it back,
whole, stopped, killed, damaged or of odd values, with the same few fixtures.
"""

import json
import pickle
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from omnimouse_model.data.open import is_session, open_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.store import write
from omnimouse_model.data.store.layout import CODECS
from omnimouse_model.data.store.sharded import ShardedRows
from omnimouse_model.data.store.verify import verify
from omnimouse_model.data.store.write import convert
from omnimouse_model.errors import SessionFormatError
from tests import SESSIONS
from tests.model.experanto_folder import write_folder

SOURCES = sorted(p.name for p in SESSIONS.iterdir() if p.suffix != ".npz")


def same(first: Session, second: Session) -> None:
    """Every stored number and word is the same."""
    assert first.id == second.id
    assert first.animal_id == second.animal_id
    assert first.behavior_names == second.behavior_names
    np.testing.assert_array_equal(second.responses.data, first.responses.data)
    assert second.responses.dtype == first.responses.dtype
    for name in ("start", "end_declared", "rate_hz", "mode"):
        assert getattr(second.responses, name) == getattr(first.responses, name)
    for name in ("unit_id", "plane", "xyz_um", "xy_px", "mean", "std", "scale"):
        np.testing.assert_array_equal(
            getattr(second.units, name), getattr(first.units, name)
        )
    for name, image in first.images.items():
        np.testing.assert_array_equal(second.images[name], image)
    for name in ("key", "kind", "tier", "t_on", "t_off", "readable", "stim_id"):
        np.testing.assert_array_equal(
            getattr(second.trials, name), getattr(first.trials, name)
        )
    assert first.warnings == second.warnings
    assert set(first.assumptions) <= set(second.assumptions)
    for tier in (None, "train", "test"):
        starts = first.window_starts(tier)
        np.testing.assert_array_equal(second.window_starts(tier), starts)
    for start in (*first.window_starts()[::37], 3.0, first.duration_s):
        one, other = first.window(float(start)), second.window(float(start))
        assert one.responses.tobytes() == other.responses.tobytes()
        assert one.video.tobytes() == other.video.tobytes()
        assert one.behavior.tobytes() == other.behavior.tobytes()
        for name, valid in one.valid.items():
            np.testing.assert_array_equal(other.valid[name], valid)


@pytest.mark.parametrize("source", SOURCES)
def test_a_session_of_any_format_is_the_same_to_the_bit(source, tmp_path):
    session = open_session(SESSIONS / source)
    store = convert(session, tmp_path / "m.omses.zarr")
    again = open_session(store)
    same(session, again)
    assert again.format == f"store ({session.format})"
    verify(store, session)
    assert is_session(store)
    same(again, pickle.loads(pickle.dumps(again)))


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_keeps_the_values(codec, tmp_path):
    session = open_session(write_folder(tmp_path / "s", seconds=150.0))
    same(session, open_session(convert(session, tmp_path / "m.zarr", codec)))


def test_odd_values_keep_every_bit(tmp_path):
    source = write_folder(tmp_path / "s", mem=False)
    path = source / "responses" / "data.npy"
    values = np.load(path)
    values[:40] = -0.0
    odd = [0x7FC00001, 0xFFA12345, 0x00000001, 0x7F800000]  # NaNs, least, infinity
    values[50, :4] = np.array(odd, np.uint32).view(np.float32)
    np.save(path, values)
    for codec in CODECS:
        store = convert(open_session(source), tmp_path / f"{codec}.zarr", codec)
        verify(store, open_session(source))
        assert open_session(store).responses.data.tobytes() == values.tobytes()


def test_a_store_of_a_store_is_the_same(tmp_path):
    session = open_session(SESSIONS / "experanto_small")
    first = open_session(convert(session, tmp_path / "a.zarr"))
    second = open_session(convert(first, tmp_path / "b.zarr", "fast"))
    same(session, second)


def test_any_reader_of_zarr_opens_it(tmp_path):
    session = open_session(SESSIONS / "experanto_small")
    root = zarr.open_group(str(convert(session, tmp_path / "m.zarr")), mode="r")
    np.testing.assert_array_equal(root["responses/data"][...], session.responses.data)
    shown = np.flatnonzero(root["stimulus/first_row"][...] >= 0)
    first = int(root["stimulus/first_row"][int(shown[0])])
    frame = session.stimulus.film.read(int(shown[0]), 0, 1, session.stimulus.size)[0]
    np.testing.assert_array_equal(root["stimulus/frames"][first], frame)
    assert root.attrs["complete"] is True


def test_the_pyramid_holds_least_most_and_mean(tmp_path):
    session = open_session(write_folder(tmp_path / "s", seconds=95.0, n_neurons=4))
    root = zarr.open_group(str(convert(session, tmp_path / "m.zarr")), mode="r")
    data = session.responses.data.astype(np.float64)
    for level, step in (("1s", 30), ("10s", 300)):
        found = root[f"responses/pyramid/{level}"][...]
        assert len(found) == -(-len(data) // step)
        for row, values in enumerate(found):
            part = data[row * step : (row + 1) * step]
            expected = [part.min(axis=0), part.max(axis=0), part.mean(axis=0)]
            np.testing.assert_allclose(values.T, expected, rtol=1e-6)


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


def test_repeats_of_a_film_are_stored_once(tmp_path):
    root = write_folder(tmp_path / "s")
    data = root / "screen" / "data"
    shutil.copy(data / "00001.npy", data / "00004.npy")  # both 120 frames
    session = open_session(root)
    store = open_session(convert(session, tmp_path / "m.zarr"))
    same(session, store)
    stored = zarr.open_array(str(tmp_path / "m.zarr"), path="stimulus/frames")
    frames = sum(
        int(session.trials.n_slots[k])
        for k in range(len(session.trials))
        if session.stimulus.film.has(k)
    )
    assert stored.shape[0] == frames - 120


# -- stops and kills -----------------------------------------------------------------
class Stop(Exception):
    """Stops a conversion."""


class StopAfter:
    """A progress that stops at its nth call."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self, share: float) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise Stop


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(write, "SHARD_ROWS", 64)
    monkeypatch.setattr(write, "FRAME_SHARD", 64)


def test_it_goes_on_where_it_was_stopped(tmp_path, small_pieces):
    session = open_session(write_folder(tmp_path / "s"))
    whole = convert(session, tmp_path / "whole.zarr")
    store = tmp_path / "m.zarr"
    stops = 0
    while not store.exists():
        stops += 1
        try:
            convert(session, store, progress=StopAfter(stops))
        except Stop:
            with pytest.raises(SessionFormatError, match="was not finished"):
                open_session(tmp_path / "m.zarr.part")
    assert stops > 8
    same(session, open_session(store))
    for path in whole.rglob("*"):
        if path.is_file() and path.name != "zarr.json":
            assert (store / path.relative_to(whole)).read_bytes() == path.read_bytes()
    assert not (tmp_path / "m.zarr.part").exists()


def test_what_is_done_is_not_done_again(tmp_path, small_pieces, monkeypatch):
    session = open_session(write_folder(tmp_path / "s"))

    def half(share: float) -> None:
        if share > 0.3:
            raise Stop

    with pytest.raises(Stop):
        convert(session, tmp_path / "m.zarr", progress=half)
    done = (tmp_path / "m.zarr.part" / "journal.jsonl").read_text().count("\n") - 1
    written = []
    original = write._Writing._note

    def noted(self: object, name: str, digest: str) -> None:
        written.append(name)
        original(self, name, digest)

    monkeypatch.setattr(write._Writing, "_note", noted)
    convert(session, tmp_path / "m.zarr")
    hashes = zarr.open_group(str(tmp_path / "m.zarr")).attrs["hashes"]
    assert 0 < done < len(hashes)
    assert len(written) == len(hashes) - done


CHILD = """
import sys
from omnimouse_model.data.open import open_session
from omnimouse_model.data.store import write
write.SHARD_ROWS = write.FRAME_SHARD = 64
write.convert(
    open_session(sys.argv[1]), __import__("pathlib").Path(sys.argv[2]),
    progress=lambda share: print(share, flush=True),
)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")
def test_killed_at_any_point_it_is_never_taken_for_whole(tmp_path):
    source = write_folder(tmp_path / "s")
    session, store = open_session(source), tmp_path / "m.zarr"
    kills = 0
    for wanted in (1, 2, 5, 4, 7, 9, 100):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(source), str(store)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for count, _ in enumerate(child.stdout, start=1):
            if count == wanted:
                child.send_signal(signal.SIGKILL)
        child.stdout.close()
        child.wait()
        if store.exists():
            break
        kills += 1
        assert child.returncode == -signal.SIGKILL
        with pytest.raises(SessionFormatError, match="does not exist"):
            open_session(store)
        with pytest.raises(SessionFormatError, match="was not finished"):
            open_session(store.with_name("m.zarr.part"))
    assert kills >= 5
    same(session, open_session(store))
    verify(store, session)


def test_a_torn_journal_line_is_written_again(tmp_path, small_pieces):
    session = open_session(write_folder(tmp_path / "s"))

    def half(share: float) -> None:
        if share > 0.5:
            raise Stop

    with pytest.raises(Stop):
        convert(session, tmp_path / "m.zarr", progress=half)
    journal = tmp_path / "m.zarr.part" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    same(session, open_session(convert(session, tmp_path / "m.zarr")))


@pytest.mark.parametrize("kept", [0, 12])
def test_killed_while_its_journal_begins_it_begins_anew(kept, tmp_path):
    session = open_session(write_folder(tmp_path / "s"))
    with pytest.raises(Stop):
        convert(session, tmp_path / "m.zarr", progress=StopAfter(0))
    journal = tmp_path / "m.zarr.part" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:kept])
    same(session, open_session(convert(session, tmp_path / "m.zarr")))


def test_what_follows_a_torn_line_is_kept(tmp_path, small_pieces):
    session = open_session(write_folder(tmp_path / "s"))
    journal = tmp_path / "m.zarr.part" / "journal.jsonl"
    for calls in (4, 3):
        with pytest.raises(Stop):
            convert(session, tmp_path / "m.zarr", progress=StopAfter(calls))
        if calls == 4:
            journal.write_bytes(journal.read_bytes()[:-9])
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    names = [line["piece"] for line in lines[1:]]
    assert names == [f"responses/data/{64 * row}" for row in range(len(names))]


@pytest.mark.parametrize(
    "name", ["thesis.txt", "responses/data.mem", "stimulus.xlsx", "zarr.json", "zarr/0"]
)
def test_a_folder_that_is_no_begun_store_is_left_alone(name, tmp_path):
    session = open_session(write_folder(tmp_path / "s"))
    part = tmp_path / "m.zarr.part"
    mine = part / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(FileExistsError, match="no store that was begun"):
        convert(session, tmp_path / "m.zarr")
    if name != "zarr.json":  # beside a store of ours
        zarr.create_group(str(part), attributes={"format": "omses"})
        with pytest.raises(FileExistsError, match="no store that was begun"):
            convert(session, tmp_path / "m.zarr")
    assert mine.read_text() == "mine"


def test_what_was_begun_from_another_session_is_refused(tmp_path, small_pieces):
    first = open_session(write_folder(tmp_path / "a"))
    second = open_session(write_folder(tmp_path / "b", seed=9))

    def stop(share: float) -> None:
        if share > 0.2:
            raise Stop

    with pytest.raises(Stop):
        convert(first, tmp_path / "m.zarr", progress=stop)
    with pytest.raises(SessionFormatError, match="was begun from another session"):
        convert(second, tmp_path / "m.zarr")
    convert(first, tmp_path / "m.zarr")
    with pytest.raises(FileExistsError, match="is there already"):
        convert(first, tmp_path / "m.zarr")


def stop_at(least: float) -> Callable[[float], None]:
    """A progress that stops at a share."""

    def stop(share: float) -> None:
        if share >= least:
            raise Stop

    return stop


def test_a_stop_while_comparing_goes_on_with_comparing(
    tmp_path, small_pieces, monkeypatch
):
    session = open_session(write_folder(tmp_path / "s"))
    store, told = tmp_path / "m.zarr", []
    for share in (0.0, 0.6):
        with pytest.raises(Stop):
            convert(session, store, comparing=stop_at(share))
        assert not store.exists()
        with pytest.raises(SessionFormatError, match="was not finished"):
            open_session(store.with_name("m.zarr.part"))
        monkeypatch.setattr(write._Writing, "_note", None)  # nothing is written again
    convert(session, store, comparing=told.append)
    assert told[0] == 0.0 < told[-1]
    same(session, open_session(store))


def test_what_is_not_its_source_is_never_moved_and_is_written_anew(
    tmp_path, small_pieces
):
    session, store = open_session(write_folder(tmp_path / "s")), tmp_path / "m.zarr"
    with pytest.raises(Stop):
        convert(session, store, comparing=stop_at(0.0))
    part = store.with_name("m.zarr.part")
    path = part / "responses" / "data" / "c" / "2" / "0"
    sound = path.read_bytes()
    path.write_bytes(bytes([sound[0] ^ 1]) + sound[1:])
    with pytest.raises(SessionFormatError, match="is damaged"):
        convert(session, store, comparing=stop_at(2.0))
    assert not store.exists()
    convert(session, store, comparing=stop_at(2.0))
    assert (store / path.relative_to(part)).read_bytes() == sound
    assert not part.exists()


def test_a_stop_between_the_last_two_steps_is_no_dead_end(tmp_path, monkeypatch):
    session, store = open_session(write_folder(tmp_path / "s")), tmp_path / "m.zarr"
    sync = write._sync

    def stopped(*paths: Path) -> None:
        if paths == (tmp_path,):
            raise Stop
        sync(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(write, "_sync", stopped)
        with pytest.raises(Stop):
            convert(session, store)
    same(session, open_session(store))
    assert convert(session, store) == store
    assert not (store / "journal.jsonl").exists()
    with pytest.raises(FileExistsError, match="is there already"):
        convert(session, store)


def test_a_piece_is_on_the_disk_before_the_journal_says_so(
    tmp_path, small_pieces, monkeypatch
):
    session, synced = open_session(write_folder(tmp_path / "s")), set()
    sync, note = write._sync, write._Writing._note

    def synced_too(*paths: Path) -> None:
        synced.update(paths)
        sync(*paths)

    def noted(self: object, name: str, digest: str) -> None:
        array, _, first = name.rpartition("/")
        part = tmp_path / "m.zarr.part"
        place = f"{array}/c/{int(first) // 64}" if first.isdigit() else name
        files = [p for p in part.joinpath(place).rglob("*") if p.is_file()]
        assert files or name == "tables"
        assert synced.issuperset(files)
        note(self, name, digest)

    monkeypatch.setattr(write, "_sync", synced_too)
    monkeypatch.setattr(write._Writing, "_note", noted)
    convert(session, tmp_path / "m.zarr")
    small = [p for p in (tmp_path / "m.zarr" / "units").rglob("*") if p.is_file()]
    assert {p.relative_to(tmp_path / "m.zarr") for p in small} <= {
        p.relative_to(tmp_path / "m.zarr.part")
        for p in synced
        if p.is_relative_to(tmp_path / "m.zarr.part")
    }


def test_what_a_kill_left_of_a_file_is_cleared_away(tmp_path, small_pieces):
    session = open_session(write_folder(tmp_path / "s"))
    with pytest.raises(Stop):
        convert(session, tmp_path / "m.zarr", progress=stop_at(0.3))
    left = tmp_path / "m.zarr.part" / "responses" / "data" / "c" / f"0.{'a' * 32}"
    left.with_suffix(f"{left.suffix}.partial").write_text("half")
    convert(session, tmp_path / "m.zarr")
    assert not list(tmp_path.rglob("*.partial"))


def test_the_pyramid_unpacks_each_chunk_once(tmp_path, monkeypatch):
    source = write_folder(tmp_path / "s", seconds=150.0, mem=False)
    path = source / "responses" / "data.npy"
    values = np.load(path)
    values[40:100, 3], values[330:640, 5], values[700, 2] = np.nan, np.nan, np.inf
    np.save(path, values)
    decode, places = ShardedRows._decode, []

    def counted(self: ShardedRows, place: tuple[int, ...]) -> np.ndarray:
        places.append(place)
        return decode(self, place)

    monkeypatch.setattr(ShardedRows, "_decode", counted)
    store = convert(open_session(source), tmp_path / "m.zarr")
    assert sorted(places) == [(row, 0) for row in range(-(-4501 // 32))]
    for level, step in (("1s", 30), ("10s", 300)):
        found = zarr.open_array(str(store), path=f"responses/pyramid/{level}")[...]
        assert len(found) == -(-4501 // step)
        for row, bins in enumerate(found):
            part = values[row * step : (row + 1) * step].astype(np.float64)
            part[~np.isfinite(part)] = np.nan
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of bins where all is missing
                expected = [f(part, axis=0) for f in (np.nanmin, np.nanmax, np.nanmean)]
            np.testing.assert_allclose(bins.T, expected, rtol=1e-6)


# -- damage --------------------------------------------------------------------------
@pytest.fixture
def store(tmp_path):
    session = open_session(write_folder(tmp_path / "s"))
    return convert(session, tmp_path / "m.zarr")


def edit(path: Path, **changes: object) -> None:
    words = json.loads(path.read_text())
    words["attributes"].update(changes)
    path.write_text(json.dumps(words))


def test_unfinished_and_newer_stores_say_so(store):
    edit(store / "zarr.json", version=2)
    with pytest.raises(SessionFormatError, match=r"newer version \(2 > 1\)"):
        open_session(store)
    edit(store / "zarr.json", version=1, complete=False)
    with pytest.raises(SessionFormatError, match="was not finished"):
        open_session(store)


def test_a_missing_shard_is_named(store):
    (store / "responses/data/c/0/0").unlink()
    with pytest.raises(SessionFormatError, match="the piece 0/0 is missing"):
        open_session(store)


def test_flipped_bytes_are_found_by_their_checksum(store):
    path = store / "responses/data/c/0/0"
    stored = bytearray(path.read_bytes())
    stored[100] ^= 1
    path.write_bytes(stored)
    with pytest.raises(SessionFormatError, match="a checksum differs"):
        _ = open_session(store).responses.data
    stored[100] ^= 1
    stored[-2] ^= 1  # of the index
    path.write_bytes(stored)
    with pytest.raises(SessionFormatError, match="a checksum differs"):
        _ = open_session(store).window(3.0).responses


def test_small_tables_are_checked_as_well(store):
    (path,) = (store / "units/unit_id/c").rglob("0")
    stored = bytearray(path.read_bytes())
    stored[-6] ^= 1
    path.write_bytes(stored)
    with pytest.raises(SessionFormatError, match="is damaged"):
        open_session(store)


@pytest.mark.parametrize(
    "name",
    ["behaviour/treadmill/data", "units/unit_id", "responses/std", "trials/t_on"],
)
def test_a_missing_piece_of_a_small_table_is_not_read_as_zeros(name, store):
    (path,) = (p for p in (store / name / "c").rglob("*") if p.is_file())
    path.unlink()
    with pytest.raises(SessionFormatError, match=f"{Path(name).name}: the piece"):
        open_session(store)


def test_shapes_beyond_their_files_are_refused(store):
    """One shard that claims more chunks than its file has room to list."""
    for name, step in (("data", 1), ("pyramid/1s", 30), ("pyramid/10s", 300)):
        path = store / "responses" / name / "zarr.json"
        about = json.loads(path.read_text())
        rows = about["shape"][0] = 3 * 10**13 // step
        chunk = about["codecs"][0]["configuration"]["chunk_shape"][0]
        about["chunk_grid"]["configuration"]["chunk_shape"][0] = -(-rows // chunk) * (
            chunk
        )
        path.write_text(json.dumps(about))
    with pytest.raises(SessionFormatError, match="too short for its index"):
        open_session(store)


def test_a_chunk_that_claims_more_bytes_than_it_has_is_not_unpacked(store):
    import google_crc32c

    path = store / "responses/data/c/0/0"
    stored = bytearray(path.read_bytes())
    n_chunks = 4096 // 32
    index = np.frombuffer(stored[-(n_chunks * 16 + 4) : -4], "<u8").reshape(-1, 2)
    offset, length = map(int, index[0])
    end = offset + length - 4
    stored[offset + 12 : offset + 16] = (2**24).to_bytes(4, "little")
    checksum = google_crc32c.value(bytes(stored[offset:end]))
    stored[end : end + 4] = checksum.to_bytes(4, "little")
    path.write_bytes(stored)
    with pytest.raises(SessionFormatError, match="a piece is of another size"):
        open_session(store).responses.read(0, 10)


def test_verify_reads_the_pyramid_and_the_words(store):
    verify(store)
    path = store / "responses/pyramid/10s/c/0/0/0"
    sound = path.read_bytes()
    path.write_bytes(bytes([sound[0], sound[1] ^ 1]) + sound[2:])
    with pytest.raises(SessionFormatError, match="is damaged"):
        verify(store)
    path.write_bytes(sound)
    words = store / "trials" / "zarr.json"
    words.write_text(words.read_text().replace('"train"', '"trial"'))
    with pytest.raises(SessionFormatError, match="the tables: not what was written"):
        verify(store)


@pytest.mark.parametrize("stream", ["treadmill", "screen"])
def test_verify_compares_behaviour_and_films_with_the_source(stream, tmp_path):
    source = write_folder(tmp_path / "s")
    store = convert(open_session(source), tmp_path / "m.zarr")
    verify(store, open_session(source))
    names = {"treadmill": "data.mem", "screen": "data/00004.npy"}
    path = source / stream / names[stream]
    stored = bytearray(path.read_bytes())
    stored[-3] ^= 1
    path.write_bytes(stored)
    with pytest.raises(SessionFormatError, match=r"is not (what .* holds|the source)"):
        verify(store, open_session(source))


def test_a_store_that_differs_from_its_source_is_found(store):
    other = open_session(write_folder(store.with_name("other"), seed=12))
    with pytest.raises(SessionFormatError, match=r"is not what .*other holds"):
        verify(store, other)


# -- types and sizes -----------------------------------------------------------------
def retyped(source: Path, stream: str, dtype: str) -> Path:
    """A folder whose stream has its values in another type."""
    path = source / stream / "data.npy"
    np.save(path, np.load(path).astype(dtype))
    return source


@pytest.mark.parametrize(
    ("stream", "dtype"),
    [
        *(("responses", d) for d in ("uint16", "int8", "uint64", ">f4", ">i2")),
        ("eye_tracker", ">f8"),
    ],
)
def test_any_numbers_are_stored_read_and_compared(stream, dtype, tmp_path):
    folder = write_folder(tmp_path / "s", mem=False)
    session = open_session(retyped(folder, stream, dtype))
    store = convert(session, tmp_path / "m.zarr")
    verify(store, session)
    found, stored = (s.streams[stream].data for s in (session, open_session(store)))
    np.testing.assert_array_equal(stored, found)
    assert stored.dtype == found.dtype.newbyteorder("<")


@pytest.mark.parametrize("dtype", ["uint16", "int8", "uint32", ">f4", "float64"])
def test_frames_of_any_numbers_are_stored(dtype, tmp_path):
    session = open_session(write_folder(tmp_path / "s", frame_dtype=dtype))
    store = convert(session, tmp_path / "m.zarr")
    verify(store, session)
    film, size = session.stimulus.film, session.stimulus.size
    np.testing.assert_array_equal(
        open_session(store).stimulus.film.read(1, 0, 120, size),
        film.read(1, 0, 120, size),
    )


def recording(**more: object) -> dict[str, object]:
    responses = np.arange(900.0, dtype=np.float32).reshape(300, 3)
    return {"responses": responses, "rate_hz": 30.0, **more}


def test_large_frames_lie_in_small_chunks(tmp_path):
    video = np.arange(40, dtype=np.float32)[:, None, None] * np.ones((1, 900, 800))
    video = video.astype(np.float32)
    session = open_session(
        recording(video=video, video_times=1.0 + np.arange(40.0) / 10)
    )
    store = convert(session, tmp_path / "m.zarr")
    verify(store, session)
    stored = zarr.open_array(str(store), path="stimulus/frames")
    assert stored.chunks == (2, 900, 800)  # 5.8 MB; 32 of them are 92 MB
    assert stored.shards == (64, 900, 800)
    np.testing.assert_array_equal(stored[...], video)


@pytest.mark.parametrize("codec", CODECS)
def test_zeros_are_written_like_all_else(codec, tmp_path):
    video, times = np.zeros((64, 20, 30), np.uint8), 1.0 + np.arange(64.0) / 10
    video[-1] = 1  # 32 black frames are a chunk
    dark = recording(video=video, video_times=times)
    dark["responses"][:128] = 0.0
    for name, given in {
        "some": dark,
        "all": {**dark, "responses": np.zeros((9000, 3)), "video": video * 0},
    }.items():
        session = open_session(given)
        store = convert(session, tmp_path / f"{name}.zarr", codec)
        verify(store, session)
        same(session, open_session(store))


def test_what_a_store_cannot_hold_is_refused_before_it_is_begun(tmp_path, monkeypatch):
    video, times = np.zeros((2, 20, 30), np.float32), np.array([1.0, 4.0])
    session = open_session(recording(video=video, video_times=times))
    monkeypatch.setattr(write, "MOST_CHUNK_BYTES", 2000)
    with pytest.raises(SessionFormatError, match="frames of 2,400 bytes each"):
        convert(session, tmp_path / "m.zarr")
    monkeypatch.undo()
    monkeypatch.setattr(type(session.responses), "dtype", np.dtype("c8"))
    with pytest.raises(SessionFormatError, match="responses of complex64"):
        convert(session, tmp_path / "m.zarr")
    assert not list(tmp_path.iterdir())


def test_keys_that_are_no_words_are_stored_as_words(tmp_path):
    source = write_folder(tmp_path / "s", combined=False)
    path = source / "screen" / "meta" / "00001.yml"
    path.write_text(path.read_text() + "more: {2020-01-01: x, 3: [{2021-01-01: y}]}\n")
    session = open_session(source)
    store = convert(session, tmp_path / "m.zarr")
    verify(store, session)
    (stored,) = (e["more"] for e in open_session(store).trials.extra if "more" in e)
    assert stored == {"2020-01-01": "x", "3": [{"2021-01-01": "y"}]}


def test_films_are_read_once_to_be_told_apart_and_once_to_be_written(
    tmp_path, small_pieces, monkeypatch
):
    session = open_session(write_folder(tmp_path / "s"))
    film = type(session.stimulus.film)
    original, frames = film.read, []

    def counted(self: object, trial: int, first: int, stop: int, size: object):
        frames.append(stop - first)
        return original(self, trial, first, stop, size)

    monkeypatch.setattr(film, "read", counted)
    convert(session, tmp_path / "m.zarr")
    stored = zarr.open_array(str(tmp_path / "m.zarr"), path="stimulus/frames")
    assert sum(frames) == 2 * stored.shape[0]
