"""Published weights: tensors of any program are read, and nothing of it is executed."""

import collections
import json
import os
import pickle
import sys
import types
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from torch import nn

from omnimouse_model.errors import CheckpointError
from omnimouse_model.storage.published_weights import read_published


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


def saved(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    return path


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


def with_program(path: Path, program: bytes) -> Path:
    copy = path.with_name("changed.pth")
    with ZipFile(path) as whole, ZipFile(copy, "w") as changed:
        for name in whole.namelist():
            changed.writestr(name, program if name.endswith("data.pkl") else whole.read(name))
    return copy


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
    path = with_program(saved(tmp_path, {"w": torch.zeros(4)}), program)
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
    path = with_program(saved(tmp_path, {"w": torch.zeros(4)}), b"\x80\x04" + text * 2 + b"\x93.")
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
