"""The import contracts hold, and each is seen to break on a planted import."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("omnimouse_app", "model/omnimouse_model", "widgets/omnimouse_widgets")
Plant = tuple[str, str, str]
MODEL, WIDGETS = "model/omnimouse_model", "widgets/omnimouse_widgets"
PLANTED: list[Plant] = [
    ("rooms", f"{MODEL}/data/__init__.py", "omnimouse_model.predict"),
    ("rooms", f"{MODEL}/data/__init__.py", "omnimouse_model.masks"),
    ("rooms", f"{MODEL}/nets/__init__.py", "omnimouse_model.data"),
    ("rooms", f"{MODEL}/metrics/__init__.py", "omnimouse_model.data"),
    ("rooms", f"{MODEL}/simulate/__init__.py", "omnimouse_model.demo"),
    ("mice-without-nets", f"{MODEL}/simulate/__init__.py", "omnimouse_model.nets"),
    ("rooms", f"{MODEL}/demo/__init__.py", "omnimouse_model.predict"),
    ("rooms", f"{MODEL}/masks/mask.py", "omnimouse_model.tokens"),
    ("rooms", f"{MODEL}/predict/__init__.py", "omnimouse_model.train"),
    ("rooms", f"{MODEL}/analysis/__init__.py", "omnimouse_model.live"),
    ("rooms", f"{MODEL}/live/__init__.py", "omnimouse_widgets.palette"),
    ("rooms", f"{WIDGETS}/jupyter/__init__.py", "omnimouse_widgets.qt"),
    ("rooms", f"{WIDGETS}/qt/__init__.py", "omnimouse_app"),
    ("model-has-no-screen", f"{MODEL}/live/__init__.py", "napari"),
    ("model-has-no-screen", f"{MODEL}/analysis/__init__.py", "plotly"),
    ("qt-panels", f"{WIDGETS}/qt/__init__.py", "napari"),
    ("qt-panels", f"{WIDGETS}/qt/__init__.py", "ipywidgets"),
    ("notebook-widgets", f"{WIDGETS}/jupyter/__init__.py", "qtpy"),
    ("notebook-widgets", f"{WIDGETS}/palette.py", "napari"),
    ("notebook-widgets", f"{WIDGETS}/figures/__init__.py", "qtpy"),
    ("rooms", f"{WIDGETS}/figures/__init__.py", "omnimouse_widgets.jupyter"),
    ("qt-panels", f"{WIDGETS}/qt/__init__.py", "omnimouse_widgets.figures"),
    ("no-torch", f"{MODEL}/data/__init__.py", "torch"),
    ("no-torch", f"{MODEL}/masks/mask.py", "torch"),
    ("no-torch", f"{MODEL}/live/__init__.py", "torch"),
]


_LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
_PLANT = """
import json, sys
from pathlib import Path
from click.testing import CliRunner
from importlinter.cli import lint_imports_command

answers = []
for contract, file, imported in json.load(sys.stdin):
    path = Path(file)
    clean = path.read_text()
    path.write_text(f"{clean}\\nimport {imported}\\n")
    words = ["--contract", contract, "--cache-dir", "known"]
    answer = CliRunner().invoke(lint_imports_command, words)
    path.write_text(clean)
    answers.append((answer.exit_code, answer.output))
print(json.dumps(answers))
"""


def python(
    folder: Path, code: str, *words: str, told: str = ""
) -> subprocess.CompletedProcess[str]:
    """A Python of its own, for which the packages are those in `folder`."""
    roots = [str(folder), str(folder / "model"), str(folder / "widgets")]
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
        input=told,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What the contracts say of each planted import, one after the other.

    One process asks for all of them, and reads again only the files that changed.
    """
    source = Path(__file__).resolve().parent.parent
    folder = tmp_path_factory.mktemp("planted")
    shutil.copy(source / "pyproject.toml", folder)
    for package in PACKAGES:
        for path in (source / package).rglob("*.py"):
            place = folder / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    done = python(folder, _PLANT, told=json.dumps(PLANTED))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return {
        plant: (code, words) for plant, (code, words) in zip(PLANTED, said, strict=True)
    }


def test_the_contracts_are_kept(root):
    answer = python(root, _LINT, "--no-cache")
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("plant", PLANTED, ids="-".join)
def test_a_planted_import_breaks_its_contract(answers, plant):
    code, words = answers[plant]
    assert code == 1, words
    assert "1 broken" in words


def test_importing_the_packages_loads_no_toolkit():
    code = (
        "import sys, omnimouse_app, omnimouse_app.cli, omnimouse_model, "
        "omnimouse_widgets\n"
        "heavy = {'torch', 'qtpy', 'PyQt6', 'napari', 'numpy', 'plotly'}\n"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) "
        "else 0)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr


def test_every_public_name_of_the_library_is_there():
    import omnimouse_model

    for name in omnimouse_model._HOMES:
        assert getattr(omnimouse_model, name).__name__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        omnimouse_model.nonsense  # noqa: B018


def test_every_widget_of_the_notebook_is_there_and_brings_no_qt():
    code = (
        "import sys, omnimouse_widgets as ow\n"
        "parts = [getattr(ow, name) for name in ow._HOMES]\n"
        "assert all(isinstance(part, type) for part in parts)\n"
        "import omnimouse_widgets.figures\n"
        "heavy = {'qtpy', 'PyQt6', 'napari'} & set(sys.modules)\n"
        "sys.exit(str(sorted(heavy)) if heavy else 0)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    import omnimouse_widgets

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        omnimouse_widgets.nonsense  # noqa: B018


def test_launch_is_the_function_whatever_was_imported_before():
    import omnimouse_app.opening
    from omnimouse_app import launch

    assert launch is omnimouse_app.opening.launch
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        omnimouse_app.nonsense  # noqa: B018
