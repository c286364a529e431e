"""The readout: queries, their answers, and the losses that compare them with data.

A response query is the vector of a neuron at the time of its first of five samples; a
behaviour query is the vector of a channel. The decoder of the trunk's form
(`trunk.CrossBlock`) attends the context, and linear readouts give the values (paper,
section 4).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from omnimouse_model.nets.omnimouse.config import OmniMouseConfig
from omnimouse_model.nets.omnimouse.layout import Layout, WindowBatch
from omnimouse_model.nets.omnimouse.times import Intervals


def query_intervals(config: OmniMouseConfig, windows: WindowBatch, layout: Layout) -> Intervals:
    """Intervals of the response queries.

    They look ahead: by default from the first sample to 10 samples later. The paper
    calls this attention causal; the released code and weights are not.
    """
    rate = config.sample_rate_hz
    # Seconds, because recorded samples are not exactly 1/30 s apart.
    back = config.response_query_lookback_samples / rate
    return Intervals.of_samples(windows, layout.query_runs, back, config.query_lookahead / rate)


def attended_runs(
    config: OmniMouseConfig, windows: WindowBatch, layout: Layout, context: Intervals
) -> Tensor | None:
    """Runs of the context that queries may attend, bool (runs,); None for all.

    The last layer needs to be computed for these only. Behaviour queries attend all,
    and a last layer that is local is computed whole: its plan has all rows.
    """
    is_last_local = config.layer_is_local()[-1]
    if is_last_local or layout.behavior == "target" or not layout.query_runs:
        return None
    queries = query_intervals(config, windows, layout)
    if config.ideal_times:
        context, queries = context.ideal(), queries.ideal()
    # If no query may attend anything, all rows are computed: an empty sequence would
    # have to be handled in every later step.
    attended = context.seen_by(queries)
    return None if attended.all() or not attended.any() else attended


def rows_of(runs: Tensor, intervals: Intervals) -> Tensor:
    """Elements of the selected runs, int64 (rows,)."""
    counts = torch.tensor(intervals.counts)
    return runs.repeat_interleave(counts).nonzero()[:, 0]


def rates_from_logits(
    logits: Float[Tensor, "batch query sample"], beta: float
) -> Float[Tensor, "batch query sample"]:
    """Rates in float32, which are positive: Softplus, linear for beta x > 20."""
    # By default beta is 0.1: a rate at logit 0 is 6.9, and changes slowly around it.
    return F.softplus(logits.float(), beta=beta, threshold=20)


def behavior_from_hidden(
    hidden: Float[Tensor, "batch channel dim"],
    weight: Float[Tensor, "channel time dim"],
) -> Float[Tensor, "batch channel time"]:
    """Behaviour in float32; every channel has its own linear map."""
    # Not a matrix product: autocast would compute that in bf16.
    weighted = hidden.float()[:, :, None] * weight
    return weighted.sum(dim=-1)


def poisson_loss(
    rates: Float[Tensor, "*shape"],
    targets: Float[Tensor, "*shape"],
    eps: float = 1e-5,
    clamp: float = 100.0,
) -> Float[Tensor, ""]:
    """Poisson negative log likelihood without the Stirling term, clamped, averaged."""
    # eps keeps the logarithm finite at rate 0; the clamp limits single outliers.
    loss = rates - targets * torch.log(rates + eps)
    return loss.clamp(-clamp, clamp).mean()


def behavior_loss(
    predicted: Float[Tensor, "*cell"],
    targets: Float[Tensor, "*cell"],
    clamp: float = 10.0,
) -> Float[Tensor, ""]:
    """Squared error, clamped per element, averaged."""
    # A clamped element has no gradient: single outliers do not dominate a step.
    return (predicted - targets).square().clamp(max=clamp).mean()
