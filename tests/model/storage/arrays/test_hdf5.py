"""HDF5 files: compression that is not installed, names that lead through links."""

import gc
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage import byte_source
from omnimouse_model.storage.arrays import hdf5, hdf5_chunks, hdf5_heads
from omnimouse_model.storage.arrays.hdf5 import Hdf5, Hdf5Rows
from omnimouse_model.storage.byte_source import BlockFile, Budget


@pytest.fixture
def path(tmp_path):
    return tmp_path / "values.h5"


@pytest.mark.slow
def test_filters_of_hdf5plugin_are_used(path):
    import hdf5plugin

    values = np.arange(3000).reshape(300, 10)
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=values, **hdf5plugin.Zstd())
    dataset = Hdf5(BlockFile(path)).dataset("/values")
    np.testing.assert_array_equal(dataset[()], values)


def test_a_missing_filter_is_named_with_its_package(path, monkeypatch):
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=np.zeros((9, 2)), compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    file = Hdf5(BlockFile(path))
    with pytest.raises(SessionFormatError, match=r"/values .* filter .*\(1\)") as caught:
        file.dataset("/values")
    assert caught.value.code == "missing_filter"
    assert "pip install hdf5plugin" in caught.value.hint


def test_a_dataset_without_values_counts_as_missing(path):
    with h5py.File(path, "w") as file:
        file["nothing"] = h5py.Empty("f8")
    file = Hdf5(BlockFile(path))
    assert file.find("nothing") is None
    assert file.find("nothing", is_empty_kept=True).shape is None
    with pytest.raises(SessionFormatError, match="has no dataset nothing"):
        file.table("nothing")


def test_a_file_that_is_exchanged_after_its_check_is_not_the_one_that_is_read(path, monkeypatch):
    for name, value in ((path, 1), (path.with_name("other.h5"), 2)):
        with h5py.File(name, "w") as file:
            file["values"] = np.full(3, value)
    before = h5py.File

    def exchanged(*given, **options):
        path.with_name("other.h5").replace(path)
        return before(*given, **options)

    file = Hdf5(BlockFile(path))
    monkeypatch.setattr(h5py, "File", exchanged)
    with suppress(SessionFormatError):
        np.testing.assert_array_equal(file.root["values"], [1, 1, 1])


def test_an_open_hdf5_file_has_one_descriptor(path):
    with h5py.File(path, "w") as file:
        file["values"] = np.arange(3)
    file = Hdf5(BlockFile(path))
    assert file.root["values"].shape == (3,)
    # Of this file alone: others of the process may be closed meanwhile.
    places = [place.resolve() for place in Path("/dev/fd").iterdir()]
    assert places.count(path.resolve()) == 1


def test_names_lead_through_links_of_the_file_alone(path):
    with h5py.File(path, "w") as file:
        file["group/values"] = np.arange(3)
        file["group/up"] = h5py.SoftLink("/near/values")
        file["near"] = h5py.SoftLink("group")
        file["away"] = h5py.ExternalLink("other.h5", "/values")
        file["behind"] = h5py.SoftLink("/away")
    with h5py.File(path.with_name("other.h5"), "w") as file:
        file["values"] = np.arange(5)
    file = Hdf5(BlockFile(Path(path)))
    assert [item.name for item in file.objects()] == ["/group", "/group/values"]
    assert file.outside == {"/away": "other.h5"}
    assert file.find("/group/up").name == "/group/values"
    assert file.find("up", file.find("near")).name == "/group/values"
    assert file.find("/group/values/nothing") is None
    for name in ("away", "behind", "/behind/values"):
        with pytest.raises(SessionFormatError, match=r"/away lies in other\.h5"):
            file.find(name)


