"""Initial embeddings of new neurons, from known neurons with correlated responses.

The model predicts the responses of some known neurons to the video and behaviour of the
new session. The initial embedding of a new neuron is the mean embedding of the known
neurons whose predictions correlate best with its recorded responses. This needs only
the checkpoint and the new session.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.analysis.evaluate.tier_windows import spread_starts
from omnimouse_model.data.session import Session, Window
from omnimouse_model.errors import StoppedError
from omnimouse_model.masks import Mask
from omnimouse_model.nets.checkpoint import Checkpoint
from omnimouse_model.nets.omnimouse.layout import Layout
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.progress import Job
from omnimouse_model.tokens import batch_from_windows, layout_from_mask
from omnimouse_model.train.tasks import Streams

# Key of the temporary session that contains the candidate neurons.
KEY = "candidates"
CANDIDATES = 1024
WINDOWS = 128
BATCH = 4
N_AVERAGED = 8
"""Number of known neurons that are averaged for one new neuron."""
# Target samples of the mask "test/video_behavior": the last second of a window.
SCORED = slice(30, 60)


def embeddings_of_correlated(
    model: Checkpoint,
    session: Session,
    starts: np.ndarray,
    meta: dict[str, Tensor],
    animal: str,
    *,
    device: torch.device,
    seed: int,
    job: Job,
) -> Tensor:
    """Return initial embeddings (N, e) of a session's neurons.

    Parameters
    ----------
    model
        The model, with the sessions on which it was trained.
    starts
        Starts of the train windows, seconds on the session clock.
    meta
        Initial values of the vectors of the session and its animal, by parameter name,
        for a session with the key `KEY`.

    Raises
    ------
    StoppedError
        The job is cancelled.
    """
    net = _candidates(model, meta, animal, seed).to(device)
    streams = Streams.of(session, net.config.behavior_channels)
    count = net.session(KEY).n_neurons
    mask = streams.limit(Mask.from_strategy("test/video_behavior", count))
    layout = layout_from_mask(mask).to(device)
    predicted, recorded = [], []
    for windows in _batches(session, spread_starts(starts, WINDOWS)):
        if job.cancelled():
            raise StoppedError("stopped before the first step; nothing was saved.")
        predicted.append(_predict(net, windows, mask, layout))
        recorded += [w.filled_responses[SCORED] for w in windows]
    # (candidates, N): every known neuron with every new one.
    correlations = _correlations(np.concatenate(predicted), np.concatenate(recorded))
    best = np.argsort(-correlations, axis=0)[:N_AVERAGED]
    neighbours = net.session(KEY).neurons(torch.from_numpy(best).to(device))
    return neighbours.mean(dim=0).detach().cpu()


def _candidates(model: Checkpoint, meta: dict[str, Tensor], animal: str, seed: int) -> OmniMouse:
    """Return the model with random neurons of all its sessions as one session."""
    parts: dict[str, list[Tensor]] = {}
    for name in ("_neuron_embeddings.weight", "_neuron_biases"):
        parts[name] = [model.state[f"sess_params.{key}.{name}"] for key in model.sessions]
    total = sum(model.sessions.values())
    rows = np.random.default_rng(seed).permutation(total)[:CANDIDATES]
    candidates = {
        f"sess_params.{KEY}.{name}": torch.cat(values)[torch.from_numpy(rows)]
        for name, values in parts.items()
    }
    core = {k: v for k, v in model.state.items() if not k.startswith("sess_params.")}
    return Checkpoint(
        model.config,
        core | candidates | meta,
        {KEY: len(rows)},
        model.animals | {KEY: animal},
        model.source,
    ).build()


def _batches(session: Session, starts: np.ndarray) -> Iterator[list[Window]]:
    for first in range(0, len(starts), BATCH):
        yield [session.window(float(s)) for s in starts[first : first + BATCH]]


@torch.inference_mode()
def _predict(net: OmniMouse, windows: list[Window], mask: Mask, layout: Layout) -> np.ndarray:
    """Return predicted rates of the scored samples (windows x 30, candidates)."""
    device = layout.query_neurons.device
    # The mask hides all responses, so their values do not matter.
    nothing = torch.zeros(60, mask.n_neurons, device=device)
    batch = batch_from_windows(
        windows,
        [mask] * len(windows),
        net.config,
        KEY,
        device,
        [nothing] * len(windows),
    )
    video = None
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        if not layout.video_missing:
            frames = torch.from_numpy(np.stack([w.video for w in windows]))[:, None]
            video = net.encode_video(frames.to(device), layout)
        context = net.encode(batch, layout, video)
        rates, _ = net.decode_responses(batch, layout, context)
    # Queries are sorted by sample, then by position: (B, 6 x N, 5) to (B, 6, 5, N).
    order = mask.require_layout().order
    blocks = rates.float().unflatten(1, (-1, len(order))).transpose(2, 3)
    in_order: np.ndarray = blocks.flatten(0, 2).cpu().numpy()
    # argsort inverts the permutation: from positions back to candidate indices.
    return in_order[:, np.argsort(order)]


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return correlations (p, q) of the columns of (n, p) with those of (n, q)."""
    # 1e-6: a constant neuron gets correlation 0 instead of NaN.
    a, b = ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6) for x in (a, b))
    return np.asarray(a.T @ b / len(a))
