"""Public names of a package, whose modules are imported when a name is first used."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from omnimouse_model.extras import named_extras


def public_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package.

    Importing all modules would load torch and take seconds.

    Parameters
    ----------
    modules
        Names, separated by blanks, by the module that defines them; "" for modules and
        packages themselves.
    """
    homes = {name: home for home, names in modules.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        if not home:
            return import_module(f"{package}.{name}")
        with named_extras():
            value = getattr(import_module(f"{package}.{home}"), name)
        # The next use finds it without this function.
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted(homes)

    return get, names
