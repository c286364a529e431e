"""Plan of a sweep: its contexts and the curves through them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from omnimouse_model.analysis.sweep.contexts import Context
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.masks.selection import NeuronGroup
from omnimouse_model.metrics import named_metric

ContextAxis = Literal["neurons", "history_samples"]
AXES: tuple[ContextAxis, ...] = ("neurons", "history_samples")


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """Contexts, draws and windows of a sweep.

    Without `grid`, there is one curve per axis with the other axis at 0; with `grid`,
    all combinations. Either is repeated for each choice of video and behaviour.

    Attributes
    ----------
    metric
        Name of the metric of the scores.
    centred
        Whether correlations are about the means of the train tier, as in every score;
        False for pooled ones, as in publications and in sweeps of older versions.
    targets
        Area or group whose neurons are predicted; None for a held-out part that each
        seed draws.
    pool
        Area or group whose neurons may be shown, in the target samples (but the
        targets) and as history; None for all neurons.
    rate_hz
        Response samples per second: the unit of `history_samples`.

    Raises
    ------
    ValueError
        There is no context, a value is invalid for a context, or the metric is unknown.
    """

    neurons: tuple[int, ...] = ()
    history_samples: tuple[int, ...] = ()
    video: tuple[bool, ...] = (True,)
    behavior: tuple[bool, ...] = (True,)
    seeds: tuple[int, ...] = (0,)
    tier: str = "test"
    max_windows: int | None = None
    grid: bool = False
    metric: str = "correlation"
    rate_hz: float = OMNIMOUSE.response_rate_hz
    centred: bool = True
    targets: str | NeuronGroup | None = None
    pool: str | NeuronGroup | None = None

    def __post_init__(self) -> None:
        kinds = {"video": bool, "behavior": bool}
        for name in ("neurons", "history_samples", "video", "behavior", "seeds"):
            # Plain Python values without repeats, because plans are compared after a
            # round trip through JSON, and NumPy integers are not JSON.
            plain = map(kinds.get(name, int), getattr(self, name))
            object.__setattr__(self, name, tuple(dict.fromkeys(plain)))
        if not (self.neurons or self.history_samples):
            raise ValueError(
                "A sweep needs neurons or history_samples; for the score without "
                "either give neurons=[0]."
            )
        for name in ("video", "behavior", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"A sweep needs at least one value of {name}.")
        named_metric(self.metric)
        _ = self.contexts  # creating a context checks its values

    @property
    def targets_name(self) -> str:
        """Targets in words: an area, the name of a group, "held-out neurons"."""
        return _name_of(self.targets) or "held-out neurons"

    @property
    def pool_name(self) -> str:
        """Neurons that may be shown, in words; "all others" by default."""
        return _name_of(self.pool) or "all others"

    @property
    def asked(self) -> str:
        """What the sweep asks, such as "V1 from LM": targets and pool."""
        return f"{self.targets_name} from {self.pool_name}"

    @property
    def contexts(self) -> tuple[Context, ...]:
        """All contexts without repeats, grouped by visible inputs."""
        return tuple(
            dict.fromkeys(
                context
                for behavior in self.behavior
                for video in self.video
                for curve in self._lines(video, behavior)
                for context in curve.contexts
            )
        )

    def lines(self) -> Iterator["Line"]:
        """Yield the curves: those over neurons first, then those over history."""
        lines = [
            line
            for behavior in self.behavior
            for video in self.video
            for line in self._lines(video, behavior)
        ]
        yield from sorted(lines, key=lambda line: AXES.index(line.axis))

    def _lines(self, video: bool, behavior: bool) -> Iterator["Line"]:
        for fixed in self.history_samples if self.grid else (0,):
            if self.neurons:
                yield Line("neurons", self.neurons, fixed, video, behavior)
        for fixed in self.neurons if self.grid else (0,):
            if self.history_samples:
                values = self.history_samples
                yield Line("history_samples", values, fixed, video, behavior)


def _name_of(neurons: str | NeuronGroup | None) -> str:
    return neurons.name if isinstance(neurons, NeuronGroup) else neurons or ""


@dataclass(frozen=True, slots=True)
class Line:
    """One planned curve: its axis and the fixed inputs.

    `fixed` is the value of the other axis.
    """

    axis: ContextAxis
    values: tuple[int, ...]
    fixed: int
    video: bool
    behavior: bool

    @property
    def contexts(self) -> tuple[Context, ...]:
        """Contexts of the curve, in the order of `values`."""
        # (neurons, history): the fixed value takes the place of the other axis.
        pairs = [(value, self.fixed) for value in self.values]
        if self.axis == "history_samples":
            pairs = [(other, value) for value, other in pairs]
        return tuple(Context(n, h, self.video, self.behavior) for n, h in pairs)
