import os
from pathlib import Path

import numpy as np
import pytest

from omnimouse_model.storage.processes import LibraryError, Limits, call_library

pytestmark = pytest.mark.process

LIBRARY = """
import os, sys, time
import numpy as np

def answer(arguments, report):
    report(0.5, "half")
    while not os.path.exists(arguments["seen"]):
        time.sleep(0.01)
    tokens = [name for name in os.environ if "TOKEN" in name]
    return {"sum": sum(arguments["values"]), "tokens": tokens}, {"square": np.arange(4.0) ** 2}

def nothing(arguments, report):
    return {}, {}

def wait(arguments, report):
    report(0.0, "waiting")
    time.sleep(60)

def hang(arguments, report):
    time.sleep(60)

def take(arguments, report):
    return {}, {"large": np.ones(2**30)}

def fill(arguments, report):
    return {}, {"large": np.ones(2**20)}

def pickle(arguments, report):
    return {}, {"objects": np.array([object()])}

def infinity(arguments, report):
    return {"rate": float("inf")}, {}

def fail(arguments, report):
    raise ValueError("first line\\nsecond line")

def lack(arguments, report):
    import no_such_library_at_all

def leave(arguments, report):
    print("the last words", file=sys.stderr)
    os._exit(3)
"""
QUICK = Limits(seconds=30.0)


@pytest.fixture(autouse=True)
def library(tmp_path, monkeypatch):
    """Write a stand-in of a library where the process finds it."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "stand_in_library.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(folder))


def failure(name: str, limits: Limits = QUICK) -> LibraryError:
    with pytest.raises(LibraryError) as caught:
        call_library(f"stand_in_library:{name}", {}, limits=limits)
    assert "\n" not in str(caught.value)
    return caught.value


def test_facts_arrays_and_steps_come_back_and_no_token_goes_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    seen, steps = tmp_path / "seen", []

    def report(share: float, text: str) -> None:
        steps.append((share, text))
        if share:
            seen.touch()

    arguments = {"values": [1, 2, 4], "seen": str(seen)}
    facts, arrays = call_library("stand_in_library:answer", arguments, limits=QUICK, report=report)
    assert facts == {"sum": 7, "tokens": []}
    np.testing.assert_array_equal(arrays["square"], [0.0, 1.0, 4.0, 9.0])
    assert steps[-1] == (0.5, "half")
    # Asked again and again whether to stop, also before the library says anything.
    assert set(steps) <= {(0.0, "starting"), (0.5, "half")}


def test_the_folder_of_an_answer_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    call_library("stand_in_library:nothing", {}, limits=QUICK)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("omnimouse")]


def test_a_process_that_takes_too_long_is_ended():
    error = failure("wait", Limits(seconds=0.3))
    assert error.kind == "limit"
    assert "0.3 s" in error.text


def test_a_report_that_raises_ends_the_process():
    class Stopped(Exception):
        pass

    def report(share: float, text: str) -> None:
        raise Stopped

    for function in ("wait", "hang"):
        with pytest.raises(Stopped):
            call_library(f"stand_in_library:{function}", {}, limits=QUICK, report=report)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no limit of address space")
def test_too_much_memory_is_one_line():
    error = failure("take", Limits(memory_bytes=2 * 2**30, seconds=30.0))
    assert error.kind == "limit"
    assert "more memory than 2 GiB" in error.text


def test_too_much_output_is_refused():
    error = failure("fill", Limits(output_bytes=2**20, seconds=30.0))
    assert error.kind in ("limit", "OSError", "ended")


def test_objects_do_not_come_back():
    error = failure("pickle")
    assert error.kind == "ValueError"
    assert "allow_pickle" in error.text


def test_an_answer_that_cannot_be_read_names_no_file_of_ours():
    error = failure("infinity")
    assert error.text.startswith("its answer cannot be read: not valid JSON: Infinity")


def test_an_error_of_the_library_is_one_line_with_its_kind():
    error = failure("fail")
    assert (error.kind, error.text) == ("ValueError", "first line second line")


def test_a_missing_library_is_named():
    error = failure("lack")
    assert error.kind == "ModuleNotFoundError"
    assert "no_such_library_at_all" in error.text


def test_a_process_that_ends_without_an_answer_tells_its_last_words():
    error = failure("leave")
    assert error.kind == "ended"
    assert "code 3: the last words" in error.text


def test_the_process_is_another_one(tmp_path, monkeypatch):
    (tmp_path / "packages" / "number_of_process.py").write_text(
        "import os\n\ndef number(arguments, report):\n    return {'number': os.getpid()}, {}\n"
    )
    facts, _ = call_library("number_of_process:number", {}, limits=QUICK)
    assert facts["number"] != os.getpid()
