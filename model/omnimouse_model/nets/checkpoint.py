"""Weights and configs on disk: where training and prediction meet.

Ours is safetensors beside a JSON of the config and what is known. Official
checkpoints are read by `official.py`.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from omnimouse_model.atomic import atomic_path
from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.omnimouse.config import HieraConfig, OmniMouseConfig
from omnimouse_model.nets.omnimouse.network import OmniMouse

FORMAT = 1
FAMILY = "omnimouse"
FINISHED = "finetuned.safetensors"
"""The result of a fine-tuning, beside the last and the best weights of its run."""
MOST_NEURONS = 10**7


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model on disk, read but not built.

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
        Where it came from.
    assumed
        What the file does not say and was taken from the size table.
    card
        Free facts for people: training, targets, scores.
    """

    config: OmniMouseConfig
    state: dict[str, Tensor]
    sessions: dict[str, int]
    animals: dict[str, str]
    source: str
    assumed: tuple[str, ...] = ()
    card: dict[str, Any] | None = None

    def build(self) -> OmniMouse:
        """Build the net and load the weights strictly, each in its own precision.

        Raises
        ------
        CheckpointError
            Names missing and unexpected entries, and those of another shape or kind.
        """
        try:
            with torch.device("meta"):
                net = OmniMouse(self.config, self.sessions, self.animals)
        except Exception as error:  # numbers that make no net fail in many ways
            raise CheckpointError(
                f"{self.source} has a config that makes no net: {error!r}."
            ) from error
        expected = net.state_dict()
        missing = expected.keys() - self.state.keys()
        extra = self.state.keys() - expected.keys()
        wrong = [
            f"{key} {_form(self.state[key])} for {_form(value)}"
            for key, value in expected.items()
            if key in self.state and not _fits(self.state[key], value)
        ]
        if missing or extra or wrong:
            raise CheckpointError(
                f"{self.source} does not fit its config: {_some('missing', missing)}"
                f"{_some('unexpected', extra)}{_some('of another form', wrong)}"
                "Was it saved from another size or version?"
            )
        state = {k: v.to(expected[k].dtype) for k, v in self.state.items()}
        net.load_state_dict(state, strict=True, assign=True)
        return net.requires_grad_(True).eval()


def _fits(found: Tensor, expected: Tensor) -> bool:
    """Of the same shape, and of the same kind of number."""
    same_kind = found.is_floating_point() == expected.is_floating_point()
    return found.shape == expected.shape and same_kind and not found.is_complex()


def _form(value: Tensor) -> str:
    """Shape as an error shows it, with the type where that is not the usual one."""
    kind = "" if value.dtype == torch.float32 else f" {value.dtype}"
    return f"{tuple(value.shape)}{kind}".replace("torch.", "")


def _some(word: str, names: Iterable[str]) -> str:
    listed = sorted(names)
    if not listed:
        return ""
    shown = ", ".join(listed[:4]) + (", …" if len(listed) > 4 else "")
    return f"{len(listed)} {word} ({shown}). "


# -- ours -------------------------------------------------------------------------


def save_checkpoint(
    path: str | Path,
    net: OmniMouse,
    card: dict[str, Any] | None = None,
    assumed: Iterable[str] = (),
) -> Path:
    """Write `path` (.safetensors) and the JSON beside it, each atomically.

    Both carry one random word: a pair that was torn apart is noticed on reading.
    """
    path = Path(path).with_suffix(".safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    pair = secrets.token_hex(8)
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata={"pair": pair})
    facts = {
        "format": FORMAT,
        "family": FAMILY,
        "pair": pair,
        "config": asdict(net.config),
        "sessions": net.session_sizes,
        "animals": net.animals,
        "card": card or {},
        "assumed": list(assumed),
    }
    with atomic_path(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    return path


def read_card(path: str | Path) -> dict[str, Any]:
    """What a checkpoint of ours says of itself to people, without its weights."""
    facts = json.loads(Path(path).with_suffix(".json").read_text("utf-8"))
    card: dict[str, Any] = facts["card"]
    return card


def read_own(path: Path) -> Checkpoint:
    """Read a checkpoint that `save_checkpoint` wrote."""
    facts_path = path.with_suffix(".json")
    if not facts_path.exists():
        raise CheckpointError(
            f"{path.name} has no {facts_path.name} beside it; the config is in there."
        )
    try:
        facts = json.loads(facts_path.read_text("utf-8"))
        version = facts["format"]
        config = config_from_dict(facts["config"])
        sessions = {str(k): int(v) for k, v in facts["sessions"].items()}
        animals = {str(k): str(v) for k, v in facts["animals"].items()}
        assumed = tuple(map(str, facts.get("assumed", ())))
        if not all(0 < n < MOST_NEURONS for n in sessions.values()):
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
            f"{facts_path} is not a checkpoint description: {error!r}."
        ) from error
    if facts.get("family", FAMILY) != FAMILY:
        raise CheckpointError(
            f"{facts_path} is a checkpoint of family {facts['family']!r}, not of "
            f"{FAMILY!r}; load it with load_predictor."
        )
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(
            f"{facts_path} was written by a newer version ({version!r}, not {FORMAT}); "
            "update omnimouse-app."
        )
    try:
        with safe_open(path, framework="pt") as file:
            # a safetensors file has keys(), but cannot be iterated
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            pair = (file.metadata() or {}).get("pair")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    if pair != facts.get("pair"):
        raise CheckpointError(
            f"{path.name} and {facts_path.name} were not saved together: one of them "
            "was replaced, or saving was cut short. Copy both again, or train on."
        )
    return Checkpoint(
        config=config,
        state=state,
        sessions=sessions,
        animals=animals,
        source=str(path),
        assumed=assumed,
        card=facts.get("card"),
    )


def config_from_dict(values: dict[str, Any]) -> OmniMouseConfig:
    """Rebuild a config from its JSON form; unknown fields are an error."""
    plain = {k: v for k, v in values.items() if k != "hiera"}
    hiera = typed_values(HieraConfig, values["hiera"])
    return OmniMouseConfig(
        hiera=HieraConfig(**hiera), **typed_values(OmniMouseConfig, plain)
    )


def typed_values(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Values for a config, with JSON's lists and whole numbers in the right type.

    Raises
    ------
    TypeError
        A name that the config does not have, or a word that is not one of its choices.
    """
    for field in fields(kind):
        choices, value = get_args(field.type), values.get(field.name)
        if get_origin(field.type) is Literal and value not in (None, *choices):
            raise TypeError(f"{field.name} is one of {choices}, found {value!r}")
    unknown = sorted(values.keys() - {f.name for f in fields(kind)})
    if unknown:
        raise TypeError(f"{kind.__name__} has no field {', '.join(unknown)}")
    floats = {f.name for f in fields(kind) if f.type in (float, float | None)}
    return {
        name: float(value)
        if name in floats and isinstance(value, int)
        else plain_value(value)
        for name, value in values.items()
    }


def plain_value(value: Any) -> Any:  # Any: whatever JSON holds
    """A JSON value as configs hold it: tuples for lists."""
    return tuple(value) if isinstance(value, list) else value