def test_texts_are_read_in_blocks_and_equal_ones_are_one_object(path, monkeypatch):
    monkeypatch.setattr(hdf5, "_MOST_TEXTS", 7)
    words = np.array([["left", "right"], ["left", "ä"]] * 40, object)
    with h5py.File(path, "w") as file:
        file.create_dataset("words", data=words, dtype=h5py.string_dtype())
    found = Hdf5(BlockFile(path)).table("/words")
    assert found.shape == (80, 2)
    assert [text.decode() for text in found[78:].reshape(-1)] == ["left", "right", "left", "ä"]
    assert len({id(text) for text in found.reshape(-1)}) == 3


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize(
    "options",
    [
        *({}, {"chunks": (400,)}, "compact"),
        *({"compression": name} for name in ("gzip", "lzf", 32015, 32004, 307)),
        {"compression": 32008, "compression_opts": (0, 2)},
    ],
)
def test_texts_of_every_storage_are_read(path, libver, options):
    import hdf5plugin  # noqa: F401  # registers its filters

    words, kind = [f"word {k % 99}" for k in range(1000)], h5py.string_dtype()
    with h5py.File(path, "w", libver=libver, userblock_size=512) as file:
        if options == "compact":
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_layout(h5py.h5d.COMPACT)
            space, stored = h5py.h5s.create_simple((1000,)), h5py.h5t.py_create(kind, logical=True)
            made = h5py.Dataset(h5py.h5d.create(file.id, b"words", stored, space, plan))
        else:
            # HDF5 leaves out the shuffle of texts, and says so of each chunk.
            shuffle = "compression" in options
            made = file.create_dataset("words", (1000,), kind, shuffle=shuffle, **options)
        made[:] = words
        made.attrs["names"] = words[:7]
        made.attrs["about"] = "a" * 9000
    file = Hdf5(BlockFile(path))
    assert [text.decode() for text in file.table("/words")] == words
    assert list(file.attribute(file.find("words"), "names")) == words[:7]
    assert file.attribute(file.find("words"), "about") == "a" * 9000


@pytest.mark.parametrize("name", ["list", "alone", "packed", "attribute"])
def test_the_length_of_a_text_is_read_before_the_text(path, name, monkeypatch):
    # HDF5 takes the memory of the length that is stored, here of 3.7 GB, and clears it.
    kind, options = h5py.string_dtype(), {"chunks": (4,), "compression": "gzip"}
    with h5py.File(path, "w") as file:
        file.create_dataset("list", data=["x" * 11] * 4, dtype=kind)
        file.create_dataset("packed", data=["x" * 11] * 4, dtype=kind, **options)
        file.create_dataset("alone", data="x" * 11, dtype=kind)
        file.attrs["attribute"] = "x" * 11
        stored = file["packed"].id.read_direct_chunk((0,))[1]
        wrong = bytearray(zlib.decompress(stored))
        wrong[3] = 0xDD
        file["packed"].id.write_direct_chunk((0,), zlib.compress(wrong))
    data, length = bytearray(path.read_bytes()), (11).to_bytes(4, "little")
    for at in (k for k in range(len(data)) if data.startswith(length, k)):
        data[at + 3] = 0xDD
    path.write_bytes(data)
    # What HDF5 would do with it is not tried.
    monkeypatch.setattr(hdf5_chunks.Chunks, "read", None)
    file = Hdf5(BlockFile(path))
    with pytest.raises(SessionFormatError, match=rf"{name}.* has a text of 3,707,764,747 bytes"):
        file.attribute(file.root, name) if name == "attribute" else file.table(f"/{name}")


def test_a_chunk_of_texts_that_is_too_short_is_refused(path):
    # HDF5 tells LZF nothing of the size of texts, and would read beyond its end.
    with h5py.File(path, "w") as file:
        made = file.create_dataset(
            "words", data=["a"] * 8, chunks=(8,), dtype=h5py.string_dtype(), compression="lzf"
        )
        made.id.write_direct_chunk((0,), b"\x02abc")
    with pytest.raises(SessionFormatError, match="holds less than the 128 bytes"):
        Hdf5(BlockFile(path)).table("/words")


