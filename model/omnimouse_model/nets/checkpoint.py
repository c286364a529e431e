"""Checkpoints of this project: weights as safetensors, and a JSON description.

The description has the family, the config and the sessions. Official checkpoints are
read by `official`.
"""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, Literal, get_args, get_origin

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.omnimouse.config import HieraConfig, OmniMouseConfig
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.nets.omnimouse.size import check_numbers
from omnimouse_model.nets.strict import load_strictly
from omnimouse_model.storage.write import atomic_path, write_json

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
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    state |= {CONTEXT + k: v.contiguous() for k, v in (context or {}).items()}
    # In both files: a pair of files that were not saved together is refused.
    pair = secrets.token_hex(8)
    description = {
        "format": FORMAT,
        "family": FAMILY,
        "pair": pair,
        "config": asdict(net.config),
        "sessions": net.session_sizes,
        "animals": net.animals,
        "card": card or {},
        "assumed": list(assumed),
    }
    write_json(path.with_suffix(".json"), description)
    # Last: after a kill, the weights must not look like a whole checkpoint.
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata={"pair": pair})
    return path


def read_card(path: str | Path) -> dict[str, Any]:
    """Return the information for people in a checkpoint, without its weights."""
    description = json.loads(Path(path).with_suffix(".json").read_text("utf-8"))
    card: dict[str, Any] = description["card"]
    return card


def read_own(path: Path) -> Checkpoint:
    """Read a checkpoint that `save_checkpoint` wrote."""
    json_path = path.with_suffix(".json")
    if not json_path.exists():
        raise CheckpointError(
            f"{path.name} has no {json_path.name} beside it; the config is in there."
        )
    try:
        description = json.loads(json_path.read_text("utf-8"))
        version = description["format"]
        config = config_from_dict(description["config"])
        sessions = {str(k): int(v) for k, v in description["sessions"].items()}
        animals = {str(k): str(v) for k, v in description["animals"].items()}
        assumed = tuple(map(str, description.get("assumed", ())))
        if not all(0 < n < MAX_NEURONS for n in sessions.values()):
            raise ValueError("a session of no neurons, or of too many")
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise CheckpointError(
            f"{json_path} is not a checkpoint description: {type(error).__name__} "
            f"({str(error)[:300]})."
        ) from error
    if description.get("family", FAMILY) != FAMILY:
        family = str(description["family"])[:80]
        raise CheckpointError(
            f"{json_path} is a checkpoint of family {family!r}, not of {FAMILY!r}; "
            "load it with load_predictor."
        )
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(
            f"{json_path} was written by a newer version ({str(version)[:80]!r}, not "
            f"{FORMAT}); update omnimouse-app."
        )
    try:
        with safe_open(path, framework="pt") as file:
            # A safetensors file has keys(), but cannot be iterated.
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            pair = (file.metadata() or {}).get("pair")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    if pair != description.get("pair"):
        raise CheckpointError(
            f"{path.name} and {json_path.name} were not saved together: one of them "
            "was replaced, or saving was cut short. Copy both again, or train on."
        )
    context = {
        key.removeprefix(CONTEXT): state.pop(key) for key in list(state) if key.startswith(CONTEXT)
    }
    return Checkpoint(
        config=config,
        state=state,
        sessions=sessions,
        animals=animals,
        source=str(path),
        assumed=assumed,
        card=description.get("card"),
        context=context,
    )


def config_from_dict(values: dict[str, Any]) -> OmniMouseConfig:
    """Return a config from its JSON form; unknown fields are an error."""
    plain = {k: v for k, v in values.items() if k != "hiera"}
    hiera = typed_values(HieraConfig, values["hiera"])
    return OmniMouseConfig(hiera=HieraConfig(**hiera), **typed_values(OmniMouseConfig, plain))


def typed_values(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Return values for a config, with JSON's lists and integers in its types.

    Raises
    ------
    TypeError
        A name that the config does not have, or a value that is not one of its choices.
    """
    for setting in fields(kind):
        choices, value = get_args(setting.type), values.get(setting.name)
        if get_origin(setting.type) is Literal and value not in (None, *choices):
            raise TypeError(f"{setting.name} is one of {choices}, found {shortened(value)}")
    unknown = sorted(values.keys() - {f.name for f in fields(kind)})
    if unknown:
        raise TypeError(f"{kind.__name__} has no field {', '.join(unknown)[:80]}")
    floats = {f.name for f in fields(kind) if f.type in (float, float | None)}
    return {
        name: float(value) if name in floats and isinstance(value, int) else plain_value(value)
        for name, value in values.items()
    }


def plain_value(value: Any) -> Any:  # Any: whatever JSON holds
    """Return a JSON value as configs contain it: tuples for lists."""
    return tuple(value) if isinstance(value, list) else value
