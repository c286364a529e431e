"""The video encoder: a Hiera variant from 60 frames to tokens on a 30-step grid.

Two window layouts. "official" reproduces the released weights' behaviour, in which
attention outputs are written back position-major although they were read
window-major (spec §8, an accident the weights were trained with; it mixes time and
space across the clip). "spatial" is the intended layout: windows of one time step,
so that steps do not see each other and only the asked ones need computing.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnimouse_model.nets.attention import DropPath, GatedFeedForward, Norm
from omnimouse_model.nets.kernels import attend, score_type
from omnimouse_model.nets.rowwise import rms_norm

WindowLayout = Literal["official", "spatial"]


@dataclass(frozen=True, slots=True)
class HieraConfig:
    """Shape of the video encoder; the defaults are those of the 1M and 5M models."""

    embed_dim: int = 128
    num_heads: int = 2
    stages: tuple[int, int] = (2, 2)
    mask_unit_size: tuple[int, int, int] = (1, 8, 8)
    patch_kernel: tuple[int, int, int] = (6, 7, 7)
    patch_stride: tuple[int, int, int] = (2, 2, 2)
    patch_padding: tuple[int, int, int] = (2, 1, 3)
    mlp_ratio: float = 2.67
    drop_path_rate: float = 0.25
    channels: int = 1
    frames: int = 60
    resolution: tuple[int, int] = (36, 64)
    windows: WindowLayout = "official"

    @property
    def grid(self) -> tuple[int, int, int]:
        """Patch grid (t, y, x) before pooling."""
        sizes = (self.frames, *self.resolution)
        t, y, x = (
            (size + 2 * pad - kernel) // stride + 1
            for size, pad, kernel, stride in zip(
                sizes,
                self.patch_padding,
                self.patch_kernel,
                self.patch_stride,
                strict=True,
            )
        )
        return t, y, x

    @property
    def tokens_per_step(self) -> int:
        """Video tokens of one time step, after the 2x2 pooling."""
        _, y, x = self.grid
        return (y // 2) * (x // 2)

    @property
    def out_dim(self) -> int:
        """Features of a token."""
        return 2 * self.embed_dim


def hidden_size(dim: int, ratio: float) -> int:
    """Feed-forward size: the next multiple of 128, in floating point (spec §2)."""
    return int(128 * ((dim * ratio + 127) // 128))


class WindowAttention(nn.Module):
    """Attention within windows, with optional max-pooled queries."""

    def __init__(
        self, dim_in: int, dim_out: int, heads: int, layout: WindowLayout
    ) -> None:
        super().__init__()
        self.heads, self.dim_out, self.layout = heads, dim_out, layout
        self.qkv = nn.Linear(dim_in, 3 * dim_out)
        self.proj = nn.Linear(dim_out, dim_out)

    def forward(
        self, x: Float[Tensor, "batch window token dim_in"], pool: int
    ) -> Float[Tensor, "batch window query dim_out"]:
        """Attend within each window; `pool` tokens share a max-pooled query."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        q, k, v = (part.transpose(2, 3) for part in qkv.unbind(dim=3))
        if pool > 1:
            q = q.unflatten(3, (-1, pool)).amax(dim=4)
        q, k = (
            rms_norm(part.float(), None, 1e-5).to(score_type(part)) for part in (q, k)
        )
        v = v.to(score_type(v))
        mixed = attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))
        mixed = mixed.transpose(1, 2).flatten(2).unflatten(0, x.shape[:2])
        if self.layout == "official":
            # read window-major, written back position-major
            mixed = mixed.transpose(1, 2).reshape(mixed.shape)
        out: Tensor = self.proj(mixed)
        return out