@pytest.mark.parametrize("n_attributes", [9, 40, 700])
def test_many_attributes_are_read_from_their_heap(path, n_attributes, monkeypatch):
    with h5py.File(path, "w", libver="latest", userblock_size=512) as file:
        for number in range(n_attributes):
            file.attrs[f"a{number}"] = [f"text {number}", "ä" * number]
        file.attrs["number"] = np.arange(50)
        file.attrs["long"] = "x" * 2**21
    file = Hdf5(BlockFile(path))
    for number in range(0, n_attributes, 1 + n_attributes // 20):
        found = file.attribute(file.root, f"a{number}")
        assert found.tolist() == [f"text {number}", "ä" * number]
    assert file.attribute(file.root, "number").tolist() == list(range(50))
    # HDF5 takes the memory of a text before anybody sees it.
    monkeypatch.setattr(h5py.AttributeManager, "__getitem__", None)
    with pytest.raises(SessionFormatError, match=r"\(long\) has a text of 2,097,152 bytes"):
        file.attribute(file.root, "long")


@pytest.mark.parametrize("change", ["large", "tree", "heap", "row", "node"])
def test_attributes_whose_texts_cannot_be_found_for_sure_are_refused(path, change):
    with h5py.File(path, "w", libver="latest") as file:
        for number in range(300):
            file.attrs[f"a{number}"] = "x" * 11
        if change == "large":  # it lies outside of the heap's blocks
            file.attrs["large"] = np.zeros(8000)
    opened = Hdf5(BlockFile(path))
    read_at, marks = opened._read_at, {"tree": b"BTLF", "heap": b"FRHP", "row": b"FHIB"}
    mark = marks.get(change, b"none")

    def changed(*place: int) -> bytes:
        data = read_at(*place).replace(mark, b"????")
        if change == "node" and data[:4] == b"BTHD":  # as much memory as the file says
            data = data[:6] + (2**31).to_bytes(4, "little") + data[10:]
        return data

    opened._read_at = changed
    with pytest.raises(SessionFormatError, match=r"a7|damaged"):
        opened.attribute(opened.root, "a7")


def test_more_attributes_than_are_read_say_how_to_write_them(path, monkeypatch):
    monkeypatch.setattr(hdf5_heads, "_MOST_NODES", 5)
    for version in ("latest", "earliest"):
        own = path.with_name(f"{version}.h5")
        with h5py.File(own, "w", libver=version) as file:
            for number in range(300):
                file.attrs[f"a{number}"] = "x"
        opened = Hdf5(BlockFile(own))
        if version == "earliest":
            assert opened.attribute(opened.root, "a7") == "x"
        else:
            with pytest.raises(SessionFormatError, match=r"more attributes.*libver='earliest'"):
                opened.attribute(opened.root, "a7")


def test_attributes_that_are_long_together_are_refused(path, monkeypatch):
    # A file can name the same bytes for each of them.
    monkeypatch.setattr(hdf5_heads, "_MOST_HEAD", 2**16)
    with h5py.File(path, "w", libver="latest") as file:
        for number in range(300):
            file.attrs[f"a{number}"] = np.zeros(50)
        file.attrs["text"] = "x" * 11
    opened = Hdf5(BlockFile(path))
    with pytest.raises(SessionFormatError, match="too long together"):
        opened.attribute(opened.root, "text")


def test_the_texts_of_an_attribute_are_counted_together(path):
    # All of them could be one text of the file, of which HDF5 makes as many copies.
    with h5py.File(path, "w") as file:
        file.attrs["long"] = ["x" * 2**17] * 9
    file = Hdf5(BlockFile(path))
    with pytest.raises(SessionFormatError, match=r"/ \(long\) has texts of 1,179,648 bytes"):
        file.attribute(file.root, "long")


def test_parts_of_any_length_inside_records_are_refused(path):
    record = np.dtype([("time", "f8"), ("name", h5py.string_dtype())])
    with h5py.File(path, "w") as file:
        file.create_dataset("records", (3,), record)
        file.attrs.create("one", (1.0, "name"), dtype=record)
    file = Hdf5(BlockFile(path))
    with pytest.raises(SessionFormatError, match="parts that are not read"):
        file.dataset("/records")
    with pytest.raises(SessionFormatError, match="parts that are not read"):
        file.attribute(file.root, "one")


def test_rows_that_refer_to_one_long_text_are_counted(path, monkeypatch):
    monkeypatch.setattr(byte_source, "MAX_TEXT_BYTES", 10_000)
    with h5py.File(path, "w") as file:
        file.create_dataset("few", data=["b" * 1000] * 9, dtype=h5py.string_dtype())
        file.create_dataset("many", data=["b" * 1000] * 9, dtype=h5py.string_dtype())
    file = Hdf5(BlockFile(path))
    assert len(file.table("/few")) == len(file.table("/few")) == 9
    with pytest.raises(SessionFormatError, match="/many and the parts read before it unpack"):
        file.table("/many")


@pytest.mark.parametrize("kind", ["texts", "numbers"])
def test_all_tables_of_a_file_share_one_budget(path, monkeypatch, kind):
    with h5py.File(path, "w") as file:
        for name in "abc":
            if kind == "texts":
                data = [name * k for k in range(1, 100)]  # 4,950 bytes and 99 times 8
                file.create_dataset(name, data=data, dtype=h5py.string_dtype())
            else:
                file.create_dataset(name, shape=(1000,), dtype="f8", compression="gzip")
    file = Hdf5(BlockFile(path))
    file._budget = file._texts_budget = Budget(path, most=16_000)
    for name in "aaabb":  # charged once each
        file.table(f"/{name}")
    with pytest.raises(SessionFormatError, match=r"at most 16,000 bytes are read"):
        file.table("/c")


def test_small_reads_decode_a_chunk_once_and_look_up_each_dataset_once(path, monkeypatch):
    first, second = np.arange(400.0).reshape(40, 10), -np.arange(400.0).reshape(40, 10)
    with h5py.File(path, "w") as file:
        options = {"chunks": (16, 6), "compression": "gzip", "shuffle": True}
        file.create_dataset("a", data=first, **options)
        file.create_dataset("b", data=second, **options)
        file.create_dataset("c", shape=(40, 10), dtype="f4", fillvalue=7, **options)[0:2] = 1
    decoded, before = [], hdf5_chunks.zlib.decompressobj
    monkeypatch.setattr(hdf5_chunks.zlib, "decompressobj", lambda: decoded.append(1) or before())
    file = Hdf5(BlockFile(path))
    a, b, c = (file.dataset(f"/{name}") for name in "abc")
    for start in range(0, 37):
        rows = slice(start, start + 3)
        np.testing.assert_array_equal(file.read(a, rows), first[rows])
        np.testing.assert_array_equal(file.read(b, (rows, slice(4, 9))), second[rows, 4:9])
    assert len(decoded) == 12
    np.testing.assert_array_equal(file.read(c, (slice(0, 40), 3)), [1] * 2 + [7] * 38)


def test_a_chunk_larger_than_the_saved_ones_is_decoded_once_for_its_rows(path, monkeypatch):
    monkeypatch.setattr(hdf5_chunks, "_RECENT_BYTES", 1000)
    values = np.arange(4000.0).reshape(400, 10)
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=values, chunks=(100, 10), compression="gzip")
        file.create_dataset("times", data=values[:, 0], chunks=(100,), compression="gzip")
    decoded, before = [], hdf5_chunks.zlib.decompressobj
    monkeypatch.setattr(hdf5_chunks.zlib, "decompressobj", lambda: decoded.append(1) or before())
    file = Hdf5(BlockFile(path))
    a, times = file.dataset("/a"), file.dataset("/times")
    for start in range(0, 400, 20):
        np.testing.assert_array_equal(
            file.read(a, slice(start, start + 20))[:, 0], values[start : start + 20, 0]
        )
        np.testing.assert_array_equal(
            file.read(times, slice(start, start + 20)), values[start : start + 20, 0]
        )
    assert len(decoded) == 8


