"""Zarr arrays of both formats, and stores that attack their reader."""

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.zarr_arrays import (
    ZarrArray,
    ZarrGroup,
    array_to_write,
    create_group,
    group_to_write,
    update_attributes,
)

pytestmark = pytest.mark.filterwarnings("ignore:The data type")
VALUES = np.arange(7 * 5, dtype=np.float32).reshape(7, 5)


def refusal(path: Path, words: str, **options: Any) -> None:
    with pytest.raises(SessionFormatError, match=words) as caught:
        ZarrArray(path, **options).part()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.fixture
def plain(tmp_path) -> Path:
    """An array of format 3 of one chunk, packed with gzip."""
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=VALUES, chunks=(7, 5), compressors=GzipCodec())
    return path


def changed(path: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the metadata of an array."""
    about = json.loads((path / name).read_text())
    change(about)
    (path / name).write_text(json.dumps(about))


@pytest.mark.parametrize("dtype", ["bool", "i1", "u8", "f2", ">f8", "U3", "S4"])
def test_values_of_every_type_are_those_that_zarr_wrote(tmp_path, dtype):
    values = (VALUES % 2).astype(dtype)
    with np.errstate(all="ignore"):
        zarr.create_array(tmp_path / "a", shape=(7, 5), dtype=dtype, chunks=(2, 3))[:] = values
    found = ZarrArray(tmp_path / "a").part()
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("form", [2, 3])
def test_an_array_without_axes_has_one_value(tmp_path, form):
    array = zarr.create_array(tmp_path / "a", shape=(), dtype="f4", zarr_format=form, fill_value=2)
    assert ZarrArray(tmp_path / "a", formats=(2, 3)).part() == 2
    array[...] = 3
    assert ZarrArray(tmp_path / "a", formats=(2, 3)).part() == 3


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("shards", [None, (4, 6)])
def test_every_codec_of_format_3_is_read(tmp_path, number, shards):
    packed = (BloscCodec(), ZstdCodec(), GzipCodec(), Crc32cCodec())[number]
    array = zarr.create_array(
        tmp_path / "a",
        shape=(7, 5),
        dtype="f4",
        chunks=(2, 3),
        shards=shards,
        compressors=[packed, *([Crc32cCodec()] if shards and number < 3 else [])],
        filters=[TransposeCodec(order=(1, 0))],
        serializer=BytesCodec(endian="big"),
        fill_value=np.nan,
    )
    array[:5] = VALUES[:5]
    found = ZarrArray(tmp_path / "a")
    np.testing.assert_array_equal(found.part()[:5], VALUES[:5])
    assert np.isnan(found.read(6, 7)).all()
    rows = np.array([0, 1, 4])
    np.testing.assert_array_equal(found.pick(rows, slice(1, 4)), VALUES[rows, 1:4])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize(
    ("compressor", "filters"),
    [
        (numcodecs.Blosc(), None),
        (numcodecs.Zlib(), [numcodecs.Delta("<f4")]),
        (numcodecs.GZip(), [numcodecs.Shuffle(4)]),
        (numcodecs.LZ4(), None),
        (numcodecs.Zstd(), None),
        (None, None),
    ],
)
def test_every_codec_of_format_2_is_read(tmp_path, order, separator, compressor, filters):
    array = zarr.create_array(
        tmp_path / "a",
        shape=(7, 5),
        dtype="<f4",
        chunks=(2, 3),
        zarr_format=2,
        compressors=compressor,
        filters=filters,
        order=order,
        fill_value=3,
        chunk_key_encoding={"name": "v2", "separator": separator},
    )
    array[:5] = VALUES[:5]
    found = ZarrArray(tmp_path / "a", formats=(2,))
    np.testing.assert_array_equal(found.part()[:5], VALUES[:5])
    assert (found.read(6, 7) == 3).all()


def test_a_group_lists_its_arrays_and_attributes(tmp_path):
    root = create_group(tmp_path / "g", {"rate": 30})
    root.create_array("in/x", data=VALUES)
    group = ZarrGroup(tmp_path / "g")
    assert group.attributes == {"rate": 30}
    assert group.names() == ([], ["in"])
    assert group.names("in") == (["x"], [])
    assert group.has("in/x")
    update_attributes(tmp_path / "g" / "in", {"a": [1]})
    assert group.attributes_of("in") == {"a": [1]}
    array_to_write(tmp_path / "g", "in/x")[0] = 9
    group_to_write(tmp_path / "g").create_array("y", data=VALUES[0])
    assert group.array("in/x").read(0, 1).tolist() == [[9] * 5]
    assert group.array("y").part().tolist() == VALUES[0].tolist()


@pytest.mark.parametrize("name", ["..", "in/../..", "/tmp", "", "a//b", "..\\x"])
def test_no_name_leads_out_of_a_group(tmp_path, name):
    create_group(tmp_path / "g", {})
    with pytest.raises(SessionFormatError, match="has no array of the name"):
        ZarrGroup(tmp_path / "g").array(name)


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000 + "a", "a\0b"])
def test_a_name_that_cannot_exist_is_no_array(tmp_path, name):
    group = ZarrGroup(Path(create_group(tmp_path / "g", {}).store.root))
    assert not group.has(name)
    with pytest.raises(SessionFormatError, match="is no zarr array"):
        group.array(name)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("filters", [{"id": "pickle", "protocol": 5}], "codec 'pickle'"),
        ("filters", [{"id": "json2"}], "codec 'json2'"),
        ("filters", [{"id": "vlen-utf8"}], "codec 'vlen-utf8'"),
        ("compressor", {"id": "msgpack2"}, "codec 'msgpack2'"),
        ("compressor", {"id": ["blosc"]}, "codec"),
        ("filters", [{"id": "delta", "dtype": "|O"}], "codec 'delta'"),
        ("filters", [{"id": "shuffle", "elementsize": 10**9}], "elements of 1000000000 bytes"),
        ("dtype", "|O", "a type"),
        ("dtype", [["a", "|O"]], "a type"),
        ("dtype", "S2000000", "a type"),
        ("shape", [2**60, 2**60], "shape"),
        ("shape", [-1, 5], "shape"),
        ("shape", [True, 5], "shape"),
        ("shape", [2**40, 5], "chunks; at most"),
        ("chunks", [0, 5], "chunks"),
        ("chunks", [2**20, 2**20], "bytes; at most"),
        ("dimension_separator", "/../", "dimension_separator"),
        ("fill_value", {"a": 1}, "fill_value"),
    ],
)
def test_metadata_of_format_2_that_ask_for_more_are_refused(tmp_path, field, value, words):
    zarr.create_array(tmp_path / "a", data=VALUES, zarr_format=2)
    changed(tmp_path / "a", ".zarray", lambda about: about.update({field: value}))
    refusal(tmp_path / "a", words, formats=(2,))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("codecs", [{"name": "bytes"}, {"name": "numcodecs.pickle"}], "numcodecs.pickle"),
        ("codecs", [{"name": "vlen-utf8"}], "vlen-utf8"),
        ("codecs", [{"name": "bytes"}, {"name": "gzip"}, {"name": "gzip"}], "a codec twice"),
        ("codecs", [], "a codec None"),
        ("codecs", "bytes", "a name and a configuration|a codec"),
        ("data_type", "string", "a type 'string'|a type string"),
        (
            "data_type",
            {"name": "fixed_length_utf32", "configuration": {"length_bytes": -4}},
            "type",
        ),
        ("storage_transformers", [{"name": "x"}], "storage transformers"),
        ("virtual", {"name": "other"}, "no known extension"),
        ("chunk_grid", {"name": "rectilinear"}, "chunk"),
        ("chunk_key_encoding", {"name": "default", "configuration": {"separator": "../"}}, "key"),
        ("shape", [2**47, 2**47], "shape"),
        ("fill_value", "0xffffffffffffffffff", "too large|fill"),
        ("zarr_format", 2, "zarr format 2"),
        ("node_type", "group", "no zarr array"),
        ("attributes", [], "expected format 3"),
    ],
)
def test_metadata_of_format_3_that_ask_for_more_are_refused(plain, field, value, words):
    changed(plain, "zarr.json", lambda about: about.update({field: value}))
    refusal(plain, words)


def test_consolidated_metadata_are_not_read(tmp_path):
    root = create_group(tmp_path / "g", {})
    root.create_array("x", data=VALUES)
    planted = {"metadata": {"y": {"node_type": "array", "codecs": [{"name": "numcodecs.pickle"}]}}}
    changed(tmp_path / "g", "zarr.json", lambda about: about.update(consolidated_metadata=planted))
    assert ZarrGroup(tmp_path / "g").names() == (["x"], [])
    assert not ZarrGroup(tmp_path / "g").has("y")


@pytest.mark.parametrize("name", [".zarray", ".zgroup", ".zmetadata", "deep/.zattrs"])
def test_metadata_of_format_2_in_a_store_of_format_3_are_refused(tmp_path, name):
    create_group(tmp_path / "g", {})
    (tmp_path / "g" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "g" / name).write_text("{}")
    with pytest.raises(SessionFormatError, match="zarr format 2"):
        ZarrGroup(tmp_path / "g")


def test_an_array_of_two_formats_is_refused(plain):
    (plain / ".zarray").write_text("{}")
    refusal(plain, "zarr.json and .zarray", formats=(2, 3))


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_links_and_pipes_in_a_store_are_refused(tmp_path, kind):
    create_group(tmp_path / "g", {})
    place = tmp_path / "g" / "c"
    if kind == "pipe":
        os.mkfifo(place)
    else:
        (tmp_path / "secret").mkdir()
        place.symlink_to(tmp_path / "secret" if kind == "folder" else "/etc/passwd")
    with pytest.raises(SessionFormatError, match="no plain file"):
        ZarrGroup(tmp_path / "g")


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_chunk_that_becomes_a_link_or_a_pipe_is_not_read(plain, kind):
    array, chunk = ZarrArray(plain), plain / "c" / "0" / "0"
    chunk.rename(plain / "other")
    if kind == "pipe":
        os.mkfifo(chunk)
    else:
        chunk.symlink_to(plain / "other")
    with pytest.raises(SessionFormatError, match=r"cannot be read|no[t a]* plain file"):
        array.part()


@pytest.mark.parametrize(
    "content",
    [
        zlib.compress(bytes(2**24)),
        zlib.compress(bytes(140)) * 2,
        zlib.compress(bytes(139)),
        zlib.compress(VALUES.tobytes())[:-6],
        b"",
        bytes(2**17),
    ],
    ids=["bomb", "two", "short", "torn", "empty", "long"],
)
def test_a_deflated_chunk_has_the_declared_size_or_is_refused(plain, content):
    (plain / "c" / "0" / "0").write_bytes(content)
    refusal(plain, "is damaged")


@pytest.mark.parametrize("codec", [numcodecs.Blosc(), numcodecs.Zstd(), numcodecs.LZ4()])
def test_a_chunk_of_another_size_is_not_unpacked(tmp_path, codec):
    zarr.create_array(tmp_path / "a", data=VALUES, zarr_format=2, compressors=codec)
    (tmp_path / "a" / "0.0").write_bytes(bytes(codec.encode(bytes(2**20))))
    refusal(tmp_path / "a", "another size", formats=(2,))
    # A header that lies: the size of the values, and bytes of far more.
    packed = bytearray(codec.encode(VALUES.tobytes()))
    (tmp_path / "a" / "0.0").write_bytes(bytes(packed[: len(packed) // 2]))
    refusal(tmp_path / "a", "is damaged", formats=(2,))


def test_a_file_that_shrinks_is_one_line(plain):
    array, chunk = ZarrArray(plain, is_whole=True), plain / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:10])
    with pytest.raises(SessionFormatError, match="changed"):
        array.part()
    with pytest.raises(SessionFormatError, match="changed"):
        array.check()


def test_a_missing_piece_of_a_whole_array_is_an_error(plain):
    (plain / "c" / "0" / "0").unlink()
    assert (ZarrArray(plain).part() == 0).all()
    refusal(plain, "the piece c/0/0 is missing", is_whole=True)


def test_texts_beyond_unicode_are_refused(tmp_path):
    zarr.create_array(tmp_path / "a", data=np.array(["ab"]), compressors=None)
    (tmp_path / "a" / "c" / "0").write_bytes(b"\xff" * 8)
    refusal(tmp_path / "a", "no character")


def test_more_values_than_fit_into_memory_are_not_read(plain):
    huge = {"shape": [2**20, 2**20], "chunk_grid": {"name": "regular"}}
    huge["chunk_grid"]["configuration"] = {"chunk_shape": [2**13, 2**13]}
    changed(plain, "zarr.json", lambda about: about.update(huge))
    refusal(plain, "bytes in this part; at most")


@pytest.mark.parametrize("content", [bytes(68), b"[" * 60_000, b'{"zarr_format": 3}'])
def test_metadata_that_zarr_would_read_are_checked_before_arrays_are_made(tmp_path, content):
    create_group(tmp_path / "s", {})
    zarr.create_array(tmp_path / "s" / "a", data=VALUES)
    (tmp_path / "s" / "a" / "zarr.json").write_bytes(content)
    with pytest.raises(SessionFormatError, match="zarr"):
        group_to_write(tmp_path / "s").create_array("a", data=VALUES)


def test_metadata_that_zarr_itself_refuses_names_the_array(tmp_path):
    create_group(tmp_path / "g", {}).create_array("x", data=np.zeros(4))
    path = tmp_path / "g" / "x" / "zarr.json"
    fields = json.loads(path.read_text())
    fields["codecs"][-1] = {"name": "blosc"}
    path.write_text(json.dumps(fields))
    with pytest.raises(SessionFormatError, match=r"x/zarr\.json is refused by zarr: .*blosc"):
        array_to_write(tmp_path / "g", "x")
