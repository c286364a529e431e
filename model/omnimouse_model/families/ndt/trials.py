"""Trials of a session: its counts in memory, and masked batches of them."""

import logging
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.evaluation.tier_windows import validation_starts
from omnimouse_model.families.ndt.network import CAUSAL
from omnimouse_model.families.ndt.training_config import NdtTrainConfig
from omnimouse_model.masks.schemes import SchemeSettings, draw_scheme
from omnimouse_model.training.sessions import TrainingSession, key_number, shuffled

MIN_TRIALS = 2
"""A session needs at least as many."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Trials of one session under one scheme.

    Attributes
    ----------
    seen, counts
        float32 (B, T, N): counts, without and with the hidden entries.
    scored
        bool (B, T, N): the targets.
    """

    session: str
    scheme: str
    seen: Tensor
    counts: Tensor
    scored: Tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        parts = ("seen", "counts", "scored")
        return replace(self, **{k: getattr(self, k).to(device) for k in parts})


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Counts of a session's trials, for training and for validation.

    Attributes
    ----------
    train, validation
        (trial, bin, neuron): whole numbers below 256, or float32 with NaN where a
        neuron was not observed.
    regions
        Region of each neuron; "" where the recording does not state it.
    schemes
        Schemes that are possible in this session.
    """

    key: str
    train: np.ndarray
    validation: np.ndarray
    regions: tuple[str, ...]
    schemes: tuple[str, ...]
    _batches: dict[str, Batch] = field(default_factory=dict, repr=False)

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return int(self.train.shape[2])

    @property
    def mean_counts(self) -> np.ndarray:
        """Mean count per bin of each neuron over the train trials, float64 (N,)."""
        # Sums of whole numbers, without a copy of all counts as floats.
        if self.train.dtype == np.uint8:
            total = self.train.sum(axis=(0, 1), dtype=np.float64)
            return np.asarray(total / (self.train.shape[0] * self.train.shape[1]))
        total = np.nansum(self.train, axis=(0, 1), dtype=np.float64)
        observed = np.isfinite(self.train).sum(axis=(0, 1))
        return np.asarray(total / np.maximum(observed, 1))

    def n_batches(self, batch: int) -> int:
        """Return the number of batches of an epoch; the last one may be smaller."""
        return -(-len(self.train) // batch)

    def batch(
        self, config: NdtTrainConfig, epoch: int, place: int, rng: np.random.Generator
    ) -> Batch:
        """Return a batch of an epoch under a scheme that `rng` draws."""
        order = shuffled(config.seed, self.key, epoch, len(self.train))
        chosen = order[place * config.batch : (place + 1) * config.batch]
        scheme = self.schemes[rng.integers(len(self.schemes))]
        return self._masked(self.train[chosen], scheme, config, rng)

    def validation_batch(self, config: NdtTrainConfig, scheme: str) -> Batch:
        """Return the validation trials under a scheme, always with the same masks."""
        if scheme not in self._batches:
            number = config.schemes.index(scheme)
            rng = np.random.default_rng([config.seed, key_number(self.key), number])
            batch = self._masked(self.validation, scheme, config, rng)
            self._batches[scheme] = batch
        return self._batches[scheme]

    def _masked(
        self,
        counts: np.ndarray,
        scheme: str,
        config: NdtTrainConfig,
        rng: np.random.Generator,
    ) -> Batch:
        n_trials, n_bins, n_neurons = counts.shape
        shape = (n_trials, n_bins, n_neurons)
        masks, settings = (
            scheme,
            SchemeSettings(ratio=config.ratio_of(scheme), allow_degenerate=config.allow_degenerate),
        )
        if scheme == CAUSAL and config.horizon and rng.random() < 0.5:
            first = n_bins - int(rng.integers(*config.horizon, endpoint=True))
            masks, settings = "forward-pred", SchemeSettings(bins=(*range(first, n_bins),))
        drawn = draw_scheme(masks, shape, self.regions, rng, settings)
        values = counts.astype(np.float32)
        # Missing counts are hidden, and are no targets.
        observed = np.isfinite(values)
        values = np.where(observed, values, np.float32(0))
        seen = np.where(drawn.hidden, np.float32(0), values)
        scored = np.ascontiguousarray(drawn.target & observed)
        return Batch(self.key, scheme, *map(torch.from_numpy, (seen, values, scored)))


# -- opening -------------------------------------------------------------------------
def trial_session(
    session: Session, spec: WindowSpec, stride_s: float | None = None
) -> TrainingSession:
    """Return a session with the starts of its train trials.

    Windows on the grid follow each other after `stride_s`, by default without overlap.
    """
    apart_s = spec.duration_s if stride_s is None else stride_s
    stride = 1 if spec.align == "trial" else max(1, grid_points(apart_s))
    starts = session.window_starts("train", stride, spec=spec)
    return TrainingSession(session=session, starts=starts, weight=1.0, truth=None)


def read_trials(source: TrainingSession, config: NdtTrainConfig) -> Trials:
    """Read the train and validation trials of a session.

    Validation trials are those that the source holds out, else those of the tier.

    Raises
    ------
    ValueError
        The session has too few trials, or no scheme is possible in it.
    """
    session, spec = source.session, config.spec
    if len(source.starts) < MIN_TRIALS:
        raise ValueError(
            f"Session {session.id!r} has {len(source.starts)} whole trials of "
            f"{spec.duration_s:g} s in tier 'train'; expected at least {MIN_TRIALS}. "
            f"Its tiers are {', '.join(session.tiers()) or 'none'}."
        )
    held_out = validation_starts(session, source.held_out, spec, config.validation_trials)
    regions = session.units.region_of
    return Trials(
        source.key,
        _read(session, source.starts, spec),
        _read(session, held_out, spec),
        regions,
        _possible(config, session.id, regions),
    )


def _possible(config: NdtTrainConfig, session: str, regions: tuple[str, ...]) -> tuple[str, ...]:
    """Return the schemes that leave something to predict from."""
    schemes = config.schemes
    if len({*regions} - {""}) < 2 and not config.allow_degenerate:
        schemes = tuple(name for name in schemes if name != "inter-region")
        if schemes != config.schemes:
            _log.warning(
                "Session %s has one region or none: inter-region would hide all its "
                "neurons and is left out.",
                session,
            )
    if not schemes:
        raise ValueError(
            f"Session {session!r} has fewer than two regions, and inter-region is the "
            "only scheme: choose more schemes, or allow_degenerate."
        )
    return schemes


def _read(session: Session, starts: np.ndarray, spec: WindowSpec) -> np.ndarray:
    """Return the responses (trial, bin, neuron) of windows, small where possible.

    Missing responses are NaN.
    """
    shape = (len(starts), spec.n_samples, session.n_neurons)
    counts: np.ndarray = np.zeros(shape, np.uint8)
    for number, start in enumerate(starts):
        # The Poisson loss needs responses that are not negative.
        values = np.maximum(session.window(float(start), spec).responses, 0)
        values = np.where(np.isfinite(values), values, np.float32(np.nan))
        is_small = counts.dtype != np.uint8 or (
            values.max(initial=0) < 256 and np.array_equal(values, np.rint(values))
        )
        if not is_small:
            counts = counts.astype(np.float32)
        counts[number] = values
    return counts
