"""OmniMouse with a linear-Gaussian context part, and predictors from checkpoints.

The transformer gives the mean response from video and behaviour. What a mask shows of
the population and of the past enters by the conditional distribution of the residuals,
as in the baseline `linear-gaussian`:

    sqrt(y) = gain sqrt(m) + W inputs + residual,    residual ~ N(0, Sigma)

with m the transformer's rates when all responses are hidden. A new mask costs one
conditional mean; the transformer runs once for each window, choice of frames and of
behaviour. The part is fitted to one session and is saved with the weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.evaluation import stored_fits
from omnimouse_model.families.omnimouse.checkpoint import OmniMouseCheckpoint, read_checkpoint
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from omnimouse_model.families.parts.linear_gaussian.fit import (
    InputSet,
    LinearGaussianFit,
    TrainSeries,
    fit,
    fit_seconds,
    lowest_responses,
    sets_of_inputs,
    to_fitted,
    train_series,
    train_windows,
)
from omnimouse_model.families.parts.linear_gaussian.posterior import Prior
from omnimouse_model.families.parts.linear_gaussian.predictor import (
    LinearGaussian,
    MeanOf,
    Reader,
    Seen,
)
from omnimouse_model.masks import Mask
from omnimouse_model.predict.checkpoint_file import weights_hash
from omnimouse_model.predict.devices import MemoryCache, Residence, resolve_device
from omnimouse_model.predict.predictor import (
    Encoded,
    Needs,
    OptionalMethod,
    Prediction,
    Subset,
    predict_subsets_of,
)
from omnimouse_model.progress import QUIET, Cancelled, Job, advance, name_steps, never, part_of

MAX_CACHED_BYTES = 64 * 2**20
"""Limit of the cached rates of the transformer, one array per window and inputs."""
GAIN = "gain"


def inputs_name(inputs: InputSet) -> str:
    """Return the name of visible inputs, such as "none" or "video_behavior"."""
    return "_".join(["video"] * inputs.video + ["behavior"] * inputs.behavior) or "none"


def context_tensors(
    session_id: str, inputs: str, fitted: LinearGaussianFit, gain: np.ndarray
) -> dict[str, Tensor]:
    """Return the fit for one set of inputs as the tensors of a checkpoint."""
    arrays = fitted.arrays() | {GAIN: gain}
    # Half precision for the large arrays: relative errors of .0005 do not matter.
    return {
        f"{session_id}.{inputs}.{name}": torch.from_numpy(np.asarray(value)).to(
            torch.float16 if value.ndim == 2 and value.size > 1000 else torch.float32
        )
        for name, value in arrays.items()
    }


def read_context(
    context: Mapping[str, Tensor], n_neurons: Mapping[str, int], times_s: np.ndarray, source: str
) -> dict[str, dict[str, tuple[LinearGaussianFit, Prior, np.ndarray]]]:
    """Return session id -> inputs -> (fit, its prior, gain), from the tensors of a checkpoint.

    Parameters
    ----------
    context
        Tensors, see `context_tensors`.
    n_neurons
        session id -> number of neurons of the model.
    times_s
        Times of the samples of a window.
    source
        Name of the checkpoint, for messages.

    Raises
    ------
    CheckpointError
        An array is missing, or is not for the neurons of its session.
    """
    arrays: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for key, tensor in context.items():
        session_id, _, rest = key.partition(".")
        inputs, _, name = rest.partition(".")
        arrays.setdefault((session_id, inputs), {})[name] = tensor.float().numpy()
    fits: dict[str, dict[str, tuple[LinearGaussianFit, Prior, np.ndarray]]] = {}
    for (session_id, inputs), values in arrays.items():
        try:
            fitted, gain = LinearGaussianFit.from_arrays(values), values[GAIN]
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"{source}: the context part {session_id}.{inputs} cannot be read "
                f"({error}). Copy the file again."
            ) from None
        shapes = (gain.shape, fitted.floor.shape, fitted.weights.shape[1:])
        n, n_columns = n_neurons.get(session_id, 0), len(fitted.factors.loadings)
        if shapes != ((n,), (n,), (n_columns,)) or n_columns < n:
            raise CheckpointError(
                f"{source}: the context part {session_id}.{inputs} has arrays of the "
                f"shapes {shapes}; the model has {n} neurons of this session."
            )
        prior = Prior.of(fitted.factors, times_s)
        fits.setdefault(session_id, {})[inputs] = fitted, prior, gain
    return fits


def mean_mask(needs: Needs, session: Session, frames: np.ndarray, *, behavior: bool) -> Mask:
    """Return the mask of the mean: all responses are targets, none is visible.

    Behaviour is visible to a transformer only if the session has its channels.
    """
    behavior = behavior and len(session.behavior_names) == needs.behavior_channels
    mask = Mask.nothing(session, needs.spec).ask(slice(None), slice(None)).with_frames(frames)
    # Without latents of a population, as in the training tasks that show no responses.
    return mask.with_behavior(behavior).with_attachment(context_span=(0, 0))


def filled(responses: np.ndarray) -> np.ndarray:
    """Repeat the first prediction in the samples before it, which no query reads."""
    first = int(np.flatnonzero(np.isfinite(responses[:, 0]))[0])
    return responses[np.maximum(np.arange(len(responses)), first)]


class OmniMouseWithContext(LinearGaussian):
    """An OmniMouse transformer, and the context part of some of its sessions.

    Parameters
    ----------
    transformer
        Gives the mean, and all predictions for sessions without a context part.
    context
        Tensors of the part, see `context_tensors`.
    weights_hash
        Identifies the weights of both.
    """

    def __init__(
        self, transformer: TransformerPredictor, context: Mapping[str, Tensor], weights_hash: str
    ) -> None:
        super().__init__(transformer.needs.spec)
        self.transformer, self.context = transformer, context
        self.name, self._hash = transformer.name, weights_hash
        n_neurons, times_s = transformer.needs.n_neurons, self._spec.sample_times_s
        self._parts = read_context(context, n_neurons, times_s, self.name)
        # Where a part answers, all subsets come from one set of sums, as in the baseline.
        own: frozenset[OptionalMethod] = frozenset({"predict_subsets"} if self._parts else ())
        needs = transformer.needs
        # The weights are the same after a change of what is computed from them.
        fits = stored_fits.LINEAR_GAUSSIAN if self._parts else 0
        self._needs = replace(needs, methods=needs.methods | own, fits=fits)
        self._rates = MemoryCache[np.ndarray](MAX_CACHED_BYTES, lambda rates: rates.nbytes)

    @property
    def predictor_id(self) -> str:
        """Name and weights hash."""
        return f"{self.name}@{self._hash}"

    @property
    def needs(self) -> Needs:
        """Needs of the transformer, with what a context part adds for its session."""
        return self._needs

    @property
    def members(self) -> tuple[TransformerPredictor]:
        """The transformer without the context part."""
        return (self.transformer,)

    @property
    def residence(self) -> Residence:
        """Hardware and size of the transformer."""
        return self.transformer.residence

    def has_context(self, session: Session) -> bool:
        """Whether the model has a context part for a session."""
        return session.id in self._parts

    def prepare(self, session: Session) -> None:
        """Check that the checkpoint knows the session with all its neurons."""
        self.transformer.prepare(session)

    def embeddings(self, session: Session, cancelled: Cancelled = never) -> np.ndarray:
        """Return the learned vectors of a session's neurons, float32 (P, d)."""
        return self.transformer.embeddings(session, cancelled)

    def checkpoint(self) -> OmniMouseCheckpoint:
        """Return the weights of the transformer with the context part."""
        return replace(self.transformer.checkpoint(), context=self.context)

    def fit_all(self, session: Session, cancelled: Cancelled = never) -> None:
        """Return at once: the context part was fitted when it was trained."""

    def prefetch(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> None:
        """Run the transformer for a window before a mask for it is requested."""
        if not self.has_context(window.session):
            self.transformer.prefetch(window, mask, cancelled)
        elif mask.frames.any() and window.has_video:
            self._mean_rates(window, mask.frames, cancelled, behavior=mask.has_visible_behavior)

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Predict the whole window in fitted units."""
        self.prepare(window.session)
        if not self.has_context(window.session):
            return self.transformer.encode(window, mask, cancelled)
        return super().encode(window, mask, cancelled)

    def predict_subsets(
        self, windows: Sequence[Window], subsets: Sequence[Subset], cancelled: Cancelled = never
    ) -> list[list[np.ndarray]]:
        """Return the predictions of `predicted_subsets`."""
        session = windows[0].session
        self.prepare(session)
        if not self.has_context(session):
            return predict_subsets_of(self, windows, subsets, cancelled)
        return super().predict_subsets(windows, subsets, cancelled)

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        """Return the target cells of `neurons`, by default of all with targets."""
        if not self.has_context(encoded.window.session):
            return self.transformer.decode(encoded, neurons, cancelled)
        prediction = super().decode(encoded, neurons, cancelled)
        return replace(prediction, status=self.transformer.status)

    def _mean(
        self, fitted: LinearGaussianFit, window: Window, seen: Seen, cancelled: Cancelled
    ) -> MeanOf:
        of_inputs = super()._mean(fitted, window, seen, cancelled)
        gain = self._parts[window.session.id][inputs_name(seen.inputs)][2]
        if not gain.any():
            return of_inputs
        rates = self._mean_rates(window, seen.frames, cancelled, behavior=seen.inputs.behavior)

        def mean(columns: np.ndarray) -> np.ndarray:
            found, is_neuron = of_inputs(columns), columns < len(fitted.floor)
            neurons = columns[is_neuron]
            floor = fitted.floor[neurons]
            fitted_rates = to_fitted(rates[:, neurons], floor, is_count=self._is_count)
            found[:, is_neuron] += gain[neurons] * fitted_rates
            return found

        return mean

    def _mean_rates(
        self, window: Window, frames: np.ndarray, cancelled: Cancelled, *, behavior: bool
    ) -> np.ndarray:
        """Return the transformer's rates without responses, float32 (n_samples, P)."""
        key = (window.key, frames.tobytes(), behavior)
        mask = mean_mask(self.needs, window.session, frames, behavior=behavior)

        def compute() -> np.ndarray:
            return filled(self.transformer.predict(window, mask, cancelled=cancelled).responses)

        with self._lock:
            return self._rates.get(key, compute)

    def _fit_of(
        self, session: Session, inputs: InputSet, cancelled: Cancelled, read: Reader | None = None
    ) -> tuple[LinearGaussianFit, Prior]:
        parts = self._parts[session.id]
        name = inputs_name(inputs)
        if name not in parts:
            raise UnsupportedRequestError(
                f"The context part of {self.name!r} for session {session.id!r} was "
                f"fitted for visible {', '.join(parts)}, not for {name}: hide what "
                "the recording lacked then, or use the model without the part."
            )
        fitted, prior, _ = parts[name]
        return fitted, prior

    def __reduce__(self) -> tuple[Any, ...]:
        # Locks and caches stay in this process.
        return OmniMouseWithContext, (self.transformer, self.context, self._hash)


# -- Fit of the context part of OmniMouse to the train tier of a session -------------
STEP = "fitting the context part"
VIDEO_PENALTY = 100.0
"""Ridge penalty of the motion energy: it predicts what the transformer leaves."""


def context_seconds(session: Session, spec: WindowSpec, window_s: float) -> tuple[float, ...]:
    """Return about how long reading takes in `fit_context`, and each set of inputs after it.

    Parameters
    ----------
    window_s
        Seconds that the transformer takes for a window.
    """
    read_s, fit_s = fit_seconds(session, spec, video=True)
    rates_s = len(train_windows(session, spec)) * window_s
    sets = sets_of_inputs(session, spec)
    return read_s, *(fit_s + rates_s * inputs.video for inputs in sets)


def fit_context(
    transformer: TransformerPredictor, session: Session, job: Job = QUIET, window_s: float = 0.1
) -> dict[str, Tensor]:
    """Fit the context part of a model to a session that it knows.

    Parameters
    ----------
    transformer
        The model without a context part.
    session
        Its train tier is read.
    job
        Progress and stop request; see `progress.Job`.
    window_s
        About how many seconds the transformer takes for a window, for the progress.

    Returns
    -------
    The tensors of a checkpoint, see `context_tensors`.

    Raises
    ------
    StoppedError
        `job.cancelled()` returned True.
    """
    spec = transformer.needs.spec
    named = name_steps(job, STEP)
    read_s, *sets_s = context_seconds(session, spec, window_s)
    ends = np.cumsum([read_s, *sets_s]) / (read_s + sum(sets_s))
    series = train_series(session, spec, job=part_of(named, 0.0, ends[0]))
    tensors: dict[str, Tensor] = {}
    for number, inputs in enumerate(sets_of_inputs(session, spec)):
        begin, end = ends[number : number + 2]
        part = series.only(inputs)
        # Without video, the transformer's mean adds nothing to the linear one.
        rates, middle = None, begin
        if inputs.video:
            # What the transformer takes of this set, in the shares of the whole fit.
            middle = end - (ends[1] - ends[0])
            rates = _mean_rates(
                transformer, session, inputs.behavior, part_of(named, begin, middle)
            )
        fitted, gain = fit_part(part, rates, spec.response_rate_hz, part_of(named, middle, end))
        tensors |= context_tensors(session.id, inputs_name(inputs), fitted, gain)
    job.progress(1.0, 1.0, STEP)
    return tensors


def fit_part(
    series: TrainSeries, rates: np.ndarray | None, rate_hz: float, job: Job = QUIET
) -> tuple[LinearGaussianFit, np.ndarray]:
    """Fit gain, mean and covariance for one set of inputs.

    Parameters
    ----------
    series
        Train tier, with these inputs.
    rates
        Rates (N, P) of the transformer; None for a mean from the inputs alone.
    rate_hz
        Response samples per second.
    job
        Asked often whether to stop.
    """
    gain = np.zeros(series.responses.shape[1], np.float32)
    if rates is None:
        return fit(series, rate_hz, is_count=False, job=job), gain
    floor = lowest_responses(series.responses, is_count=False)
    known = to_fitted(rates, floor, is_count=False)
    centred = known - known.mean(axis=0)
    values = to_fitted(series.responses, floor, is_count=False)
    # Missing responses add nothing to the products.
    recorded = np.isfinite(values)
    centred, values = (np.where(recorded, part, 0) for part in (centred, values))
    covariance = np.einsum("tp,tp->p", centred, values) / len(values)
    gain = np.maximum(covariance / np.maximum(centred.var(axis=0), 1e-6), 0)
    gain = gain.astype(np.float32)
    fitted = fit(
        series,
        rate_hz,
        is_count=False,
        fixed_mean=gain * known,
        video_penalty=VIDEO_PENALTY,
        job=job,
    )
    return fitted, gain


def _mean_rates(
    transformer: TransformerPredictor, session: Session, behavior: bool, job: Job
) -> np.ndarray:
    """Return the transformer's rates for the samples of the series, float32 (N, P)."""
    spec = transformer.needs.spec
    frames = np.ones(spec.n_frames, bool)
    mask = mean_mask(transformer.needs, session, frames, behavior=behavior)
    windows = train_windows(session, spec)
    requests = ((session.window(w.start_s, spec), mask, None) for w in windows)
    parts = []
    for window, prediction in zip(windows, transformer.predict_many(requests), strict=True):
        parts.append(filled(prediction.responses)[window.samples])
        advance(job, len(parts), len(windows), STEP)
    return np.concatenate(parts)


# -- predictors from checkpoints, with a context part or without ------------------------
def load_checkpoint_predictor(
    path: str | Path, device: str = "auto", *, name: str | None = None, with_context: bool = True
) -> TransformerPredictor | OmniMouseWithContext:
    """Load a predictor from a checkpoint of this project or an official one.

    Its context part, if it has one, is left out with `with_context=False`.
    """
    checkpoint = read_checkpoint(path)
    if not checkpoint.sessions:
        raise CheckpointError(f"{checkpoint.source} knows no session.")
    # Frozen: gradients of the weights would keep the activations of every request.
    net = checkpoint.build().requires_grad_(False)
    net.to(resolve_device(device))
    name, digest = name or Path(path).stem, weights_hash(checkpoint.state)
    predictor = TransformerPredictor(net, name, digest, can_move=True, assumed=checkpoint.assumed)
    if not (with_context and checkpoint.context):
        return predictor
    hash_of_both = weights_hash({**checkpoint.state, **checkpoint.context})
    return OmniMouseWithContext(predictor, checkpoint.context, hash_of_both)
