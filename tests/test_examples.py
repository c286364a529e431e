"""Examples in docstrings run, and every public function has one."""

import doctest
from dataclasses import replace
from importlib import import_module
from types import FunctionType

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model import demo
from omnimouse_model.nets.checkpoint import save_checkpoint
from tests.model.finetune_process import few_start_windows, small_net

NOT_RUN = {"fetch_checkpoint": "uses a network", "fetch_session": "uses a network"}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The names that examples use; sessions and model of the demo are small here."""
    root = tmp_path_factory.mktemp("examples")
    save_checkpoint(root / "demo.safetensors", small_net({"a-1-1": 12}))
    few = replace(demo.UNSEEN.held_out, validation=1, final_test_1=1, oracle_repeats=1)
    mouse = replace(demo.UNSEEN, n_neurons=40, minutes=1.5, held_out=few)
    with pytest.MonkeyPatch.context() as patch, few_start_windows():
        patch.setenv("OMNIMOUSE_CACHE", str(root))
        patch.setattr(demo, "CHECKPOINT", root / "demo.safetensors")
        patch.setattr(demo, "DEMO_SHOWN", mouse)
        patch.setattr(demo, "UNSEEN", mouse)
        yield {"om": om, "np": np, "session": om.open_session(om.demo_session())}


@pytest.mark.slow
@pytest.mark.parametrize("home", sorted(set(om._HOMES.values())))
def test_examples_run(home, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = []
    for name, value in vars(import_module(f"omnimouse_model.{home}")).items():
        if getattr(value, "__module__", "") == f"omnimouse_model.{home}":
            for test in doctest.DocTestFinder().find(value, name, False, names):
                doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)


def test_every_public_function_has_an_example():
    functions = [n for n in om._HOMES if isinstance(getattr(om, n), FunctionType)]
    lines = {n: getattr(om, n).__doc__.split(">>>")[1:] for n in functions}
    missing = {n for n in functions if all("+SKIP" in line for line in lines[n])}
    assert not missing ^ set(NOT_RUN), f"without an example: {sorted(missing)}"
