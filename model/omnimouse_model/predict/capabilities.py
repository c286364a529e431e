"""Predictions in parts: stop early, decode a few neurons at a time, join, cut out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.errors import StoppedError
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Encoded, Prediction, Predictor

NEURONS_PER_PART = 1024
Outdated = Callable[[], bool]


@runtime_checkable
class Interruptible(Protocol):
    """A predictor that can end a computation early."""

    def stop_when(self, outdated: Outdated) -> None:
        """Poll this between steps, and raise `StoppedError` when it is true."""
        ...


@runtime_checkable
class Foresighted(Protocol):
    """A predictor that can get ready for a window before it is asked about."""

    def look_ahead(self, window: Window, mask: Mask) -> None:
        """Keep what any question about this window and these frames will need."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """A predictor with a recurrent state, which can also compute step by step.

    The same frames from the same start give the same numbers in one call and in steps
    (1e-5). After a jump in time the caller starts a new state and runs the warm-up.
    """

    def start(self, session: Session) -> Any:
        """Return the state before the first frame."""
        ...

    def step(self, state: Any, inputs: Window) -> tuple[Prediction, Any]:
        """Return the prediction for the next frames, and the state after them."""
        ...


@runtime_checkable
class Closable(Protocol):
    """A predictor that holds a process or memory."""

    def close(self) -> None:
        """Let everything go."""
        ...


def stop_if(outdated: Outdated) -> None:
    """Raise `StoppedError` when it is time to stop."""
    if outdated():
        raise StoppedError


def decode_in_parts(
    predictor: Predictor,
    encoded: Encoded,
    neurons: np.ndarray,
    outdated: Outdated,
) -> Prediction:
    """Decode all at once where the predictor can stop by itself, else part by part."""
    if isinstance(predictor, Interruptible) or len(neurons) <= NEURONS_PER_PART:
        return predictor.decode(encoded, neurons)
    parts = []
    for start in range(0, len(neurons), NEURONS_PER_PART):
        stop_if(outdated)
        part = neurons[start : start + NEURONS_PER_PART]
        parts.append(predictor.decode(encoded, part))
    return joined(parts)


def joined(parts: Sequence[Prediction]) -> Prediction:
    """Join predictions of different neurons under one mask."""
    if len(parts) == 1:
        return parts[0]
    scales = [part.scale for part in parts if part.scale is not None]
    return replace(
        parts[0],
        responses=np.concatenate([part.responses for part in parts], axis=1),
        neurons=np.concatenate([part.neurons for part in parts]),
        scale=np.concatenate(scales) if len(scales) == len(parts) else None,
    )


def part_of(prediction: Prediction, neurons: np.ndarray) -> Prediction | None:
    """Take some neurons' columns, None unless all of them are there."""
    column_of = {int(neuron): k for k, neuron in enumerate(prediction.neurons)}
    if not all(int(neuron) in column_of for neuron in neurons):
        return None
    columns = np.array([column_of[int(neuron)] for neuron in neurons], np.int64)
    return replace(
        prediction,
        responses=prediction.responses[:, columns],
        neurons=np.asarray(neurons, np.int64),
        scale=None if prediction.scale is None else prediction.scale[columns],
    )
