"""Counterfactual predictions for an edited stimulus or edited behaviour.

The edited and the unedited prediction use the same mask, and the result is their
difference. The responses to an edited stimulus were not recorded, so there is no
score. Visible responses remain those recorded under the original stimulus.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from omnimouse_model.analysis.in_silico.edit_lists import apply_edits, describe_edits
from omnimouse_model.data.edit_protocol import BehaviorEdit, Edit, VideoEdit
from omnimouse_model.data.session import Window
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.metrics.correlation import nanmean
from omnimouse_model.predict.capabilities import take_neurons
from omnimouse_model.predict.predictor import Needs, Prediction, Predictor
from omnimouse_model.progress import stop_if

NO_TRUTH = "no recorded responses: not scored"


@dataclass(frozen=True, slots=True, eq=False)
class WhatIf:
    """Predictions with and without edits for the same neurons.

    Attributes
    ----------
    window
        The edited window.
    before, after
        Predictions without the edits and with them.
    """

    window: Window
    before: Prediction
    after: Prediction

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Edits of the window."""
        return self.window.edits

    @property
    def description(self) -> str:
        """Description of the edits, such as `mirrored, contrast × 0.5`."""
        return describe_edits(self.edits, self.window.spec)

    @property
    def neurons(self) -> np.ndarray:
        """int64 (n,): session neuron index of each column."""
        return self.after.neurons

    @property
    def difference(self) -> np.ndarray:
        """float32 (n_samples, n): edited minus unedited, NaN if not predicted."""
        return np.asarray(self.after.responses - self.before.responses)

    @property
    def change(self) -> np.ndarray:
        """float32 (n,): root mean square difference over the predicted samples."""
        return nanmean(self.difference**2, 0).astype(np.float32) ** 0.5

    @property
    def mean_change(self) -> np.ndarray:
        """float32 (n,): mean difference over the predicted samples."""
        return nanmean(self.difference, 0).astype(np.float32)

    @property
    def scores(self) -> np.ndarray:
        """NaN for every neuron: there is no recording to score against."""
        return np.full(len(self.neurons), np.nan, np.float32)

    def most_changed(self, count: int) -> np.ndarray:
        """Return the neurons with the largest change, int64, in descending order.

        Neurons without a change are left out.
        """
        change = np.nan_to_num(self.change)
        # A stable sort keeps equal neurons in a fixed order.
        order = np.argsort(-change, kind="stable")[:count]
        return np.asarray(self.neurons[order[change[order] > 0]])


def what_if(
    predictor: Predictor,
    window: Window,
    mask: Mask,
    edits: Iterable[Edit],
    neurons: np.ndarray | None = None,
    *,
    unedited: Prediction | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> WhatIf:
    """Predict a window with edits and without them.

    Parameters
    ----------
    neurons
        Neurons to predict; by default all with target cells.
    unedited
        Known prediction without edits, computed here if absent.
    cancelled
        Polled between steps; `StoppedError` is raised once it returns true.

    Examples
    --------
    >>> from omnimouse_model.analysis.in_silico.stimulus_edits import Mirror
    >>> predictor = om.load_predictor("video-ridge", [session])
    >>> mask = om.Mask.from_strategy("video_behavior", session)
    >>> found = om.what_if(predictor, session.window(20.0), mask, [Mirror()])
    >>> found.description, found.difference.shape, found.most_changed(3).shape
    ('mirrored', (60, 40), (3,))
    """
    # Edits are checked before any prediction, which may take long.
    changed = apply_edits(window, edits)
    if neurons is None:
        neurons = np.flatnonzero(scored_cells(mask).any(axis=0))

    def predict(of: Window) -> Prediction:
        stop_if(cancelled)
        return predictor.predict(of, mask, neurons, cancelled)

    # `take_neurons` returns None unless all neurons are in the known prediction.
    before = None if unedited is None else take_neurons(unedited, neurons)
    return WhatIf(changed, before or predict(window), predict(changed))


def edit_remarks(edits: Iterable[Edit], mask: Mask, needs: Needs | None = None) -> tuple[str, ...]:
    """Return remarks on edits without effect under a mask and on unchanged inputs."""
    edits, remarks = tuple(edits), []
    video = [edit for edit in edits if isinstance(edit, VideoEdit)]
    behavior = [edit for edit in edits if isinstance(edit, BehaviorEdit)]
    # Some checkpoints encode the whole video, so that edits of hidden frames still
    # have an effect.
    withholds = needs is None or needs.withholds_video
    if video and needs is not None and not needs.sees_video:
        remarks.append("This predictor does not see video: that edit changes nothing.")
    elif video and withholds and not _is_visible(video, mask):
        remarks.append("The edited frames are hidden: that edit changes nothing.")
    if behavior and needs is not None and not needs.sees_behavior:
        remarks.append("This predictor does not see behaviour: that edit changes nothing.")
    elif behavior and not mask.has_visible_behavior:
        remarks.append("Behaviour is not visible: that edit changes nothing.")
    # The responses to the edited stimulus are unknown, so visible ones contradict it.
    if edits and mask.visible.any() and (needs is None or needs.sees_responses):
        remarks.append("Visible responses stay as recorded, under the true stimulus.")
    return tuple(remarks)


def _is_visible(edits: Iterable[Edit], mask: Mask) -> bool:
    """Return whether a frame that an edit changes is visible."""
    spans = (getattr(edit, "span", None) or (0, len(mask.frames)) for edit in edits)
    return any(mask.frames[slice(*span)].any() for span in spans)
