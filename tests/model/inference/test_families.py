"""Families by name: what one leaves behind that is removed, and names without weights."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pkgutil import resolve_name

import pytest

import omnimouse_app
import omnimouse_model
import omnimouse_model as om
import omnimouse_widgets
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.families.classical.predictor import naive_predictor
from omnimouse_model.families.ensemble import Ensemble
from omnimouse_model.inference.families import families, family_of_predictor
from omnimouse_model.inference.registry import predictor_names
from omnimouse_model.own_families import OWN
from omnimouse_model.predict.family import Family, later
from tests.predictors import EchoPredictor

NAMES = {
    "twin": {"DigitalTwin"},
    "prediction_file": {"open_predictions"},
    "ensemble": {"Ensemble", "save_ensemble"},
}
"""Public names of a family's folder."""
USE = """
import json
from importlib import import_module
from pkgutil import walk_packages

import omnimouse_app.cli
import omnimouse_model as om
from omnimouse_model.inference.families import config_path, families, training_plan
from omnimouse_model.inference.registry import predictor_names

for package in (om, omnimouse_app.cli):
    for module in walk_packages(package.__path__, f"{package.__name__}."):
        import_module(module.name)
lacking = [name for name in dir(om) if not hasattr(om, name)]
public = dir(om)
for name in predictor_names():
    om.load_predictor(name, device="cpu")
trained = [one for one in families().values() if one.training is not None]
for config in (config for one in trained for config in one.training.configs):
    training_plan(config)
print(json.dumps([list(families()), list(predictor_names()), lacking, public]))
"""


def test_every_transfer_has_a_time_before_the_first_one(session):
    """Within a factor of two: `python -m tests.acceptance.time_left ndt-demo …`."""
    transfers = {name: one.transfer for name, one in families().items() if one.transfer}
    assert transfers
    for name, transfer in transfers.items():
        assert transfer.seconds is not None, name
        few, many = (transfer.seconds("no-such-model", 10**6, session, n) for n in (10, 300))
        assert 0 < few < many < 3600, name
        assert transfer.seconds("no-such-model", 10**8, session, 300) > many, name


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the packages, from which folders can be removed."""
    place = tmp_path_factory.mktemp("copy")
    for package in (omnimouse_model, omnimouse_widgets, omnimouse_app):
        (folder,) = package.__path__
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(folder, place / package.__name__, ignore=ignored)
    return place


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("name", OWN[1:])
def test_a_family_that_is_removed_leaves_all_others_and_takes_its_names(name, copy, tmp_path):
    package = copy / "omnimouse_model"
    folder, registry = package / "families" / name, package / "own_families.py"
    lines = registry.read_text("utf-8")
    assert lines.count(f'    "{name}",\n') == 1
    registry.write_text(lines.replace(f'    "{name}",\n', ""), "utf-8")
    folder.rename(tmp_path / name)
    env = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run(
        [sys.executable, "-c", USE], env=env, cwd=copy, capture_output=True, text=True, timeout=300
    )
    (tmp_path / name).rename(folder)
    registry.write_text(lines, "utf-8")
    assert done.returncode == 0, done.stderr
    found, names, lacking, public = json.loads(done.stdout)
    assert found == [other for other in families() if other != name]
    assert names == [n for n in predictor_names() if n not in families()[name].names]
    assert not lacking
    assert set(dir(om)) - set(public) == NAMES.get(name, set())


def test_a_family_that_cannot_be_imported_is_left_out_with_a_warning(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "omnimouse_model.families.twin", None)
    families.cache_clear()
    try:
        assert "twin" not in families()
        assert "omnimouse" in families()
    finally:
        monkeypatch.undo()
        families.cache_clear()
    assert "Family twin" in caplog.text
    assert "is left out" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("family", families().values(), ids=families())
def test_functions_that_a_family_names_by_text_are_there(family: Family):
    parts = [family.load, family.describe, family.export]
    if family.training is not None:
        parts += [family.training.read, family.training.spec, family.training.start]
    if family.transfer is not None:
        parts.append(family.transfer.start)
    texts = [
        part.args[0] for part in parts if isinstance(part, partial) and part.func is later("").func
    ]
    assert all(callable(resolve_name(text)) for text in texts)


WITHOUT_WEIGHTS = ["latent-zig", "sensorium-factorised", "dwiseneuro", "poyo-calcium", "ndt", "mtm"]


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_a_name_without_weights_refuses_and_says_what_to_do(name, session):
    predictor = om.load_predictor(name)
    assert predictor.predictor_id == name
    with pytest.raises(UnsupportedRequestError, match=rf"om\.fit\('{name}', session\)"):
        predictor.prepare(session)
    with pytest.raises(UnsupportedRequestError, match="no weights"):
        om.load_predictor(name, [session])
    assert name not in predictor_names()


def test_a_predictor_of_a_constructor_is_of_the_family_beside_its_code():
    simple = tuple(map(naive_predictor, ("mean", "last")))
    assert family_of_predictor(simple[0]) is families()["classical"]
    assert family_of_predictor(Ensemble(simple)) is families()["ensemble"]
    assert family_of_predictor(EchoPredictor()) is None
