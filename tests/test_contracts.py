"""Each import contract detects an import that violates it."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter.api import read_configuration
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract

import omnimouse_app.window.launch
import omnimouse_model
import omnimouse_widgets

KINDS = {
    "layers": LayersContract,
    "forbidden": ForbiddenContract,
    "acyclic_siblings": AcyclicSiblingsContract,
}
MAX_FILES = 20
"""Maximum number of files in a folder, without `__init__.py`."""
MODEL, WIDGETS = "omnimouse_model", "omnimouse_widgets"
VIOLATIONS = [
    ("rooms", f"{MODEL}.data", f"{MODEL}.predict"),
    ("mice-without-nets", f"{MODEL}.simulate", f"{MODEL}.nets"),
    ("rooms", f"{MODEL}.demo", f"{MODEL}.predict"),
    ("rooms", f"{MODEL}.live", f"{WIDGETS}.palette"),
    ("rooms", f"{WIDGETS}.qt", "omnimouse_app"),
    ("model-has-no-screen", f"{MODEL}.live", "napari"),
    ("model-has-no-screen", f"{MODEL}.analysis", "plotly"),
    ("qt-panels", f"{WIDGETS}.qt", "napari"),
    ("notebook-widgets", f"{WIDGETS}.jupyter", "qtpy"),
    ("notebook-widgets", f"{WIDGETS}.figures", "qtpy"),
    ("qt-panels", f"{WIDGETS}.qt", f"{WIDGETS}.figures"),
    ("no-torch", f"{MODEL}.live", "torch"),
    ("no-cycles", f"{MODEL}.data.clock", f"{MODEL}.data.session"),
    ("no-cycles", "omnimouse_app.field.layers", "omnimouse_app.window.docks"),
]


@pytest.fixture(scope="module")
def configuration():
    root = Path(__file__).resolve().parent.parent
    return read_configuration(str(root / "pyproject.toml"))


@pytest.fixture(scope="module")
def imports(configuration):
    """Graph of all imports."""
    packages = configuration["session_options"]["root_packages"]
    return grimp.build_graph(
        *packages,
        include_external_packages=True,
        exclude_type_checking_imports=True,
        cache_dir=None,
    )


def contract_holds(contract: dict[str, Any], configuration: Any, imports: Any) -> bool:
    """Whether a contract holds; uses a copy of the imports, which the check changes."""
    session = configuration["session_options"]
    checker = KINDS[contract["type"]](contract["name"], session, contract)
    return bool(checker.check(deepcopy(imports), verbose=False).kept)


@pytest.mark.parametrize(("name", "importer", "imported"), VIOLATIONS)
def test_an_import_that_violates_a_contract_is_detected(
    configuration, imports, name, importer, imported
):
    contracts = configuration["contracts_options"]
    (contract,) = [each for each in contracts if each["id"] == name]
    graph = deepcopy(imports)
    assert importer in graph.modules
    graph.add_import(importer=importer, imported=imported)
    assert not contract_holds(contract, configuration, graph)


@pytest.mark.parametrize("package", ["model", "widgets", "omnimouse_app"])
def test_no_folder_has_too_many_files(root, package):
    folders = [root / package, *(root / package).rglob("*/")]
    assert {
        folder.name: len(files)
        for folder in folders
        if len(files := [*folder.glob("[!_]*.py")]) > MAX_FILES
    } == {}


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (
            "import omnimouse_app, omnimouse_app.cli, omnimouse_model",
            {"torch", "qtpy", "PyQt6", "napari", "numpy", "plotly"},
        ),
        (
            "import omnimouse_widgets as w, omnimouse_widgets.figures\n"
            "assert all(isinstance(getattr(w, name), type) for name in w._HOMES)",
            {"qtpy", "PyQt6", "napari"},
        ),
    ],
    ids=["packages", "notebook-widgets"],
)
def test_importing_the_packages_loads_no_toolkit(code, heavy):
    code += f"\nimport sys\nsys.exit(sorted({heavy} & set(sys.modules)) or 0)"
    process = subprocess.run(
        [sys.executable, "-c", f"import omnimouse_widgets\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("package", [omnimouse_model, omnimouse_widgets, omnimouse_app])
def test_the_public_names_exist_and_no_others(package):
    for name in getattr(package, "_HOMES", ()):
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        package.nonsense  # noqa: B018


def test_launch_is_the_function_and_not_its_module():
    assert omnimouse_app.launch is omnimouse_app.window.launch.launch
