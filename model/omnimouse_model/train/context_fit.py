"""Fit of the context part of OmniMouse to the train tier of a session."""

import numpy as np
from torch import Tensor

from omnimouse_model.data.session import Session
from omnimouse_model.predict.linear_gaussian.fit import (
    LinearGaussianFit,
    fit,
    lowest_responses,
    to_fitted,
)
from omnimouse_model.predict.linear_gaussian.series import (
    TrainSeries,
    reads_behavior,
    reads_video,
    train_series,
    train_windows,
)
from omnimouse_model.predict.omnimouse.context_part import (
    context_tensors,
    filled,
    inputs_name,
    mean_mask,
)
from omnimouse_model.predict.omnimouse.predictor import TransformerPredictor
from omnimouse_model.progress import QUIET, CallbackJob, Job, advance, part_of

STEP = "fitting the context part"
VIDEO_PENALTY = 100.0
"""Ridge penalty of the motion energy: it predicts what the transformer leaves."""


def fit_context(
    transformer: TransformerPredictor,
    session: Session,
    job: Job = QUIET,
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

    Returns
    -------
    The tensors of a checkpoint, see `context_tensors`.

    Raises
    ------
    StoppedError
        `job.cancelled()` returned True.
    """
    spec = transformer.needs.spec
    quiet = CallbackJob(cancelled=job.cancelled)
    series = train_series(session, spec, job=quiet)
    has_behavior = (False, True)[: 1 + reads_behavior(session, spec)]
    tensors: dict[str, Tensor] = {}
    sets = [
        (video, behavior)
        for video in (False, True)[: 1 + reads_video(session, spec)]
        for behavior in has_behavior
    ]
    for number, (video, behavior) in enumerate(sets):
        share = part_of(job, number / len(sets), (number + 1) / len(sets))
        part = series.only(video=video, behavior=behavior)
        # Without video, the transformer's mean adds nothing to the linear one.
        rates = None
        if video:
            rates = _mean_rates(transformer, session, behavior, share)
        fitted, gain = fit_part(part, rates, spec.response_rate_hz, quiet)
        inputs = inputs_name(video=video, behavior=behavior)
        tensors |= context_tensors(session.id, inputs, fitted, gain)
    job.progress(1.0, 1.0, STEP)
    return tensors


def fit_part(
    series: TrainSeries,
    rates: np.ndarray | None,
    rate_hz: float,
    job: Job = QUIET,
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
    transformer: TransformerPredictor,
    session: Session,
    behavior: bool,
    job: Job,
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
