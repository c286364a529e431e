"""What one training step reads: a session, a task, windows, orders, targets."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.clock import previous_index
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.masks import Mask, asked_cells
from omnimouse_model.nets.omnimouse.config import OmniMouseConfig
from omnimouse_model.nets.omnimouse.layout import Clip, Layout
from omnimouse_model.simulate.truth import Truth, has_truth, open_truth
from omnimouse_model.strategies import FULL_POPULATION
from omnimouse_model.tokens import (
    clip_from_windows,
    labels_from_responses,
    layout_from_mask,
)
from omnimouse_model.train.config import Phase, SessionChoice
from omnimouse_model.train.sampling import Turn
from omnimouse_model.train.tasks import Streams, draw_task, task_mask


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSession:
    """A session opened for training, with its train windows and maybe its truth.

    `held_out` are starts of windows of the train tier that validation alone reads.
    """

    session: Session
    starts: np.ndarray
    weight: float
    truth: Truth | None
    held_out: np.ndarray = field(default_factory=lambda: np.zeros(0))
    _layouts: dict[tuple[int, ...], Layout] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> str:
        """The session's id."""
        return self.session.id

    def target_rates(
        self, window: Window, source: str, saw_responses: bool
    ) -> np.ndarray:
        """What the rates of a window are fitted to, float32 (60, P)."""
        if source == "responses":
            return window.responses
        if self.truth is None:
            raise ValueError(
                f"Session {self.key!r} has no ground truth; use targets: responses."
            )
        signal = self.session.responses
        rows = previous_index(window.times("responses"), signal.start, signal.rate_hz)
        stored = self.truth.full if saw_responses else self.truth.drive
        rates: np.ndarray = (stored[rows] / self.session.response_scale).astype(
            np.float32
        )
        return rates


def open_training_session(folder: Path, choice: SessionChoice) -> TrainingSession:
    """Open a folder and find its train windows; with the truth of a simulated mouse."""
    truth = open_truth(folder) if has_truth(folder) else None
    return replace(
        training_session(open_session(folder)), weight=choice.weight, truth=truth
    )


