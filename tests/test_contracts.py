"""The import contracts hold, and each is seen to break on a planted import."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("omnimouse_app", "model/omnimouse_model", "widgets/omnimouse_widgets")
MODEL, WIDGETS = "model/omnimouse_model", "widgets/omnimouse_widgets"
PLANTED = [
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
    ("no-torch", f"{MODEL}/data/__init__.py", "torch"),
    ("no-torch", f"{MODEL}/masks/mask.py", "torch"),
    ("no-torch", f"{MODEL}/live/__init__.py", "torch"),
]


def lint_imports(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    roots = [str(folder), str(folder / "model"), str(folder / "widgets")]
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources alone, in a folder where something may be planted."""
    source = Path(__file__).resolve().parent.parent
    folder = tmp_path_factory.mktemp("planted")
    shutil.copy(source / "pyproject.toml", folder)
    for package in PACKAGES:
        for path in (source / package).rglob("*.py"):
            place = folder / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    return folder


def test_the_contracts_are_kept(root: Path):
    answer = lint_imports(root)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize(("contract", "file", "imported"), PLANTED)
def test_a_planted_import_breaks_its_contract(
    copy: Path, contract: str, file: str, imported: str
):
    path = copy / file
    clean = path.read_text()
    path.write_text(f"{clean}\nimport {imported}\n")
    try:
        answer = lint_imports(copy, "--contract", contract)
    finally:
        path.write_text(clean)
    assert answer.returncode == 1, answer.stdout
    assert "1 broken" in answer.stdout


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


def test_launch_is_the_function_whatever_was_imported_before():
    import omnimouse_app.opening
    from omnimouse_app import launch

    assert launch is omnimouse_app.opening.launch
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        omnimouse_app.nonsense  # noqa: B018
