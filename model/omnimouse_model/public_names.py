"""Public names of a package: imported when first used, with signatures for a tooltip."""

import ast
import inspect
import re
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from pkgutil import get_data
from types import FunctionType
from typing import Any

import lazy_loader

from omnimouse_model.extras import named_extras

TOOLTIP_CHARACTERS = 300
"""Longest signature with types. A longer one would fill the screen of a notebook."""


def public_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package, from the stub beside its `file`.

    Importing all modules would load torch and take seconds. The stub (`__init__.pyi`) is
    the only list of the names: type checkers read it, too.
    """
    load, names, _ = lazy_loader.attach_stub(package, file)
    gone = _of_removed_families(package, Path(file))
    known = [name for name in names() if name not in gone]

    def get(name: str) -> Any:
        if name not in known:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with named_extras():
            value = load(name)
        shorten_signatures(value)
        return value

    return get, known.copy


def _of_removed_families(package: str, file: Path) -> set[str]:
    """Return the names in the stub of a package that are of families without a folder."""
    stub = ast.parse(get_data(package, file.with_suffix(".pyi").name) or b"")
    gone = set()
    for node in stub.body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("families."):
            room, family, *_ = str(node.module).split(".")
            if PathFinder.find_spec(family, [str(file.parent / room)]) is None:
                gone |= {name.asname or name.name for name in node.names}
    return gone


# -- signatures as tooltips and `help` show them --------------------------------------
class _Text(str):
    """What stands in a signature without quotes: a type, or a default."""

    __slots__ = ()
    __repr__ = str.__str__


_shortened: set[object] = set()


def shorten_signatures(value: object) -> None:
    """Give a function, or the public methods of a class, a signature for the tooltip.

    `inspect` prints each type with its module, five times as long as in the code. Here
    types have their names alone, and none stand where that is still too long: the
    docstring describes the arguments. Type checkers and annotations are not affected.
    """
    if not isinstance(value, type | FunctionType) or value in _shortened:
        return
    _shortened.add(value)
    own = vars(value) if isinstance(value, type) else {"": value}
    for name, one in own.items():
        function = getattr(one, "__func__", one)  # of a class method or static method
        if isinstance(function, FunctionType) and (name == "__init__" or name[:1] != "_"):
            short = _short(inspect.signature(function))
            function.__signature__ = short  # type: ignore[attr-defined]  # `inspect` reads it; no stub has it


def _short(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature that a tooltip can show: short types, without types if it is long."""
    plain = [
        one.replace(default=_Text("…")) if isinstance(one.default, FunctionType) else one
        for one in signature.parameters.values()
    ]
    result = _type_text(signature.return_annotation)
    typed = [one.replace(annotation=_type_text(one.annotation)) for one in plain]
    short = inspect.Signature(typed, return_annotation=result)
    if len(str(short)) <= TOOLTIP_CHARACTERS:
        return short
    nothing = inspect.Parameter.empty
    untyped = [one.replace(annotation=nothing) for one in plain]
    return inspect.Signature(untyped, return_annotation=nothing if result == "None" else result)


def _type_text(annotation: Any) -> Any:
    """Return a type as text without modules."""
    if annotation is inspect.Parameter.empty:
        return annotation
    if isinstance(annotation, str):
        return _Text(annotation.strip("\"'"))
    return _Text(re.sub(r"\b(?:[A-Za-z_]\w*\.)+", "", inspect.formatannotation(annotation)))
