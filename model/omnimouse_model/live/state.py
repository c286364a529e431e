"""The one mutable thing: what the user looks at and asks. A signal per field.

`state.events.mask.connect(redraw)`; values themselves are immutable and replaced.
Views read it; only the `Controller` writes it.
"""

import operator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from psygnal import SignalGroupDescriptor

from omnimouse_model.data.edit_protocol import Edit
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.live.pin import Pin
from omnimouse_model.live.spans import SpanChoice
from omnimouse_model.masks import VISIBLE, Mask

MAX_SELECTED = 64
ALL_PLANES = -1
ColourBy = Literal[
    "state", "score", "area", "plane", "depth", "x", "y", "mean", "variability",
    "ceiling", "oracle", "field_reliability", "field_row", "field_column", "osi", "dsi",
    "id",
]  # fmt: skip
"""What neurons are coloured by: see `colouring.QUANTITIES`."""
RasterOrder = Literal[
    "stored", "state", "score", "similarity", "area", "depth", "x", "y"
]
"""How the raster's rows are ordered, from top to bottom."""
RasterView = Literal["truth", "prediction", "residual", "pair", "beside"]
"""What the raster shows: one picture, recorded and predicted, or all three."""
Device = Literal["auto", "cpu", "cuda"]


@dataclass(eq=False)
class LiveState:
    """Session, window, cursor, mask, selection, predictor and brush.

    Attributes
    ----------
    cursor
        A sample in the window, from 0.
    selection
        Neuron indices in the order they were chosen, at most 64.
    predictor_name
        What `load_predictor` was given, or the id of a predictor handed in.
    baseline_name
        Whose answers are shown beside the predictor's, "" for nobody's.
    device
        Where a predictor chosen by name computes; "auto" takes the fastest there is.
    preset
        The preset the mask came from, "" once it was changed by hand.
    active_span
        Samples (start, stop) that a stroke on the field sets.
    brush_code
        0 hidden, 1 visible, 2 target.
    areas_shown
        Whether brain areas are outlined on the field.
    plane_shown
        The one imaging plane that is looked at, `ALL_PLANES` for all.
    in_space
        Whether the neurons are shown at their places in the cortex.
    sweep_shown
        Whether somebody looks at the live sweep; it is computed only then.
    pins
        Conditions that are kept for comparison, at most four, by slot.
    trace_span
        How much of the session the traces show.
    common_scale, as_large
        Whether the traces share one scale, and predictions are drawn as large as the
        recording.
    brush_radius
        Of the field's brush in screen pixels, 0 where there is none.
    edits
        What is changed of video and behaviour, to see what that would do.
    raster_order, raster_view
        The order of the raster's rows, and what it shows of them.
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

    session: Session | None = None
    window: Window | None = None
    cursor: int = 0
    mask: Mask | None = None
    selection: tuple[int, ...] = field(default_factory=tuple)
    predictor_name: str = ""
    baseline_name: str = ""
    device: Device = "auto"
    preset: str = ""
    active_span: tuple[int, int] = (0, OMNIMOUSE.n_samples)
    brush_code: int = VISIBLE
    colour_by: ColourBy = "state"
    areas_shown: bool = False
    plane_shown: int = ALL_PLANES
    in_space: bool = False
    sweep_shown: bool = False
    pins: tuple[Pin, ...] = ()
    trace_span: SpanChoice = "window"
    common_scale: bool = False
    as_large: bool = False
    brush_radius: float = 0.0
    edits: tuple[Edit, ...] = ()
    raster_order: RasterOrder = "state"
    raster_view: RasterView = "truth"

    @property
    def spec(self) -> WindowSpec:
        """Spec of the window on screen; OmniMouse's while no window is open."""
        return OMNIMOUSE if self.window is None else self.window.spec
