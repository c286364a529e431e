"""Published weights: tensors of any program are read, and nothing of it is executed."""

import collections
import json
import os
import pickle
import sys
import types
from pathlib import Path
from time import process_time
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from omnimouse_model.errors import CheckpointError
from omnimouse_model.storage.tensors import read_published, read_safetensors, read_tensors


def saved(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    return path


def repacked(path: Path, program: bytes | None = None, **options: int) -> Path:
    """Return a copy of a file of PyTorch with another pickle, or packed in another way."""
    copy = path.with_name("b.pt")
    with ZipFile(path) as whole, ZipFile(copy, "w", **options) as wrong:
        for name in whole.namelist():
            is_program = name.endswith("data.pkl") and program is not None
            wrong.writestr(name, program if is_program else whole.read(name))
    return copy


def test_named_tensors_are_read(tmp_path):
    found = read_tensors(saved(tmp_path, {"weight": torch.arange(3)}))
    assert found["weight"].tolist() == [0, 1, 2]


def call(name: bytes) -> bytes:
    """A pickle that calls a class by name with a huge number."""
    return b"\x80\x02c" + name + b"\n\x8a\x08" + (6 * 10**9).to_bytes(8, "little") + b"\x85R."


TEXT = b"X" + (2**20).to_bytes(4, "little") + bytes(2**20) + b"q\0"
LONG_LIST = b"(" + b"K\x01K\x02\x86" * 100_000 + b"e"
COPIES = b"0(" + b"ccollections\nOrderedDict\nh\x01R" * 1000 + b"t."
NOT_NEEDED = r"it asks for .*which a checkpoint does not need"
PROGRAMS = {
    "none": (b"", "damaged or unsafe"),
    "takes a value from an empty stack": (b"\x80\x02.", "damaged or unsafe"),
    "names a value that is not there": (b"\x80\x02q\x00.", "damaged or unsafe"),
    "asks for a value without a name": (b"\x80\x02h\x07.", "damaged or unsafe"),
    "prints": (pickle.dumps(print, 2), "damaged or unsafe"),
    "nested tuples as a key": (b"\x80\x02}K\x01" + b"2\x86" * 60 + b"K\x01s.", "nests more than"),
    **{
        name.decode(): (call(name), NOT_NEEDED)
        for name in (
            b"builtins\nbytearray",
            b"__builtin__\nbytearray",
            b"torch\nTensor",
            b"builtins\nset",
        )
    },
    "copies of a text": (
        b"\x80\x02" + TEXT + b"]" + b"(c_codecs\nencode\nh\0X\6\0\0\0latin1\x86Re" * 1100 + b".",
        "copies a text",
    ),
    # Arguments of OrderedDict, after or before the list in them is filled.
    "copies of a list": (b"\x80\x02]q\x00" + LONG_LIST + b"\x85q\x01" + COPIES, "copies lists"),
    "copies of a list that is filled later": (
        b"\x80\x02]q\x00\x85q\x010h\x00" + LONG_LIST + COPIES,
        "copies lists",
    ),
}


@pytest.mark.parametrize(("program", "words"), PROGRAMS.values(), ids=PROGRAMS)
def test_programs_that_read_no_tensors_are_refused_at_once(tmp_path, program, words):
    path = repacked(saved(tmp_path, {"weight": torch.arange(3)}), program)
    before = process_time()
    with pytest.raises(CheckpointError, match=words) as caught:
        read_tensors(path)
    assert process_time() - before < 10
    assert path.name in str(caught.value)


def test_members_that_torch_never_compresses_are_refused(tmp_path):
    path = saved(tmp_path, {"weight": torch.zeros(10**6)})
    copy = repacked(path, compression=ZIP_DEFLATED)
    assert copy.stat().st_size < 10_000
    with pytest.raises(CheckpointError, match="is compressed"):
        read_tensors(copy)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: torch.eye(3).to_sparse(), "not dense"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "not dense"),
        (lambda: torch.ones(3, dtype=torch.complex64), "not dense"),
        (lambda: torch.ones(3, dtype=torch.complex64).conj().imag, "not dense"),
        (lambda: torch.ones(4).to(torch.float8_e4m3fn), "not dense"),
        (lambda: torch.ones(1).expand(10**9), "claims more values"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 1.0, 0, torch.qint8), "unsafe|dense"),
    ],
)
@pytest.mark.filterwarnings(
    "ignore:torch.quantize", "ignore:Sparse", "ignore:The PyTorch API of nested"
)
def test_only_dense_tensors_are_read(tmp_path, made, words):
    with pytest.raises(CheckpointError, match=words):
        read_tensors(saved(tmp_path, {"weight": made()}))


def test_negated_views_are_not_converted(tmp_path):
    weight = torch.tensor([2j, 4j]).conj().imag  # -2 and -4
    with pytest.raises(CheckpointError, match="view of others"):
        read_published(saved(tmp_path, {"weight": weight}))


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


@pytest.fixture
def program(monkeypatch):
    """A class of a program that is not installed where the file is read."""
    module = types.ModuleType("their_program")

    class Params(dict):  # type: ignore[type-arg]
        def __init__(self, *values, **named):
            super().__init__(*values, **named)
            self.note = "kept"

    Params.__module__, Params.__qualname__ = "their_program", "Params"
    module.Params = Params  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "their_program", module)
    return module


