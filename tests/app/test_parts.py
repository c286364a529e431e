"""Views, sections and layers get the parts of a controller that they ask for."""

import importlib
from collections.abc import Iterator
from contextlib import closing
from inspect import Parameter, signature
from pkgutil import walk_packages
from typing import get_type_hints

import omnimouse_app
import omnimouse_widgets
from omnimouse_model.live.controller import Controller, OfController

OTHERS = {
    "AnalysisSection": {"files"},
    "Brush": {"viewer"},
    "FieldLayers": {"viewer", "brush", "parent"},
    "FilesView": {"makers"},
    "FirstHint": {"viewer"},
    "RecordingSection": {"files"},
}
"""Parameters that are no parts: who makes the object gives them."""


def subclasses(base: type) -> Iterator[type]:
    for each in base.__subclasses__():
        yield each
        yield from subclasses(each)


def test_each_parameter_has_the_name_and_the_type_of_a_part():
    for package in (omnimouse_widgets, omnimouse_app):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    made = [each for each in subclasses(OfController) if each.__module__.startswith("omnimouse_")]
    assert len(made) > 20
    with closing(Controller(synchronous=True)) as controller:
        for each in made:
            types, others = get_type_hints(each.__init__), OTHERS.get(each.__name__, set())
            asked = signature(each).parameters.values()
            names = {one.name for one in asked if one.default is Parameter.empty}
            assert others <= names, each
            for name in names - others:
                assert isinstance(getattr(controller, name, None), types[name]), (each, name)
