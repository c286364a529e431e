"""Checkpoints of calcium POYO+: weights, and the neurons and sessions of their rows.

Weights are safetensors with the public names; a JSON file beside them has the config and
the neurons of each session, in the order of their embeddings.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.poyo_calcium.network import PADDING, PoyoConfig, PoyoNetwork
from omnimouse_model.predict.checkpoint_file import (
    MAX_NEURONS,
    MAX_SESSIONS,
    UNSTORED,
    Checkpoint,
    load_strictly,
)
from omnimouse_model.storage.trees import Within, decode, refused_as

FAMILY = "poyo_calcium"
TITLE = "calcium POYO+"
UNITS, SESSIONS = "unit_emb.weight", "session_emb.weight"
"""Tables with a row for each neuron and each session, after that of the padding."""
_PREFIX = "model."
"""Of the names in a file of PyTorch Lightning."""


Names = Annotated[tuple[str, ...], Within(1, MAX_NEURONS)]


@dataclass(frozen=True, kw_only=True, eq=False)
class PoyoCheckpoint(Checkpoint):
    """A network with the neurons of its sessions, read but not built.

    Attributes
    ----------
    units
        Session -> names of its neurons; both in the order of their rows.
    """

    family = FAMILY
    prefixes = ()
    tables = (UNITS, SESSIONS)
    config: PoyoConfig
    units: Annotated[dict[str, Names], Within(0, MAX_SESSIONS)]
    sessions: dict[str, int] = field(default_factory=dict, metadata=UNSTORED)

    def __post_init__(self) -> None:
        # The class is frozen, and the numbers follow from the names.
        counts = {session: len(names) for session, names in self.units.items()}
        object.__setattr__(self, "sessions", counts)

    @classmethod
    def of(
        cls, about: Mapping[str, Any], state: Mapping[str, Tensor], path: Path
    ) -> "PoyoCheckpoint":
        """Return tensors with what the JSON file says, in our form or that of the public code."""
        if "units" not in about and "published" in about:
            state, about = _public(state, about, path.with_suffix(".json"))
        return super().of(about, state, path)

    def build(self) -> PoyoNetwork:
        """Build the network.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or of another shape; it names them.
        """
        return load_strictly(lambda: network_of(self.config, self.units), self.state, self.source)

    def trained(self, session: str, *, is_frozen: bool) -> list[Tensor]:
        """Return the tensors that a fine-tuning trains: with a frozen core, the tables."""
        return [v for k, v in self.state.items() if not is_frozen or k in self.tables]

    def renamed(self, names: Mapping[str, str]) -> "PoyoCheckpoint":
        """Return the model with other keys of sessions."""
        return replace(self, units={names.get(key, key): own for key, own in self.units.items()})

    def joined(self, other: "PoyoCheckpoint") -> "PoyoCheckpoint":
        """Return the network with the sessions of another one of the same core, too."""
        # The first row is that of the padding.
        tables = {k: torch.cat([self.state[k], other.state[k][1:]]) for k in self.tables}
        return replace(other, units={**self.units, **other.units}, state={**self.state, **tables})


def network_of(config: PoyoConfig, units: Mapping[str, tuple[str, ...]]) -> PoyoNetwork:
    """Return a new network for the neurons of some sessions."""
    words = [word for session, names in units.items() for word in words_of(session, names)]
    return PoyoNetwork(config, [PADDING, *words], [PADDING, *units])


def words_of(session: str, names: Sequence[str]) -> list[str]:
    """Return the words of a session's neurons in the vocabulary, as in the public code."""
    return [f"{session}/{name}" for name in names]


# -- weights of the public code, from `omnimouse convert-weights` -----------------------
def _public(
    state: Mapping[str, Tensor], about: Mapping[str, Any], described: Path
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and description of published weights in our form.

    The file had both vocabularies, mappings from words to rows, beside its tensors. Sizes
    are those of the tensors where the description states none; it states the tasks.

    Raises
    ------
    CheckpointError
        A vocabulary, a tensor or the tasks are missing, or do not fit.
    """
    state = {name.removeprefix(_PREFIX): value for name, value in state.items()}
    with refused_as(CheckpointError):
        stated = decode(dict[str, Any], about.get("config") or {}, described, "config")
        found = decode(dict[str, Any], about["published"], described, "published")
        beside: Any = found.get("settings")
        for name in str(found.get("part", "")).split("."):
            beside = beside.get(name) if name and isinstance(beside, dict) else beside
        beside = decode(dict[str, Any], beside, described, "published.settings")
        beside = {name.removeprefix(_PREFIX): value for name, value in beside.items()}
        rows, session_rows = (
            decode(dict[str, int], beside.get(name), described, name)
            for name in ("unit_emb.vocab", "session_emb.vocab")
        )
    if "tasks" not in stated:
        raise CheckpointError(
            f"{described} has no config.tasks: name each task with its number, its size and "
            "the channels of recordings that its values are."
        )
    sessions = sorted(session_rows.keys() - {PADDING}, key=session_rows.__getitem__)
    units: dict[str, list[str]] = {name: [] for name in sessions}
    for word in sorted(rows.keys() - {PADDING}, key=rows.__getitem__):
        session, _, name = word.rpartition("/")
        if session not in units:
            raise CheckpointError(f"{described}: neuron {word[:80]!r} is of no session of it.")
        units[session].append(name)
    # A session without neurons cannot be decoded.
    kept = [0, *(session_rows[name] for name in units if units[name])]
    units = {name: names for name, names in units.items() if names}
    # The rows of the neurons, session after session.
    order = [0, *(rows[w] for name, names in units.items() for w in words_of(name, names))]
    try:
        state |= {UNITS: state[UNITS][order], SESSIONS: state[SESSIONS][kept]}
        config = _sizes_of(state) | stated
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{described}: the weights have no {error} of {TITLE}.") from error
    default = PoyoConfig()
    assumed = [
        f"{name} of {getattr(default, name):g}, which no tensor tells"
        for name in ("window_s", "step_s", "rate_hz")
        if name not in stated
    ]
    return state, {**about, "config": config, "units": units, "assumed": assumed}


def _sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of a config that tensors tell; `KeyError` for a missing tensor."""
    omega = state["rotary_emb.omega"]
    head, turned = 2 * len(omega), 2 * int(omega.count_nonzero())
    n_latents, width = state["latent_emb.weight"].shape
    return {
        "n_latents": n_latents,
        "width": width,
        "depth": len({name.split(".")[1] for name in state if name.startswith("proc_layers.")}),
        "head": head,
        "cross_heads": len(state["enc_atn.to_q.weight"]) // head,
        "self_heads": len(state["proc_layers.0.0.to_qkv.weight"]) // (3 * head),
        "turned": turned,
        "shortest_s": 2 * math.pi / float(omega[0]),
        "longest_s": 2 * math.pi / float(omega[turned // 2 - 1]),
        "mult": state["enc_ffn.1.net.3.weight"].shape[1] // width,
    }
