"""Window and mask to what the net reads: the one place that knows both.

Here arrays change from the project's order (time, neuron) to the net's, strategies
and free-form masks become the same index layout, and seconds become the phases and
intervals that the net compares.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.window import Window, without_missing
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.masks import (
    BehaviorMode,
    Mask,
    scored_cells,
    token_starts,
    video_steps,
)
from omnimouse_model.nets.omnimouse.config import OmniMouseConfig
from omnimouse_model.nets.omnimouse.layout import Clip, Layout

QUERY_SAMPLES = 5


def layout_from_mask(mask: Mask) -> Layout:
    """Tokens, queries and video steps of a mask, sorted by sample, then order."""
    own = mask.require_layout()
    tokens = token_starts(mask.visible[:, own.order], own.cuts)
    token_samples, token_neurons = np.nonzero(tokens)
    query_samples, query_neurons = np.nonzero(query_starts(mask))
    return Layout(
        token_neurons=torch.from_numpy(token_neurons),
        token_samples=torch.from_numpy(token_samples),
        query_neurons=torch.from_numpy(query_neurons),
        query_samples=torch.from_numpy(query_samples),
        token_runs=_runs(token_samples),
        query_runs=_runs(query_samples),
        video_steps=torch.from_numpy(np.flatnonzero(video_steps(mask.frames))),
        frames=torch.from_numpy(mask.frames.copy()),
        behavior=_common_mode(mask),
        context_span=own.context_span,
        n_neurons=len(own.order),
    )


def _common_mode(mask: Mask) -> BehaviorMode:
    """Return the mode of all channels: OmniMouse reads or decodes them together."""
    if isinstance(mask.behavior, tuple):
        raise UnsupportedRequestError(
            "OmniMouse reads or decodes all channels of behaviour together; this mask "
            f"has {', '.join(mask.behavior)}. Choose one mode for all channels."
        )
    return mask.behavior


def query_starts(mask: Mask) -> np.ndarray:
    """Where 5-sample queries begin: bool (60, N), columns in the mask's order."""
    own = mask.require_layout()
    asked = scored_cells(mask)[:, own.order]
    starts = np.zeros_like(asked)
    for start in range(own.query_phase, len(asked) - QUERY_SAMPLES + 1, QUERY_SAMPLES):
        starts[start] = asked[start : start + QUERY_SAMPLES].any(axis=0)
    return starts


def select_queries(layout: Layout, mask: Mask, neurons: np.ndarray) -> Layout:
    """Keep the queries of some of the session's neurons."""
    wanted = np.zeros(mask.n_neurons, bool)
    wanted[neurons] = True
    positions = torch.from_numpy(wanted[mask.require_layout().order]).to(
        layout.query_neurons.device
    )
    kept = positions[layout.query_neurons]
    samples = layout.query_samples[kept]
    return replace(
        layout,
        query_neurons=layout.query_neurons[kept],
        query_samples=samples,
        query_runs=_runs(samples.cpu().numpy()),
    )


def query_parts(layout: Layout, most: int) -> Iterator[Layout]:
    """Parts of at most so many queries, in order, each of one sample."""
    runs, start = [], 0
    for sample, count in layout.query_runs:
        for first in range(start, start + count, most):
            runs.append((sample, first, min(first + most, start + count)))
        start += count
    for sample, first, stop in runs:
        yield replace(
            layout,
            query_neurons=layout.query_neurons[first:stop],
            query_samples=layout.query_samples[first:stop],
            query_runs=((sample, stop - first),),
        )


def _runs(samples: np.ndarray) -> tuple[tuple[int, int], ...]:
    values, counts = np.unique(samples, return_counts=True)
    return tuple((int(v), int(c)) for v, c in zip(values, counts, strict=True))


def responses_on(window: Window, device: torch.device | str) -> Tensor:
    """A window's responses, float32 (60, P) in stored order, 0 where missing."""
    return torch.from_numpy(without_missing(window.responses)).to(device)


def clip_from_windows(
    windows: Sequence[Window],
    masks: Sequence[Mask],
    config: OmniMouseConfig,
    session: str,
    device: torch.device | str = "cpu",
    responses: Sequence[Tensor] | None = None,
) -> Clip:
    """Stack windows of one session, each with its own neuron order.

    The masks must share one layout. Values that the masks withhold are zeroed here,
    so that nothing downstream can read them. `responses` are `responses_on` the device
    where a caller keeps them there.
    """
    if responses is None:
        responses = [responses_on(window, device) for window in windows]
    stacked = np.stack([mask.require_layout().order for mask in masks])
    orders = torch.from_numpy(stacked).to(device)
    visible = torch.from_numpy(np.stack([mask.visible for mask in masks])).to(device)
    seen = [
        torch.where(shown, values, 0.0)[:, order]
        for values, shown, order in zip(responses, visible, orders, strict=True)
    ]
    behavior = None
    if masks[0].behavior == "visible":
        behavior = torch.from_numpy(np.stack([w.behavior.T for w in windows])).to(
            device
        )
    times = [w.timestamps for w in windows]
    response_times, video_times, starts = clip_times(
        [t["responses"] for t in times],
        [t.get("screen", t["responses"]) for t in times],
        config,
    )
    return Clip(
        session=session,
        neuron_ids=orders,
        responses=torch.stack(seen),
        behavior=behavior,
        response_times=response_times,
        video_times=video_times,
        start_times=starts.to(device),
    )


def clip_times(
    responses: Sequence[np.ndarray],
    screen: Sequence[np.ndarray],
    config: OmniMouseConfig,
) -> tuple[Tensor, Tensor, Tensor]:
    """Relative response times (B, 60), video step times (B, 30), absolute starts.

    Official checkpoints keep the recorded float32 noise (spec §10). With
    `ideal_times` samples sit exactly on the grid, and one row serves every item.
    """
    absolute = torch.from_numpy(np.stack(responses))
    if config.ideal_times:
        ideal = torch.arange(config.n_samples)[None] / config.sample_rate_hz
        return ideal, video_step_times(ideal), absolute[:, 0]
    frames = torch.from_numpy(np.stack(screen))
    relative = absolute - absolute.amin(dim=1, keepdim=True)
    frames = frames - frames.amin(dim=1, keepdim=True)
    return relative, video_step_times(frames), absolute[:, 0]


def video_step_times(frame_times: Tensor) -> Tensor:
    """Times of the video encoder's steps: frames 3, 5, …, 59, 59 (spec §8)."""
    last = frame_times.shape[1] - 1
    return frame_times[:, torch.arange(3, last + 5, 2).clamp(max=last)]


def labels_from_responses(responses: Tensor, layout: Layout) -> Tensor:
    """Targets (B, Q, 5) of a layout's queries, from (B, 60, N) in the clip's order."""
    windows = responses.unfold(1, QUERY_SAMPLES, 1)
    return windows[:, layout.query_samples, layout.query_neurons]


def place_predictions(
    rates: Tensor, layout: Layout, mask: Mask, columns: np.ndarray
) -> np.ndarray:
    """Rates (Q, 5) of one item to float32 (60, n), NaN where not asked.

    `columns` are the session's neuron indices to return, in the wanted order.
    """
    n_total = mask.n_neurons
    placed = np.full((len(mask.cells), n_total), np.nan, np.float32)
    neurons = mask.require_layout().order[layout.query_neurons.cpu().numpy()]
    samples = layout.query_samples.cpu().numpy()[:, None] + np.arange(QUERY_SAMPLES)
    placed[samples, neurons[:, None]] = rates.float().cpu().numpy()
    placed[~scored_cells(mask)] = np.nan
    return placed[:, columns]
