"""`omnimouse convert-weights`: a pickle of the public program becomes a checkpoint."""

import json
import re

import pytest
import torch

import omnimouse_model as om
from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.parts.factorised import CoreConfig, ReadoutConfig
from omnimouse_model.families.sensorium_factorised.network import (
    FactorisedConfig,
    FactorisedNetwork,
)
from tests.cli.runner import rows_of_command, run_command
from tests.model.storage.test_tensors import Harmful

CONFIG = FactorisedConfig(
    core=CoreConfig(1, (2, 3), ((7, 7), (5, 5)), (11, 9)),
    readout=ReadoutConfig(places=None),
    shifter=None,
)
STATED = {
    "config": {
        "core": {
            "channels": 1,
            "widths": [2, 3],
            "spatial": [[7, 7], [5, 5]],
            "temporal": [11, 9],
        },
        "readout": {"places": None},
        "shifter": None,
    },
    "gray": {"mean": 110.0, "std": 40.0},
    "sessions": {"mouse": 5},
}


@pytest.fixture
def published(tmp_path):
    torch.manual_seed(0)
    net = FactorisedNetwork(CONFIG, {"mouse": 5})
    path = tmp_path / "model.pth"
    torch.save({"model_state": net.state_dict(), "epoch": 7}, path)
    return path


@pytest.fixture
def about(tmp_path):
    path = tmp_path / "about.json"
    path.write_text(json.dumps(STATED))
    return path


def convert(source, target, *words):
    return run_command("convert-weights", source, target, "--family", *words)


def test_the_checkpoint_is_that_of_the_family(published, about, tmp_path):
    target = tmp_path / "model.safetensors"
    words = ("--family", "sensorium_factorised", "--about", about)
    row = rows_of_command("convert-weights", published, target, *words)[0]
    assert row["part"] == "model_state"
    assert om.load_predictor(target, device="cpu").needs.n_neurons == {"mouse": 5}
    notes = json.loads(target.with_suffix(".json").read_text())["published"]
    assert notes["settings"] == {"epoch": 7, "model_state": {}}
    assert "assumed" in notes

    again = convert(published, target, "sensorium_factorised", "--about", about)
    assert isinstance(again.exception, FileExistsError)


def test_the_file_beside_another_checkpoint_can_be_what_is_said(published, about, tmp_path):
    about.write_text(json.dumps({**STATED, "family": "twin", "pair": "0123456789abcdef"}))
    target = tmp_path / "model.safetensors"
    done = convert(published, target, "sensorium_factorised", "--about", about)
    assert done.exit_code == 0, done.output
    assert om.load_predictor(target, device="cpu").needs.n_neurons == {"mouse": 5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gray": None}, "--about.*gray"),
        ({"sessions": {"mouse": 6}}, "does not load as sensorium_factorised"),
    ],
)
def test_what_is_missing_or_wrong_is_named_and_nothing_written(
    published, about, tmp_path, change, message
):
    about.write_text(json.dumps({**STATED, **change}))
    target = tmp_path / "model.safetensors"
    done = convert(published, target, "sensorium_factorised", "--about", about)
    assert done.exception is not None
    assert isinstance(done.exception, CheckpointError)
    assert re.search(message, str(done.exception)), done.exception
    assert not [*tmp_path.glob("model.safetensors*"), *tmp_path.glob("model.json")]


def test_no_other_command_reads_such_a_file(published, tmp_path):
    torch.save({"state": {"w": torch.ones(1)}, "hook": Harmful("true")}, published)
    done = run_command("info", published)
    assert done.exit_code != 0 or done.exception is not None
    unknown = convert(published, tmp_path / "m.safetensors", "resnet")
    assert "--family is 'resnet'" in str(unknown.exception)
