import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import omnimouse_app.window.launch
import omnimouse_model
import omnimouse_model.simulate
import omnimouse_widgets
from omnimouse_model.public_names import TOOLTIP_CHARACTERS

WITHOUT_Z = re.compile(r"(?<![{%])\{[^{}\n]*:[+ ]?[0-9,]*\.\d+[f%]\}")
"""A number with fixed decimals, but for formats of plotly: `%{y:.2f}`."""
WORD_OF_CODE = re.compile(
    r"[Bb]arcode|d-size|pupil_dsize|those of the brush|error of the axis|(?<!\()\b[Tt]iers?\b"
)
MAX_FILES = 20
"""Maximum number of files in a folder, without `__init__.py`."""


@pytest.mark.parametrize("package", ["model", "widgets", "omnimouse_app"])
def test_no_folder_has_too_many_files(root, package):
    folders = [root / package, *(root / package).rglob("*/")]
    assert {
        folder.name: len(files)
        for folder in folders
        if len(files := [*folder.glob("[!_]*.py")]) > MAX_FILES
    } == {}


def test_no_module_imports_one_of_the_project_by_a_text(root):
    """`lint-imports` sees imports of any place, also of annotations, but no texts."""
    pattern = re.compile(r"""(?:import_module|__import__)\(\s*f?["']omnimouse_""")
    folders = (root / name for name in ("model", "widgets", "omnimouse_app"))
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    assert [path.name for path in paths if pattern.search(path.read_text("utf-8"))] == []


REGISTRY = {
    "omnimouse_model/own_families.py",
    "omnimouse_model/__init__.pyi",
}
"""Files outside `families/` that name the folder of a family: lists of families and names."""
PARTS = "parts"
"""Folder of what several families share."""


def named_families(path: Path) -> set[str]:
    """Folders of families that a file imports, or names as `module:object`."""
    tree = ast.parse(path.read_text("utf-8"))
    texts = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                texts += [one.name for one in names]
            case ast.ImportFrom(module=str(module), names=names):
                texts += [f"{module}.{one.name}" for one in names]
            case ast.Constant(value=str(text)) if re.fullmatch(r"[\w.:]+", text):
                texts.append(text)
    found = [re.match(r"\.?(?:omnimouse_model\.)?families\.(\w+)", text) for text in texts]
    folders = {path.name for path in FAMILIES.glob("*/")}
    return {match[1] for match in found if match} & folders


FAMILIES = Path(omnimouse_model.__file__).parent / "families"


def test_code_names_the_folder_of_a_family_in_it_and_in_the_registry_alone(root):
    found = []
    for folder in (root / "model", root / "widgets", root / "omnimouse_app"):
        for path in (*folder.rglob("*.py"), *folder.rglob("*.pyi")):
            place = path.relative_to(folder).as_posix()
            own = {path.parts[len(FAMILIES.parts)], PARTS} if FAMILIES in path.parents else set()
            if place not in REGISTRY and (others := named_families(path) - own):
                found.append(f"{place}: {', '.join(sorted(others))}")
    assert found == []


COMPOSITION = {"of", "make_panel", "key_actions", "panel_actions", "closing_question"}
"""Functions that take the parts of a view, a drawer or a key out of a controller."""
ROOTS = {"explorer.py", "snapshot", "report"}
"""`Explorer` makes all parts of a notebook; a saved picture and a report collect the whole
screen."""


def test_views_and_drawers_receive_parts_and_not_the_controller(root):
    """A view can be made, tested and read with the parts that it uses alone."""
    folders = [root / "widgets/omnimouse_widgets", root / "omnimouse_app/field"]
    found = []
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        if not ROOTS.isdisjoint(path.parts):
            continue
        # A notebook widget is made by users, who have the controller of an `Explorer`.
        is_widget = path.parent.name in ("jupyter", "transport")
        allowed = COMPOSITION | ({"__init__"} if is_widget else set())
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name not in allowed:
                arguments = [*node.args.args, *node.args.kwonlyargs]
                if any(
                    a.annotation and "Controller" in ast.unparse(a.annotation) for a in arguments
                ):
                    found.append(f"{path.name}: {node.name} takes a controller")
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "self._controller":
                found.append(f"{path.name}: a controller is kept")
    assert found == []


