"""The video encoder: a small Hiera (Ryali et al., 2023), from 60 frames to tokens.

1. patches: a strided 3-d convolution, 60 x 36 x 64 pixels to a 30 x 16 x 32 grid
2. position codes, one per place and one per time step, are added
3. stage 1: attention within windows of 8 x 8 patches
4. stage 2: its first block pools 2 x 2 patches, so that each time step has 8 x 16
   tokens of twice the width
5. a linear projection to the width of the trunk

The windows have two layouts. "official" reproduces the released weights. In their
code the attention reads window by window, but its output is written back position by
position. This is a mistake, but the weights were trained with it. It mixes time and
space across the whole clip, so that tokens of visible frames contain information
about hidden ones. "spatial" is the intended layout: a window lies within one time
step, steps do not interact, and only the requested steps are computed.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnimouse_model.nets.omnimouse.attention import attend, score_type
from omnimouse_model.nets.omnimouse.config import HieraConfig, WindowLayout, hidden_size
from omnimouse_model.nets.omnimouse.layers import (
    DropPath,
    GatedFeedForward,
    Norm,
    rms_norm,
)


class WindowAttention(nn.Module):
    """Attention within windows, with optional max-pooled queries."""

    def __init__(self, dim_in: int, dim_out: int, heads: int, layout: WindowLayout) -> None:
        super().__init__()
        self.heads, self.dim_out, self.layout = heads, dim_out, layout
        self.qkv = nn.Linear(dim_in, 3 * dim_out)
        self.proj = nn.Linear(dim_out, dim_out)

    def forward(
        self, x: Float[Tensor, "batch window token dim_in"], pool: int
    ) -> Float[Tensor, "batch window query dim_out"]:
        """Attend within each window; `pool` tokens share a max-pooled query."""
        # (batch, window, token, 3 * dim) -> 3 x (batch, window, head, token, head_dim)
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        q, k, v = (part.transpose(2, 3) for part in qkv.unbind(dim=3))
        if pool > 1:
            q = q.unflatten(3, (-1, pool)).amax(dim=4)
        # Normalised queries and keys bound the scores, in float32 because the squares
        # of bf16 features lose their small terms.
        q, k = (rms_norm(part.float(), None, 1e-5).to(score_type(part)) for part in (q, k))
        v = v.to(score_type(v))
        mixed = attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))
        # -> (batch, window, query, dim)
        mixed = mixed.transpose(1, 2).flatten(2).unflatten(0, x.shape[:2])
        if self.layout == "official":
            # The mistake of the released code: read by window, written by position.
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
        # Up to 0.25 here; the trunk of the released models drops nothing.
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "batch window token dim"]
    ) -> Float[Tensor, "batch window query out"]:
        """Attention and feed-forward; a block that pools makes 4 tokens into 1."""
        normed = self.pre_norm1(x)
        if self.pool > 1:
            x = self._pooled(self.proj(normed))
        x = x + self.drop_path(self.attn(normed, self.pool))
        out: Tensor = x + self.drop_path(self.mlp(self.pre_norm2(x)))
        return out

    def _pooled(self, x: Tensor) -> Tensor:
        """Max over 2x2 neighbours, in the token order of each layout."""
        batch, windows, tokens, dim = x.shape
        if self.layout == "spatial":
            neighbours: Tensor = x.unflatten(2, (-1, 4))
            return neighbours.amax(dim=3)
        # The four neighbours are the slowest axis of the whole sequence. The residual
        # is thus pooled over space as intended; the pooled queries above are not.
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
        # A dictionary with one entry, for the parameter name `patch_embed.proj`.
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
            int64 time steps to compute; None for all. With official windows the steps
            interact, so all are computed and the requested ones are returned.
        """
        # (batch, dim, t, y, x) -> (batch, t, y * x, dim)
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
        _, uy, ux = self.config.mask_unit_size
        # (y parity, x parity, t, y // 2, x // 2), then chunks of 64 tokens. Hiera
        # reorders once per pooling, and this one pools once, so a chunk is no 8 x 8
        # square: it has every second patch, both ways, of 8 rows of full width.
        x = x.reshape(batch, t, y // 2, 2, w // 2, 2, dim)
        x = x.permute(0, 3, 5, 1, 2, 4, 6).reshape(batch, -1, uy * ux, dim)
        for block in self.blocks:
            x = block(x)
        return x.reshape(batch, t, self.config.tokens_per_step, -1)

    def _spatial(self, x: Tensor) -> Tensor:
        batch, steps, _, dim = x.shape
        _, y, w = self.config.grid
        _, uy, ux = self.config.mask_unit_size
        # Windows of one step; the 2x2 neighbours in a window are next to each other,
        # so that pooling is a maximum over four consecutive tokens.
        x = x.reshape(batch, steps, y // uy, uy // 2, 2, w // ux, ux // 2, 2, dim)
        x = x.permute(0, 1, 2, 5, 3, 6, 4, 7, 8)
        x = x.reshape(batch, steps * (y // uy) * (w // ux), uy * ux, dim)
        for block in self.blocks:
            x = block(x)
        # Back from windows to (t, y, x).
        out_dim = self.config.out_dim
        x = x.reshape(batch, steps, y // uy, w // ux, uy // 2, ux // 2, out_dim)
        x = x.transpose(3, 4)
        return x.reshape(batch, steps, self.config.tokens_per_step, out_dim)


class VideoEncoder(nn.Module):
    """Hiera and the projection to the width of the trunk."""

    def __init__(self, config: HieraConfig, d_model: int) -> None:
        super().__init__()
        self.backbone = Hiera(config)
        # The session is not part of it: one encoded video serves all sessions.
        self.feature_proj = nn.Linear(config.out_dim, d_model)

    def forward(
        self, video: Float[Tensor, "batch 1 frame height width"], steps: Tensor | None
    ) -> Float[Tensor, "batch step token d_model"]:
        """Video tokens of the requested steps."""
        out: Tensor = self.feature_proj(self.backbone(video, steps))
        return out
