"""What the predictor would say, had the stimulus or the behaviour been another.

Both answers are predictions under one mask; only their difference is told. Nobody
recorded what the mouse would have done, so nothing here is scored. Visible responses
stay as recorded, under the stimulus that was shown.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from omnimouse_model.analysis.in_silico.stimulus_edits import edit_words, edited
from omnimouse_model.data.edit_protocol import BehaviorEdit, Edit, VideoEdit
from omnimouse_model.data.window import Window
from omnimouse_model.masks import Mask, asked_cells
from omnimouse_model.predict.capabilities import decode_in_parts, part_of, stop_if
from omnimouse_model.predict.predictor import Needs, Prediction, Predictor

NO_TRUTH = "no truth: not scored"


@dataclass(frozen=True, slots=True, eq=False)
class WhatIf:
    """An edited prediction beside the unedited one, of the same neurons.

    Attributes
    ----------
    window
        The edited one.
    before, after
        Predictions without the edits and with them.
    """

    window: Window
    before: Prediction
    after: Prediction

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What was changed."""
        return self.window.edits

    @property
    def words(self) -> str:
        """What was changed, such as `mirrored, contrast × 0.5`."""
        return edit_words(self.edits)

    @property
    def neurons(self) -> np.ndarray:
        """int64 (n,): the session's neuron indices of the columns."""
        return self.after.neurons

    @property
    def difference(self) -> np.ndarray:
        """float32 (60, n): edited less unedited, NaN where nothing was asked."""
        return np.asarray(self.after.responses - self.before.responses)

    @property
    def change(self) -> np.ndarray:
        """float32 (n,): root mean square of the difference over the asked samples."""
        return _over_samples(self.difference**2) ** 0.5

    @property
    def mean_change(self) -> np.ndarray:
        """float32 (n,): mean of the difference over the asked samples."""
        return _over_samples(self.difference)

    @property
    def behavior_difference(self) -> np.ndarray | None:
        """float32 (40, C) of decoded behaviour, z-scored; None where not asked."""
        if self.before.behavior is None or self.after.behavior is None:
            return None
        return np.asarray(self.after.behavior - self.before.behavior)

    @property
    def scores(self) -> np.ndarray:
        """NaN for every neuron: there is no truth to score."""
        return np.full(len(self.neurons), np.nan, np.float32)

    @property
    def not_scored(self) -> str:
        """Why there are no scores."""
        return NO_TRUTH

    def most_changed(self, count: int) -> np.ndarray:
        """Index the neurons whose prediction changes most, int64, the first most.

        Those that do not change are left out.
        """
        change = np.nan_to_num(self.change)
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
    outdated: Callable[[], bool] = lambda: False,
) -> WhatIf:
    """Predict under edits, beside the prediction without them.

    Parameters
    ----------
    neurons
        All that the mask asks for by default.
    unedited
        The answer without edits, of these neurons, where it is known.
    outdated
        Asked between steps; once it is true, `StoppedError` is raised.

    Examples
    --------
    >>> from omnimouse_model.analysis.in_silico.stimulus_edits import Mirror
    >>> predictor = om.load_predictor("video-ridge", [session])
    >>> mask = om.mask_from_strategy("video_behavior", session)
    >>> found = om.what_if(predictor, session.window(20.0), mask, [Mirror()])
    >>> found.words, found.difference.shape, found.most_changed(3).shape
    ('mirrored', (60, 40), (3,))
    """
    changed = edited(window, edits)
    if neurons is None:
        neurons = np.flatnonzero(asked_cells(mask).any(axis=0))

    def answer(of: Window) -> Prediction:
        stop_if(outdated)
        return decode_in_parts(predictor, predictor.encode(of, mask), neurons, outdated)

    before = None if unedited is None else part_of(unedited, neurons)
    return WhatIf(changed, before or answer(window), answer(changed))


def edit_remarks(
    edits: Iterable[Edit], mask: Mask, needs: Needs | None = None
) -> tuple[str, ...]:
    """What the user should know of edits under a mask: what is not seen, what stays."""
    edits, remarks = tuple(edits), []
    video = [edit for edit in edits if isinstance(edit, VideoEdit)]
    behavior = [edit for edit in edits if isinstance(edit, BehaviorEdit)]
    withholds = needs is None or needs.withholds_video
    if video and needs is not None and not needs.sees_video:
        remarks.append("This predictor does not see video: that edit changes nothing.")
    elif video and withholds and not _is_seen(video, mask):
        remarks.append("The edited frames are hidden: that edit changes nothing.")
    if behavior and needs is not None and not needs.sees_behavior:
        remarks.append(
            "This predictor does not see behaviour: that edit changes nothing."
        )
    elif behavior and mask.behavior != "visible":
        remarks.append("Behaviour is not given: that edit changes nothing.")
    if edits and mask.visible.any() and (needs is None or needs.sees_responses):
        remarks.append("Visible responses stay as recorded, under the true stimulus.")
    return tuple(remarks)


def _is_seen(edits: Iterable[Edit], mask: Mask) -> bool:
    spans = (getattr(edit, "span", (0, len(mask.frames))) for edit in edits)
    return any(mask.frames[slice(*span)].any() for span in spans)


def _over_samples(values: np.ndarray) -> np.ndarray:
    """Mean over time of what is known, NaN for columns without any."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean = total / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan).astype(np.float32)
