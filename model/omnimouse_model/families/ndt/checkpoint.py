"""Checkpoints of neural data transformers: the shared part, and stitchers by session.

Weights are safetensors with the names of `Ndt`; a JSON file beside them has the config,
the spec of the trials and the sessions, in the order of their embeddings. Weights of
the public code load, too, where such a file names their sessions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.ndt.network import Ndt, NdtConfig
from omnimouse_model.predict.checkpoint_file import (
    checkpoint_file,
    config_of,
    load_strictly,
    read_about,
    read_checkpoint,
    save_checkpoint,
    session_counts,
)
from omnimouse_model.storage.tensors import read_tensors
from omnimouse_model.storage.trees import decode, refused_as

FAMILY = "ndt"
SESSION_TABLE = "encoder.embedder.embed_session.weight"
SCHEMES_OF = "schemes"
"""Key of the masking schemes of the training in the card; absent in older files."""
RATE_OF = "lr"
"""The same for its highest learning rate."""
_COUNTS = ("n_layers", "n_heads", "mult")


@dataclass(frozen=True, slots=True)
class NdtCheckpoint:
    """A transformer with the stitchers of its sessions, read but not built.

    Attributes
    ----------
    config
        Sizes of the network.
    spec
        Fields of the spec of its trials; empty for the trials of Jiang et al.
    state
        Tensors with the names of `Ndt`.
    sessions
        Session -> number of neurons, in the order of the session embeddings.
    assumed
        Settings that the files do not contain.
    card
        Information for people: training, scores.
    """

    config: NdtConfig
    spec: Mapping[str, Any]
    state: Mapping[str, Tensor]
    sessions: Mapping[str, int]
    source: str = ""
    assumed: tuple[str, ...] = ()
    card: Mapping[str, Any] | None = None

    @property
    def shared(self) -> dict[str, Tensor]:
        """Tensors of the part that all sessions share."""
        return {k: v for k, v in self.state.items() if k.startswith("encoder.")}

    def stitchers(self, session: str) -> dict[str, Tensor]:
        """Return the tensors of one session."""
        own = (f"stitchers.{session}.", f"readouts.{session}.")
        return {k: v for k, v in self.state.items() if k.startswith(own)}

    def build(self) -> Ndt:
        """Build the network.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or of another shape; it names them.
        """
        return load_strictly(lambda: Ndt(self.config, self.sessions), self.state, self.source)


def save_ndt(path: Path, checkpoint: NdtCheckpoint) -> None:
    """Write a checkpoint to a file and its description."""
    about = {
        "config": asdict(checkpoint.config),
        "spec": dict(checkpoint.spec),
        "sessions": dict(checkpoint.sessions),
        "card": dict(checkpoint.card or {}),
        "assumed": list(checkpoint.assumed),
    }
    save_checkpoint(path, checkpoint.state, FAMILY, about)


def read_ndt(path: Path) -> NdtCheckpoint:
    """Read a checkpoint: weights of this project, or of the public code.

    Parameters
    ----------
    path
        A .safetensors file, or a .pt file with a state dict; a JSON file beside it
        names the sessions. Of public weights, it need not have the sizes.

    Raises
    ------
    CheckpointError
        A file is missing, damaged or of another form; the message names the field.
    """
    path = checkpoint_file(path)
    described = path.with_suffix(".json")
    if path.suffix == ".safetensors":
        envelope = read_checkpoint(path, FAMILY)
        state, description = envelope.tensors, envelope.about
    else:
        # Public weights do not name the file that describes them.
        state, description = read_tensors(path), read_about(path, FAMILY)
    sessions = session_counts(description, described)
    with refused_as(CheckpointError):
        assumed = decode(tuple[str, ...], description.get("assumed") or [], described, "assumed")
    if is_public(state):
        description, more = _with_sizes(description, state, str(path))
        assumed = (*assumed, *more)
    config = config_of(NdtConfig, description, described, _COUNTS)
    if is_public(state):
        state = public_to_own(state, config, sessions, str(path))
    with refused_as(CheckpointError):
        spec = decode(dict[str, Any], description.get("spec") or {}, described, "spec")
    return NdtCheckpoint(config, spec, state, sessions, str(path), assumed, description.get("card"))


def _with_sizes(
    description: dict[str, Any], state: Mapping[str, Tensor], source: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the description with sizes of the tensors, and what is assumed."""
    with refused_as(CheckpointError):
        stated = decode(dict[str, Any], description.get("config") or {}, source, "config")
    try:
        sizes = sizes_from_shapes(state)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{source} has no tensor {error} of a neural data transformer."
        ) from error
    missing = {f.name for f in fields(NdtConfig)} - stated.keys() - sizes.keys()
    default, assumed = NdtConfig(), []
    if "n_heads" in missing:
        assumed.append(f"{default.n_heads} attention heads, which no tensor tells")
    if "leaks" in missing:
        assumed.append(
            "prepended tokens see no bins under the causal scheme, unlike in the "
            "public code (leaks: false)"
        )
    return description | {"config": sizes | stated}, tuple(assumed)


