"""Conversion of windows and masks to the input of OmniMouse's network.

Strategies and free-form masks become the same index layout, and recorded times become
times relative to the window. No other module depends on both masks and the network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Window, without_missing
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.families.omnimouse.config import Layout, OmniMouseConfig, WindowBatch
from omnimouse_model.families.omnimouse.token_layout import layout_of, token_starts, video_steps
from omnimouse_model.masks import VISIBLE, Mask, scored_cells
from omnimouse_model.masks.cells import distinct_columns
from omnimouse_model.masks.mask import changed_neurons
from omnimouse_model.masks.strategies import QUERY_SAMPLES

_MOST_COLUMNS = 10_000
"""Distinct columns that are kept for the masks that follow."""


def layout_from_mask(mask: Mask, missing: np.ndarray | None = None) -> Layout:
    """Return the tokens, queries and video steps of a mask.

    Tokens and queries are sorted by sample, then by the order of the mask.

    Parameters
    ----------
    mask
        Its visible cells are divided into tokens.
    missing
        bool (60, P): responses that were not recorded, which no token contains.
    """
    order = layout_of(mask).order
    tokens = _starts(mask, order, False if missing is None else missing[:, order])
    # Sorted by sample: tokens of one sample are one contiguous run, which the attention
    # plans rely on.
    return _layout(mask, _places(tokens), _places(query_starts(mask)), len(order))


def _layout(
    mask: Mask,
    tokens: tuple[np.ndarray, np.ndarray],
    queries: tuple[np.ndarray, np.ndarray],
    n_neurons: int,
) -> Layout:
    """Return the layout of tokens and queries, each as samples and neurons.

    Raises
    ------
    UnsupportedRequestError
        The channels of behaviour have different modes.
    """
    if isinstance(mask.behavior, tuple):
        raise UnsupportedRequestError(
            "OmniMouse reads or decodes all channels of behaviour together; this mask "
            f"has {', '.join(mask.behavior)}. Choose one mode for all channels."
        )
    return Layout(
        token_neurons=torch.from_numpy(tokens[1]),
        token_samples=torch.from_numpy(tokens[0]),
        query_neurons=torch.from_numpy(queries[1]),
        query_samples=torch.from_numpy(queries[0]),
        token_runs=_runs(tokens[0]),
        query_runs=_runs(queries[0]),
        video_steps=torch.from_numpy(np.flatnonzero(video_steps(mask.frames))),
        frames=torch.from_numpy(mask.frames.copy()),
        behavior=mask.behavior,
        context_span=layout_of(mask).context_span,
        n_neurons=n_neurons,
    )


def _places(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sample and neuron of each true cell of a bool (sample, neuron)."""
    # Flat indices take a third of the time of `nonzero` with two axes.
    samples, neurons = np.divmod(np.flatnonzero(starts), starts.shape[1])
    return samples, neurons


