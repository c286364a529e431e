"""Quick held-out scores during training: single-trial correlation, four tasks."""

import numpy as np
import torch

from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.strategies import half_population_mask, mask_from_strategy
from omnimouse_model.tokens import (
    clip_from_windows,
    layout_from_mask,
    place_predictions,
)
from omnimouse_model.train.batches import TrainingSession

BATCH = 8


@torch.no_grad()
def validation_scores(
    net: OmniMouse, source: TrainingSession, n_windows: int
) -> dict[str, float]:
    """Mean over neurons of the correlation on the validation tier, by task."""
    session = source.session
    starts = session.window_starts(tier="validation", stride=30)
    chosen = starts[
        np.linspace(0, len(starts) - 1, min(n_windows, len(starts))).astype(int)
    ]
    count = session.n_neurons
    masks = {
        "video_behavior": mask_from_strategy("test/video_behavior", count),
        "half_video": half_population_mask(count),
        "half": half_population_mask(count, video=False),
        "forecast": mask_from_strategy("causal_response_25_behavior", count),
        "decode": mask_from_strategy("test/all_response_video", count),
    }
    was_training = net.training
    net.eval()
    scores: dict[str, float] = {}
    windows = [session.window(s) for s in chosen]
    for name, mask in masks.items():
        layout = layout_from_mask(mask)
        rates, truths, decoded, behaviors = [], [], [], []
        for first in range(0, len(windows), BATCH):
            part = windows[first : first + BATCH]
            clip = clip_from_windows(part, [mask] * len(part), net.config, source.key)
            device = net.behavior_timestamps.device
            with torch.autocast("cpu", torch.bfloat16):
                video = None
                if not layout.video_missing:
                    stack = torch.from_numpy(np.stack([w.video for w in part]))
                    video = net.encode_video(stack[:, None].to(device), layout)
                context = net.encode(clip, layout, video)
                if layout.behavior == "target":
                    out, _ = net.decode_behavior(context)
                    decoded.append(out.float().cpu().numpy())
                    behaviors.append(np.stack([w.behavior.T for w in part]))
                if len(layout.query_neurons):
                    out, _ = net.decode_responses(clip, layout, context)
                    everyone = np.arange(count)
                    rates += [place_predictions(r, layout, mask, everyone) for r in out]
                    truths += [w.responses for w in part]
        if rates:
            scores[name] = _mean_correlation(np.stack(rates), np.stack(truths))
        if decoded:
            scores |= _channels(np.concatenate(decoded), np.concatenate(behaviors))
    net.train(was_training)
    return scores


def _mean_correlation(rates: np.ndarray, truths: np.ndarray) -> float:
    asked = np.isfinite(rates).any(axis=(0, 1))
    x = rates[:, :, asked].reshape(-1, asked.sum())
    y = truths[:, :, asked].reshape(-1, asked.sum())
    x, y = x[np.isfinite(x[:, 0])], y[np.isfinite(x[:, 0])]
    x, y = x - x.mean(0), y - y.mean(0)
    spread = np.sqrt((x**2).sum(0) * (y**2).sum(0))
    return float(np.mean((x * y).sum(0) / np.maximum(spread, 1e-12)))


def _channels(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    names = ("size", "dsize", "x", "y", "running")
    return {
        f"decode_{name}": float(
            np.corrcoef(predicted[:, k].ravel(), truth[:, k].ravel())[0, 1]
        )
        for k, name in enumerate(names)
    }
