"""Cost of one forward pass: lower bound in FLOPs, and time by part of the network.

The unit is the *calibrated GFLOP*: seconds times the fp32 matmul rate of the machine,
measured in the same minute. This cancels differences between machines and their load.
The lower bound counts only the allowed query-key pairs at that rate.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.families.omnimouse import attention
from omnimouse_model.families.omnimouse.attention import AttentionPlan, CrossAttention, attend
from omnimouse_model.families.omnimouse.config import (
    SIZES,
    HieraConfig,
    Layout,
    WindowBatch,
    hidden_size,
)
from omnimouse_model.families.omnimouse.network import OmniMouse, initialise
from omnimouse_model.families.omnimouse.tokens import layout_from_mask, video_step_times
from omnimouse_model.masks import Mask
from tests import attended

Case = Literal["A", "B"]
POPULATIONS: dict[Case, tuple[int, int]] = {"A": (4096, 1024), "B": (512, 512)}
"""Number of neurons in the session, and of target neurons, for each case."""
SESSION = "1-1-1"


@dataclass(frozen=True, slots=True)
class ForwardInput:
    """A network and all inputs of one forward pass."""

    net: OmniMouse
    windows: WindowBatch
    layout: Layout
    video: Tensor


def case_mask(case: Case) -> Mask:
    """Return the mask of a case: 25 samples, video, behaviour; target 30-60."""
    count, n_targets = POPULATIONS[case]
    return (
        Mask.nothing(count)
        .show(slice(None), slice(0, 25))
        .ask(slice(count - n_targets, count), slice(30, 60))
        .with_frames(True)
        .with_behavior("visible")
    )


def random_input(
    size: str, case: Case, device: torch.device | str = "cpu", seed: int = 0
) -> ForwardInput:
    """Return an untrained network of a released size with random input of a case."""
    config = SIZES[size]
    count, _ = POPULATIONS[case]
    draw = torch.Generator().manual_seed(seed)
    # The weights do not change the cost, so random ones of every released size are
    # enough.
    net = OmniMouse(config, {SESSION: count}, {SESSION: "1"})
    initialise(net, draw)
    times = torch.arange(60)[None] / config.sample_rate_hz
    windows = WindowBatch(
        session=SESSION,
        neuron_ids=torch.arange(count)[None].to(device),
        responses=torch.rand(1, 60, count, generator=draw).to(device),
        behavior=torch.randn(1, 5, 40, generator=draw).to(device),
        response_times=times,
        video_times=video_step_times(times),
        start_times=torch.zeros(1, device=device),
    )
    return ForwardInput(
        net=net.eval().requires_grad_(False).to(device),
        windows=windows,
        layout=layout_from_mask(case_mask(case)).to(device),
        video=torch.randn(1, 1, 60, 36, 64, generator=draw).to(device),
    )


# -- running ------------------------------------------------------------------------
@torch.inference_mode()
def run_forward(
    inputs: ForwardInput, dtype: torch.dtype = torch.float32, *, all_rows: bool = False
) -> Tensor:
    """Return the rates (1, Q, 5) of one forward pass; `all_rows` computes every row."""
    net, windows, layout = inputs.net, inputs.windows, inputs.layout
    with torch.autocast(inputs.video.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        tokens = net.encode_video(inputs.video, layout)
        context = net.encode(windows, layout, tokens, all_rows=all_rows)
        rates, _ = net.decode_responses(windows, layout, context)
    return rates


def time_parts(
    inputs: ForwardInput, dtype: torch.dtype = torch.float32, repeats: int = 3
) -> dict[str, float]:
    """Return the median seconds of a forward pass by part, and as "total"."""
    # Warm-up: the first pass also allocates memory.
    run_forward(inputs, dtype)
    runs: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats):
        with _stopwatch(inputs.net) as seconds:
            start_s = _now(inputs.video.device)
            run_forward(inputs, dtype)
            runs["total"].append(_now(inputs.video.device) - start_s)
        for part, duration_s in seconds.items():
            runs[part].append(duration_s)
    return {part: float(np.median(values)) for part, values in runs.items()}


@contextmanager
def _stopwatch(net: OmniMouse) -> Iterator[dict[str, float]]:
    """Measure the seconds by part of the computations inside the context."""
    seconds: dict[str, float] = defaultdict(float)
    device = net.behavior_channel_embeddings.device
    undo: list[Callable[[], None]] = []

    def watch(module: nn.Module, part: str) -> None:
        start_s: list[float] = []
        before = module.register_forward_pre_hook(lambda *_: start_s.append(_now(device)))

        def add(*_: object) -> None:
            seconds[part] += _now(device) - start_s.pop()

        undo.extend([before.remove, module.register_forward_hook(add).remove])

    watch(net.hiera, "video")
    for owner, part in ((net.enc, "encoder"), (net.decs[0], "decoder")):
        # Keys and values of a cross block are computed outside its `forward`, so `wkv`
        # is timed as well.
        watch(owner, part)
        assert isinstance(owner.attention, CrossAttention)
        watch(owner.attention.wkv, part)
    for block, is_local in zip(net.proc, net.config.layer_is_local(), strict=True):
        watch(block, "local" if is_local else "global")
    try:
        yield seconds
    finally:
        for remove in undo:
            remove()


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        # CUDA kernels run asynchronously: wait for them before reading the clock.
        torch.cuda.synchronize(device)
    return perf_counter()


@contextmanager
def dense_masks() -> Iterator[None]:
    """Compute all pairs under a boolean mask in all attentions inside the context."""

    def dense(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan | None) -> Tensor:
        if plan is None:
            return attend(q, k, v)
        allowed = attended.dense(plan).to(q.device)
        # The reference is exact in fp32, also inside an autocast.
        with torch.autocast(q.device.type, enabled=False):
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, allowed)
        # A softmax over no allowed key is NaN; the network defines it as 0.
        return mixed.masked_fill(~allowed.any(dim=1)[:, None], 0.0)

    # All layers call this one function of the module, so replacing it changes them all.
    planned = attention.planned_attention
    attention.planned_attention = dense
    try:
        yield
    finally:
        attention.planned_attention = planned


# -- the floor ----------------------------------------------------------------------
@torch.inference_mode()
def masked_gflop(inputs: ForwardInput) -> dict[str, float]:
    """Return the GFLOP of the allowed pairs by part, and as "total".

    A multiply-add counts as 2 FLOPs; norms, rotations and softmax are not counted.
    """
    net, layout, config = inputs.net, inputs.layout, inputs.net.config
    tokens = net.encode_video(inputs.video, layout)
    with attended.attended(net) as seen:
        context = net.encode(inputs.windows, layout, tokens, all_rows=True)
        net.decode_responses(inputs.windows, layout, context)
    (encoded,) = context.encoded
    assert seen.tokens is not None
    d = config.d_model
    inner = hidden_size(d, config.ffn_hidden_mult)
    outer = hidden_size(d, config.decoder_ffn_hidden_mult)
    n_latents, n_all = encoded.latents.shape[1], context.processed.shape[1]
    n_tokens, n_queries = seen.tokens.shape[1], len(layout.query_neurons)
    layers = config.layer_is_local()

    def layer(pairs: int) -> float:
        # Four d × d projections (q, k, v, output) and three of the gated FFN per token,
        # then scores and weighted values: 2 · 2 · d FLOPs per pair.
        return 2 * n_all * (4 * d * d + 3 * d * inner) + 4 * pairs * d

    flop = {
        "video": video_flop(config.hiera, d),
        # Cross-attention: q and output projections per query, k and v per context
        # token.
        "encoder": 2 * n_latents * (2 * d * d + 3 * d * inner)
        + 4 * n_tokens * d * d
        + 4 * _pairs(seen.plans["encoder"]) * d,
        "local": sum(layers) * layer(_pairs(seen.plans["processor"])),
        "global": (len(layers) - sum(layers)) * layer(n_all**2),
        "decoder": 2 * n_queries * (2 * d * d + 3 * d * outer)
        + 4 * n_all * d * d
        + 4 * _pairs(seen.plans["decoder"]) * d,
    }
    gflop = {
        part: value * config.num_blocks / 1e9 if part in ("local", "global") else value / 1e9
        for part, value in flop.items()
    }
    return gflop | {"total": sum(gflop.values())}


def video_flop(config: HieraConfig, d_model: int) -> float:
    """Return the FLOPs of the video encoder over all time steps."""
    steps, rows, columns = config.grid
    n, window = steps * rows * columns, int(np.prod(config.mask_unit_size))
    narrow, wide = config.embed_dim, 2 * config.embed_dim

    # Attention within mask units: `keys` per query. The pooling block (second term of
    # the sum of blocks) takes n tokens to n / 4 and doubles the width.
    def block(n_in: int, d_in: int, n_out: int, d_out: int, keys: int) -> float:
        projections = 2 * n_in * d_in * 3 * d_out + 2 * n_out * d_out**2
        skip = 2 * n_in * d_in * d_out if d_in != d_out else 0
        inner = hidden_size(d_out, config.mlp_ratio)
        return projections + skip + 4 * n_out * keys * d_out + 6 * n_out * d_out * inner

    first, second = config.stages
    return (
        2 * n * narrow * config.channels * float(np.prod(config.patch_kernel))
        + first * block(n, narrow, n, narrow, window)
        + block(n, narrow, n // 4, wide, window)
        + (second - 1) * block(n // 4, wide, n // 4, wide, window // 4)
        + 2 * (n // 4) * wide * d_model
    )


def _pairs(plan: AttentionPlan) -> int:
    return sum(
        (group.queries.stop - group.queries.start) * sum(k.stop - k.start for k in group.keys)
        for group in plan.groups
    )
