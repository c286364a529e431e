"""Training batches: windows of one session under one task, with their targets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.families.omnimouse.config import Layout, OmniMouseConfig, WindowBatch
from omnimouse_model.families.omnimouse.token_layout import layout_of
from omnimouse_model.families.omnimouse.tokens import (
    batch_from_windows,
    labels_from_responses,
    layout_from_mask,
)
from omnimouse_model.families.omnimouse.training_config import Phase, Streams, draw_task, task_mask
from omnimouse_model.masks import HIDDEN, TARGET, Mask, scored_cells
from omnimouse_model.masks.cells import is_stored_slowly, recording_rate
from omnimouse_model.masks.strategies import FULL_POPULATION
from omnimouse_model.training.sessions import TrainingSession, shuffled


# -- balanced sampling: sessions in turn, every train window once per epoch -----------
# As in the official loader, each batch comes from the next session of a cycle, whose
# windows are shuffled. A session without unread windows is shuffled again and repeated
# until the epoch of the longest session ends.
#
# Sampling has no state: the number of a turn determines its windows. A resumed run
# therefore reads the same windows as an uninterrupted run.
@dataclass(frozen=True, slots=True)
class Turn:
    """Index of a batch of one process since the start of the run, with the seed."""

    seed: int
    number: int

    def session(self, n_sessions: int) -> int:
        """Return the index of the session of this turn."""
        return self.number % n_sessions

    def windows(self, n_sessions: int, n_windows: int, batch: int, key: str) -> np.ndarray:
        """Return indices of the session's windows to read, int64 (batch,).

        Windows that do not fill a batch at the end of an epoch are not read in it.
        """
        epoch, place = divmod(self.number // n_sessions, batches_of(n_windows, batch))
        order = shuffled(self.seed, key, epoch, n_windows)
        # np.resize cuts the rest of the order to one batch, and repeats windows if the
        # session has fewer windows than a batch.
        return np.resize(order[place * batch :], batch)


def batches_of(n_windows: int, batch: int) -> int:
    """Return the number of whole batches per epoch of a session, at least one."""
    return max(1, n_windows // batch)


def epoch_batches(n_windows: Sequence[int], batch: int) -> int:
    """Return the number of batches of one process per epoch of its longest session."""
    return len(n_windows) * max(batches_of(n, batch) for n in n_windows)


# -- training batches: windows of one session under one task, with their targets ------


@dataclass(frozen=True, slots=True)
class Batch:
    """Input and targets of one forward pass: B windows of one session and task.

    Attributes
    ----------
    video
        Normalised frames (B, 1, 60, 36, 64), or None if all frames are hidden.
    rates
        Target rates (B, Q, 5) of the queries, or None without response targets.
    scored
        bool (1, Q, 5): True for the target cells that the loss uses.
    behavior
        Target behaviour (B, C, 40), or None without behaviour targets.
    """

    windows: WindowBatch
    layout: Layout
    video: Tensor | None
    rates: Tensor | None
    scored: Tensor | None
    behavior: Tensor | None
    task: str

    @property
    def n_windows(self) -> int:
        """Windows in the batch, its first axis."""
        return len(self.windows.neuron_ids)

    def n_tokens(self, tokens_per_step: int) -> int:
        """Return the number of tokens of all windows that the net reads."""
        layout, behavior = self.layout, self.windows.behavior
        is_visible = layout.behavior == "visible"
        channels = behavior.shape[1] if behavior is not None and is_visible else 0
        video = 0 if layout.video_missing else len(layout.video_steps)
        each = len(layout.token_neurons) + channels + video * tokens_per_step
        return self.n_windows * each


def sessions_of_phase(sessions: list[TrainingSession], phase: Phase) -> list[TrainingSession]:
    """Return the sessions that a phase reads; a session without a name is in all."""
    names = phase.sessions
    if names is None:
        return sessions
    return [s for s in sessions if not s.mouse or s.mouse in names]


def first_recordings(sessions: list[TrainingSession]) -> list[TrainingSession]:
    """Return the first recording of each population of neurons."""
    firsts: dict[str, TrainingSession] = {}
    for source in sessions:
        firsts.setdefault(source.key, source)
    return list(firsts.values())


def draw_batch(
    sessions: list[TrainingSession],
    phase: Phase,
    config: OmniMouseConfig,
    rng: np.random.Generator,
    turn: Turn | None = None,
) -> Batch:
    """Draw a session, a task, windows and a neuron order per window.

    With `turn`, session and windows follow the balanced cycle (`sampling`).
    """
    starts = None
    sessions = sessions_of_phase(sessions, phase)
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
    """Return a batch of windows of one session under one task.

    Each window has its own random neuron order. Without `starts`, windows are drawn.
    """
    total = source.session.n_neurons
    # The official masks are defined over 4,096 positions; larger sessions
    # enter with a random subset of neurons per window.
    count = min(total, FULL_POPULATION)
    streams = Streams.of(source.session, config.behavior_channels)
    slow_hz = None
    if is_stored_slowly(source.session):
        slow_hz = recording_rate(source.session)
    position_mask, layout = _task_layout(task, count, streams, slow_hz)
    if phase.max_targets is not None:
        position_mask, layout = _fewer_targets(position_mask, phase.max_targets, rng)
    if starts is None:
        starts = rng.choice(source.starts, phase.batch)
    windows = [source.session.window(float(s), OMNIMOUSE) for s in starts]
    # One layout serves the whole batch because a mask is defined over positions; only
    # the neurons at these positions differ between windows.
    orders = [rng.permutation(total)[:count] for _ in windows]
    if any(window.missing is not None for window in windows):
        orders = [_missing_last(o, w) for o, w in zip(orders, windows, strict=True)]
        layout = layout_from_mask(position_mask, _missing_at(orders, windows))
    masks = [_in_order(position_mask, total, order) for order in orders]
    batch = batch_from_windows(windows, masks, config, source.key)
    sees_responses = not layout.responses_missing
    rates = scored = None
    if len(layout.query_neurons):
        ordered = np.stack(
            [
                source.target_rates(w, phase.targets, sees_responses)[:, layout_of(m).order]
                for w, m in zip(windows, masks, strict=True)
            ]
        )
        rates = labels_from_responses(torch.from_numpy(ordered), layout)
        # A query predicts 5 samples, and not all of them need to be targets.
        cells = torch.from_numpy(scored_cells(position_mask).copy())[None]
        scored = labels_from_responses(cells, layout)
    video = behavior = None
    if not layout.video_missing:
        video = torch.from_numpy(np.stack([w.video for w in windows]))[:, None]
    if layout.behavior == "target":
        # Windows are (time, channel); the net predicts (channel, time).
        behavior = torch.from_numpy(np.stack([_recorded_behavior(w).T for w in windows]))
    return Batch(batch, layout, video, rates, scored, behavior, task)


def _recorded_behavior(window: Window) -> np.ndarray:
    """Return behaviour (time, channel), NaN where it was not recorded."""
    # As input a missing value is 0, the mean; as a target it would teach the mean.
    recorded = window.valid["behavior"][:, None]
    return np.where(recorded, window.behavior, np.float32(np.nan))


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """Move a batch to the device of the net."""
    if str(device) == "cpu":
        return batch

    def moved(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.to(device, non_blocking=True)

    return replace(
        batch,
        windows=batch.windows.to(device),
        layout=batch.layout.to(device),
        video=moved(batch.video),
        rates=moved(batch.rates),
        scored=moved(batch.scored),
        behavior=moved(batch.behavior),
    )


@lru_cache(maxsize=4096)
def _task_layout(
    task: str, count: int, streams: Streams, slow_hz: float | None
) -> tuple[Mask, Layout]:
    """Return mask and layout of a task over positions of the neuron order.

    `slow_hz` is the rate of a recording that is stored below 12 Hz, else None.
    """
    mask = streams.limit(task_mask(task, count))
    # With a name, targets are those of the official guard.
    mask = replace(mask, name=task)
    if slow_hz is not None:
        mask = replace(mask, recording_rate_hz=slow_hz).without_revealed()
    return mask, layout_from_mask(mask)


def _missing_last(order: np.ndarray, window: Window) -> np.ndarray:
    """Return an order of neurons with those that miss samples at its end.

    Most strategies show the first neurons: so few visible cells are missing.
    """
    if window.missing is None:
        return order
    is_incomplete = np.asarray(window.missing.any(axis=0))
    return order[np.argsort(is_incomplete[order], kind="stable")]


def _missing_at(orders: list[np.ndarray], windows: list[Window]) -> np.ndarray:
    """Return bool (60, N): positions at which a response of any window is missing."""
    missing = [
        window.missing[:, order]
        for order, window in zip(orders, windows, strict=True)
        if window.missing is not None
    ]
    return np.asarray(np.any(missing, axis=0))


def _fewer_targets(mask: Mask, limit: int, rng: np.random.Generator) -> tuple[Mask, Layout]:
    neurons = np.flatnonzero(mask.target.any(axis=0))
    if len(neurons) <= limit:
        return mask, layout_from_mask(mask)
    dropped = rng.permutation(neurons)[limit:]
    cells = mask.cells.copy()
    # Visible cells of a dropped neuron remain visible.
    cells[:, dropped] = np.where(cells[:, dropped] == TARGET, HIDDEN, cells[:, dropped])
    fewer = replace(mask, cells=cells)
    return fewer, layout_from_mask(fewer)


def _in_order(mask: Mask, total: int, order: np.ndarray) -> Mask:
    """Return the mask with its positions assigned to neurons."""
    cells = np.zeros((len(mask.cells), total), np.uint8)
    layout = layout_of(mask)
    cells[:, order] = mask.cells[:, layout.order]
    return Mask(
        cells=cells,
        frames=mask.frames,
        behavior=mask.behavior,
        attachment=replace(layout, order=order),
    )
