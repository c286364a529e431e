"""Checkpoints of this project: weights as safetensors, and a JSON description.

The description has the family, the config and the sessions. Official checkpoints are
read by `official`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.description import MAX_SESSIONS, check_pair, load_strictly, save_described
from omnimouse_model.nets.omnimouse.config import OmniMouseConfig
from omnimouse_model.nets.omnimouse.network import OmniMouse, check_numbers
from omnimouse_model.storage.tensors import read_safetensors
from omnimouse_model.storage.trees import read_json
from omnimouse_model.storage.typed import Within, decode, refused_as, shown

FORMAT = 1
FAMILY = "omnimouse"
FINISHED = "finetuned.safetensors"
"""The result of a fine-tuning, in one folder with the last and best weights."""
CONTEXT = "context_part."
"""Prefix of the tensors of a context part in the file of the weights."""
MAX_NEURONS = 10**7
"""Limit per session: a hostile description must not allocate all memory."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that was read from disk, but not built.

    Attributes
    ----------
    config
        Architecture.
    state
        Parameter name -> tensor, without the compiler's prefix.
    sessions
        session key -> number of neurons.
    animals
        session key -> animal id.
    source
        Path or name, for messages.
    assumed
        Settings that the file does not contain and the table of sizes gave.
    card
        Information for people: training, targets, scores.
    context
        Tensors of the linear-Gaussian part, `<session>.<inputs>.<array>` -> tensor;
        empty for models without it, such as the official ones.
    """

    config: OmniMouseConfig
    state: dict[str, Tensor]
    sessions: dict[str, int]
    animals: dict[str, str]
    source: str
    assumed: tuple[str, ...] = ()
    card: dict[str, Any] | None = None
    context: Mapping[str, Tensor] = field(default_factory=dict)

    def build(self) -> OmniMouse:
        """Build the network and load the weights strictly, each in its own precision.

        Raises
        ------
        CheckpointError
            Entries are missing, unexpected, or of another shape or type.
        """
        try:
            check_numbers(self.config, self.source)
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        return load_strictly(
            lambda: OmniMouse(self.config, self.sessions, self.animals),
            self.state,
            self.source,
        )


# -- files ------------------------------------------------------------------------


def save_checkpoint(
    path: str | Path,
    net: OmniMouse,
    card: dict[str, Any] | None = None,
    assumed: Iterable[str] = (),
    context: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write `path` (.safetensors) and its JSON description, each atomically.

    No other process may write them meanwhile.

    `card`, `assumed` and `context` are those of `Checkpoint`.
    """
    path = Path(path).with_suffix(".safetensors")
    state = {k: v.detach().cpu() for k, v in net.state_dict().items()}
    state |= {CONTEXT + k: v for k, v in (context or {}).items()}
    description = {
        "format": FORMAT,
        "family": FAMILY,
        "config": asdict(net.config),
        "sessions": net.session_sizes,
        "animals": net.animals,
        "card": card or {},
        "assumed": list(assumed),
    }
    save_described(path, description, state)
    return path


def read_card(path: str | Path) -> dict[str, Any]:
    """Return the information for people in a checkpoint, without its weights."""
    described = Path(path).with_suffix(".json")
    with refused_as(CheckpointError):
        return decode(_Card, read_json(described), described, is_open=True).card


def read_own(path: Path) -> Checkpoint:
    """Read a checkpoint that `save_checkpoint` wrote."""
    described = path.with_suffix(".json")
    if not described.exists():
        raise CheckpointError(
            f"{path.name} has no {described.name} beside it; the config is in there."
        )
    with refused_as(CheckpointError):
        stored = decode(dict[str, Any], read_json(described), described)
        # First: the fields of another family, or of a newer version, are not ours.
        _check_form(stored, described)
        description = decode(_Description, stored, described, is_open=True)
    state, notes = read_safetensors(path)
    check_pair(stored, notes, path)
    context = {
        key.removeprefix(CONTEXT): state.pop(key) for key in list(state) if key.startswith(CONTEXT)
    }
    return Checkpoint(
        config=description.config,
        state=state,
        sessions=description.sessions,
        animals=description.animals,
        source=str(path),
        assumed=description.assumed,
        card=description.card,
        context=context,
    )


@dataclass(frozen=True, slots=True)
class _Card:
    """The JSON beside the weights of any family."""

    card: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Description:
    """The JSON beside the weights; see `Checkpoint`."""

    config: OmniMouseConfig
    sessions: Annotated[dict[str, Annotated[int, Within(1, MAX_NEURONS)]], Within(0, MAX_SESSIONS)]
    animals: dict[str, str]
    assumed: tuple[str, ...] = ()
    card: dict[str, Any] | None = None


def _check_form(stored: Mapping[str, Any], path: Path) -> None:
    """Raise `CheckpointError` for another family, or a newer version."""
    family, version = stored.get("family", FAMILY), stored.get("format")
    if family != FAMILY:
        raise CheckpointError(
            f"{path} is a checkpoint of family {shown(family)}, not of {FAMILY!r}; "
            "load it with load_predictor."
        )
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(
            f"{path} was written by a newer version ({shown(version)}, not {FORMAT}); "
            "update omnimouse-app."
        )