def test_a_filter_of_an_unknown_number_is_not_looked_up(path, monkeypatch):
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=np.zeros((9, 2)), compression="gzip")
    asked = []
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: asked.append(code) or True)
    monkeypatch.setattr(hdf5_chunks, "_LENGTHS", {})
    with pytest.raises(SessionFormatError, match=r"filter .*\(1\), which is not read"):
        Hdf5(BlockFile(path)).dataset("/values")
    assert not asked


def _filters():
    import hdf5plugin

    yield {"compression": "gzip"}
    yield {"compression": "gzip", "shuffle": True, "fletcher32": True}
    yield {"compression": "lzf"}
    for coder in (hdf5plugin.Blosc, hdf5plugin.LZ4, hdf5plugin.Zstd, hdf5plugin.BZip2):
        yield dict(coder())
    yield dict(hdf5plugin.Bitshuffle())


PARTS = (
    (),
    slice(3, 250),
    (slice(None), slice(2, 9)),
    7,
    (-1, 4),
    slice(900, 999),
    np.array([1, 5]),
)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, *_filters()], ids=lambda options: str(options)[:50])
@pytest.mark.parametrize("kind", ["f4", ">i2", "f8"])
def test_chunks_are_read_as_h5py_reads_them(path, options, kind):
    values = np.random.default_rng(0).integers(-999, 999, (310, 17)).astype(kind)
    with h5py.File(path, "w") as file:
        written = file.create_dataset(
            "v", values.shape, kind, chunks=(40, 6), fillvalue=3, **options
        )
        written[:200] = values[:200]
        expected = written[()]
    file = Hdf5(BlockFile(path))
    for part in PARTS:
        found = file.read(file.dataset("/v"), part)
        np.testing.assert_array_equal(found, expected[part], strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("options", list(_filters()), ids=lambda options: str(options)[:50])
@pytest.mark.parametrize("n_bytes", [8, 2**24], ids=["less", "more"])
def test_no_chunk_decodes_to_another_length_than_it_declares(path, options, n_bytes, tmp_path):
    """HDF5 takes the memory that a longer chunk asks for, and reads beyond a shorter one."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        zeros = np.zeros(n_bytes, "u1")
        other = file.create_dataset("v", data=zeros, chunks=zeros.shape, **options)
        mask, data = other.id.read_direct_chunk((0,))
    with h5py.File(path, "w") as file:
        made = file.create_dataset("v", (1000,), "u1", chunks=(1000,), **options)
        made.id.write_direct_chunk((0,), data, mask)
    file = Hdf5(BlockFile(path))
    with pytest.raises(SessionFormatError, match=r"v\b.*(at \(0,\) holds|cannot be read)"):
        file.read(file.dataset("/v"), slice(0, 10))


def test_of_chunks_without_filters_those_that_are_not_read_are_not_looked_at(path):
    with h5py.File(path, "w") as file:
        made = file.create_dataset("v", (5_000_000,), "u1", chunks=(10_000,))
        made[:20_000] = 1
        made.id.write_direct_chunk((30_000,), bytes([2]) * 9_999)
    file = Hdf5(BlockFile(path))
    assert file.read(file.dataset("/v"), slice(19_999, 20_003)).tolist() == [1, 0, 0, 0]
    # HDF5 would read beyond its memory.
    assert file.read(file.dataset("/v"), slice(39_998, 40_001)).tolist() == [2, 0, 0]
    # When many were read, the list of all is made, and HDF5 reads the others.
    file.read(file.dataset("/v"), slice(40_000, 90_000))
    with pytest.raises(SessionFormatError, match="shorter than it must be"):
        file.read(file.dataset("/v"), slice(100_000, 140_000))


def test_a_dataset_of_many_chunks_that_were_never_written_is_refused(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("v", (90_000,), "f8", chunks=(1,))
        file.create_dataset("w", (2_000_000,), "f8", chunks=(1,))
    file = Hdf5(BlockFile(path))
    with pytest.raises(SessionFormatError, match=r"90,000 pieces .*; at most 10,000"):
        file.table("/v")
    with pytest.raises(SessionFormatError, match=r"2,000,000 pieces .*; at most 1,000,000"):
        file.table("/w")


def test_more_chunks_than_are_read_at_once_give_the_same_values(path, monkeypatch):
    monkeypatch.setattr(hdf5_chunks, "_MOST_AT_ONCE", 5)
    values = np.arange(700).reshape(70, 10)
    with h5py.File(path, "w") as file:
        file.create_dataset("v", data=values, chunks=(7, 3))
    np.testing.assert_array_equal(Hdf5(BlockFile(path)).table("/v"), values)


@pytest.mark.parametrize("kind", ["text", "type", "attribute"])
def test_a_value_alone_is_bounded_before_it_is_converted(path, monkeypatch, kind):
    monkeypatch.setattr(hdf5, "SCALAR_BYTES", 100)
    monkeypatch.setattr(byte_source, "LONGEST_TEXT", 100)
    with h5py.File(path, "w") as file:
        file["name"] = "x" * 101
        file.create_dataset("times", (3,), np.dtype((np.float32, (3,))))
        file.attrs["unit"] = np.zeros(30)
    found = Hdf5(BlockFile(path))
    read = {
        "text": lambda: found.table("name"),
        "type": lambda: found.table("times"),
        "attribute": lambda: found.attribute(found.root, "unit"),
    }[kind]
    with pytest.raises(SessionFormatError) as refused:
        read()
    assert refused.value.code == ("unreadable" if kind == "type" else "too_large")


def test_groups_that_are_too_deep_are_told_by_the_limit(path, monkeypatch):
    monkeypatch.setattr(hdf5, "_DEEPEST", 2)
    with h5py.File(path, "w") as file:
        file["a/b/c/d/e"] = 1.0
    with pytest.raises(SessionFormatError, match=r"has more than 2 levels of groups$"):
        list(Hdf5(BlockFile(path)).objects())


def _with_holes(path: Path, changes: dict[bytes, int], n_bytes: int = 2**31) -> None:
    """Make a file longer by a hole, and let what a mark names state that it fills it."""
    content = path.read_bytes()
    with path.open("r+b") as stream:
        stream.truncate(n_bytes)
        stream.seek(40)
        stream.write(n_bytes.to_bytes(8, "little"))  # the end, as the first version has it
        for mark, size in changes.items():
            at = content.index(mark) + 8
            stream.seek(at)
            stream.write((n_bytes - len(content)).to_bytes(size, "little"))


@pytest.mark.parametrize(
    "mark", [b"GCOL", b"HEAP", b"\1\0\1\0\1\0\0\0"], ids=["texts", "names", "head"]
)
def test_gigabytes_that_only_holes_have_are_not_taken(path, mark):
    with h5py.File(path, "w", libver="earliest") as file:
        file.create_group("group")
        file.attrs["unit"] = "mV"
    _with_holes(path, {mark: 4 if mark[0] == 1 else 8})
    file = Hdf5(BlockFile(path))
    with pytest.raises(SessionFormatError, match=r"states 2,\d+,\d+,\d+ bytes; at most"):
        assert [file.attribute(item, "unit") for item in (file.root, *file.objects())]


@pytest.mark.parametrize("options", [{}, {"chunks": (300, 2)}, {"compression": "gzip"}])
def test_values_of_a_file_with_holes_are_read_at_any_size(path, options, monkeypatch):
    values = np.arange(3000.0).reshape(300, 10)
    with h5py.File(path, "w", libver="earliest") as file:
        file.create_dataset("values", data=values, **options)
        file.create_dataset("words", data=["a", "b"], dtype=h5py.string_dtype())
    _with_holes(path, {})
    monkeypatch.setattr(hdf5._Pieces, "most", 4096)
    file = Hdf5(BlockFile(path))
    np.testing.assert_array_equal(Hdf5Rows(file, "values").read(0, 300), values)
    assert list(file.table("/words")) == [b"a", b"b"]


@pytest.mark.filterwarnings("error")
def test_a_file_with_holes_is_closed_with_its_last_user(path):
    with h5py.File(path, "w", libver="earliest") as file:
        file.create_dataset("values", data=np.zeros(3))
    _with_holes(path, {})
    file = Hdf5(BlockFile(path))
    assert file.table("values").shape == (3,)
    del file
    gc.collect()  # a stream that is left open warns
