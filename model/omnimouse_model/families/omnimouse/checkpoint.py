"""Checkpoints of this project: weights as safetensors, and a JSON description.

The description has the family, the config and the sessions. Official checkpoints are
read by `official`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.omnimouse.config import SIZES, OmniMouseConfig
from omnimouse_model.families.omnimouse.network import OmniMouse
from omnimouse_model.predict.checkpoint_file import (
    MAX_NEURONS,
    MAX_SESSIONS,
    UNSTORED,
    Checkpoint,
    checkpoint_file,
    load_strictly,
)
from omnimouse_model.predict.family import Description
from omnimouse_model.storage.files import open_binary
from omnimouse_model.storage.tensors import load_pickle
from omnimouse_model.storage.trees import refused_as, shown

CONTEXT, OWN = "context_part.", "sess_params."
"""Prefixes of the tensors of a context part, and of those of the sessions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OmniMouseCheckpoint(Checkpoint):
    """A model that was read from disk, but not built.

    Attributes
    ----------
    animals
        session key -> animal id.
    has_context, context
        Whether there is a linear-Gaussian part, and its tensors,
        `<session>.<inputs>.<array>` -> tensor; the official models have none.
    """

    family = "omnimouse"
    prefixes = (OWN,)
    config: OmniMouseConfig
    animals: dict[str, str]
    has_context: bool = False
    context: Mapping[str, Tensor] = field(default_factory=dict, metadata=UNSTORED)

    @classmethod
    def of(
        cls, about: Mapping[str, Any], state: Mapping[str, Tensor], path: Path
    ) -> "OmniMouseCheckpoint":
        """Return tensors with what the JSON file says; see `Checkpoint`."""
        context = {k.removeprefix(CONTEXT): v for k, v in state.items() if k.startswith(CONTEXT)}
        own = {k: v for k, v in state.items() if not k.startswith(CONTEXT)}
        return replace(super().of(about, own, path), context=context)

    @classmethod
    def of_network(cls, net: OmniMouse, **fields: Any) -> "OmniMouseCheckpoint":
        """Return the weights of a network, on the CPU."""
        state = {k: v.detach().cpu() for k, v in net.state_dict().items()}
        sizes, animals = net.session_sizes, dict(net.animals)
        return cls(config=net.config, state=state, sessions=sizes, animals=animals, **fields)

    def save(self, path: Path) -> Path:
        """Write weights and the JSON file beside them; no other process may write them."""
        context = {CONTEXT + k: v for k, v in self.context.items()}
        whole = replace(self, state={**self.state, **context}, has_context=bool(context))
        return super(OmniMouseCheckpoint, whole).save(path)

    def trained(self, session: str, frozen: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the tensors that a fine-tuning trains, with the vector of a new animal."""
        return [value for name, value in self.state.items() if name not in frozen]

    def joined(self, other: "OmniMouseCheckpoint") -> "OmniMouseCheckpoint":
        """Return the model with a further session and its animal; see `Checkpoint`."""
        state = {**self.state, **other.state}
        return replace(super().joined(other), state=state, context=self.context)

    def renamed(self, names: Mapping[str, str]) -> "OmniMouseCheckpoint":
        """Return the model with other keys of sessions; see `Checkpoint`."""
        animals = {names.get(key, key): animal for key, animal in self.animals.items()}
        return replace(super().renamed(names), animals=animals)

    def build(self) -> OmniMouse:
        """Build the network and load the weights strictly, each in its own precision.

        Raises
        ------
        CheckpointError
            Entries are missing, unexpected, or of another shape or type.
        """
        return load_strictly(
            lambda: OmniMouse(self.config, self.sessions, self.animals), self.state, self.source
        )


# -- Official checkpoints: folders of `rank_<r>.ckpt`
# Shards are read with torch's restricted unpickler, and an allow-list that contains
# numpy's array rebuilders only.
COMPILED_PREFIX = "_orig_mod."


def _allowed_globals() -> list[Any]:
    """Return numpy's array and dtype rebuilders, all that these files need."""
    multiarray = import_module("numpy._core.multiarray")
    rebuilders = [multiarray._reconstruct, multiarray.scalar, np.ndarray, np.dtype]
    # The released files were written by numpy 1, which had another module path.
    old_names = [
        (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
        (multiarray.scalar, "numpy.core.multiarray.scalar"),
    ]
    type_codes = "?bhilqBHILQefd"
    return [*rebuilders, *old_names, *(type(np.dtype(code)) for code in type_codes)]


def official_shards(path: Path) -> list[Path]:
    """Return the `rank_*.ckpt` files of a checkpoint in rank order; none is missing."""
    if not path.is_dir():
        # A pipe or a device lies in a folder, too.
        with refused_as(CheckpointError):
            open_binary(path).close()
        path = path.parent
    ranks = {
        int(match.group(1)): file
        for file in path.iterdir()
        if (match := re.fullmatch(r"rank_(\d+)\.ckpt", file.name))
    }
    if not ranks:
        raise CheckpointError(
            f"{path} holds no checkpoint. Looked for *.safetensors and rank_*.ckpt; "
            f"found {sorted(f.name for f in path.iterdir())[:6]}."
        )
    missing = sorted(set(range(max(ranks) + 1)) - ranks.keys())
    if missing:
        raise CheckpointError(
            f"{path}: shards {missing[:6]} are missing of {max(ranks) + 1}; fetch them again."
        )
    return [ranks[rank] for rank in sorted(ranks)]


def read_official(path: str | Path) -> OmniMouseCheckpoint:
    """Combine official shards: a folder of `rank_*.ckpt`, or one of them.

    Raises
    ------
    CheckpointError
        Shards are missing, unsafe or inconsistent, or of no released size.
    """
    state: dict[str, Tensor] = {}
    sessions: dict[str, dict[str, Any]] = {}
    for file in official_shards(Path(path)):
        shard = load_pickle(file, _allowed_globals())
        if not isinstance(shard, dict) or not isinstance(shard.get("state_dict"), dict):
            content = list(shard) if isinstance(shard, dict) else type(shard).__name__
            raise CheckpointError(f"{file} has no 'state_dict'; found {content}.")
        for key, value in shard["state_dict"].items():
            if not isinstance(key, str) or not isinstance(value, Tensor):
                raise CheckpointError(
                    f"{file}: state_dict[{key!r}] is a {type(value).__name__}, not a tensor with "
                    "a name."
                )
            name = key.removeprefix(COMPILED_PREFIX)
            # The core is in every shard; parameters of a session are in one shard only.
            if name in state and name.startswith(OWN):
                raise CheckpointError(f"{file}: {name} is already in another shard.")
            state.setdefault(name, value)
        for key, entry in _sessions_of(shard, file).items():
            first = sessions.setdefault(key, entry)
            if first["n_neurons"] != entry["n_neurons"]:
                raise CheckpointError(
                    f"{file} has {entry['n_neurons']} neurons of {key!r}, another "
                    f"{first['n_neurons']}: these are of different checkpoints."
                )
    config, assumed = _infer_config(state, str(path))
    # By default, the text before the first dash of the session.
    animals = {k: str(v.get("animal_id") or k.partition("-")[0]) for k, v in sessions.items()}
    return OmniMouseCheckpoint(
        config=config,
        state=state,
        sessions={k: int(sessions[k]["n_neurons"]) for k in sorted(sessions)},
        animals=animals,
        source=str(path),
        assumed=assumed,
    )


def _sessions_of(shard: dict[str, Any], file: Path) -> dict[str, dict[str, Any]]:
    sessions = shard.get("session_map", {})
    if not isinstance(sessions, dict):
        raise CheckpointError(f"{file}: session_map is not a mapping.")
    if len(sessions) > MAX_SESSIONS:
        raise CheckpointError(
            f"{file}: session_map: found {len(sessions):,} sessions, "
            f"expected at most {MAX_SESSIONS:,}."
        )
    for key, entry in sessions.items():
        count = entry.get("n_neurons") if isinstance(entry, dict) else None
        # A hostile count would allocate that many embeddings.
        is_count = isinstance(count, int | np.integer) and 0 < count < MAX_NEURONS
        if not isinstance(key, str) or not is_count:
            raise CheckpointError(
                f"{file}: session_map[{shown(key)}] must give n_neurons, found {shown(entry)}."
            )
    return sessions


def _infer_config(state: dict[str, Tensor], source: str) -> tuple[OmniMouseConfig, tuple[str, ...]]:
    """Return the released config that fits the shapes, and what they do not tell."""
    embedding, d = _shape(state, "neuron_to_model_proj.weight", source, 2)[::-1]
    n_latents = _shape(state, "response_latent_embedding._latent_embeddings.weight", source, 2)[0]
    pairs = _shape(state, "rotary_emb.inv_freq", source, 1)[0]
    n_layers = len({k.split(".")[1] for k in state if k.startswith("proc.")})
    # Only the first block of the second stage of the video encoder has a projection: it pools.
    pattern = re.compile(r"hiera\.backbone\.blocks\.(\d+)\.(proj\.weight)?")
    matches = [match for key in state if (match := pattern.match(key))]
    n_blocks = len({match[1] for match in matches})
    first = min((int(m[1]) for m in matches if m[2]), default=n_blocks)
    # A head has two features per rotary frequency.
    shape = (d, d // max(2 * pairs, 1), n_layers, (first, n_blocks - first))
    names = {
        (size.d_model, size.num_heads, size.num_layers, size.hiera.stages): name
        for name, size in SIZES.items()
    }
    if shape not in names:
        raise CheckpointError(
            f"{source} has width {d}, {shape[1]} heads, {n_layers} layers and stages "
            f"{shape[3]}, which is none of the released sizes {list(SIZES)}."
        )
    config = SIZES[names[shape]]
    assumed = (
        f"local:global ratio {config.local_to_global_ratio}, softplus beta "
        f"{config.softplus_beta}, skip {config.skip_n_samples} and buffer "
        f"{config.interpolation_buffer}: from the table of released sizes "
        f"({names[shape]})",
    )
    groups = n_latents - config.num_global_latents
    return (replace(config, num_response_latent_groups=groups, d_embedding=embedding), assumed)


def _shape(state: dict[str, Tensor], key: str, source: str, dimensions: int) -> tuple[int, ...]:
    """Return the shape of a tensor that every OmniMouse has."""
    if key not in state or state[key].ndim != dimensions:
        raise CheckpointError(
            f"{source} is not an OmniMouse checkpoint: it has no {key!r} of "
            f"{dimensions} dimensions."
        )
    return tuple(state[key].shape)


# -- Reading a checkpoint of any format: this project's own, or an official one ------
def read_checkpoint(path: str | Path) -> OmniMouseCheckpoint:
    """Read a checkpoint: a .safetensors file of ours, or an official folder or shard.

    Raises
    ------
    CheckpointError
        The checkpoint does not exist, is damaged, or is not safe to read.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint at {path}.")
    if path.is_dir():
        if (file := checkpoint_file(path)) != path:
            return _read_own(file)
        files = sorted(path.glob("*.safetensors"))
        if len(files) > 1:
            names = [file.name for file in files]
            raise CheckpointError(f"{path} holds several checkpoints: {names}; name one.")
        if files:
            return _read_own(files[0])
    elif path.suffix in (".safetensors", ".json"):
        return _read_own(path.with_suffix(".safetensors"))
    return read_official(path)


def _read_own(path: Path) -> OmniMouseCheckpoint:
    described = path.with_suffix(".json")
    if not described.exists():
        raise CheckpointError(
            f"{path.name} has no {described.name} beside it; the config is in there."
        )
    return OmniMouseCheckpoint.read(path)


def describe(path: Path) -> Description:
    """Return what `omnimouse info` prints of a checkpoint."""
    checkpoint = read_checkpoint(path)
    config, parts = checkpoint.config, sorted({k.split(".")[0] for k in checkpoint.context})
    # A checkpoint stores its config, not the name of its size.
    sizes = [name for name, size in SIZES.items() if size == config]
    network = f"{config.num_layers} layers of width {config.d_model}, {config.num_heads} heads"
    with torch.device("meta"):
        core = OmniMouse(config, {}, {})
    return checkpoint.described(
        "OmniMouse",
        size=sizes[0] if sizes else "custom",
        network=network,
        shared_parameters=sum(value.numel() for value in core.parameters()),
        **({"context_part": ", ".join(parts)} if parts else {}),
    )
