"""Responses of a model to the trials of a stimulus; tuning and receptive fields."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

from omnimouse_model.data.clip import Clip
from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.lab.events import responses_by_value
from omnimouse_model.lab.stimuli import StimulusTrials
from omnimouse_model.masks import Mask
from omnimouse_model.metrics.spatial import dot_average, dot_masks
from omnimouse_model.metrics.tuning import selectivity_index
from omnimouse_model.predict.predictor import Predictor, Request

SCORED_S = 1.0
"""Last part of a trial whose mean response counts."""


def trial_responses(
    predictor: Predictor,
    session: Session,
    trials: StimulusTrials,
    neurons: Int64[np.ndarray, " n"] | None = None,
    *,
    scored_s: float = SCORED_S,
    progress: Callable[[int, int], None] = lambda done, of: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Float32[np.ndarray, "trial n"]:
    """Return the mean response of each neuron in the last part of each trial.

    Responses are hidden, and behaviour is that of an average moment. Memory does not
    grow with the number of trials.

    Parameters
    ----------
    neurons
        All by default.
    scored_s
        Length of the end that counts.
    progress
        Called with the finished and the total number of trials.

    Raises
    ------
    UnsupportedRequestError
        The model sees no video.
    ValueError
        `scored_s` is longer than the windows of the model.
    StoppedError
        `cancelled()` returned True.
    """
    spec = predictor.needs.spec
    if not predictor.needs.sees_video or spec.video is None:
        raise UnsupportedRequestError(
            f"{predictor.predictor_id!r} sees no video: choose a model that does."
        )
    n_scored = round(scored_s * spec.response_rate_hz)
    if not 0 < n_scored <= spec.n_samples:
        raise ValueError(
            f"scored_s is {scored_s:g}; expected more than 0 and at most "
            f"{spec.duration_s:g} s, the windows of the model."
        )
    chosen = np.arange(session.n_neurons) if neurons is None else np.asarray(neurons)
    end = slice(spec.n_samples - n_scored, None)
    mask = Mask.nothing(session, spec).ask(chosen, end)
    mask = mask.with_frames(True).with_behavior("hidden")

    def requests() -> Iterator[Request]:
        for trial in range(len(trials)):
            clip = Clip(
                session=session,
                frames=trials.frames_of(trial),
                rate_hz=trials.rate_hz,
            )
            yield clip.at(spec), mask, chosen

    predictor.prepare(session)
    responses = np.zeros((len(trials), len(chosen)), np.float32)
    done = 0
    for prediction in predictor.predict_many(requests(), cancelled):
        responses[done] = np.nanmean(prediction.responses[end], axis=0)
        done += 1
        progress(done, len(trials))
    if done < len(trials):
        raise StoppedError(f"Stopped after {done} of {len(trials)} trials.")
    return responses


@dataclass(frozen=True, slots=True, eq=False)
class ModelDirections:
    """Direction tuning of neurons in a model.

    Attributes
    ----------
    directions_deg
        0 to the right, 90 up.
    response
        Mean over the trials of a direction.
    osi, dsi
        Global indices: length of the vector sum over the sum of responses.
    preferred_deg, orientation_deg
        Angle of the vector sum of directions; axis of the motion, 0 to 180, by the
        vector sum of orientations.
    """

    directions_deg: Float[np.ndarray, " direction"]
    response: Float[np.ndarray, "neuron direction"]
    osi: Float[np.ndarray, " neuron"]
    dsi: Float[np.ndarray, " neuron"]
    preferred_deg: Float[np.ndarray, " neuron"]
    orientation_deg: Float[np.ndarray, " neuron"]


def directions_of(
    responses: Float[np.ndarray, "trial neuron"],
    directions_deg: Float[np.ndarray, " trial"],
) -> ModelDirections:
    """Return the tuning to the directions of trials."""
    grouped = responses_by_value(responses, directions_deg)
    theta, mean = np.radians(grouped.values), np.maximum(grouped.response, 0)
    sums = [mean @ np.exp(1j * harmonic * theta) for harmonic in (1, 2)]
    return ModelDirections(
        grouped.values,
        mean,
        selectivity_index(mean, theta, 2).value,
        selectivity_index(mean, theta, 1).value,
        np.degrees(np.angle(sums[0])) % 360,
        np.degrees(np.angle(sums[1])) / 2 % 180,
    )


def field_centers(
    responses: Float[np.ndarray, "trial neuron"],
    trials: StimulusTrials,
    size: tuple[int, int],
    sd_px: float,
) -> Float[np.ndarray, "neuron 2"]:
    """Return row and column (pixels) of receptive fields from flashed dots.

    It is the peak of the average of the dots, weighted by what each neuron responds
    beyond its weakest response.
    """
    height, width = size
    rows, columns = trials.table["row_px"], trials.table["column_px"]
    scale = max(height, width)
    masks = dot_masks(
        np.stack([columns - 0.5, rows - 0.5], 1) / scale, sd_px / scale, height, width
    )
    beyond = (responses - responses.min(axis=0)).T
    average = dot_average(masks, np.arange(len(masks)), beyond, "density")
    peak = average.reshape(len(average), -1).argmax(axis=1)
    return np.stack(np.divmod(peak, width), 1) + 0.5
