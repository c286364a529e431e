"""Live state of the app: the only mutable object, with one signal per field.

`state.events.mask.connect(redraw)` connects a listener. Values are immutable and are
replaced as a whole. The parts of the controller write them; views write only how they show
something: rows and images of the raster, scales of the traces, the radius of the brush.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from psygnal import SignalGroupDescriptor

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import Edit, WindowSpec, default_spec
from omnimouse_model.live.pin import Pin, SpanChoice
from omnimouse_model.masks import VISIBLE, Mask
from omnimouse_model.masks.selection import NeuronGroup
from omnimouse_model.metrics.named import METRICS, Metric

NOTHING_OPEN = "No recording is open; open one first."
MAX_SELECTED = 64
ALL_PLANES = -1
ColourBy = Literal[
    "state", "score", "baseline", "difference", "area", "plane", "depth", "x", "y", "mean",
    "variability", "ceiling", "oracle", "field_reliability", "field_row", "field_column",
    "osi", "dsi", "lab", "source", "informant", "id",
]  # fmt: skip
"""Quantity that colours the neurons; see `neurons.quantities`."""
Compared = Literal["model", "baseline", "A", "B", "C", "D"]
"""Predictor whose scores are compared with those of another; a letter is that of a pin."""
COMPARED: Final[tuple[Compared, Compared]] = ("model", "baseline")
"""Predictors that are compared unless others are chosen."""
RasterOrder = Literal["stored", "state", "score", "similarity", "area", "depth", "x", "y"]
"""Order of the raster's rows, from top to bottom."""
RasterView = Literal["truth", "prediction", "residual", "pair", "beside"]
"""Images of the raster: one image, recorded and predicted, or all three."""
Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(eq=False)
class LiveState:
    """Session, window, cursor, mask, selection, predictor, brush and view options.

    Attributes
    ----------
    cursor
        A sample in the window, from 0.
    selection
        Selected neuron indices in the order of selection, at most 64.
    predictor_name
        Name or path for `load_predictor`, or the name of a predictor object.
    baseline_name
        Name or path of the baseline predictor, "" for none.
    device
        Device of predictors chosen by name; "auto" takes the fastest one available.
    preset
        Name of the mask's preset, "" for a mask painted by hand.
    active_span
        Samples (start, stop) that a stroke on the field paints.
    brush_code
        0 hidden, 1 visible, 2 target.
    compared
        Two predictors whose scores are compared: "model", "baseline", or the letter of a pin.
    areas_shown
        Whether brain areas are outlined on the field.
    plane_shown
        Number of the imaging plane shown, `ALL_PLANES` for all.
    in_space
        Whether the neurons are shown in 3-D at their positions in the cortex.
    sweep_shown
        Whether a viewer shows the live sweep; it is computed only then.
    peri_event_shown
        Whether a viewer shows averages around the onsets of trials.
    event_condition
        Trial column whose labels these averages compare, "" for the first one.
    trial_tier
        Tier of the averaged trials, "" for that of the scores.
    scores_tier
        Whether the task is scored over a tier while nothing else is requested.
    pins
        Pinned conditions, at most four, sorted by slot.
    groups
        Named groups of neurons of the open session.
    trace_span
        Span of the session that the traces show.
    common_scale, as_large
        Whether the traces share one scale; whether predictions are scaled to the
        amplitude of the recording.
    brush_radius
        Radius of the field's brush in screen pixels, 0 if not set.
    edits
        What-if edits of video and behaviour.
    first_ranks
        Neuron -> "best", "median" or "worst", if stored scores chose the first neurons;
        empty from the first other mask or predictor on.
    raster_order, raster_view
        Order of the raster's rows, and the images that it shows.
    """

    # Identity, not equality: comparing two masks or arrays on every stroke costs more
    # than the stroke.
    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor(
        equality_operators={
            "session": operator.is_,
            "window": operator.is_,
            "mask": operator.is_,
            "pins": operator.is_,
        }
    )

    # The defaults are those of a new window without a recording.
    session: Session | None = None
    window: Window | None = None
    cursor: int = 0
    mask: Mask | None = None
    # A tuple, because psygnal compares values: a changed list would emit nothing.
    selection: tuple[int, ...] = field(default_factory=tuple)
    predictor_name: str = ""
    baseline_name: str = ""
    device: Device = "auto"
    preset: str = ""
    active_span: tuple[int, int] = (0, default_spec().n_samples)
    brush_code: int = VISIBLE
    colour_by: ColourBy = "state"
    compared: tuple[Compared, Compared] = COMPARED
    areas_shown: bool = False
    plane_shown: int = ALL_PLANES
    in_space: bool = False
    sweep_shown: bool = False
    peri_event_shown: bool = False
    event_condition: str = ""
    trial_tier: str = ""
    scores_tier: bool = True
    pins: tuple[Pin, ...] = ()
    groups: tuple[NeuronGroup, ...] = ()
    trace_span: SpanChoice = "10 s"
    common_scale: bool = False
    as_large: bool = True
    brush_radius: float = 0.0
    edits: tuple[Edit, ...] = ()
    first_ranks: Mapping[int, str] = field(default_factory=dict)
    raster_order: RasterOrder = "state"
    raster_view: RasterView = "truth"

    @property
    def open_session(self) -> Session:
        """The open session; `ValueError` if there is none."""
        if self.session is None:
            raise ValueError(NOTHING_OPEN)
        return self.session

    @property
    def open_mask(self) -> Mask:
        """The mask of the open session; `ValueError` if there is none."""
        if self.mask is None:
            raise ValueError(NOTHING_OPEN)
        return self.mask

    @property
    def compared_baseline(self) -> str:
        """The baseline's name; "" where it is the model itself."""
        return "" if self.baseline_name == self.predictor_name else self.baseline_name

    @property
    def spec(self) -> WindowSpec:
        """Spec of the window on screen; the default one while no window is open."""
        return default_spec() if self.window is None else self.window.spec

    @property
    def metric(self) -> Metric:
        """Metric of all scores on screen, those of pins and of the baseline too."""
        return METRICS[self.spec.metric]