# -- weights of neural data transformers with the names of the public code
STITCHER = "encoder.stitcher.stitcher_dict."
READOUT = "stitch_decoder.stitch_decoder_dict."
UNUSED = ("decoder.0.weight", "decoder.0.bias")
"""A layer that the public code builds and never uses with stitchers."""
PROMPT, SESSION = "encoder.embedder.embed_prompt.", "encoder.embedder.embed_session."


EMBED, POSITION = "encoder.embedder.embed_spikes.", "encoder.embedder.embed_pos."


def is_public(state: Mapping[str, Tensor]) -> bool:
    """Return whether tensors have the names of the public code."""
    return any(name.startswith(STITCHER) for name in state)


def sizes_from_shapes(state: Mapping[str, Tensor]) -> dict[str, int | bool]:
    """Return the fields of `NdtConfig` that shapes of tensors tell.

    The number of heads is not among them.

    Raises
    ------
    KeyError
        A tensor is missing.
    """
    inner, d_token = state[f"{EMBED}weight"].shape
    n_bins, d_model = state[f"{POSITION}weight"].shape
    layers = {
        int(name.split(".")[2])
        for name in state
        if name.startswith("encoder.layers.") and name.split(".")[2].isdecimal()
    }
    return {
        "d_token": d_token,
        "mult": inner // d_token,
        "n_bins": n_bins,
        "d_model": d_model,
        "n_layers": len(layers),
        "d_inner": len(state["encoder.layers.0.mlp.up_proj.weight"]),
        "has_prompt": f"{PROMPT}weight" in state,
        "has_session": f"{SESSION}weight" in state,
    }


def public_to_own(
    state: Mapping[str, Tensor],
    config: NdtConfig,
    sessions: Mapping[str, int],
    source: str,
) -> dict[str, Tensor]:
    """Return the tensors with the names of `Ndt`."""
    own: dict[str, Tensor] = {}
    used = set(UNUSED)
    skipped = {PROMPT: not config.has_prompt, SESSION: not config.has_session}
    for name, value in state.items():
        if any(is_left and name.startswith(part) for part, is_left in skipped.items()):
            used.add(name)
        elif not name.startswith((STITCHER, READOUT)) and name not in UNUSED:
            own[name] = value
            used.add(name)
    for session, count in sessions.items():
        for public, mine in ((STITCHER, "stitchers"), (READOUT, "readouts")):
            for part in ("weight", "bias"):
                name = f"{public}{count}.{part}"
                if name not in state:
                    raise CheckpointError(
                        f"{source} has no {name}, for the {count} neurons of session {session!r}."
                    )
                own[f"{mine}.{session}.{part}"] = state[name].clone()
                used.add(name)
    unexpected = sorted(set(state) - used)
    if unexpected:
        raise CheckpointError(f"{source} has {unexpected[0]}, which belongs to no given session.")
    return own
