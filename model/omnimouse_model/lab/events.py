"""Responses to the events of a stimulus, such as the directions of a grating."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from omnimouse_model.metrics.tuning import event_means


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Events of a stimulus: the video, the time and the value of each.

    Attributes
    ----------
    video
        Number of the video of each event.
    onset, offset
        Seconds from the start of the video.
    value
        What was shown, such as a direction in degrees.
    """

    video: Int64[np.ndarray, " event"]
    onset: Float[np.ndarray, " event"]
    offset: Float[np.ndarray, " event"]
    value: Float[np.ndarray, " event"]


def event_responses(
    responses: Float[np.ndarray, "video frame unit"],
    events: Events,
    period_s: float,
    *,
    lag_s: float = 0.0,
    burn_in: int = 0,
) -> Float[np.ndarray, "event unit"]:
    """Return the mean response to each event; NaN for an event without samples.

    Parameters
    ----------
    responses
        Frame i is at i · `period_s`.
    lag_s
        Delay of the responses. Samples from onset to offset plus the lag count, both
        ends included.
    burn_in
        First frames of a video that do not count.
    """
    times = np.arange(responses.shape[1]) * period_s
    means = np.full((len(events.video), responses.shape[2]), np.nan)
    for number, video in enumerate(events.video):
        begin, end = (x[number] + lag_s for x in (events.onset, events.offset))
        counts = (times >= begin) & (times <= end)
        counts[:burn_in] = False
        if counts.any():
            means[number] = responses[video, counts].mean(axis=0, dtype=np.float64)
    return means


@dataclass(frozen=True, slots=True, eq=False)
class ValueResponses:
    """Mean response to each value of a stimulus, such as each direction.

    Attributes
    ----------
    values
        The different values, sorted.
    response
        Mean over the events of a value, NaN without one.
    count
        Number of events with a response.
    """

    values: Float[np.ndarray, " value"]
    response: Float[np.ndarray, "unit value"]
    count: Int64[np.ndarray, "unit value"]


def responses_by_value(
    responses: Float[np.ndarray, "event unit"],
    values: Float[np.ndarray, " event"],
    digits: int = 6,
) -> ValueResponses:
    """Average the responses to events of equal value, and count these events.

    Values are equal if they agree after rounding to `digits` decimals.
    """
    rounded = np.round(values, digits)
    found, mean = event_means(responses.T, rounded)
    is_of_value = rounded[:, None] == found
    count = np.isfinite(responses).T.astype(np.int64) @ is_of_value.astype(np.int64)
    return ValueResponses(found, mean, count)
