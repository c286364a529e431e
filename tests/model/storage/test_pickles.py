import collections
import datetime
import io
import os
import pathlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.pickles import load_pickled
from tests.hostile_pickles import CallingPickle, object_npy
from tests.memory import check_memory

HERE = datetime.timezone(datetime.timedelta(hours=2), "here")


def object_file(path: Path, payload: bytes) -> Path:
    path.write_bytes(object_npy(payload))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_what_suite2p_writes_is_read_as_it_was(tmp_path, protocol):
    stored = {
        "ypix": np.arange(5, dtype=np.int32),
        "lam": np.linspace(0, 1, 5, dtype=np.float32),
        "image": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">i2"),
        "flags": np.array([True, False]),
        "names": np.array(["ab", "c"]),
        "med": [3, 4.5],
        "scalar": np.float32(2.5),
        "tuple": (1, None, "x", b"\x00\xff"),
        "ordered": collections.OrderedDict(a=1),
        "path": pathlib.PurePosixPath("/data/raw"),
        "when": datetime.date(2024, 5, 1),
        "ran": datetime.datetime(2025, 5, 1, 8, tzinfo=HERE),
        "device": torch.device("cpu"),
        "nested": {"fs": 7.5, "again": [np.int64(3)]},
        "empty": np.zeros((0, 4)),
    }
    payload = pickle.dumps(stored, protocol=protocol)
    found = load_pickled(object_file(tmp_path / "ops.npy", payload))
    for name in ("ypix", "lam", "image", "big", "flags", "names", "empty"):
        np.testing.assert_array_equal(found[name], stored[name])
        assert found[name].dtype == stored[name].dtype
    assert found["med"] == [3, 4.5]
    assert found["scalar"] == 2.5
    assert found["tuple"] == [1, None, "x", b"\x00\xff"]
    assert found["ordered"] == {"a": 1}
    assert found["path"].replace("//", "/") == "/data/raw"
    assert found["device"] == "cpu"
    assert found["nested"] == {"fs": 7.5, "again": [3]}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("what", "args"),
    [
        (os.system, ("touch {made}",)),
        (eval, ("open('{made}', 'w')",)),
        (open, ("{made}", "w")),
        (getattr, (os, "system")),
        (np.load, ("{made}",)),
        (np.memmap, ("{made}", "u1", "w+", 0, (1,))),
        (np.ones, ((10**6,),)),
        (bytearray, (10**12,)),
        (range, (10**12,)),
    ],
)
def test_what_would_be_called_is_refused_and_named(tmp_path, what, args, protocol):
    made = tmp_path / "made"
    if what is getattr:
        payload = b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR."
    else:
        told = [a.format(made=made) if isinstance(a, str) else a for a in args]
        payload = pickle.dumps([{"a": CallingPickle(what, *told)}], protocol=protocol)
    with pytest.raises(SessionFormatError, match="refused for safety") as error:
        load_pickled(object_file(tmp_path / "stat.npy", payload))
    assert "stat.npy contains a pickled object '" in str(error.value)
    assert not made.exists()


