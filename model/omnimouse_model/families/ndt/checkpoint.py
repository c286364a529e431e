"""Checkpoints of neural data transformers: the shared part, and stitchers by session.

Weights are safetensors with the names of `Ndt`; a JSON file beside them has the config,
the spec of the trials and the sessions, in the order of their embeddings. Weights of
the public code load, too, where such a file names their sessions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.ndt.network import Ndt, NdtConfig
from omnimouse_model.predict.checkpoint_file import (
    Checkpoint,
    checkpoint_file,
    load_strictly,
    read_about,
    read_checkpoint,
)
from omnimouse_model.storage.tensors import read_tensors
from omnimouse_model.storage.trees import decode, refused_as

SESSION_TABLE = "encoder.embedder.embed_session.weight"
SCHEMES_OF = "schemes"
"""Key of the masking schemes of the training in the card; absent in older files."""
RATE_OF = "lr"
"""The same for its highest learning rate."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NdtCheckpoint(Checkpoint):
    """A transformer with the stitchers of its sessions, read but not built.

    Attributes
    ----------
    sessions
        Session -> number of neurons, in the order of the session embeddings.
    spec
        Fields of the spec of its trials; empty for the trials of Jiang et al.
    """

    family = "ndt"
    prefixes = ("stitchers.", "readouts.")
    tables = (SESSION_TABLE,)
    config: NdtConfig
    spec: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "NdtCheckpoint":
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
        if path.suffix == ".safetensors":
            envelope = read_checkpoint(path, cls.family)
            state, about = envelope.tensors, envelope.about
        else:
            # Public weights do not name the file that describes them.
            state, about = read_tensors(path), read_about(path, cls.family)
        if not is_public(state):
            return cls.of(about, state, path)
        about, assumed = _with_sizes(about, state, str(path))
        found = cls.of(about, state, path)
        own = public_to_own(state, found.config, found.sessions, str(path))
        return replace(found, state=own, assumed=(*found.assumed, *assumed))

    def build(self) -> Ndt:
        """Build the network.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or of another shape; it names them.
        """
        return load_strictly(lambda: Ndt(self.config, self.sessions), self.state, self.source)


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
    state: Mapping[str, Tensor], config: NdtConfig, sessions: Mapping[str, int], source: str
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
