"""Forms from typed settings: fields, what the user typed, and why a value is refused.

A frozen dataclass has the settings. `setting` gives each of its fields a label, a help,
a unit, a range, choices and a default; all of these but the label may be functions of a
context, such as the controller, and are read again after each of its changes. The front
ends draw `Form.fields` and call `Form.set`.

    @dataclass(frozen=True, slots=True)
    class ExportSettings:
        rate_hz: float = setting("Rate", "Samples per second", 30.0, unit="Hz", low=0.1)

    form = Form(ExportSettings)
    form.set("rate_hz", "0")
    form.fields()[0].reason  # "at least 0.1 Hz, found 0"
    form.read()              # ValueError: "Rate: at least 0.1 Hz, found 0."

A setting with `apply` is live: the context holds its value, and a valid one that is set
goes there at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields, make_dataclass, replace
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import Any, Final, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from psygnal import SignalInstance

WAITS: Final = "◌ "
"""Begins the reason of a value that becomes valid by itself: what it needs is computed."""
Kind = Literal["integer", "number", "switch", "choice", "text"]
Options = Sequence[tuple[Any, str, str]]
"""Value, label and help of each choice."""
Settings = TypeVar("Settings")
_KEY: Final = "setting"


@dataclass(frozen=True, slots=True)
class _Description:
    label: str
    help: Any
    unit: Any
    low: Any
    high: Any
    step: Any
    options: Any
    initial: Any
    check: Callable[[Any, Any], object]
    refusal: Callable[[Any], str]
    holds: bool
    empty: str
    apply: Callable[[Any, Any], object] | None
    stroke: str


def setting(
    label: str,
    help: Any,  # the word of all records
    default: Any = MISSING,
    *,
    unit: Any = "",
    low: Any = None,
    high: Any = None,
    step: Any = 1,
    options: Any = (),
    initial: Callable[[Any], Any] | None = None,
    check: Callable[[Any, Any], object] = lambda value, context: None,
    refusal: Callable[[Any], str] = lambda context: "",
    holds: bool = False,
    empty: str = "",
    apply: Callable[[Any, Any], object] | None = None,
    stroke: str = "",
) -> Any:
    """Return a field of a dataclass, described for forms.

    Parameters
    ----------
    default
        Value of the dataclass, and of the form without `initial`.
    help, unit, low, high, step, options
        Help, unit, range, step of the arrows, and (value, label, help) of each choice, or
        functions of the context that return them.
    initial
        Value with which a form begins, from the context.
    check
        Raises `ValueError` with the reason for a value that does not fit the context.
    refusal
        Why the field cannot be set, from the context; "" if it can.
    holds
        Whether what is typed or chosen stays when the value to begin with changes.
    empty
        What an empty text stands for, such as "all"; for settings that may be None.
    apply
        Called with each valid value that is set, and the context.
    stroke
        Name of the undo step of a drag: the whole number is a slider.
    """
    start = (lambda context: default) if initial is None else initial
    description = _Description(
        label,
        help,
        unit,
        low,
        high,
        step,
        options,
        start,
        check,
        refusal,
        holds,
        empty,
        apply,
        stroke,
    )
    return field(default=default, metadata={_KEY: description})


def settings_of(options: type, own: type) -> type:
    """Return settings for the plain fields of a dataclass whose metadata has a "help".

    Parameters
    ----------
    options
        Frozen dataclass with defaults, such as the options of a family's fine-tuning.
    own
        Settings that describe some of these fields better.
    """
    described = {one.name: one for one in fields(own)}
    hints, own_hints = get_type_hints(options), get_type_hints(own)
    made = []
    for one in fields(options):
        hint, help_text = hints[one.name], str(one.metadata.get("help", ""))
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if one.name in described:
            about: _Description = described[one.name].metadata[_KEY]
            made.append((one.name, own_hints[one.name], _with_default(about, default)))
            continue
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        if not choices and hint not in (bool, int, float, str):
            continue  # an object, such as a recording, is given in code
        label = one.name.replace("_", " ").capitalize()
        offered = tuple((choice, str(choice), "") for choice in choices)
        made.append((one.name, hint, setting(label, help_text, default, options=offered)))
    return make_dataclass(options.__name__, made, frozen=True, slots=True)


def _with_default(about: _Description, default: Any) -> Any:
    described = replace(about, initial=lambda context: default)
    return field(default=default, metadata={_KEY: described})


@dataclass(frozen=True, slots=True)
class Field:
    """One field as it is drawn.

    Attributes
    ----------
    value
        As typed or chosen, also where it is not valid; text for the kind "text".
    reason
        Why the value is not valid, "" if it is; see `WAITS`.
    refusal
        Why the field is disabled, "" if it is not.
    is_live
        Whether a value has an effect at once: it is then taken when it is typed to its end.
    stroke, ends
        Name of the undo step of a drag, and the range, of a slider.
    """

    name: str
    label: str
    help: str
    kind: Kind
    value: Any
    reason: str = ""
    unit: str = ""
    step: float = 1
    options: tuple[tuple[Any, str, str], ...] = ()
    refusal: str = ""
    empty: str = ""
    is_live: bool = False
    stroke: str = ""
    ends: tuple[int, int] = (0, 0)


class Form(Generic[Settings]):
    """Values of settings while a user edits them.

    Parameters
    ----------
    settings
        Dataclass whose fields are made by `setting`.
    context
        Returns what the functions of the settings receive, such as the controller.

    Attributes
    ----------
    changed
        Emitted after `set`, `reset` and `show`.
    """

    def __init__(self, settings: type[Settings], context: Callable[[], Any] = lambda: None) -> None:
        self._context = context
        self._typed: dict[str, tuple[Any, Any]] = {}
        self.changed = SignalInstance()
        self.show(settings)

    def show(self, settings: type[Settings]) -> None:
        """Take the fields of other settings; those of the same name keep their values."""
        self._settings = settings
        self._hints = get_type_hints(settings)
        # mypy: a type variable has no bound "dataclass"
        listed = fields(settings)  # type: ignore[arg-type]
        self._described: dict[str, _Description] = {
            each.name: each.metadata[_KEY] for each in listed
        }
        self._typed = {k: v for k, v in self._typed.items() if k in self._described}
        self.changed.emit()

    def set(self, name: str, typed: Any) -> None:
        """Take what a user typed or chose, or a value from code."""
        about, context = self._described[name], self._context()
        if self._shown(name) == typed:
            return
        self._typed[name] = typed, about.initial(context)
        value, reason = self._checked(name)
        # A choice that is no longer offered is dropped.
        is_dropped = self._kind(name) == "choice" and value != typed
        if is_dropped or (about.apply is not None and not reason):
            del self._typed[name]
        if about.apply is not None and not reason and not is_dropped:
            about.apply(value, context)
        self.changed.emit()

    def reset(self) -> None:
        """Set all fields to the values of the context."""
        self._typed.clear()
        self.changed.emit()

    def fields(self) -> tuple[Field, ...]:
        """Return the fields in the order of the settings, with reasons."""
        context = self._context()
        found = []
        for name, about in self._described.items():
            options = _now(about.options, context)
            found.append(
                Field(
                    name,
                    about.label,
                    _now(about.help, context),
                    self._kind(name),
                    self._shown(name),
                    self._checked(name)[1],
                    _now(about.unit, context),
                    _now(about.step, context),
                    tuple(options),
                    about.refusal(context),
                    about.empty,
                    about.apply is not None,
                    about.stroke,
                    (about.low, about.high) if about.stroke else (0, 0),
                )
            )
        return tuple(found)

    def value(self, name: str) -> Any:
        """Return the value of one field; that of the context if it is not valid."""
        value, reason = self._checked(name)
        return self._described[name].initial(self._context()) if reason else value

    def read(self) -> Settings:
        """Return the settings.

        Raises
        ------
        ValueError
            A value is not valid; the message names the label and the reason.
        """
        if refusal := self.refusal:
            raise ValueError(f"{refusal}.")
        return self._settings(**{name: self._checked(name)[0] for name in self._described})

    @property
    def refusal(self) -> str:
        """Why the first field that is not valid is refused, with its label; "" without one."""
        for name, about in self._described.items():
            if reason := self._checked(name)[1]:
                return f"{about.label}: {reason}"
        return ""

    def _kind(self, name: str) -> Kind:
        if self._described[name].options:
            return "choice"
        kinds: dict[Any, Kind] = {bool: "switch", int: "integer", float: "number"}
        return kinds.get(self._hints[name], "text")

    def _shown(self, name: str) -> Any:
        about, context = self._described[name], self._context()
        value = initial = about.initial(context)
        # A typed value holds until the value of the context changes: another session.
        if name in self._typed and (about.holds or self._typed[name][1] == initial):
            value = self._typed[name][0]
        kind = self._kind(name)
        if kind == "choice":
            offered = [option[0] for option in _now(about.options, context)]
            if value in offered or not offered:
                return value
            return initial if initial in offered else offered[0]
        return _text(value) if kind == "text" else value

    def _checked(self, name: str) -> tuple[Any, str]:
        """Return the value of a field, and why it is not valid."""
        about, context, shown = self._described[name], self._context(), self._shown(name)
        if self._kind(name) == "choice":
            return shown, ""
        try:
            value = _parsed(self._hints[name], shown)
            ends = _now(about.low, context), _now(about.high, context)
            _check_range(value, *ends, _now(about.unit, context))
            about.check(value, context)
        except ValueError as error:
            return None, str(error).rstrip(".")
        return value, ""


def _now(value: Any, context: Any) -> Any:
    return value(context) if callable(value) else value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(_text, value)) if isinstance(value, (tuple, list)) else str(value)


def _parsed(hint: Any, shown: Any) -> Any:
    """Return a typed text as the type of its setting."""
    members, text = get_args(hint), str(shown).strip()
    if NoneType in members:
        (other,) = (member for member in members if member is not NoneType)
        return None if text in ("", "None") else _parsed(other, shown)
    if get_origin(hint) is tuple:
        parts = shown if isinstance(shown, (tuple, list)) else text.split(",")
        return tuple(_parsed(members[0], part) for part in parts if str(part).strip())
    if hint is bool:
        return bool(shown)
    if hint is int:
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"a whole number, found {_quoted(text)}") from None
    if hint is float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not isfinite(number):
            raise ValueError(f"a number, found {_quoted(text)}")
        return number
    return Path(text) if hint is Path else text


def _quoted(text: str) -> str:
    return f"“{text[:40]}”" if text else "nothing"


def _check_range(value: Any, low: Any, high: Any, unit: str) -> None:
    for number in value if isinstance(value, tuple) else (value,):
        if not isinstance(number, (int, float)):
            continue
        is_low, is_high = low is not None and number < low, high is not None and number > high
        if is_low or is_high:
            bounds = (
                f"{low:,} to {high:,}"
                if None not in (low, high)
                else (f"at least {low:,}" if is_low else f"at most {high:,}")
            )
            raise ValueError(f"{bounds}{f' {unit}' if unit else ''}, found {number:,}")
