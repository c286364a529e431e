"""Activations of a network on a batch of data, and ridge fits to them.

`population` and `behavior` set single attention heads by such fits: the new weights are
maps from what the network computes already, so that the other heads are not disturbed.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from omnimouse_model.nets.omnimouse.layout import Layout, WindowBatch
from omnimouse_model.nets.omnimouse.network import OmniMouse

PENALTY = 1e-3
N_MODALITIES = 3


@dataclass(frozen=True, slots=True, eq=False)
class FitBatch:
    """A batch for the fits.

    `loadings` (N, components) and `means` (N,) are of all neurons of the session, of
    unit variance over neurons and in units of the responses.
    """

    windows: WindowBatch
    layout: Layout
    video: Tensor | None
    loadings: Float[Tensor, "neuron component"]
    means: Float[Tensor, " neuron"]


def encoder_inputs(net: OmniMouse, batch: FitBatch) -> Tensor:
    """Tokens as the encoder's attention gets them, after its norm."""
    windows = batch.windows
    meta = net.meta_vector(windows.session, windows.start_times)
    neurons = net.neuron_vectors(windows, meta)
    tokens = net.tokens(windows, batch.layout, meta, neurons)
    inputs: Tensor = net.enc.attn_pre_norm_context(tokens)
    return inputs


def latent_starts(net: OmniMouse, meta: Tensor) -> list[Tensor]:
    """All latents before the encoder, for every set of missing modalities."""
    shared = net.response_latent_embedding._latent_embeddings.weight + meta[:1]
    starts = []
    for missing in range(2**N_MODALITIES):
        rows = [row for row in range(N_MODALITIES) if missing >> row & 1]
        starts.append(shared + net.missing_modality_embeddings[rows].sum(dim=0))
    return starts


def ridge(x: Tensor, y: Tensor, penalty: float = PENALTY) -> Tensor:
    """The map (out, in) from rows of x to rows of y, without intercept."""
    # In float64: features are strongly correlated, so the system is ill-conditioned.
    inputs, outputs = x.flatten(0, -2).double(), y.flatten(0, -2).double()
    gram = inputs.T @ inputs
    # Relative to the mean of the diagonal: the penalty has no unit.
    gram.diagonal().add_(penalty * gram.diagonal().mean())
    weight: Tensor = torch.linalg.solve(gram, inputs.T @ outputs).T.to(x)
    return weight


def balanced_ridge(x: Tensor, y: Tensor, is_rare: Tensor) -> Tensor:
    """`ridge` in which the rare rows together have the same weight as all others."""
    weight = torch.ones(len(x)).to(x)
    weight[is_rare] = ((~is_rare).sum() / is_rare.sum()).sqrt()
    return ridge(x * weight[:, None], y * weight[:, None], PENALTY / 10)