class HieraBlock(nn.Module):
    """One block on windows of tokens; the first of stage 2 pools 2x2."""

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        heads: int,
        config: HieraConfig,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.pool = 4 if dim_in != dim_out else 1
        self.layout = config.windows
        self.pre_norm1 = Norm(dim_in, eps=1e-5)
        self.attn = WindowAttention(dim_in, dim_out, heads, config.windows)
        self.pre_norm2 = Norm(dim_out, eps=1e-5)
        self.mlp = GatedFeedForward(dim_out, hidden_size(dim_out, config.mlp_ratio))
        if self.pool > 1:
            self.proj = nn.Linear(dim_in, dim_out)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "batch window token dim"]
    ) -> Float[Tensor, "batch window query out"]:
        """Attention and feed-forward; 4 tokens become 1 where the block pools."""
        normed = self.pre_norm1(x)
        if self.pool > 1:
            x = self._pooled(self.proj(normed))
        x = x + self.drop_path(self.attn(normed, self.pool))
        out: Tensor = x + self.drop_path(self.mlp(self.pre_norm2(x)))
        return out

    def _pooled(self, x: Tensor) -> Tensor:
        """Max over 2x2 neighbours, in the order in which each layout holds them."""
        batch, windows, tokens, dim = x.shape
        if self.layout == "spatial":
            neighbours: Tensor = x.unflatten(2, (-1, 4))
            return neighbours.amax(dim=3)
        # parity groups are the slowest index of the whole sequence
        pooled = x.reshape(batch, 4, windows * tokens // 4, dim).amax(dim=1)
        return pooled.reshape(batch, windows, tokens // 4, dim)


class Hiera(nn.Module):
    """Patches, two stages of window attention, tokens in (t, y, x) order."""

    def __init__(self, config: HieraConfig) -> None:
        super().__init__()
        self.config = config
        t, y, x = config.grid
        unit = config.mask_unit_size
        if len(config.stages) != 2 or unit[0] != 1 or y % unit[1] or x % unit[2]:
            raise ValueError(
                f"Hiera needs two stages and windows that tile its {y}x{x} grid; "
                f"found stages {config.stages}, mask unit {unit}."
            )
        dim, heads = config.embed_dim, config.num_heads
        self.patch_embed = nn.ModuleDict(
            {
                "proj": nn.Conv3d(
                    config.channels,
                    dim,
                    config.patch_kernel,
                    config.patch_stride,
                    config.patch_padding,
                )
            }
        )
        self.pos_embed_spatial = nn.Parameter(torch.zeros(1, y * x, dim))
        self.pos_embed_temporal = nn.Parameter(torch.zeros(1, t, dim))
        depth = sum(config.stages)
        rates = np.linspace(0, config.drop_path_rate, depth).tolist()
        self.blocks = nn.ModuleList()
        for index in range(depth):
            in_stage_2 = index >= config.stages[0]
            is_first = index == config.stages[0]
            dim_out = 2 * dim if in_stage_2 else dim
            self.blocks.append(
                HieraBlock(
                    dim if is_first else dim_out,
                    dim_out,
                    2 * heads if in_stage_2 else heads,
                    config,
                    rates[index],
                )
            )

    def forward(
        self, video: Float[Tensor, "batch 1 frame height width"], steps: Tensor | None
    ) -> Float[Tensor, "batch step token dim"]:
        """Encode a clip.

        Parameters
        ----------
        video
            Normalised frames.
        steps
            int64 time steps to compute; None for all. With official windows steps
            see each other, so all are computed and the asked ones returned.
        """
        patches = self.patch_embed["proj"](video).flatten(3).permute(0, 2, 3, 1)
        x = patches + self.pos_embed_spatial[:, None]
        x = x + self.pos_embed_temporal[:, :, None]
        if self.config.windows == "official":
            out = self._official(x)
            return out if steps is None else out[:, steps]
        return self._spatial(x if steps is None else x[:, steps])

    def _official(self, x: Tensor) -> Tensor:
        batch, t, _, dim = x.shape
        _, y, w = self.config.grid
        # (y parity, x parity, t, y // 2, x // 2), then chunks of 64 tokens
        x = x.reshape(batch, t, y // 2, 2, w // 2, 2, dim)
        x = x.permute(0, 3, 5, 1, 2, 4, 6).reshape(batch, -1, self._window, dim)
        for block in self.blocks:
            x = block(x)
        return x.reshape(batch, t, self.config.tokens_per_step, -1)

    def _spatial(self, x: Tensor) -> Tensor:
        batch, steps, _, dim = x.shape
        _, y, w = self.config.grid
        uy, ux = self.config.mask_unit_size[1:]
        # windows of one step; inside a window the 2x2 neighbours come together
        x = x.reshape(batch, steps, y // uy, uy // 2, 2, w // ux, ux // 2, 2, dim)
        x = x.permute(0, 1, 2, 5, 3, 6, 4, 7, 8)
        x = x.reshape(batch, steps * (y // uy) * (w // ux), uy * ux, dim)
        for block in self.blocks:
            x = block(x)
        out_dim = self.config.out_dim
        x = x.reshape(batch, steps, y // uy, w // ux, uy // 2, ux // 2, out_dim)
        x = x.transpose(3, 4)
        return x.reshape(batch, steps, self.config.tokens_per_step, out_dim)

    @property
    def _window(self) -> int:
        _, uy, ux = self.config.mask_unit_size
        return uy * ux


class VideoEncoder(nn.Module):
    """Hiera and the projection to the transformer's width."""

    def __init__(self, config: HieraConfig, d_model: int) -> None:
        super().__init__()
        self.backbone = Hiera(config)
        self.feature_proj = nn.Linear(config.out_dim, d_model)

    def forward(
        self, video: Float[Tensor, "batch 1 frame height width"], steps: Tensor | None
    ) -> Float[Tensor, "batch step token d_model"]:
        """Video tokens of the asked steps."""
        out: Tensor = self.feature_proj(self.backbone(video, steps))
        return out
