"""Examples in docstrings run."""

import doctest
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model import demo
from omnimouse_model.nets.checkpoint import save_checkpoint
from tests.model.finetune_process import few_start_windows, small_net

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


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
    module = import_module(f"omnimouse_model.{home}")
    own = [v for v in vars(module).values() if _home(v) == module.__name__]
    report = []
    for value in own:
        for test in doctest.DocTestFinder().find(value, module=False, globs=names):
            doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    assert not report, "".join(report)


def _home(value):
    return getattr(value, "__module__", None) if callable(value) else None
