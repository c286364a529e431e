"""Missing libraries: one line names the library and its extra."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import omnimouse_widgets
from omnimouse_model.extras import EXTRAS, missing_extra, named_extras
from omnimouse_model.predict.predictor import of_family
from omnimouse_model.public_names import public_names

ROOT = Path(__file__).parents[2]
REQUIRED_BY_OTHERS = {"npe2", "vispy", "IPython", "traitlets"}
"""Libraries that a named requirement of their extra always brings."""


def test_the_extra_of_every_library_installs_it():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = table["project"]["optional-dependencies"]
    distributions = packages_distributions()
    checked = 0
    for library, names in EXTRAS.items():
        lines = [line for extra in names.split(",") for line in extras[extra]]
        installed = {canonicalize_name(Requirement(line).name) for line in lines}
        owners = {canonicalize_name(name) for name in distributions.get(library, ())}
        if owners and library not in REQUIRED_BY_OTHERS:
            checked += 1
            assert owners & installed, library
    assert checked > 8


def test_the_error_of_a_missing_library_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModuleNotFoundError) as caught, named_extras():
        import h5py  # noqa: F401
    assert str(caught.value) == 'h5py is not installed: pip install "omnimouse-app[nwb]"'
    assert missing_extra(caught.value) == str(caught.value)


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("x"), ModuleNotFoundError("x", name="no_such"), OSError("x")]
)
def test_other_errors_keep_their_message(error):
    assert missing_extra(error) is None
    with pytest.raises(type(error), match=re.escape(str(error))), named_extras():
        raise error


def test_a_library_that_no_extra_has_is_named_with_what_needs_it():
    expected = "a-model needs no_such.part, which is not installed."
    # Also through two doors, of which the inner one is nearer to the model.
    with pytest.raises(ModuleNotFoundError) as caught, named_extras("run"), of_family("a-model"):
        raise ModuleNotFoundError("No module named 'no_such.part'", name="no_such.part")
    assert str(caught.value) == expected
    with pytest.raises(ModuleNotFoundError, match="pip install it"), of_family("a-model"):
        raise ModuleNotFoundError("pip install it", name="no_such")


def test_a_missing_binding_of_qt_is_named():
    qtpy_error = type("QtBindingsNotFoundError", (ImportError,), {})
    assert "omnimouse-app[pyqt6]" in (missing_extra(qtpy_error("No Qt bindings")) or "")


def test_a_public_name_whose_library_is_missing_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    for name in [*sys.modules]:
        if name.startswith("omnimouse_widgets.jupyter"):
            monkeypatch.delitem(sys.modules, name)
    get, _ = public_names("omnimouse_widgets", str(omnimouse_widgets.__file__))
    with pytest.raises(ModuleNotFoundError, match=r"anywidget .* \"omnimouse-app\[jupyter\]\""):
        get("Explorer")
