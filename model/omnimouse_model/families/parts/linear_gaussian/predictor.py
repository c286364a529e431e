"""The baseline `linear-gaussian`: the conditional mean of whatever a mask asks.

One fit for each set of visible inputs: none, behaviour, video, both. Responses, and
behaviour that is not visible, are jointly Gaussian around a mean that is linear in the
visible inputs; a mask chooses what is known. Method and figures: `docs/evaluation.md`.
"""

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from omnimouse_model.data.session import Session, Window, without_missing
from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation import stored_fits
from omnimouse_model.evaluation.stored_fits import load_or_fit, name_with_spec
from omnimouse_model.families.parts.linear_gaussian.fit import (
    MOST_S,
    InputSet,
    LinearGaussianFit,
    TrainSeries,
    at_samples,
    behavior_inputs,
    fit,
    fit_seconds,
    from_fitted,
    interpolated,
    reads_video,
    sets_of_inputs,
    to_fitted,
    train_series,
    video_inputs,
)
from omnimouse_model.families.parts.linear_gaussian.posterior import (
    Posterior,
    Prior,
    SubsetPosterior,
    Target,
    block_slice,
)
from omnimouse_model.families.parts.motion_energy import held_frames
from omnimouse_model.masks import VISIBLE, Mask, scored_cells
from omnimouse_model.predict.devices import MemoryCache, single_numpy_thread
from omnimouse_model.predict.predictor import (
    Encoded,
    Needs,
    Prediction,
    Predictor,
    Subset,
    check_request,
    predict_subsets_of,
)
from omnimouse_model.progress import CallbackJob, Cancelled, Job, never, part_of, shown_job, stop_if

NAME = "linear-gaussian"
FITTING = "fitting linear-gaussian"
MAX_CACHED_BYTES = 256 * 2**20
"""Maximum memory of the cached `Posterior` objects, one for each mask, in bytes."""
BLOCK_BYTES = 2**11
"""Bytes counted for the key of a kept part: the visible cells of its block, about 2 kB."""
MAX_INPUT_BYTES = 128 * 2**20
"""Maximum memory of the visible inputs of windows: 0.3 MB of 60 samples with video."""
MAX_MEAN_BYTES = 32 * 2**20
"""Maximum memory of means from these inputs: 2.4 MB of a window of 10,000 neurons."""
Z_95 = 1.96
"""Half-width, in standard deviations, of the interval that holds 95 % of a normal."""


Reader = Callable[[], TrainSeries]
"""Function that reads the train tier, with all inputs."""
_Together = tuple[SubsetPosterior, list[np.ndarray]]
"""Posterior of subsets with the same inputs, and their scored cells."""
MeanOf = Callable[[np.ndarray], np.ndarray]
"""From columns int64 (n,) to their mean from the visible inputs, float32 (n_samples, n)."""


class Seen(NamedTuple):
    """What a mask shows of the inputs of a window.

    Attributes
    ----------
    frames
        bool (n_frames,): frames that are visible.
    video
        Video in which each hidden frame is the last visible one; None if all are hidden.
    behavior
        Its channels; None if one of them is not visible.
    """

    frames: np.ndarray
    video: np.ndarray | None
    behavior: np.ndarray | None

    @property
    def inputs(self) -> InputSet:
        """Inputs of the mean."""
        return InputSet(self.video is not None, self.behavior is not None)


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """Visible inputs of a window, and the fit to them.

    Attributes
    ----------
    modes
        Mode of each channel of behaviour.
    channels
        Behaviour at the response samples if some of it is visible, and some is not.
    mean
        The mean from the visible inputs.
    is_count
        Whether responses are counts.
    """

    fitted: LinearGaussianFit
    prior: Prior
    modes: tuple[str, ...]
    channels: np.ndarray | None
    mean: MeanOf
    is_count: bool

    def visible(self, mask: Mask) -> np.ndarray:
        """Return the visible cells of all columns, bool (n_samples, columns)."""
        found, n_neurons = np.zeros((len(mask.cells), len(self.fitted.scale)), bool), mask.n_neurons
        np.equal(mask.cells, VISIBLE, out=found[:, :n_neurons])
        # Channels are columns like neurons, unless all are visible.
        if found.shape[1] > n_neurons:
            found[:, n_neurons:] = [mode == "visible" for mode in self.modes]
        return found

    def values(self, columns: np.ndarray, responses: np.ndarray | None) -> np.ndarray:
        """Return what is known of columns in fitted units, else 0, float32 (n_samples, n)."""
        n_samples, n_neurons = len(self.prior.private), len(self.fitted.floor)
        found, is_neuron = np.zeros((n_samples, len(columns)), np.float32), columns < n_neurons
        if responses is not None:
            neurons = columns[is_neuron]
            recorded, floor = without_missing(responses[:, neurons]), self.fitted.floor[neurons]
            found[:, is_neuron] = to_fitted(recorded, floor, is_count=self.is_count)
        if self.channels is not None:
            found[:, ~is_neuron] = self.channels[:, columns[~is_neuron] - n_neurons]
        return found


