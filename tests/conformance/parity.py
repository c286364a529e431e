"""Compare the model with a folder of official outputs, case by case.

usage: python -m tests.conformance.parity DIR

DIR has the form of the parity fixtures: config, weights with official names, inputs,
cases and expected outputs. Prints one line per case and exits non-zero where an
output is out of tolerance or an error case is not refused as it should be.
"""

import builtins
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.omnimouse.checkpoint import OmniMouseCheckpoint
from omnimouse_model.families.omnimouse.config import Layout, OmniMouseConfig, WindowBatch
from omnimouse_model.families.omnimouse.network import (
    OmniMouse,
    TrunkContext,
    behavior_loss,
    poisson_loss,
)
from omnimouse_model.families.omnimouse.tokens import (
    labels_from_responses,
    layout_from_mask,
    video_step_times,
)
from omnimouse_model.masks import Mask
from omnimouse_model.masks.strategies import Strategy
from omnimouse_model.storage.trees import decode
from tests.attended import Attended, attended, dense
from tests.conformance.line import Line, run

TOLERANCE = 1e-4
# Names of the settings of the released models, and of the fields of a config.
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
# Settings whose other values this network does not implement.
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
    # Masks and tokens are built with these lengths.
    "skip_n_samples": 5,
    "interpolation_buffer": 5,
    "response_window_size_samples": 10,
    "response_stride_samples": 5,
}


def config_from_official(settings: dict[str, Any]) -> OmniMouseConfig:
    """Return the config of official settings.

    Raises
    ------
    CheckpointError
        A setting has a value that no released model uses.
    """
    for name, value in _FIXED.items():
        if name in settings and _plain(settings[name]) != value:
            raise CheckpointError(
                f"{name} = {settings[name]!r} is not supported; released models use {value!r}."
            )
    known = {f.name for f in fields(OmniMouseConfig)} - {"hiera"}
    plain, hiera = {}, {}
    # Settings of data loading and training are in the same file, and are left out.
    for name, value in settings.items():
        if name in _HIERA_NAMES:
            hiera[_HIERA_NAMES[name]] = value
        elif _OFFICIAL_NAMES.get(name, name) in known:
            plain[_OFFICIAL_NAMES.get(name, name)] = value
    return decode(OmniMouseConfig, plain | {"hiera": hiera}, "the settings of training")


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Reference:
    """A parity folder, encoded."""

    folder: Path
    net: OmniMouse
    inputs: dict[str, Tensor]
    session_map: dict[str, dict[str, Any]]
    cases: list[dict[str, Any]]
    error_cases: list[dict[str, Any]]


def read_reference(folder: Path) -> Reference:
    """Build the net strictly from the folder's config and weights."""
    facts = json.loads((folder / "config.json").read_text())
    cases = json.loads((folder / "cases.json").read_text())
    session_map = facts["session_map"]
    checkpoint = OmniMouseCheckpoint(
        config=config_from_official(facts["model"]),
        state=load_file(folder / "state_dict.safetensors"),
        sessions={k: v["n_neurons"] for k, v in session_map.items()},
        animals={k: str(v["animal_id"]) for k, v in session_map.items()},
        source=str(folder),
    )
    return Reference(
        folder=folder,
        net=checkpoint.build(),
        inputs=load_file(folder / "inputs.safetensors"),
        session_map=session_map,
        cases=cases["cases"],
        error_cases=cases.get("error_cases", []),
    )


def case_orders(reference: Reference, case: dict[str, Any]) -> np.ndarray:
    """The neuron order of each batch item, (B, N)."""
    key = case["session"]
    if case["neuron_order"] != "identity":
        return reference.inputs[case["neuron_order"]].numpy()
    batch, _, n = reference.inputs[f"{key}.responses"].shape
    return np.tile(np.arange(n), (batch, 1))


def case_masks(reference: Reference, case: dict[str, Any]) -> list[Mask]:
    """The strategy's mask for each batch item."""
    strategy = Strategy(**case.get("masking", {}))
    n = reference.session_map[case["session"]]["n_neurons"]
    return [Mask(**strategy.mask_fields(n, order)) for order in case_orders(reference, case)]


def case_windows(reference: Reference, key: str, orders: np.ndarray) -> WindowBatch:
    """The reference inputs in the net's layout, official clock noise and all."""
    inputs = reference.inputs
    ids = torch.from_numpy(orders)
    responses = inputs[f"{key}.responses"].float()
    behavior = torch.cat([inputs[f"{key}.eye_tracker"], inputs[f"{key}.treadmill"]], dim=-1).float()
    absolute = inputs[f"{key}.timestamps.responses"]
    screen = inputs[f"{key}.timestamps.screen"]
    return WindowBatch(
        session=key,
        neuron_ids=ids,
        responses=torch.gather(responses, 2, ids[:, None].expand(-1, responses.shape[1], -1)),
        behavior=behavior.transpose(1, 2),
        response_times=absolute - absolute.amin(dim=1, keepdim=True),
        video_times=video_step_times(screen - screen.amin(dim=1, keepdim=True)),
        start_times=absolute[:, 0],
    )