def training_session(session: Session) -> TrainingSession:
    """A session with its train windows (stride 1, blanks included)."""
    starts = session.window_starts(tier="train", include_blanks=True)
    return TrainingSession(session=session, starts=starts, weight=1.0, truth=None)


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input and targets.

    `video` is (B, 1, 60, 36, 64); `rates` (B, Q, 5) and `behavior` (B, C, 40) are
    targets, None where nothing is asked of them.
    """

    clip: Clip
    layout: Layout
    video: Tensor | None
    rates: Tensor | None
    asked: Tensor | None
    behavior: Tensor | None
    task: str

    @property
    def n_windows(self) -> int:
        """Windows in the batch."""
        return len(self.clip.neuron_ids)

    def n_tokens(self, tokens_per_step: int) -> int:
        """Response, behaviour and video tokens that the net reads of all windows."""
        layout, behavior = self.layout, self.clip.behavior
        shown = behavior is not None and layout.behavior == "visible"
        channels = behavior.shape[1] if behavior is not None and shown else 0
        video = 0 if layout.video_missing else len(layout.video_steps)
        each = len(layout.token_neurons) + channels + video * tokens_per_step
        return self.n_windows * each


def draw_batch(
    sessions: list[TrainingSession],
    phase: Phase,
    config: OmniMouseConfig,
    rng: np.random.Generator,
    turn: Turn | None = None,
) -> Batch:
    """Draw a session, a task, windows and a neuron order per window.

    With a turn, session and windows are those of the balanced cycle (`sampling`).
    """
    starts = None
    if turn is None:
        weights = np.array([s.weight for s in sessions])
        chosen = sessions[rng.choice(len(sessions), p=weights / weights.sum())]
    else:
        chosen = sessions[turn.session(len(sessions))]
        starts = chosen.starts[
            turn.windows(len(sessions), len(chosen.starts), phase.batch, chosen.key)
        ]
    task = draw_task(phase.tasks, rng)
    return make_batch(chosen, task, phase, config, rng, starts)


def make_batch(
    source: TrainingSession,
    task: str,
    phase: Phase,
    config: OmniMouseConfig,
    rng: np.random.Generator,
    starts: np.ndarray | None = None,
) -> Batch:
    """Windows of one session under one task; every item has its own neuron order.

    The windows are drawn where `starts` does not name them.
    """
    total = source.session.n_neurons
    count = min(total, FULL_POPULATION)
    streams = Streams.of(source.session, config.behavior_channels)
    position_mask, layout = _task_layout(task, count, streams)
    if phase.max_targets is not None:
        position_mask, layout = _fewer_targets(position_mask, phase.max_targets, rng)
    if starts is None:
        starts = rng.choice(source.starts, phase.batch)
    windows = [source.session.window(float(s)) for s in starts]
    masks = [_in_order(position_mask, total, rng) for _ in windows]
    clip = clip_from_windows(windows, masks, config, source.key)
    saw_responses = not layout.responses_missing
    rates = asked = None
    if len(layout.query_neurons):
        ordered = np.stack(
            [
                source.target_rates(w, phase.targets, saw_responses)[:, m.order]
                for w, m in zip(windows, masks, strict=True)
            ]
        )
        rates = labels_from_responses(torch.from_numpy(ordered), layout)
        cells = torch.from_numpy(asked_cells(position_mask)[None])
        asked = labels_from_responses(cells, layout)
    video = behavior = None
    if not layout.video_missing:
        video = torch.from_numpy(np.stack([w.video for w in windows]))[:, None]
    if layout.behavior == "target":
        behavior = torch.from_numpy(np.stack([w.behavior.T for w in windows]))
    return Batch(clip, layout, video, rates, asked, behavior, task)


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """Move a batch to where the net is; times, of which intervals are made, stay."""
    if str(device) == "cpu":
        return batch
    clip = batch.clip

    def moved(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.to(device, non_blocking=True)

    return Batch(
        clip=Clip(
            session=clip.session,
            neuron_ids=clip.neuron_ids.to(device),
            responses=clip.responses.to(device),
            behavior=moved(clip.behavior),
            response_times=clip.response_times,
            video_times=clip.video_times,
            start_times=moved(clip.start_times),
        ),
        layout=batch.layout.to(device),
        video=moved(batch.video),
        rates=moved(batch.rates),
        asked=moved(batch.asked),
        behavior=moved(batch.behavior),
        task=batch.task,
    )


@lru_cache(maxsize=4096)
def _task_layout(task: str, count: int, streams: Streams) -> tuple[Mask, Layout]:
    """The task over positions of the neuron order, whatever the neurons."""
    mask = streams.limit(task_mask(task, count))
    return mask, layout_from_mask(mask)


def _fewer_targets(
    mask: Mask, limit: int, rng: np.random.Generator
) -> tuple[Mask, Layout]:
    asked = np.flatnonzero(mask.target.any(axis=0))
    if len(asked) <= limit:
        return mask, layout_from_mask(mask)
    dropped = rng.permutation(asked)[limit:]
    cells = mask.cells.copy()
    cells[:, dropped] = np.where(cells[:, dropped] == 2, 0, cells[:, dropped])
    fewer = mask.with_cells(cells)
    return fewer, layout_from_mask(fewer)


def _in_order(mask: Mask, total: int, rng: np.random.Generator) -> Mask:
    """Give the positions of a mask to randomly drawn neurons."""
    order = rng.permutation(total)[: mask.n_neurons]
    cells = np.zeros((len(mask.cells), total), np.uint8)
    cells[:, order] = mask.cells[:, mask.order]
    return Mask(
        cells=cells,
        frames=mask.frames,
        behavior=mask.behavior,
        order=order,
        cuts=mask.cuts,
        context_span=mask.context_span,
        query_phase=mask.query_phase,
    )
