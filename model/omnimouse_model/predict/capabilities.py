"""Optional abilities of predictors, and parts of predictions.

`Needs.methods` announces streaming, gradients and embeddings, because a predictor in
another process has all of these methods and can serve only those of its model.
"""

from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.data.clip import Clip
from omnimouse_model.data.session import Session, Window
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Prediction
from omnimouse_model.progress import Cancelled, never


@runtime_checkable
class Loadable(Protocol):
    """A predictor whose first call loads it, which takes seconds."""

    def load_model(self, session: Session | None, cancelled: Cancelled = never) -> None:
        """Load it now, and prepare a session if there is one; see `Predictor`."""
        ...


@runtime_checkable
class Prefetcher(Protocol):
    """A predictor that can prepare a window before it is requested."""

    def prefetch(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> None:
        """Cache what every request for this window and these frames will read."""
        ...


@runtime_checkable
class Closable(Protocol):
    """A predictor that holds a process or memory."""

    def close(self) -> None:
        """End the process and release the memory."""
        ...


# -- announced in `Needs.methods` -----------------------------------------------------


@runtime_checkable
class Streaming(Protocol):
    """A predictor with a recurrent state, which can also compute step by step.

    The same frames from the same start give the same numbers in one call and in steps
    (1e-5). After a jump in time the caller starts a new state and runs the warm-up.
    """

    def start(self, session: Session, cancelled: Cancelled = never) -> Any:
        """Return the state before the first frame."""
        ...

    def step(
        self, state: Any, inputs: Window, cancelled: Cancelled = never
    ) -> tuple[Prediction, Any]:
        """Return the prediction for the next frames, and the state after them."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A predictor that can differentiate its predictions by the stimulus."""

    def stimulus_gradient(
        self,
        clip: Clip,
        neurons: np.ndarray,
        objective: np.ndarray,
        cancelled: Cancelled = never,
    ) -> tuple[float, np.ndarray]:
        """Return the value of an objective, and its gradient by gray level.

        Parameters
        ----------
        clip
            The frames at which to differentiate, at the size of the predictor's spec.
        neurons
            int64 (n,): the neurons of the objective.
        objective
            Weights (n_samples, n) of the predicted responses, whose weighted sum is
            the value. The gradient of any other function of the responses is the one
            whose weights are the derivatives of that function (chain rule), so that
            arrays are enough to send one to a worker.

        Returns
        -------
        The value, and float32 (n_frames, height, width).
        """
        ...


@runtime_checkable
class Embedding(Protocol):
    """A predictor that has one learned vector per neuron."""

    def embeddings(self, session: Session, cancelled: Cancelled = never) -> np.ndarray:
        """Return the vectors of a session's neurons, float32 (P, d)."""
        ...


@runtime_checkable
class Located(Protocol):
    """A predictor in which each neuron reads one place of the stimulus."""

    def stimulus_positions(self, session: Session) -> np.ndarray:
        """Return row and column of the places, float32 (P, 2), as shares of a frame."""
        ...


# -- parts of predictions -------------------------------------------------------------


def take_neurons(prediction: Prediction, neurons: np.ndarray) -> Prediction | None:
    """Return the columns of some neurons; None unless all of them were predicted."""
    # A dict, because the neurons may be in any order.
    column_of = {int(neuron): k for k, neuron in enumerate(prediction.neurons)}
    if not all(int(neuron) in column_of for neuron in neurons):
        return None
    columns = np.array([column_of[int(neuron)] for neuron in neurons], np.int64)
    return replace(
        prediction,
        responses=prediction.responses[:, columns],
        neurons=np.asarray(neurons, np.int64),
        scale=None if prediction.scale is None else prediction.scale[columns],
        band=None if prediction.band is None else prediction.band[:, :, columns],
    )
