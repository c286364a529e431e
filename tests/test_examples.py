import doctest
from dataclasses import replace
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.families import omnimouse
from omnimouse_model.families.omnimouse import transfer as start
from omnimouse_model.simulate import demo
from tests.model.small_net import save_checkpoint, small_net

NOT_RUN = {
    "fetch_checkpoint": "uses a network",
    "fetch_session": "uses a network",
    "fit": "trains for minutes",
}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The names that examples use; sessions and model of the demo are small here."""
    root = tmp_path_factory.mktemp("examples")
    save_checkpoint(root / "demo.safetensors", small_net({"a-1-1": 12}))
    few = replace(demo.UNSEEN.held_out, validation=1, final_test_1=1, oracle_repeats=1)
    mouse = replace(demo.UNSEEN, n_neurons=40, minutes=1.5, held_out=few)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "WINDOWS", 2)
        patch.setenv("OMNIMOUSE_CACHE", str(root))
        patch.setattr(omnimouse, "DEMO", root / "demo.safetensors")
        patch.setattr(demo, "DEMO_SHOWN", mouse)
        patch.setattr(demo, "UNSEEN", mouse)
        yield {"om": om, "np": np, "session": om.open_session(om.demo_session())}


ROOT = Path(om.__file__).parent
HOMES = [
    str(path.relative_to(ROOT.parent).with_suffix("")).replace("/", ".")
    for path in sorted(ROOT.rglob("*.py"))
    if ">>>" in path.read_text("utf-8")
]


@pytest.mark.slow
@pytest.mark.parametrize("home", HOMES)
def test_examples_run(home, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report, home = [], home.removesuffix(".__init__")
    for name, value in vars(import_module(home)).items():
        if getattr(value, "__module__", "") == home:
            for test in doctest.DocTestFinder().find(value, name, False, names):
                doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)


def test_the_docstring_of_a_public_name_begins_with_its_example():
    texts = {name: cleandoc(getattr(om, name).__doc__ or "") for name in dir(om)}
    modules = {name for name in texts if isinstance(getattr(om, name), ModuleType)}
    late = [
        name
        for name, text in texts.items()
        if name not in modules and ">>>" in text and text.split("\n\n")[1][:9] != "Examples\n"
    ]
    assert late == []


def test_every_public_name_has_an_example():
    values = {n: getattr(om, n) for n in dir(om)}
    lines = {
        name: (value.__doc__ or "").split(">>>")[1:]
        for name, value in values.items()
        if not isinstance(value, ModuleType)
        and not (isinstance(value, type) and issubclass(value, Exception))
    }
    missing = {n for n in lines if all("+SKIP" in line for line in lines[n])}
    assert not missing ^ set(NOT_RUN), f"without an example: {sorted(missing)}"
