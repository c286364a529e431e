"""Requests to the engine, and the windows that a user is likely to ask for next."""

from dataclasses import dataclass

from omnimouse_model.data.edit_protocol import Edit
from omnimouse_model.data.session import Session, Window
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Prediction, Predictor


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """Snapshot of the state that a prediction depends on.

    Attributes
    ----------
    predictor
        Name for `load`, or a predictor.
    sweep
        Whether curves of the context are requested too.
    sweeps_window
        Whether they include a live sweep of the selected neurons in the window: until
        there are curves over a tier.
    step_s
        How far the user steps, signed, in the direction of the latest step.
    edits
        What-if edits, which are predicted too.
    unedited
        Known prediction without the edits; if set, only the what-if is computed.
    maps_to_predictor_spec
        Whether a predictor of another spec predicts the same time span. If false, only
        its needs are returned, so that the window can be changed to its spec.
    metric
        Name of the metric of the scores.
    scores_tier
        Whether the task is scored over a tier while no request arrives; with `sweep`,
        context curves over the tier are computed, too.
    peri_event
        Whether the trials of a tier are predicted for the selected neurons, while no
        request arrives.
    trial_tier
        Tier of these trials; "" is that of the scores.
    """

    session: Session
    window: Window
    mask: Mask
    selection: tuple[int, ...]
    predictor: str | Predictor
    device: str = "auto"
    sweep: bool = False
    sweeps_window: bool = True
    step_s: float | None = None
    edits: tuple[Edit, ...] = ()
    unedited: Prediction | None = None
    maps_to_predictor_spec: bool = False
    metric: str = "correlation"
    scores_tier: bool = True
    peri_event: bool = False
    trial_tier: str = ""

    @property
    def has_sweep(self) -> bool:
        """Whether a live sweep is requested and at least one neuron is selected."""
        return self.sweep and self.sweeps_window and bool(self.selection)


def neighbours(window: Window, step_s: float | None) -> tuple[Window, ...]:
    """Return the next and the previous window; only those inside the recording."""
    if step_s is None:
        step_s = window.spec.duration_s
    windows = (
        window.session.nearest_window(window.start_s + sign * step_s, window.spec, direction=sign)
        for sign in (1, -1)
    )
    return tuple(near for near in windows if near.key != window.key)


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Request to load a predictor before a session is open.

    Starting a worker process takes seconds.
    """

    predictor: str
    device: str = "auto"
