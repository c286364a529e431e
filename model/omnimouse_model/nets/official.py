"""Official checkpoints: their configuration's names, and folders of `rank_<r>.ckpt`.

Shards are read with torch's restricted unpickler and an allow-list of numpy's array
rebuilders, never anything more (spec §16).
"""

import re
from collections.abc import Iterable
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.checkpoint import (
    MOST_NEURONS,
    Checkpoint,
    config_from_dict,
    plain_value,
    save_checkpoint,
)
from omnimouse_model.nets.omnimouse.config import SIZES, OmniMouseConfig

COMPILED_PREFIX = "_orig_mod."

_OFFICIAL_NAMES = {
    "num_samples_per_s": "sample_rate_hz",
    "num_samples_per_block": "n_samples",
    "response_window_size_samples": "response_window_samples",
    "response_latent_window_size_samples": "response_latent_window_samples",
    "response_latent_window_stride_samples": "response_latent_stride_samples",
    "num_self_attends_per_block": "num_layers",
    "response_softplus_beta": "softplus_beta",
    "response_poisson_loss_eps": "poisson_eps",
    "response_loss_clamp_value": "response_loss_clamp",
    "behavior_loss_clamp_value": "behavior_loss_clamp",
    "num_behavior_samples_per_block": "n_behavior_samples",
}
_HIERA_NAMES = {
    "hiera_embed_dim": "embed_dim",
    "hiera_num_heads": "num_heads",
    "hiera_stages": "stages",
    "hiera_mask_unit_size": "mask_unit_size",
    "hiera_patch_kernel": "patch_kernel",
    "hiera_patch_stride": "patch_stride",
    "hiera_patch_padding": "patch_padding",
    "hiera_mlp_ratio": "mlp_ratio",
    "hiera_drop_path_rate": "drop_path_rate",
    "video_channels": "channels",
    "num_frames_per_block": "frames",
    "video_resolution": "resolution",
}
_FIXED = {
    "use_pre_norm": True,
    "use_qk_norm": True,
    "use_post_norm": False,
    "norm_type": "rms",
    "ffn_activation": "silu",
    "local_global_layout": "interleaved",
    "per_channel_behavior_readout": True,
    "hiera_q_pool": 1,
    "hiera_q_stride": (1, 2, 2),
    "hiera_sep_pos_embed": True,
    "rotate_values": False,
    "behavior_as_channels": False,
    "behavior_output_activation": None,
    # what masks and tokens are cut by
    "skip_n_samples": 5,
    "interpolation_buffer": 5,
    "response_window_size_samples": 10,
    "response_stride_samples": 5,
}


def config_from_official(settings: dict[str, Any]) -> OmniMouseConfig:
    """Translate the official configuration's names (spec §2).

    Raises
    ------
    CheckpointError
        A setting that no released model uses.
    """
    for name, value in _FIXED.items():
        if name in settings and plain_value(settings[name]) != value:
            raise CheckpointError(
                f"{name} = {settings[name]!r} is not supported; released models use "
                f"{value!r}."
            )
    known = {f.name for f in fields(OmniMouseConfig)} - {"hiera"}
    plain, hiera = {}, {}
    for name, value in settings.items():
        if name in _HIERA_NAMES:
            hiera[_HIERA_NAMES[name]] = value
        elif _OFFICIAL_NAMES.get(name, name) in known:
            plain[_OFFICIAL_NAMES.get(name, name)] = value
    return config_from_dict(plain | {"hiera": hiera})


def _allowed_globals() -> list[Any]:
    """Numpy's array and dtype rebuilders, and nothing else (contract)."""
    multiarray = import_module("numpy._core.multiarray")
    rebuilders = [multiarray._reconstruct, multiarray.scalar, np.ndarray, np.dtype]
    old_names = [
        (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
        (multiarray.scalar, "numpy.core.multiarray.scalar"),
    ]
    kinds = "?bhilqBHILQefd"
    return [*rebuilders, *old_names, *(type(np.dtype(kind)) for kind in kinds)]


def _load_shard(path: Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_allowed_globals()):
            shard = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many kinds for hostile and torn files
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        wanted = (
            f"it asks for {named.group(1)!r}, which a checkpoint does not need"
            if named
            else (str(error).splitlines() or [type(error).__name__])[0]
        )
        raise CheckpointError(f"{path} was refused: {wanted}.") from error
    if not isinstance(shard, dict) or not isinstance(shard.get("state_dict"), dict):
        found = list(shard) if isinstance(shard, dict) else type(shard).__name__
        raise CheckpointError(f"{path} has no 'state_dict'; found {found}.")
    return shard


def official_shards(path: Path) -> list[Path]:
    """The `rank_*.ckpt` files of a checkpoint, in rank order, none missing."""
    if path.is_file():
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
            f"{path}: shards {missing[:6]} are missing of {max(ranks) + 1}; "
            "fetch them again."
        )
    return [ranks[rank] for rank in sorted(ranks)]


