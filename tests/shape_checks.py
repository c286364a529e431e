"""Run-time checks of types and array shapes that cost less than those of jaxtyping.

jaxtyping's import hook wraps every function. The wrapper binds the arguments, keeps the
sizes of named axes and calls two checked copies of the function. Only a signature with
shapes needs this; beartype alone makes the same checks of the others. A function is
wrapped at its first call, because a process calls only a part of the library.
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

import jaxtyping

_jaxtyped = jaxtyping.jaxtyped


def use_lighter_checks() -> None:
    """Make the import hook of jaxtyping use `jaxtyped` of this module.

    Called before the hook imports the first module.
    """
    jaxtyping.jaxtyped = jaxtyped


def jaxtyped(function: Any = None, *, typechecker: Any) -> Any:
    """Wrap a function at its first call; leave anything else to jaxtyping."""
    if function is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
    if not inspect.isfunction(function):
        return _jaxtyped(function, typechecker=typechecker)
    checked: Callable[..., Any] | None = None

    @functools.wraps(function)
    def checked_at_first_call(*values: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        nonlocal checked
        if checked is None:
            checked = _checked(function, typechecker)
        return checked(*values, **named)

    return checked_at_first_call


def _checked(function: Any, typechecker: Any) -> Callable[..., Any]:
    """Wrap a function by jaxtyping if its signature has shapes, else by beartype.

    Both raise the same error.
    """
    hints = {name: _hint(function, name) for name in function.__annotations__}
    # beartype alone checks the parameters of a generator at its first value.
    is_generator = inspect.isgeneratorfunction(function)
    if is_generator or any(map(_has_shape, hints.values())):
        return _jaxtyped(function, typechecker=typechecker)
    from beartype import BeartypeConf

    # A frame of this module calls the function, and not one that beartype makes in the
    # function's module: a warning about the caller would be one about the library.
    @functools.wraps(function)
    def call(*values: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        return function(*values, **named)

    call.__annotations__ = hints
    conf = BeartypeConf(violation_type=jaxtyping.TypeCheckError)
    return typechecker(call, conf=conf)


def _hint(function: Any, name: str) -> Any:
    """Return the type that an annotation names; Any if a name is not imported."""
    one = types.SimpleNamespace(__annotations__={name: function.__annotations__[name]})
    try:
        hints = typing.get_type_hints(one, function.__globals__, include_extras=True)
        return hints[name]
    except NameError:
        return Any


def _has_shape(hint: Any) -> bool:
    """Return whether a type hint contains an array whose shape is declared."""
    if isinstance(hint, list):  # the parameters of a Callable
        return any(map(_has_shape, hint))
    is_array = isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray)
    return is_array or any(map(_has_shape, typing.get_args(hint)))