@pytest.mark.parametrize("folder", ["model/omnimouse_model/live", "widgets", "omnimouse_app"])
def test_no_number_on_screen_is_minus_zero(root, folder):
    """The option `z` of a format prints -0.001 as 0.00."""
    found = {
        path.name: numbers
        for path in (root / folder).rglob("*.py")
        if (numbers := WITHOUT_Z.findall(path.read_text("utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    "folder",
    [
        *(f"widgets/omnimouse_widgets/{name}" for name in ("views", "qt", "report")),
        *(f"omnimouse_app/{name}" for name in ("window", "field")),
    ],
)
def test_words_on_screen_are_those_of_a_reader(root, folder):
    """Words of the code stand in brackets at most, as in "part (tier)"."""
    found = {
        (path.name, node.lineno): node.value
        for path in (root / folder).rglob("*.py")
        for node in texts(path)
        if " " in node.value and WORD_OF_CODE.search(node.value)
    }
    assert found == {}


def texts(path: Path) -> Iterator[ast.Constant]:
    """Yield the texts of a module that are no docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    documents = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and node not in documents:
            yield node


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
            "assert all(isinstance(getattr(w, name), type) for name in dir(w))",
            {"qtpy", "PyQt6", "napari"},
        ),
        (
            "import omnimouse_app.window.docks\n"
            "from omnimouse_widgets.views.registry import docks\n"
            "from pkgutil import resolve_name\n"
            "for _, dock in docks():\n"
            "    if dock.is_front:\n"
            "        resolve_name(f'omnimouse_widgets.{dock.panel}')",
            {
                *("torch", "pandas", "scipy.signal", "skimage.color", "plotly"),
                *("zarr", "numcodecs", "h5py"),
                *("omnimouse_widgets.qt.what_if", "omnimouse_widgets.views.laboratory"),
            },
        ),
    ],
    ids=["packages", "notebook-widgets", "window"],
)
def test_importing_the_packages_loads_no_toolkit(code, heavy):
    code += f"\nimport sys\nsys.exit(sorted({heavy} & set(sys.modules)) or 0)"
    command = [sys.executable, "-c", f"import omnimouse_widgets\n{code}"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("package", [omnimouse_model, omnimouse_widgets, omnimouse_app])
def test_the_public_names_exist_and_no_others(package):
    names = {name for name in dir(package) if not name.startswith("_")}
    assert names
    for name in names:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        package.nonsense  # noqa: B018


def tooltip_owners():
    """Public functions and classes, with their names."""
    packages = (omnimouse_app, omnimouse_app.lab, omnimouse_app.lab.stimuli, omnimouse_app.plot)
    for package in (*packages, omnimouse_model.simulate, omnimouse_widgets):
        for name in (name for name in dir(package) if name[0] != "_"):
            value = getattr(package, name)
            is_error = isinstance(value, type) and issubclass(value, Exception)
            if (isinstance(value, type) or inspect.isfunction(value)) and not is_error:
                yield f"{package.__name__}.{name}", value


def test_signatures_are_short_enough_for_a_tooltip():
    """A notebook shows them above the docstring, which describes the arguments."""
    found = {}
    for owner, value in tooltip_owners():
        shown = {owner: value}
        if isinstance(value, type):
            own = (name for name in vars(value) if name[0] != "_")
            methods = {f"{owner}.{name}": getattr(value, name) for name in own}
            shown |= {name: one for name, one in methods.items() if inspect.isroutine(one)}
        for name, one in shown.items():
            text = str(inspect.signature(one))
            if len(text) > TOOLTIP_CHARACTERS or re.search(r"omnimouse_\w+\.|collections\.", text):
                found[name] = text
    assert found == {}


def test_every_public_function_with_a_job_shows_its_progress():
    jobs = {
        owner: inspect.signature(value).parameters["job"].default
        for owner, value in tooltip_owners()
        if inspect.isfunction(value) and "job" in inspect.signature(value).parameters
    }
    assert len(jobs) > 20
    # None stands for a bar, on a terminal and in a notebook.
    assert [owner for owner, job in jobs.items() if job is not None] == []


def test_a_short_signature_has_types_and_a_long_one_has_names_and_defaults():
    text = str(inspect.signature(omnimouse_app.Condition))
    assert text.startswith("(name: str, mask: Callable[[Session], Mask], neurons")
    text = str(inspect.signature(omnimouse_app.context_sweep))
    assert text.startswith("(predictor, sessions, *, neurons=(), history_samples=(), video=(True,)")
    assert text.endswith(" on_part=…) -> ContextSweep")
    assert omnimouse_app.context_sweep.__annotations__["seeds"] == int | Sequence[int]


def documented_names(root):
    """Names after `om.` in pages, notebooks, examples, docstrings and written scripts."""
    places = [root / name for name in ("README.md", "docs", "notebooks", "examples")]
    places += [root / name for name in ("model", "widgets", "omnimouse_app")]
    for place in places:
        files = [place] if place.is_file() else place.rglob("*.*")
        for file in files:
            if file.suffix in (".md", ".ipynb", ".py"):
                yield from re.findall(r"(?<![\w./])om\.([A-Za-z]\w*)", file.read_text("utf-8"))


def test_every_documented_name_of_om_exists(root):
    names = set(documented_names(root))
    assert {"open_session", "Explorer", "plot", "launch"} <= names
    assert [name for name in names if not hasattr(omnimouse_app, name)] == []
    assert callable(omnimouse_app.plot.score_histogram)


def test_launch_is_the_function_and_not_its_module():
    assert omnimouse_app.launch is omnimouse_app.window.launch.launch
