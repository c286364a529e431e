"""Lists of edits, and counterfactual predictions for an edited stimulus or behaviour.

The edited and the unedited prediction use the same mask, and the result is their
difference. The responses to an edited stimulus were not recorded, so there is no
score. Visible responses remain those recorded under the original stimulus.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from reprlib import repr as shortened
from typing import Any

import numpy as np

from omnimouse_model.analysis.stimulus_edits import (
    BehaviorScale,
    BehaviorSet,
    BehaviorShift,
    Blank,
    Contrast,
    Freeze,
    Mirror,
    OtherClip,
    Picture,
    Shift,
    Span,
    check_positions,
)
from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import BehaviorEdit, Edit, VideoEdit, WindowSpec
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.metrics.correlation import nanmean
from omnimouse_model.predict.predictor import (
    Needs,
    Prediction,
    Predictor,
    prediction_of,
    take_neurons,
)
from omnimouse_model.progress import stop_if

# -- lists of edits: their order, description and JSON form, and edited windows -------
KINDS: dict[str, type[Any]] = {
    "other_clip": OtherClip,
    "picture": Picture,
    "freeze": Freeze,
    "blank": Blank,
    "mirror": Mirror,
    "contrast": Contrast,
    "shift": Shift,
    "behavior_set": BehaviorSet,
    "behavior_scale": BehaviorScale,
    "behavior_shift": BehaviorShift,
}
"""Edit class of each JSON name, in the order in which `sort_edits` applies them."""


def kind_of(edit: Edit) -> str:
    """Return the name of the kind of an edit in JSON, such as "contrast"."""
    return next(name for name, kind in KINDS.items() if type(edit) is kind)


def sort_edits(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """Return edits in the order in which they are applied: that of `KINDS`."""
    # In this order, no edit undoes another.
    order = list(KINDS)
    return tuple(sorted(edits, key=lambda edit: order.index(kind_of(edit))))


def describe_edits(edits: Iterable[Edit], spec: WindowSpec) -> str:
    """Return a description, such as `mirrored, contrast × 0.5`, or "nothing"."""
    return ", ".join(_describe_edit(edit, spec) for edit in edits) or "nothing"


def _describe_edit(edit: Any, spec: WindowSpec) -> str:
    if type(edit) not in KINDS.values():
        return str(edit)  # an edit of another package
    text, count = str(edit.describe(spec)), _n_positions(edit, spec)
    if edit.span in (None, (0, count)) or not count:
        return text
    start_s, stop_s = (position * spec.duration_s / count for position in edit.span)
    return f"{text} ({start_s:.2g}-{stop_s:.2g} s)"


# -- windows and specs ----------------------------------------------------------------
def apply_edits(window: Window, edits: Iterable[Edit]) -> Window:
    """Return a window with edited video and behaviour and the recorded responses.

    New edits are applied after the existing edits of the window. The session does not
    change. The key of the new window differs, so caches do not confuse the two.

    Raises
    ------
    ValueError
        The session has no video, or lacks a behaviour channel, or an edit has a frame
        or a sample that the window does not have, or a time outside the session.
    """
    edits, session = tuple(edits), window.session
    for edit in edits:
        if isinstance(edit, VideoEdit) and session.stimulus is None:
            raise ValueError(f"Recording '{session.id}' has no video to edit.")
        channel = getattr(edit, "channel", None)
        if channel is not None and channel not in session.behavior_names:
            raise ValueError(
                f"Recording '{session.id}' has no {channel!r}; it has "
                f"{', '.join(session.behavior_names) or 'no behaviour'}."
            )
        check_positions(edit, _n_positions(edit, window.spec))
        if isinstance(edit, OtherClip):
            session.window(edit.start_s, window.spec)
    return window.with_edits((*window.edits, *edits))


def edits_for(edits: Iterable[Edit], old: WindowSpec, new: WindowSpec) -> tuple[Edit, ...]:
    """Map edits made for windows of one spec to windows of another.

    Spans and frozen frames keep their share of the window, as in `Mask.stretched`;
    delays and clips keep their time, and shifts of the picture their share of the
    frame. A span of the whole window becomes None.

    Examples
    --------
    >>> from omnimouse_model.analysis.counterfactual import edits_for
    >>> from omnimouse_model.analysis.stimulus_edits import Blank
    >>> spec = om.WindowSpec(3.0, 30.0, video=om.OMNIMOUSE.video)
    >>> edits_for([Blank((30, 60))], om.OMNIMOUSE, spec)
    (Blank(span=(45, 90)),)
    """
    return tuple(_map_edit(edit, old, new) for edit in edits)


def _map_edit(edit: Any, old: WindowSpec, new: WindowSpec) -> Edit:
    before, after = _n_positions(edit, old), _n_positions(edit, new)
    mapped: Edit = edit
    # An edit of a stream that the new model does not read is not changed, so that it is
    # correct again when the user returns to the first model.
    if not before or not after:
        return mapped
    changes: dict[str, object] = {}
    if edit.span == (0, before):
        changes["span"] = None
    elif edit.span is not None:
        start, stop = (round(position * after / before) for position in edit.span)
        start = min(start, after - 1)
        changes["span"] = (start, max(stop, start + 1))
    if isinstance(edit, Freeze):
        changes["at"] = edit.at * after // before
    if isinstance(edit, Shift | BehaviorShift):
        seconds = edit.later * old.duration_s / before
        changes["later"] = round(seconds * after / new.duration_s)
    if isinstance(edit, Picture) and old.video is not None and new.video is not None:
        edit = edit.at_rate(old.video.rate_hz, new.video.rate_hz)
    if isinstance(edit, Shift) and old.video is not None and new.video is not None:
        changes["right"] = round(edit.right * new.video.width / old.video.width)
        changes["down"] = round(edit.down * new.video.height / old.video.height)
    mapped = replace(edit, **changes)
    return mapped


def _n_positions(edit: Edit, spec: WindowSpec) -> int:
    """Return the number of frames, or of behaviour samples, of a window of a spec."""
    return spec.n_frames if isinstance(edit, VideoEdit) else spec.n_behavior


# -- JSON -----------------------------------------------------------------------------
def edits_to_json(edits: Iterable[Edit]) -> list[dict[str, Any]]:
    """Return edits as JSON values."""
    # Every edit is a dataclass, which its protocol cannot state.
    stored = [(kind_of(edit), asdict(edit)) for edit in edits]  # type: ignore[call-overload]
    return [
        {"edit": kind, **{k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}}
        for kind, values in stored
    ]


def edits_from_json(stored: Sequence[Mapping[str, Any]]) -> tuple[Edit, ...]:
    """Return edits from their JSON values.

    Raises
    ------
    ValueError
        An edit or a field is unknown, or a value is invalid.
    """
    return tuple(_edit_from(row) for row in stored)


def _edit_from(row: Mapping[str, Any]) -> Edit:
    name = row.get("edit")
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"No edit is called {name!r}; there are {', '.join(KINDS)}.")
    types = {field.name: field.type for field in fields(KINDS[name])}
    values = {key: value for key, value in row.items() if key != "edit"}
    if unknown := sorted(set(values) - set(types)):
        raise ValueError(f"The edit {name!r} has no {', '.join(unknown)}.")
    try:
        edit: Edit = KINDS[name](
            **{key: _typed(types[key], value) for key, value in values.items()}
        )
    # `float` of a very large JSON integer raises `OverflowError`.
    except (TypeError, OverflowError) as error:
        raise ValueError(f"The edit {name!r} cannot be read: {error}.") from error
    return edit


def _typed(expected: object, value: Any) -> Any:
    """Return a stored value with the type of its field, or raise `TypeError`."""
    if expected == Span | None:
        if value is None:
            return None
        start, stop = value
        return _typed(int, start), _typed(int, stop)
    is_valid = (
        # `type(...) is int` and not `isinstance`: True and False are ints in Python.
        (type(value) is int or (expected is float and type(value) is float))
        if expected in (int, float)
        else isinstance(value, str)
    )
    if not is_valid:
        raise TypeError(f"{shortened(value)} has the wrong type")
    return float(value) if expected is float else value


# -- counterfactual predictions for an edited stimulus or edited behaviour ------------
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

    Examples
    --------
    >>> from omnimouse_model.analysis.stimulus_edits import Mirror
    >>> predictor = om.load_predictor("video-ridge", [session])
    >>> mask = om.Mask.from_strategy("video_behavior", session)
    >>> found = om.what_if(predictor, session.window(20.0), mask, [Mirror()])
    >>> found.description, found.difference.shape, found.most_changed(3).shape
    ('mirrored', (60, 40), (3,))

    Parameters
    ----------
    neurons
        Neurons to predict; by default all with target cells.
    unedited
        Known prediction without edits, computed here if absent.
    cancelled
        Polled between steps; `StoppedError` is raised once it returns true.
    """
    # Edits are checked before any prediction, which may take long.
    changed = apply_edits(window, edits)
    if neurons is None:
        neurons = np.flatnonzero(scored_cells(mask).any(axis=0))

    def predict(of: Window) -> Prediction:
        stop_if(cancelled)
        return prediction_of(predictor, of, mask, neurons, cancelled)

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
