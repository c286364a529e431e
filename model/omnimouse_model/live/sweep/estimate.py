"""Estimate of a sweep before it starts: number of predictions and duration."""

from dataclasses import dataclass

from omnimouse_model.analysis.evaluate.shard import n_centring
from omnimouse_model.analysis.evaluate.tier_windows import scored_starts
from omnimouse_model.analysis.sweep.contexts import SweepPlan
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec


@dataclass(frozen=True, slots=True)
class SweepEstimate:
    """Size and duration of a sweep plan in a session.

    Attributes
    ----------
    n_points, n_windows
        Points of the curves, and windows per point.
    n_train
        Windows of the train tier that each point predicts for its means, too.
    each_s
        Estimated seconds per prediction, None if no prediction was timed.
    is_of_sweep
        Whether `each_s` was measured in a sweep; else it is the shortest time of a
        population prediction on screen.
    """

    n_points: int
    n_windows: int
    n_train: int = 0
    each_s: float | None = None
    is_of_sweep: bool = False

    @property
    def n_predictions(self) -> int:
        """Number of predictions: one per point and window, also those of the train tier."""
        return self.n_points * (self.n_windows + self.n_train)

    @property
    def text(self) -> str:
        """Text such as "24 points × (2 + 16 train) windows = 432 predictions · …"."""
        train = f"({self.n_windows:,} + {self.n_train} train)" if self.n_train else ""
        size = (
            f"{self.n_points:,} points × {train or f'{self.n_windows:,}'} windows = "
            f"{self.n_predictions:,} predictions"
        )
        if self.each_s is None:
            return f"{size} · time unknown before the first prediction of all targets"
        time = duration_text(self.each_s * self.n_predictions)
        if self.is_of_sweep:
            return f"{size} · about {time}, estimated from the last sweep"
        return f"{size} · roughly {time}, estimated from the fastest prediction"


def estimate_of(
    plan: SweepPlan,
    session: Session,
    each_s: float | None,
    *,
    is_of_sweep: bool,
    spec: WindowSpec = OMNIMOUSE,
) -> SweepEstimate:
    """Return the estimate of a plan; raise `ValueError` if its tier has no window."""
    # The windows that the sweep will use, without reading any of them.
    n_windows = len(scored_starts(session, plan.tier, plan.max_windows, spec))
    n_points = len(plan.contexts) * len(plan.seeds)
    n_train = n_centring(session, spec, plan.metric, is_centred=plan.centred)
    return SweepEstimate(n_points, n_windows, n_train, each_s, is_of_sweep)


def duration_text(seconds: float) -> str:
    """Return a duration as text, such as `40 s`, `3 min` or `2.5 h`."""
    if seconds < 90:
        return f"{max(seconds, 1):z.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:z.0f} min"
    return f"{seconds / 3600:z.1f} h"
