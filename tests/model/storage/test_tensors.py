import json
import os
import pickle
from pathlib import Path
from time import process_time
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from safetensors.torch import save_file

from omnimouse_model.errors import CheckpointError
from omnimouse_model.storage.tensors import read_safetensors, read_tensors


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\x80\x02.",  # takes a value from an empty stack
        b"\x80\x02q\x00.",  # names a value that is not there
        b"\x80\x02h\x07.",  # asks for a value without a name
        pickle.dumps(print, 2),
    ],
)
def test_named_tensors_are_read_and_other_programs_refused(tmp_path, program):
    torch.save({"weight": torch.arange(3)}, tmp_path / "a.pt")
    with ZipFile(tmp_path / "a.pt") as whole, ZipFile(tmp_path / "b.pt", "w") as wrong:
        for name in whole.namelist():
            is_program = name.endswith("data.pkl")
            wrong.writestr(name, program if is_program else whole.read(name))
    assert read_tensors(tmp_path / "a.pt")["weight"].tolist() == [0, 1, 2]
    with pytest.raises(CheckpointError, match=r"b\.pt is damaged or unsafe"):
        read_tensors(tmp_path / "b.pt")


def repacked(path: Path, program: bytes | None = None, **options: int) -> Path:
    """Return a copy of a file of PyTorch with another pickle, or packed in another way."""
    copy = path.with_name("b.pt")
    with ZipFile(path) as whole, ZipFile(copy, "w", **options) as wrong:
        for name in whole.namelist():
            is_program = name.endswith("data.pkl") and program is not None
            wrong.writestr(name, program if is_program else whole.read(name))
    return copy


def test_members_that_torch_never_compresses_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(10**6)}, tmp_path / "a.pt")
    copy = repacked(tmp_path / "a.pt", compression=ZIP_DEFLATED)
    assert copy.stat().st_size < 10_000
    with pytest.raises(CheckpointError, match="is compressed"):
        read_tensors(copy)


def test_nested_tuples_as_keys_are_refused_at_once(tmp_path):
    torch.save({"weight": torch.arange(3)}, tmp_path / "a.pt")
    nested = b"\x80\x02}K\x01" + b"2\x86" * 60 + b"K\x01s."
    before = process_time()
    with pytest.raises(CheckpointError, match="nests more than"):
        read_tensors(repacked(tmp_path / "a.pt", nested))
    assert process_time() - before < 10


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: torch.eye(3).to_sparse(), "not dense"),
        (lambda: torch.ones(1).expand(10**9), "claims more values"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 1.0, 0, torch.qint8), "unsafe|dense"),
    ],
)
@pytest.mark.filterwarnings("ignore:torch.quantize", "ignore:Sparse")
def test_only_dense_tensors_are_read(tmp_path, made, words):
    torch.save({"weight": made()}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=words):
        read_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "int64", "uint8", "bool", "int16"]
)
def test_safetensors_are_read_as_they_were_written(tmp_path, dtype):
    kind = getattr(torch, dtype)
    tensors = {"b": torch.arange(6).reshape(2, 3).to(kind), "a": torch.ones((), dtype=kind)}
    tensors["empty"] = torch.zeros((0, 4), dtype=kind)
    save_file(tensors, tmp_path / "a.safetensors", {"note": "1"})
    found, notes = read_safetensors(tmp_path / "a.safetensors")
    assert notes == {"note": "1"}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == kind


def safetensors(path: Path, header: object, data: bytes = bytes(16)) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(first: int, stop: int, shape: list[object], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, stop]}


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"a": 1},
        {"a": entry(0, 16, [5])},
        {"a": entry(0, 20, [5])},
        {"a": entry(-16, 0, [4])},
        {"a": entry(0, 16, [-2, -2])},
        {"a": entry(0, 16, [True, 4])},
        {"a": entry(0, 16, [2**62, 2**62])},
        {"a": entry(0, 16, [4], "F4096")},
        {"a": entry(0, 16, [4]), "b": entry(0, 16, [4])},
        {"a": entry(0, 16, [4]), "__metadata__": {"a": 1}},
        {"a": entry(0, 16, [4]), "__metadata__": 1},
    ],
)
def test_safetensors_that_claim_other_bytes_are_refused(tmp_path, header):
    path = safetensors(tmp_path / "a.safetensors", header)
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        read_safetensors(path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("n_bytes", [0, 3, 8, 20])
def test_safetensors_that_are_cut_off_are_refused(tmp_path, n_bytes):
    save_file({"a": torch.ones(9)}, tmp_path / "a.safetensors")
    os.truncate(tmp_path / "a.safetensors", n_bytes)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_safetensors(tmp_path / "a.safetensors")


def test_a_missing_file_is_named(tmp_path):
    for read in (read_tensors, read_safetensors):
        with pytest.raises(CheckpointError, match=r"none\.pt"):
            read(tmp_path / "none.pt")


def call(name: bytes, argument: bytes) -> bytes:
    """A pickle that calls a class by name with one argument."""
    return b"\x80\x02c" + name + b"\n" + argument + b"\x85R."


@pytest.mark.parametrize(
    "name",
    [b"builtins\nbytearray", b"__builtin__\nbytearray", b"torch\nTensor", b"builtins\nset"],
)
def test_classes_that_make_bytes_from_a_number_are_not_called(tmp_path, name):
    torch.save({}, tmp_path / "a.pt")
    huge = b"\x8a\x08" + (6 * 10**9).to_bytes(8, "little")
    with pytest.raises(CheckpointError, match=r"it asks for .*which a checkpoint does not need"):
        read_tensors(repacked(tmp_path / "a.pt", call(name, huge)))


def test_a_text_is_not_copied_without_end(tmp_path):
    torch.save({}, tmp_path / "a.pt")
    text = b"X" + (2**20).to_bytes(4, "little") + bytes(2**20) + b"q\0"
    calls = b"(c_codecs\nencode\nh\0X\6\0\0\0latin1\x86Re" * 1100
    with pytest.raises(CheckpointError, match="copies a text"):
        read_tensors(repacked(tmp_path / "a.pt", b"\x80\x02" + text + b"]" + calls + b"."))


@pytest.mark.parametrize("is_early", [False, True])
def test_a_list_is_not_copied_without_end(tmp_path, is_early):
    # Arguments of OrderedDict, before or after the list in them is filled.
    torch.save({"weight": torch.arange(3)}, tmp_path / "a.pt")
    fill = b"(" + b"K\x01K\x02\x86" * 100_000 + b"e"
    begin = b"\x80\x02]q\x00" + (b"\x85q\x010h\x00" + fill if is_early else fill + b"\x85q\x01")
    calls = b"(" + b"ccollections\nOrderedDict\nh\x01R" * 1000 + b"t."
    with pytest.raises(CheckpointError, match="copies lists"):
        read_tensors(repacked(tmp_path / "a.pt", begin + b"0" + calls))