def array_state(shape: object, descr: bytes, data: bytes) -> bytes:
    """A pickle of an array whose state says what it likes."""
    out = io.BytesIO()
    out.write(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n")
    out.write(b"cnumpy\nndarray\n(K\x00tU\x01b\x87R(K\x01")
    out.write(pickle.dumps(shape, protocol=2)[2:-1])
    out.write(b"cnumpy\ndtype\n(U" + bytes([len(descr)]) + descr + b"K\x00K\x01tR")
    out.write(b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89")
    out.write(b"T" + struct.pack("<I", len(data)) + data + b"tb.")
    return out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    "payload",
    [
        array_state((10**12,), b"f4", b"\0" * 8),
        array_state((-1,), b"f4", b"\0" * 8),
        array_state("no", b"f4", b"\0" * 8),
        array_state((1,) * 40, b"f4", b"\0" * 4),
        array_state((1,), b"O8", b"\0" * 8),
        array_state((1,), b"q9", b"\0" * 8),
        array_state((1,), b"V8", b""),
        b"c__builtin__\nbytes\n(J\xff\xff\xff\x7ftR.",
        b"cnumpy._core.numeric\n_frombuffer\n(J\xff\xff\xff\x7fNNNtR.",
        b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
        b"(" * 100_000 + b"t" * 100_000 + b".",
        b"(l" * 5000 + b"a" * 4999 + b".",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x.",
        b"P1\n.",
        b"\x82\x01.",
        b"cnumpy\ndtype\n}S'x'\nS'y'\nsb.",  # sets an attribute of what a name means
        b"",
        b"garbage",
        b"\x80\xff.",
    ],
)
def test_bombs_and_nonsense_end_in_the_typed_error(tmp_path, payload):
    with pytest.raises(SessionFormatError, match=r"x\.npy") as error:
        load_pickled(object_file(tmp_path / "x.npy", payload))
    assert error.value.code == "pickled"


def doubling_pickle(call: bytes, times: int, end: bytes) -> bytes:
    """What is made of two of the last one, so many times over."""
    made = [b"h" + bytes([k, 104, k]) + b"\x86" + end + b"\x940" for k in range(times)]
    steps = [call + step for step in made]
    return b"\x80\x04\x8c\x01x\x94" + b"".join(steps) + b"h" + bytes([times])


@pytest.mark.slow
@pytest.mark.parametrize(
    "payload",
    [
        b"\x80\x05\x96" + struct.pack("<Q", 2**31) + b".",
        doubling_pickle(b"cpathlib\nPurePosixPath\n", 27, b"R") + b".",
        doubling_pickle(b"", 60, b"").replace(b"\x80\x04", b"\x80\x04cdatetime\ndate\n", 1)
        + b"\x85R.",
        b"\x80\x02](" + b"N" * 10**6 + b"e\x940" + b"cbuiltins\nlist\nh\x00\x85R" * 2000 + b".",
        array_state((3,), b"(2,)i4", bytes(24)),
        array_state((3,), b"(1,i4", bytes(12)),
        array_state((10**12,), b"S0", b""),
        array_state((0, 10**30), b"i4", b""),
        array_state((int("9" * 4000), int("9" * 4000)), b"i4", b""),
    ],
)
def test_nothing_takes_more_memory_than_the_file_holds(tmp_path, payload):
    file = object_file(tmp_path / "x.npy", payload)

    def load() -> None:
        with pytest.raises(SessionFormatError, match=r"x\.npy") as error:
            load_pickled(file)
        assert error.value.code == "pickled"

    check_memory(load, 200)


def test_shared_containers_are_made_once(tmp_path):
    nested: Any = [1]
    for _ in range(25):
        nested = [nested, nested]  # 2**25 when written out
    payload = pickle.dumps(nested, protocol=2)
    found = load_pickled(object_file(tmp_path / "x.npy", payload))
    assert found[0] is found[1]


def test_plain_arrays_are_told_apart(tmp_path):
    np.save(tmp_path / "stat.npy", np.arange(4))
    with pytest.raises(SessionFormatError, match="plain array where a pickled"):
        load_pickled(tmp_path / "stat.npy")
    np.save(tmp_path / "stat.npy", np.zeros((0, 2)))
    assert load_pickled(tmp_path / "stat.npy") == []


def nested_tuple(times: int) -> bytes:
    """Opcodes that leave a tuple of two of the last one on the stack, so many times over."""
    steps = b"".join(b"q" + bytes([k]) + b"h" + bytes([k]) + b"\x86" for k in range(times))
    return b")" + steps


@pytest.mark.parametrize(
    "payload",
    [
        b"\x80\x02}" + nested_tuple(70) + b"K\x01s.",
        b"\x80\x02}(" + nested_tuple(70) + b"K\x01u.",
        b"(" + nested_tuple(70) + b"K\x01d.",
        b"\x80\x02ccollections\nOrderedDict\n](]" + nested_tuple(70) + b"aK\x01ae\x85R.",
        b"\x80\x02}G" + b"\x7f\xf8" + bytes(6) + b"K\x01s.",  # NaN is no key
    ],
)
def test_keys_are_text_or_whole_numbers_and_hash_at_once(tmp_path, payload):
    with pytest.raises(SessionFormatError, match="as a key"):
        load_pickled(object_file(tmp_path / "x.npy", payload))


@pytest.mark.parametrize(
    "payload",
    [
        b"\x80\x04\x8f(" + nested_tuple(70) + b"\x90.",
        b"\x80\x04(" + nested_tuple(70) + b"\x91.",
        b"\x80\x02cbuiltins\nset\n](" + nested_tuple(70) + b"e\x85R.",
    ],
)
def test_elements_of_sets_are_not_hashed(tmp_path, payload):
    # Shared parts are converted once; only their depth is refused.
    with pytest.raises(SessionFormatError, match="hold themselves"):
        load_pickled(object_file(tmp_path / "x.npy", payload))


@pytest.mark.parametrize("protocol", range(6))
def test_sets_are_lists(tmp_path, protocol):
    payload = pickle.dumps({"a": {1}, "b": frozenset("x"), "c": set()}, protocol=protocol)
    assert load_pickled(object_file(tmp_path / "x.npy", payload)) == {"a": [1], "b": ["x"], "c": []}


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".", "bits"),
        (b"\x80\x02" + b"(" * 100 + b"." * 5, "open collections"),
        (b"\x80\x04\x96" + struct.pack("<Q", 2**40) + b".", "cut short"),
        (b"\x80\x02cnumpy\n", "cut short"),
        (b"\x80\x02N", "cut short"),
        (b"\x01.", "no opcode 1"),
    ],
)
def test_opcodes_are_counted_before_anything_is_loaded(tmp_path, payload, words):
    with pytest.raises(SessionFormatError, match=words):
        load_pickled(object_file(tmp_path / "x.npy", payload))


def test_the_number_of_objects_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("omnimouse_model.storage.pickles._MAX_OPCODES", 100)
    with pytest.raises(SessionFormatError, match="more than 100 opcodes"):
        load_pickled(object_file(tmp_path / "x.npy", b"\x80\x02" + b"N0" * 60 + b"N."))
