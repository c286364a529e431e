"""Start values for neurons that a model has not seen, borrowed from those it knows.

Some of the known neurons answer for the new mouse: what would each have done under its
video and behaviour? A new neuron then begins at the embeddings of those whose answers
were most like what it did. Nothing is needed but the checkpoint and the new session.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.analysis.evaluate.evaluate import spread_starts
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window, without_missing
from omnimouse_model.errors import StoppedError
from omnimouse_model.masks import Mask
from omnimouse_model.nets.checkpoint import Checkpoint
from omnimouse_model.nets.omnimouse.layout import Layout
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.strategies import mask_from_strategy
from omnimouse_model.tokens import clip_from_windows, layout_from_mask
from omnimouse_model.train.tasks import Streams

KEY = "candidates"
CANDIDATES = 1024
WINDOWS = 128
BATCH = 4
ALIKE = 8
"""Known neurons whose embeddings make one new neuron's."""
SCORED = slice(30, 60)


def borrowed_embeddings(
    known: Checkpoint,
    session: Session,
    starts: np.ndarray,
    meta: dict[str, Tensor],
    animal: str,
    *,
    device: torch.device,
    seed: int,
    cancelled: Callable[[], bool],
) -> Tensor:
    """First embeddings (N, e) of a session's neurons.

    Parameters
    ----------
    known
        The model, with the sessions it knows.
    starts
        Windows that may be learned from, seconds on the session clock.
    meta
        First values of the session's and its animal's vectors, by parameter name,
        for a session of the key `KEY`.
    """
    net = _candidates(known, meta, animal, seed).to(device)
    streams = Streams.of(session, net.config.behavior_channels)
    count = net.session(KEY).n_neurons
    mask = streams.limit(mask_from_strategy("test/video_behavior", count))
    layout = layout_from_mask(mask).to(device)
    predicted, recorded = [], []
    for windows in _batches(session, spread_starts(starts, WINDOWS)):
        if cancelled():
            raise StoppedError("stopped before the first step; nothing was saved.")
        predicted.append(_answers(net, windows, mask, layout))
        recorded += [without_missing(w.responses)[SCORED] for w in windows]
    likeness = _correlations(np.concatenate(predicted), np.concatenate(recorded))
    best = np.argsort(-likeness, axis=0)[:ALIKE]
    own = net.session(KEY).neurons(torch.from_numpy(best).to(device))
    return own.mean(dim=0).detach().cpu()


def _candidates(
    known: Checkpoint, meta: dict[str, Tensor], animal: str, seed: int
) -> OmniMouse:
    """The model with some known neurons of all its sessions as one session."""
    parts: dict[str, list[Tensor]] = {}
    for name in ("_neuron_embeddings.weight", "_neuron_biases"):
        parts[name] = [
            known.state[f"sess_params.{key}.{name}"] for key in known.sessions
        ]
    total = sum(known.sessions.values())
    rows = np.random.default_rng(seed).permutation(total)[:CANDIDATES]
    chosen = {
        f"sess_params.{KEY}.{name}": torch.cat(values)[torch.from_numpy(rows)]
        for name, values in parts.items()
    }
    core = {k: v for k, v in known.state.items() if not k.startswith("sess_params.")}
    return Checkpoint(
        known.config,
        core | chosen | meta,
        {KEY: len(rows)},
        known.animals | {KEY: animal},
        known.source,
    ).build()


def _batches(session: Session, starts: np.ndarray) -> Iterator[list[Window]]:
    for first in range(0, len(starts), BATCH):
        yield [session.window(float(s)) for s in starts[first : first + BATCH]]


@torch.inference_mode()
def _answers(
    net: OmniMouse, windows: list[Window], mask: Mask, layout: Layout
) -> np.ndarray:
    """Rates of the scored samples (windows x 30, candidates)."""
    device = layout.query_neurons.device
    nothing = torch.zeros(60, mask.n_neurons, device=device)
    clip = clip_from_windows(
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
        context = net.encode(clip, layout, video)
        rates, _ = net.decode_responses(clip, layout, context)
    # queries are sorted by sample, then by place in the mask's order
    blocks = rates.float().unflatten(1, (-1, len(mask.order))).transpose(2, 3)
    found: np.ndarray = blocks.flatten(0, 2).cpu().numpy()
    return found[:, np.argsort(mask.order)]


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation (p, q) of every column of (n, p) with every column of (n, q)."""
    a, b = ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6) for x in (a, b))
    return np.asarray(a.T @ b / len(a))
