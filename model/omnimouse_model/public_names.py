"""Public names of a package, whose modules are imported when a name is first used."""

from collections.abc import Callable
from typing import Any

import lazy_loader

from omnimouse_model.extras import named_extras


def public_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package, from the stub beside its `file`.

    Importing all modules would load torch and take seconds. The stub (`__init__.pyi`) is
    the only list of the names: type checkers read it, too.
    """
    load, names, _ = lazy_loader.attach_stub(package, file)
    known = frozenset(names())

    def get(name: str) -> Any:
        if name not in known:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with named_extras():
            return load(name)

    return get, names