def query_starts(mask: Mask, neurons: np.ndarray | None = None) -> np.ndarray:
    """Return where 5-sample queries begin, bool (60, n), by default in the order of the mask."""
    # Hand-made masks have phase 0; a strategy starts its grid at its first target.
    token_layout = layout_of(mask)
    # Once for each distinct column: thousands of neurons have two or three.
    chosen = token_layout.order if neurons is None else neurons
    scored, number = distinct_columns(scored_cells(mask, chosen))
    starts = np.zeros_like(scored)
    stop = len(scored) - QUERY_SAMPLES + 1
    for start in range(token_layout.query_phase, stop, QUERY_SAMPLES):
        # A query with a single scored cell is computed completely;
        # `place_predictions` drops its other cells.
        starts[start] = scored[start : start + QUERY_SAMPLES].any(axis=0)
    return starts[:, number]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """A bool (row, neuron), stored as the number of each neuron's column in a table.

    Thousands of neurons have a few columns, so that a copy with a change costs four bytes
    per neuron. Copies share the table, which grows.

    Attributes
    ----------
    number
        int32 (P,): number of each neuron's column.
    """

    number: np.ndarray
    _table: list[np.ndarray]
    _numbers: dict[bytes, int]

    @staticmethod
    def of(cells: np.ndarray) -> "Columns":
        """Store a bool (row, neuron)."""
        # The first one is that of no neuron, and gives the number of rows.
        columns = Columns(np.zeros(cells.shape[1], np.int32), [np.zeros(len(cells), bool)], {})
        return columns.replaced(np.arange(cells.shape[1]), cells)

    def replaced(self, neurons: np.ndarray, cells: np.ndarray) -> "Columns":
        """Return a copy in which neurons have other columns, bool (row, n)."""
        distinct, place = distinct_columns(cells)
        numbers = np.empty(distinct.shape[1], np.int32)
        for at, column in enumerate(distinct.T):
            key = column.tobytes()
            if key not in self._numbers:
                self._numbers[key] = len(self._table)
                self._table.append(column.copy())
            numbers[at] = self._numbers[key]
        number = self.number.copy()
        number[neurons] = numbers[place]
        return replace(self, number=number)

    def take(self, neurons: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the columns of some neurons, bool (row, n)."""
        number = self.number[neurons]
        used = np.flatnonzero(np.bincount(number))
        # Not `np.unique`, which sorts the neurons.
        place = np.zeros(len(self._table), np.intp)
        place[used] = np.arange(len(used))
        columns = [self._table[at] for at in used.tolist()] or self._table[:1]
        return np.asarray(np.take(np.stack(columns, axis=1), place[number], axis=1))

    def any_of_row(self) -> np.ndarray:
        """Return whether any neuron has each row, bool (row,)."""
        used = np.flatnonzero(np.bincount(self.number))
        columns = [self._table[number] for number in used.tolist()] or self._table[:1]
        return np.asarray(np.any(columns, axis=0))

    def changed_from(self, before: "Columns") -> np.ndarray | None:
        """Return the neurons with other columns than before; None if all may have."""
        if before._table is not self._table or len(before.number) != len(self.number):
            return None
        return np.flatnonzero(self.number != before.number)

    @property
    def key(self) -> tuple[int, bytes]:
        """Key of the content, among copies with the same table."""
        return id(self._table), self.number.tobytes()

    @property
    def is_full(self) -> bool:
        """Whether the table should begin anew."""
        return len(self._table) > _MOST_COLUMNS


@dataclass(frozen=True, slots=True, eq=False)
class MaskTokens:
    """Tokens and queries of one mask, by neuron of the recording.

    Attributes
    ----------
    starts
        bool (51, P): where response tokens begin.
    queries
        bool (60, P): where queries begin.
    """

    mask: Mask
    starts: Columns
    queries: Columns

    @staticmethod
    def of(mask: Mask, before: "MaskTokens | None" = None) -> "MaskTokens":
        """Find the tokens of a mask; only columns that differ from `before` are computed."""
        if (
            before is None
            or not _has_rules_of(before.mask, mask)
            or before.starts.is_full
            or before.queries.is_full
        ):
            every = np.arange(mask.n_neurons)
            starts, queries = _starts(mask, every), query_starts(mask, every)
            return MaskTokens(mask, Columns.of(starts), Columns.of(queries))
        changed = changed_neurons(before.mask, mask)
        if not len(changed):
            return replace(before, mask=mask)
        starts, queries = _starts(mask, changed), query_starts(mask, changed)
        return MaskTokens(
            mask, before.starts.replaced(changed, starts), before.queries.replaced(changed, queries)
        )

    def starts_without(self, missing: np.ndarray | None) -> Columns:
        """Return `starts` of a window in which responses bool (60, P) are missing."""
        if missing is None or not missing.any():
            return self.starts
        columns = np.flatnonzero(missing.any(axis=0))
        return self.starts.replaced(columns, _starts(self.mask, columns, missing[:, columns]))

    def layout(self, neurons: np.ndarray) -> Layout:
        """Return the layout without tokens, with the queries of some neurons.

        Queries name the place of a neuron in `neurons`; runs are those of the whole mask
        if `neurons` is empty.
        """
        none = np.empty(0, np.int64)
        queries = _places(self.queries.take(neurons))
        return _layout(self.mask, (none, none), queries, len(neurons))

    def context_layout(self) -> Layout:
        """Return the layout of the context that serves all queries; it lists none."""
        samples = np.flatnonzero(self.queries.any_of_row())
        return replace(self.layout(np.empty(0, np.int64)), query_runs=_runs(samples))


def _starts(mask: Mask, neurons: np.ndarray, missing: np.ndarray | bool = False) -> np.ndarray:
    """Return where response tokens of neurons begin, bool (51, n)."""
    layout = layout_of(mask)
    visible = (mask.cells[:, neurons] == VISIBLE) & ~np.asarray(missing)
    if len(layout.order) < mask.n_neurons:
        visible &= np.isin(neurons, layout.order)
    return token_starts(visible, layout.cuts)


def _has_rules_of(mask: Mask, other: Mask) -> bool:
    """Whether two masks make tokens and queries of equal cells alike."""
    first, second = layout_of(mask), layout_of(other)
    return (
        mask.cells.shape == other.cells.shape
        and (first.cuts, first.query_phase) == (second.cuts, second.query_phase)
        and (mask.guarded, mask.guard) == (other.guarded, other.guard)
        and (first.order is second.order or np.array_equal(first.order, second.order))
    )


def query_parts(layout: Layout, most: int) -> Iterator[Layout]:
    """Yield layouts of at most `most` queries, in order."""
    n_queries = len(layout.query_samples)
    for start in range(0, n_queries, most):
        samples = layout.query_samples[start : start + most]
        yield replace(
            layout,
            query_neurons=layout.query_neurons[start : start + most],
            query_samples=samples,
            query_runs=_runs(samples.numpy()),
        )


def _runs(samples: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return (sample, count) of each run of equal, ascending samples."""
    counts = np.bincount(samples)
    return tuple((int(v), int(counts[v])) for v in np.flatnonzero(counts))


def responses_on(window: Window, device: torch.device | str) -> Tensor:
    """Return a window's responses, float32 (60, P) in stored order, 0 if missing."""
    return torch.from_numpy(without_missing(window.responses)).to(device)


def stored_batch(
    windows: Sequence[Window],
    config: OmniMouseConfig,
    session: str,
    neuron_ids: Tensor,
    responses: Tensor,
    *,
    behavior: bool,
) -> WindowBatch:
    """Stack windows of one session with neurons (B, N) and their responses (B, 60, N).

    No value is withheld here: the caller reads only those of tokens.
    """
    values = None
    if behavior:
        # The network reads channels by time, (channel, 40).
        stacked = np.stack([window.behavior.T for window in windows])
        values = torch.from_numpy(stacked).to(responses.device)
    times = [window.timestamps for window in windows]
    recorded = [one["responses"] for one in times]
    screen = [one.get("screen", one["responses"]) for one in times]
    response_times, video_times, starts = batch_times(recorded, screen, config)
    return WindowBatch(
        session=session,
        neuron_ids=neuron_ids,
        responses=responses,
        behavior=values,
        response_times=response_times,
        video_times=video_times,
        start_times=starts.to(responses.device),
    )


def batch_from_windows(
    windows: Sequence[Window], masks: Sequence[Mask], config: OmniMouseConfig, session: str
) -> WindowBatch:
    """Stack windows of one session into the input of the network, on the CPU.

    The masks must have one layout; each may have its own order of neurons.
    """
    orders = [layout_of(mask).order for mask in masks]
    # Withheld values become 0 here, so that no part of the network can read them. They
    # are selected and not multiplied: NaN times 0 is NaN.
    inputs = [
        np.where(mask.visible, without_missing(window.responses), np.float32(0))[:, order]
        for window, mask, order in zip(windows, masks, orders, strict=True)
    ]
    ids, values = (torch.from_numpy(np.stack(parts)) for parts in (orders, inputs))
    shows_behavior = masks[0].behavior == "visible"
    return stored_batch(windows, config, session, ids, values, behavior=shows_behavior)


def batch_times(
    responses: Sequence[np.ndarray], screen: Sequence[np.ndarray], config: OmniMouseConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Return relative response times (B, 60), video step times (B, 30), and starts.

    Official checkpoints use the recorded times with their float32 rounding.
    With `ideal_times`, samples lie exactly on the grid, and one row serves every item.
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
    """Return the times of the video encoder's steps: frames 3, 5, …, 59, 59 (§8)."""
    last = frame_times.shape[1] - 1
    # The last step would be frame 61, after the end of the window.
    return frame_times[:, torch.arange(3, last + 5, 2).clamp(max=last)]


def labels_from_responses(responses: Tensor, layout: Layout) -> Tensor:
    """Return the targets (B, Q, 5) of all queries from responses (B, 60, N)."""
    windows = responses.unfold(1, QUERY_SAMPLES, 1)
    return windows[:, layout.query_samples, layout.query_neurons]


def place_predictions(rates: Tensor, layout: Layout, mask: Mask, neurons: np.ndarray) -> np.ndarray:
    """Return the rates (Q, 5) of one item as float32 (60, n), NaN if not scored.

    Queries of the layout name places in `neurons`.
    """
    # One transfer from the device, and float32 also for rates computed in bfloat16.
    values = rates.float().cpu().numpy()
    places = layout.query_neurons.cpu().numpy()
    placed = np.full((len(mask.cells), len(neurons)), np.nan, np.float32)
    start = 0
    # Queries are sorted by sample: a few blocks instead of one index per cell.
    for sample, count in layout.query_runs:
        of_run = slice(start, start + count)
        placed[sample : sample + QUERY_SAMPLES, places[of_run]] = values[of_run].T
        start += count
    placed[~scored_cells(mask, neurons)] = np.nan
    return placed