def run_case(reference: Reference, case: dict[str, Any]) -> dict[str, Tensor]:
    """Every tensor of the fixture's list that this case has."""
    net, key = reference.net, case["session"]
    layout = layout_from_mask(case_masks(reference, case)[0])
    windows = case_windows(reference, key, case_orders(reference, case))
    video = None
    if not layout.video_missing:
        video = net.encode_video(reference.inputs[f"{key}.screen"].float(), layout)
    with attended(net) as seen:
        whole = net.encode(windows, layout, video, all_rows=True)
    found = _intermediates(windows, layout, whole, seen)
    context = net.encode(windows, layout, video)
    losses, plans, hidden = [], [], []
    if len(layout.query_neurons):
        with attended(net) as seen:
            rates, queries = net.decode_responses(windows, layout, context)
        labels = labels_from_responses(windows.responses, layout)
        found |= _response_outputs(windows, layout, rates, labels)
        config = net.config
        loss = poisson_loss(rates, labels, config.poisson_eps, config.response_loss_clamp)
        found["response_loss"] = loss[None]
        losses.append(loss)
        hidden.append(queries)
        plans.append(dense(seen.plans["decoder"]).sum(1, dtype=torch.int32))
    if layout.behavior == "target":
        predicted, queries = net.decode_behavior(context)
        assert windows.behavior is not None
        loss = behavior_loss(predicted, windows.behavior, net.config.behavior_loss_clamp)
        found |= {"behavior_preds": predicted, "behavior_loss": loss[None]}
        losses.append(net.config.behavior_loss_factor * loss)
        hidden.append(queries)
        everything = context.processed.shape[1]
        plans.append(torch.full((queries.shape[1],), everything, dtype=torch.int32))
    found["decoder_out.first32"] = torch.cat(hidden, dim=1)[:, :32]
    found["decoder_mask.row_count"] = torch.cat(plans)
    found["loss"] = torch.stack(losses).sum()[None]
    return found


def _intermediates(
    windows: WindowBatch, layout: Layout, context: TrunkContext, seen: Attended
) -> dict[str, Tensor]:
    (encoded,) = context.encoded
    n_latents = encoded.latents.shape[1]
    assert seen.sequence is not None
    # Without a token, latents pass unchanged.
    tokens = encoded.latents[:, :0] if seen.tokens is None else seen.tokens
    start = encoded.latents if seen.latents is None else seen.latents
    found = {
        "meta_embedding": context.meta[0],
        "encoder_tokens.first16": tokens[:, :16],
        "latents_init": start[:1],
        "latents_encoded": encoded.latents,
        "processor_out.latents": context.processed[:, :n_latents],
    }
    # Global layers have no mask.
    if "processor" in seen.plans:
        mask = dense(seen.plans["processor"])
        found["processor_mask.row_count"] = mask.sum(1, dtype=torch.int32)
    if "encoder" in seen.plans:
        mask = dense(seen.plans["encoder"])
        found["encoder_mask"] = mask.to(torch.uint8)
        found["encoder_mask.row_count"] = mask.sum(1, dtype=torch.int32)
    video_tokens = seen.sequence[:, n_latents:]
    if video_tokens.shape[1]:
        per_step = video_tokens.shape[1] // len(layout.video_steps)
        times = windows.video_times[0, layout.video_steps]
        found["video_tokens"] = video_tokens
        found["processor_out.video"] = context.processed[:, n_latents:]
        found["video_timestamps.item0"] = times.repeat_interleave(per_step)
    return found


def _response_outputs(
    windows: WindowBatch, layout: Layout, rates: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    """Flatten (time, neuron, 5 samples) blocks in the official order."""
    batch = len(rates)
    positions = layout.query_samples[:, None] + torch.arange(rates.shape[2])
    ids = windows.neuron_ids[:, layout.query_neurons, None].expand(-1, -1, rates.shape[2])
    flat = positions.flatten()
    return {
        "response_preds": rates.flatten(1),
        "response_labels": labels.flatten(1),
        "response_positions": flat.expand(batch, -1).to(torch.int32),
        "response_neuron_ids": ids.flatten(1).to(torch.int32),
        "response_timestamps": windows.response_times[:, flat],
    }


def case_line(reference: Reference, case: dict[str, Any]) -> Line:
    """Return the errors of the net in one case."""
    line = Line(case["name"])
    try:
        with torch.no_grad():
            found = run_case(reference, case)
    except Exception as error:  # one case must not end the run
        line.faults.append(f"{type(error).__name__}: {error}")
        return line
    for name, value in load_file(reference.folder / case["expected"]).items():
        own = _lookup(found, name)
        if own is None:
            line.faults.append(f"{name} is not computed")
        else:
            line.add(name, own, value, TOLERANCE if value.is_floating_point() else 0.5)
    return line


def _lookup(found: dict[str, Tensor], name: str) -> Tensor | None:
    if name in found:
        return found[name]
    every = re.fullmatch(r"(.+?)(?:\.|_)every(\d+)", name)
    if every and every.group(1) in found:
        return found[every.group(1)][:, :: int(every.group(2))]
    return None


def refused_as(reference: Reference, case: dict[str, Any]) -> str:
    """ "" if an error case raises what it should, else what happened."""
    wanted: type[BaseException] = getattr(builtins, case["error_type"])
    stage = "construct"
    try:
        strategy = Strategy(**case.get("masking", {}))
        stage = "forward"
        n = reference.session_map[case["session"]]["n_neurons"]
        strategy.mask_fields(n, case_orders(reference, case)[0])
    except Exception as error:  # the point is which error it is
        if stage != case["raised_at"]:
            return f"raised at {stage}, not {case['raised_at']}"
        other = AssertionError if wanted is ValueError else None
        if isinstance(error, wanted) and not (other and isinstance(error, other)):
            return ""
        return f"raised {type(error).__name__}, not {case['error_type']}"
    return "was not refused"


def lines(folder: Path) -> Iterator[Line]:
    """Yield the errors of every case of a folder."""
    reference = read_reference(folder)
    for case in reference.cases:
        yield case_line(reference, case)
    for case in reference.error_cases:
        problem = refused_as(reference, case)
        yield Line(case["name"], faults=[problem] if problem else [])


if __name__ == "__main__":
    run(lines)