def test_weights_beside_classes_of_another_program_are_read(tmp_path, program, monkeypatch):
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    path = saved(
        tmp_path,
        {
            "nn_state_dict": net.state_dict(),
            "params": program.Params(lr=0.1, widths=(64, 128), mice=collections.Counter("aab")),
            "optimizer": {"state": {0: {"step": torch.tensor(3.0), "mean": torch.zeros(4)}}},
            "seen": np.float64(2.5),
            "vocabulary": {"unit 1": 1},
        },
    )
    monkeypatch.delitem(sys.modules, "their_program")

    found = read_published(path)

    assert found.part == "nn_state_dict"
    assert found.tensors.keys() == net.state_dict().keys()
    for name, value in net.state_dict().items():
        assert torch.equal(found.tensors[name], value), name
    settings = found.settings
    assert settings["vocabulary"] == {"unit 1": 1}
    assert settings["seen"] == 2.5
    assert settings["params"]["class"] == "their_program.Params"
    assert settings["params"]["lr"] == 0.1
    assert settings["params"]["widths"] == [64, 128]
    assert settings["params"]["note"] == "kept"
    assert "their_program.Params" in found.placeholders


def test_another_part_can_be_chosen(tmp_path):
    path = saved(
        tmp_path, {"a": {"w": torch.zeros(2), "b": torch.zeros(1)}, "c": {"w": torch.ones(2)}}
    )
    assert read_published(path).part == "a"
    assert read_published(path, "c").tensors["w"].tolist() == [1, 1]
    with pytest.raises(CheckpointError, match="no tensors in 'd'; it has some in 'a', 'c'"):
        read_published(path, "d")


def test_views_and_kinds_of_numbers_are_read_as_they_were(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    content = {
        "whole": base,
        "column": base[:, 1],
        "turned": base.T,
        "empty": torch.zeros(0, 3),
        "flags": torch.tensor([True, False]),
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
        "parameter": nn.Parameter(torch.ones(2)),
    }
    found = read_published(saved(tmp_path, content)).tensors
    for name, value in content.items():
        assert torch.equal(found[name], value.detach()), name
        assert found[name].dtype == value.dtype
    assert not found["parameter"].requires_grad


class Harmful:
    """Runs a command when it is unpickled by Python."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_program_is_not_run_but_listed(tmp_path):
    mark = tmp_path / "was-run"
    path = saved(tmp_path, {"state": {"w": torch.ones(1)}, "hook": Harmful(f"touch {mark}")})
    found = read_published(path)
    assert not mark.exists()
    assert found.tensors["w"].tolist() == [1]
    assert any(name.endswith(".system") for name in found.placeholders)


STORAGE = b"((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI%d\ntQ"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (pickle.dumps([1, 2]), "has no tensors in a mapping"),
        (b"\x80\x02.", "cannot be converted"),
        # A key that takes exponential time to compare.
        (b"\x80\x02}K\x01" + b"2\x86" * 60 + b"K\x01s.", "as a key"),
        # A list that holds itself, and one that holds another 2^25 times.
        (b"\x80\x02]q\x00h\x00a.", "hold themselves"),
        (b"\x80\x02]" + b"q\x00](h\x00h\x00e" * 25 + b".", "too many values"),
        (
            b"\x80\x02X\x2c\x01\x00\x00" + b"a" * 300 + b"q\x00](" + b"h\x00" * 60_000 + b"e.",
            "texts of more than 16,777,216 letters",
        ),
        # A tensor of more values than its storage has, by its strides and by its size.
        (
            b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n"
            + STORAGE % 4
            + b"I0\n(I1000\nt(I0\ntI00\nNtRs.",
            "claims more values",
        ),
        (
            b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n"
            + STORAGE % 4000
            + b"I0\n(I2\nt(I1\ntI00\nNtRs.",
            "has not 4,000 values",
        ),
    ],
)
def test_a_harmful_pickle_is_one_error(tmp_path, program, reason):
    path = repacked(saved(tmp_path, {"w": torch.zeros(4)}), program)
    with pytest.raises(CheckpointError, match=reason):
        read_published(path)


def test_a_file_of_another_kind_is_named(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(CheckpointError, match=r"weights\.pth cannot be converted: it is no file"):
        read_published(path)
    with pytest.raises(CheckpointError, match="missing"):
        read_published(tmp_path / "other.pth")


def test_numbers_that_json_does_not_have_are_texts(tmp_path):
    content = {
        "state": {"w": torch.ones(1)},
        "losses": [torch.tensor(float("nan")), torch.tensor([2.0]), float("inf")],
        "scale": np.array([1.0, -np.inf]),
        "counts": np.array([[1, 2]]),
    }
    settings = read_published(saved(tmp_path, content)).settings
    assert json.loads(json.dumps(settings, allow_nan=False)) == settings
    assert settings["losses"] == ["nan", 2.0, "inf"]
    assert settings["scale"] == [1.0, "-inf"]
    assert settings["counts"] == [[1, 2]]


def test_a_name_that_each_use_would_copy_is_refused(tmp_path):
    name = "k" * 2000
    with pytest.raises(CheckpointError, match="a name of 2,000 letters"):
        read_published(saved(tmp_path, {name: {"w": torch.ones(1)}}))
    text = b"X" + len(name).to_bytes(4, "little") + name.encode()
    path = repacked(saved(tmp_path, {"w": torch.zeros(4)}), b"\x80\x04" + text * 2 + b"\x93.")
    with pytest.raises(CheckpointError, match="a name of 4,000 letters"):
        read_published(path)


def test_an_array_of_objects_is_converted_once(tmp_path, monkeypatch):
    converted = []
    monkeypatch.setattr(
        "omnimouse_model.storage.pickles._converted",
        lambda value, *rest: converted.append(value) or [],
    )
    objects = np.empty(3, object)
    objects[:] = [["a"], None, "b"]
    content = {"w": torch.ones(1), "first": objects, "second": objects}
    read_published(saved(tmp_path, content))
    assert len([value for value in converted if value]) == 1