@dataclass(frozen=True, slots=True)
class _WindowState:
    """A window in fitted units; columns are computed when they are needed.

    Attributes
    ----------
    responses
        Those of the window if some are visible.
    factors
        Posterior mean of the factors, float32 (n_samples, K).
    """

    shown: _Shown
    posterior: Posterior
    responses: np.ndarray | None
    factors: np.ndarray

    def residuals(self, columns: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Return visible residuals of columns in units of their deviation, else 0."""
        # Withheld values become 0 here, so that nothing else can read them.
        visible = self.posterior.visible[:, columns]
        values = self.shown.values(columns, self.responses)
        residuals = (values - mean) / self.shown.fitted.scale[columns]
        return np.where(visible, residuals, np.float32(0))

    def predicted(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of columns, (n_samples, n) each."""
        mean, scale = self.shown.mean(columns), self.shown.fitted.scale[columns]
        residuals = self.residuals(columns, mean)
        with single_numpy_thread:
            mean = mean + scale * self.posterior.mean(self.factors, columns, residuals)
            return mean, scale**2 * self.posterior.variance(columns)


class LinearGaussian(Predictor):
    """Linear-Gaussian baseline; see `families.parts.linear_gaussian`.

    It is fitted to at most 20 minutes of the train tier of a session.

    Parameters
    ----------
    spec
        Rates and sizes of its windows.

    Attributes
    ----------
    job
        Shows the progress of fits; a bar by default.

    Examples
    --------
    >>> predictor = om.load_predictor("linear-gaussian")
    >>> mask = om.Mask.nothing(session).show(range(20)).ask(range(20, 40))
    >>> predictor.predict(session.window(20.0), mask).responses.shape
    (60, 20)
    """

    name = NAME

    def __init__(self, spec: WindowSpec | None = None) -> None:
        self._spec = spec or default_spec()
        self.job: Job | None = None
        self._fits: dict[tuple[str, str], tuple[LinearGaussianFit, Prior]] = {}
        self._posteriors = MemoryCache[Posterior](MAX_CACHED_BYTES, lambda one: one.n_bytes)
        self._latest: dict[tuple[str, int], Posterior] = {}
        self._projections = MemoryCache[np.ndarray | None](
            MAX_CACHED_BYTES, lambda part: BLOCK_BYTES + (0 if part is None else part.nbytes)
        )
        self._means = MemoryCache[np.ndarray](MAX_MEAN_BYTES, lambda mean: mean.nbytes)
        self._inputs = MemoryCache[np.ndarray](MAX_INPUT_BYTES, lambda inputs: inputs.nbytes)
        self._subsets = MemoryCache[_Together](MAX_CACHED_BYTES, lambda found: found[0].n_bytes)
        self._lock = threading.RLock()

    @property
    def predictor_id(self) -> str:
        """Name of the baseline, with its spec if it is another than OmniMouse's."""
        return name_with_spec(NAME, self._spec)

    @property
    def needs(self) -> Needs:
        """Everything is used that a mask shows."""
        return Needs(
            sees_video=self._spec.video is not None,
            sees_behavior=self._spec.behavior is not None,
            predicts_behavior=self._spec.behavior is not None,
            spec=self._spec,
            methods=frozenset({"predict_subsets"}),
            fits=stored_fits.LINEAR_GAUSSIAN,
        )

    def prepare(self, session: Session) -> None:
        """Need nothing: the fit of a set of visible inputs is made when a mask first asks."""

    def fit_all(self, session: Session, cancelled: Cancelled = never) -> None:
        """Fit every set of inputs that the session has, or read the stored fits."""
        job = CallbackJob(cancelled=cancelled)
        read = cache(partial(train_series, session, self._spec, most_s=MOST_S, job=job))
        for inputs in sets_of_inputs(session, self._spec):
            self._fit_of(session, inputs, cancelled, read)

    def prefetch(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> None:
        """Fit the other sets of inputs while the user is idle."""
        self.fit_all(window.session, cancelled)

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Find the factors of a window; columns are predicted when they are decoded."""
        check_request(self.predictor_id, self.needs, window, mask)
        if not (mask.target.any() or mask.has_behavior_target):
            raise UnsupportedRequestError(f"{self.predictor_id!r}: the mask has no target.")
        shown = self._shown(window, mask, cancelled)
        visible, n_neurons = shown.visible(mask), mask.n_neurons
        # Reading responses costs time, and a clip has none.
        responses = None
        if visible[:, :n_neurons].any():
            # Responses that were not recorded are hidden.
            if window.missing is not None:
                visible[:, :n_neurons] &= ~window.missing
            responses = window.responses
        with single_numpy_thread:
            gaps = b"" if window.missing is None else np.packbits(window.missing).tobytes()
            of_fit = window.session.fingerprint, id(shown.fitted)
            with self._lock:
                # The posterior shares the unchanged blocks with that of the mask before.
                before = self._latest.get(of_fit)
                posterior = self._posteriors.get(
                    (*of_fit, mask.mask_id, gaps), lambda: Posterior(shown.prior, visible, before)
                )
                self._latest[of_fit] = posterior
            state = _WindowState(shown, posterior, responses, np.empty(0))
            key = (window.key, id(shown.fitted), mask.frames.tobytes(), shown.modes)
            numbers = range(len(posterior.blocks))
            factors = posterior.factors([self._project(key, state, n, cancelled) for n in numbers])
        return Encoded(window, mask, replace(state, factors=factors))

    def predict_subsets(
        self, windows: Sequence[Window], subsets: Sequence[Subset], cancelled: Cancelled = never
    ) -> list[list[np.ndarray]]:
        """Return the predictions of `predicted_subsets`, from one set of sums per window."""
        found: dict[tuple[int, int], np.ndarray] = {}
        whole = []
        for number, window in enumerate(windows):
            if window.missing is None or not window.missing.any():
                whole.append(number)
                continue
            # Other cells are visible in each such window: nothing can be shared.
            (parts,) = predict_subsets_of(self, [window], subsets, cancelled)
            found.update({(number, place): part for place, part in enumerate(parts)})
        inputs: dict[Hashable, list[int]] = {}
        for place, subset in enumerate(subsets):
            key = subset.mask.frames.tobytes(), subset.mask.behavior
            inputs.setdefault(key, []).append(place)
        for places in inputs.values() if whole else ():
            chosen = [subsets[place] for place in places]
            together = self._subset_posterior(windows[whole[0]], chosen, cancelled)
            for number in whole:
                stop_if(cancelled)
                parts = self._predict_subsets(windows[number], chosen, together, cancelled)
                found.update(
                    {(number, place): part for place, part in zip(places, parts, strict=True)}
                )
        return [[found[number, k] for k in range(len(subsets))] for number in range(len(windows))]

    def _subset_posterior(
        self, window: Window, subsets: Sequence[Subset], cancelled: Cancelled
    ) -> _Together:
        """Return the posterior of subsets with the same inputs, and their scored cells."""
        shown = self._shown(window, subsets[0].mask, cancelled)

        def make() -> _Together:
            visible, targets, cells = [], [], []
            for subset in subsets:
                check_request(self.predictor_id, self.needs, window, subset.mask)
                mask, neurons, own = subset.mask, subset.neurons, np.arange(*subset.own)
                visible.append(shown.visible(mask))
                guarded = mask.show(neurons, own) if len(own) else mask
                cells.append(scored_cells(guarded, neurons))
                samples = np.flatnonzero(cells[-1].any(axis=1))
                targets.append(Target(neurons, samples, own))
            check = partial(stop_if, cancelled)
            with single_numpy_thread:
                return SubsetPosterior(shown.prior, visible, targets, check), cells

        parts = [(one.mask.mask_id, one.neurons.tobytes(), one.own) for one in subsets]
        key = (window.session.fingerprint, id(shown.fitted), tuple(parts))
        with self._lock:
            return self._subsets.get(key, make)

    def _predict_subsets(
        self, window: Window, subsets: Sequence[Subset], together: _Together, cancelled: Cancelled
    ) -> list[np.ndarray]:
        """Return the predicted responses of subsets with the same visible inputs."""
        posterior, cells = together
        shown = self._shown(window, subsets[0].mask, cancelled)
        fitted, columns = shown.fitted, np.arange(len(shown.fitted.scale))
        with single_numpy_thread:
            mean = shown.mean(columns)
            residuals = (shown.values(columns, window.responses) - mean) / fitted.scale
            parts = posterior.means(residuals)
        found = []
        for subset, scored, part, variance in zip(
            subsets, cells, parts, posterior.variances, strict=True
        ):
            neurons, rows = subset.neurons, np.flatnonzero(scored.any(axis=1))
            scale = fitted.scale[neurons]
            rates = from_fitted(
                mean[np.ix_(rows, neurons)] + scale * part,
                scale**2 * variance,
                fitted.floor[neurons],
                is_count=self._is_count,
            )
            responses = np.full(scored.shape, np.nan, np.float32)
            responses[rows] = rates
            found.append(np.where(scored, responses, np.float32(np.nan)))
        return found

    def _project(
        self, key: Hashable, state: _WindowState, number: int, cancelled: Cancelled
    ) -> np.ndarray | None:
        """Return the part of a block, kept for masks with the same visible cells in it."""
        posterior = state.posterior

        def compute() -> np.ndarray | None:
            stop_if(cancelled)
            columns = np.arange(posterior.visible.shape[1])[block_slice(number)]
            # Of the block alone, so that its bits do not depend on other blocks.
            mean = self._means.get((key, number), partial(state.shown.mean, columns))
            return posterior.projection(number, state.residuals(columns, mean))

        with self._lock:
            content = posterior.blocks[number].content
            return self._projections.get((key, number, content), compute)

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        """Return the target cells of `neurons`, by default of all with targets."""
        stop_if(cancelled)
        mask, window, state = encoded.mask, encoded.window, encoded.state
        if neurons is None:
            neurons = np.flatnonzero(scored_cells(mask).any(axis=0))
        neurons = np.asarray(neurons, np.int64)
        cells = scored_cells(mask, neurons)
        behavior, n_columns = None, len(state.shown.fitted.scale)
        if mask.has_behavior_target and n_columns > mask.n_neurons:
            columns, spec = np.arange(mask.n_neurons, n_columns), self._spec
            assert spec.behavior is not None  # its channels are columns
            place = np.arange(spec.n_behavior) / spec.behavior.rate_hz * spec.response_rate_hz
            behavior = interpolated(state.predicted(columns)[0], place)
        mean, variance = state.predicted(neurons)
        floor = state.shown.fitted.floor[neurons]
        half_width = Z_95 * np.sqrt(variance)
        unit = self._spec.response_rate_hz if self._is_count else 1.0

        def responses(values: np.ndarray, spread: np.ndarray | float) -> np.ndarray:
            rates = from_fitted(values, spread, floor, is_count=self._is_count)
            return np.where(cells, rates * unit, np.nan).astype(np.float32)

        return Prediction(
            responses=responses(mean, variance),
            neurons=neurons,
            behavior=behavior,
            mask_id=mask.mask_id,
            predictor_id=self.predictor_id,
            scale=None if self._is_count else window.session.response_scale[neurons],
            units="spikes/s" if self._is_count else "normalised",
            times_s=window.sample_times_s,
            band=np.stack([responses(mean - half_width, 0.0), responses(mean + half_width, 0.0)]),
        )

    def _shown(self, window: Window, mask: Mask, cancelled: Cancelled) -> "_Shown":
        """Return the visible inputs of a window, with the fit to them."""
        has_video = reads_video(window.session, self._spec)
        video = held_frames(window, mask.frames) if has_video else None
        modes = _modes(window, mask)
        channels = behavior = None
        if "visible" in modes:
            channels = without_missing(np.asarray(window.behavior, np.float32))
            behavior = channels if set(modes) == {"visible"} else None
        seen = Seen(mask.frames, video, behavior)
        fitted, prior = self._fit_of(window.session, seen.inputs, cancelled)
        stop_if(cancelled)
        with single_numpy_thread:
            mean = self._mean(fitted, window, seen, cancelled)
        at_rows = None
        if channels is not None and behavior is None:
            at_rows = at_samples(channels, self._spec)
        return _Shown(fitted, prior, modes, at_rows, mean, self._is_count)

    def _mean(
        self, fitted: LinearGaussianFit, window: Window, seen: Seen, cancelled: Cancelled
    ) -> MeanOf:
        """Return the mean of columns from the visible inputs.

        A subclass that runs a network for it asks `cancelled`.
        """

        def read() -> np.ndarray:
            parts = [np.zeros((self._spec.n_samples, 0), np.float32)]
            if seen.video is not None:
                parts.append(video_inputs(seen.video, self._spec))
            if seen.behavior is not None:
                parts.append(behavior_inputs(seen.behavior, self._spec))
            return np.concatenate(parts, axis=1)

        # Kept: a stroke over neurons changes none, and motion energy takes a quarter of a
        # prediction. (n_samples, n)
        key = (window.key, seen.frames.tobytes(), seen.inputs)
        with self._lock:
            inputs = self._inputs.get(key, read)

        def mean(columns: np.ndarray) -> np.ndarray:
            first, stop = (columns[0], columns[-1] + 1) if len(columns) else (0, 0)
            is_block = stop - first == len(columns) and (np.diff(columns) == 1).all()
            # A view: an index list would copy the weights, of many columns for longer
            # than the product of all takes.
            is_whole = not is_block and 2 * len(columns) > fitted.weights.shape[1]
            part = slice(first, stop) if is_block else slice(None) if is_whole else columns
            with single_numpy_thread:
                weighted = inputs @ fitted.weights[:, part]
            weighted = weighted[:, columns] if is_whole else weighted
            return np.asarray(weighted + fitted.intercept[columns])

        return mean

    @property
    def _is_count(self) -> bool:
        return self._spec.responses == "count"

    def _fit_of(
        self, session: Session, inputs: InputSet, cancelled: Cancelled, read: Reader | None = None
    ) -> tuple[LinearGaussianFit, Prior]:
        """Return the fit for a set of visible inputs, made or read at its first use."""
        name = f"{NAME}{'-video' * inputs.video}{'-behavior' * inputs.behavior}"
        key = (session.fingerprint, name)

        def make(source: Session, spec: WindowSpec) -> dict[str, np.ndarray]:
            rate_hz, is_count = spec.response_rate_hz, self._is_count
            with shown_job(self.job, unit="fit") as shown:
                job = CallbackJob(
                    lambda done, total, _: shown.progress(done / total, 1.0, FITTING), cancelled
                )
                if read is None:
                    read_s, fit_s = fit_seconds(source, spec, video=inputs.video, most_s=MOST_S)
                    share = read_s / (read_s + fit_s)
                    part = part_of(job, 0.0, share)
                    series = train_series(source, spec, inputs, most_s=MOST_S, job=part)
                else:
                    share, series = 0.0, read().only(inputs)
                fitted = fit(series, rate_hz, is_count=is_count, job=part_of(job, share, 1.0))
                job.progress(1.0, 1.0)
            return fitted.arrays()

        with self._lock:
            if key not in self._fits:
                version = stored_fits.LINEAR_GAUSSIAN
                arrays = load_or_fit(session, name, self._spec, make, version)
                fitted = LinearGaussianFit.from_arrays(arrays)
                prior = Prior.of(fitted.factors, self._spec.sample_times_s)
                self._fits[key] = (fitted, prior)
            return self._fits[key]

    def __reduce__(self) -> tuple[Any, ...]:
        # Fits belong to sessions: another process makes its own, or reads stored ones.
        return LinearGaussian, (self._spec,)


def _modes(window: Window, mask: Mask) -> tuple[str, ...]:
    """Return the mode of each column of behaviour in a window."""
    names = window.behavior_names if window.session.behavior_names else ()
    if not isinstance(mask.behavior, tuple):
        return (mask.behavior,) * len(names)
    assert mask.spec.behavior is not None
    mode_of = dict(zip(mask.spec.behavior.channels, mask.behavior, strict=True))
    return tuple(mode_of.get(name, "hidden") for name in names)
