"""Fields of training configs that all families share, and the files of configs."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from omnimouse_model.storage.trees import read_yaml_mapping
from omnimouse_model.storage.typed import Within

Targets = Literal["responses", "truth"]


Count = Annotated[int, Within(1, 10**9)]


@dataclass(frozen=True, slots=True)
class SessionChoice:
    """A session to train on, and its sampling weight.

    Attributes
    ----------
    mouse
        Name of a simulated mouse, or path of a session.
    context
        Whether an export fits the context part of the model to it.
    neurons
        Key of an earlier session of the list with the same neurons in the same order:
        both share the parameters of the neurons. Empty for neurons of its own.
    """

    mouse: str
    weight: float = 1.0
    context: bool = False
    neurons: str = ""


@contextmanager
def named_config(path: str | Path) -> Iterator[None]:
    """Begin the message of every `ValueError` in the block with the path of a config."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"{path} is not a training config: {error}. The shipped one is an "
            f"example: {_FAMILIES / 'omnimouse' / 'configs' / 'demo.yaml'}"
        ) from error


def family_of_config(path: Path) -> str:
    """Return the family that a training config names, "" without one."""
    with named_config(path):
        return str(read_yaml_mapping(path).get("family", ""))


def check_sessions(choices: Sequence[SessionChoice]) -> None:
    """Raise ValueError if sessions have fields that only OmniMouse reads."""
    if any(choice.neurons or choice.context for choice in choices):
        raise ValueError("sessions[]: neurons and context are fields of OmniMouse")


_FAMILIES = Path(__file__).parent.parent / "families"


def config_path(name: str) -> Path:
    """Return the path of a shipped config by name, or the given path.

    Raises
    ------
    ValueError
        Neither is a file; the message lists the shipped configs.
    """
    return shipped_or_own(name, _FAMILIES.glob("*/configs/*.yaml"), "training config")


def shipped_or_own(name: str, shipped: Iterable[Path], what: str) -> Path:
    """Return the shipped file of that name, or the path; see `config_path`."""
    by_name = {path.stem: path for path in shipped}
    place = by_name.get(name, Path(name))
    if not place.is_file():
        names = ", ".join(sorted(by_name))
        raise ValueError(
            f"There is no {what} {name!r}: give a YAML file, or the name of a "
            f"shipped one ({names})."
        )
    return place