def read_official(
    path: str | Path,
    size: str | None = None,
    sessions: Iterable[str] | None = None,
) -> Checkpoint:
    """Combine official shards (spec §16).

    Parameters
    ----------
    path
        Folder of `rank_*.ckpt`, or one of them.
    size
        Taken from the shapes when None.
    sessions
        Keep only these sessions' parameters; all by default.
    """
    shards = official_shards(Path(path))
    state: dict[str, Tensor] = {}
    session_map: dict[str, dict[str, Any]] = {}
    for file in shards:
        shard = _load_shard(file)
        for key, value in shard["state_dict"].items():
            _add_tensor(state, key, value, file)
        for key, entry in _sessions_of(shard, file).items():
            known = session_map.setdefault(key, entry)
            if known["n_neurons"] != entry["n_neurons"]:
                raise CheckpointError(
                    f"{file} has {entry['n_neurons']} neurons of {key!r}, another "
                    f"{known['n_neurons']}: these are of different checkpoints."
                )
    wanted = set(sessions) if sessions is not None else set(session_map)
    unknown = wanted - session_map.keys()
    if unknown:
        raise CheckpointError(
            f"{path} does not know {sorted(unknown)[:4]}; it has "
            f"{len(session_map)} sessions, for example {sorted(session_map)[:3]}."
        )
    state = {k: v for k, v in state.items() if _belongs(k, wanted)}
    config, assumed = _infer_config(state, size, str(path))
    animals = {
        key: str(entry.get("animal_id") or animal_of(key))
        for key, entry in session_map.items()
    }
    checkpoint = Checkpoint(
        config=config,
        state=state,
        sessions={k: int(session_map[k]["n_neurons"]) for k in sorted(wanted)},
        animals=animals,
        source=str(path),
        assumed=assumed,
    )
    return checkpoint


def convert_official(
    source: str | Path, path: str | Path, card: dict[str, Any] | None = None
) -> Path:
    """Write an official checkpoint as one of ours: same weights, nothing pickled.

    Parameters
    ----------
    source
        Folder of `rank_*.ckpt`, or one of them.
    path
        The .safetensors file; its description is written beside it.
    card
        Free facts to keep with it.

    Raises
    ------
    CheckpointError
        The shards are not whole, not safe or no OmniMouse.
    """
    checkpoint = read_official(source)
    return save_checkpoint(path, checkpoint.build(), card, checkpoint.assumed)


def animal_of(session_key: str) -> str:
    """The animal of a session: the text before the first dash (spec §4)."""
    return session_key.split("-")[0]


def _sessions_of(shard: dict[str, Any], file: Path) -> dict[str, dict[str, Any]]:
    found = shard.get("session_map", {})
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: session_map is not a mapping.")
    for key, entry in found.items():
        count = entry.get("n_neurons") if isinstance(entry, dict) else None
        is_count = isinstance(count, int | np.integer) and 0 < count < MOST_NEURONS
        if not isinstance(key, str) or not is_count:
            raise CheckpointError(
                f"{file}: session_map[{key!r}] must give n_neurons, found {entry!r}."
            )
    return found


def _add_tensor(state: dict[str, Tensor], key: Any, value: Any, file: Path) -> None:
    if not isinstance(key, str) or not isinstance(value, Tensor):
        raise CheckpointError(
            f"{file}: state_dict[{key!r}] is a {type(value).__name__}, not a tensor "
            "with a name."
        )
    name = key.removeprefix(COMPILED_PREFIX)
    if name in state and name.startswith("sess_params."):
        raise CheckpointError(f"{file}: {name} is already in another shard.")
    state.setdefault(name, value)


def _belongs(key: str, sessions: set[str]) -> bool:
    if not key.startswith("sess_params."):
        return True
    return key.removeprefix("sess_params.").rsplit("._", 1)[0] in sessions


def _infer_config(
    state: dict[str, Tensor], size: str | None, source: str
) -> tuple[OmniMouseConfig, tuple[str, ...]]:
    """Find the released size whose shapes these are."""
    embedding, d = _shape(state, "neuron_to_model_proj.weight", source, 2)[::-1]
    n_latents = _shape(
        state, "response_latent_embedding._latent_embeddings.weight", source, 2
    )[0]
    pairs = _shape(state, "rotary_emb.inv_freq", source, 1)[0]
    n_layers = len({k.split(".")[1] for k in state if k.startswith("proc.")})
    shape = (d, d // max(2 * pairs, 1), n_layers, _stages(state))
    matches = {
        name: config
        for name, config in SIZES.items()
        if (config.d_model, config.num_heads, config.num_layers, config.hiera.stages)
        == shape
    }
    if size is not None:
        if size not in SIZES:
            raise CheckpointError(
                f"There is no size {size!r}; choose of {list(SIZES)}."
            )
        if size not in matches:
            raise CheckpointError(
                f"{source} is not {size}: its shapes say {sorted(matches) or shape}."
            )
        return SIZES[size], (f"size {size} as asked",)
    if len(matches) != 1:
        raise CheckpointError(
            f"{source} has width {d}, {shape[1]} heads, {n_layers} layers and stages "
            f"{shape[3]}, which is none of the released sizes {list(SIZES)}."
        )
    (name, config), *_ = matches.items()
    ratio = config.local_to_global_ratio
    assumed = (
        f"local:global ratio {ratio}, softplus beta {config.softplus_beta}, skip "
        f"{config.skip_n_samples} and buffer {config.interpolation_buffer}: from the "
        f"table of released sizes ({name})",
    )
    groups = n_latents - config.num_global_latents
    return (
        replace(config, num_response_latent_groups=groups, d_embedding=embedding),
        assumed,
    )


def _shape(
    state: dict[str, Tensor], key: str, source: str, dimensions: int
) -> tuple[int, ...]:
    """Shape of a tensor that every OmniMouse has."""
    if key not in state or state[key].ndim != dimensions:
        raise CheckpointError(
            f"{source} is not an OmniMouse checkpoint: it has no {key!r} of "
            f"{dimensions} dimensions."
        )
    return tuple(state[key].shape)


def _stages(state: dict[str, Tensor]) -> tuple[int, int]:
    """Blocks of the video encoder's two stages; the second begins where one pools."""
    name = re.compile(r"hiera\.backbone\.blocks\.(\d+)\.(proj\.weight)?")
    found = [match for key in state if (match := name.match(key))]
    n_blocks = len({match[1] for match in found})
    first = min((int(m[1]) for m in found if m[2]), default=n_blocks)
    return first, n_blocks - first
