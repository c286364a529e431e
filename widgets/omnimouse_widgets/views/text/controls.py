"""Texts of controls that are laid out by hand: main panel, brush and field.

Both front ends show them. A control is its label and help, an option of a choice its
value, label and help. The texts of a page go to it as a trait; no script has any.
"""

import traceback
from typing import Any, Final

from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import HIDDEN, STATE_NAMES, TARGET, VISIBLE
from omnimouse_widgets.views.field.text import ORDER
from omnimouse_widgets.views.record import NO_SESSION
from omnimouse_widgets.views.text.model import HAS_NO_VIDEO, HAS_NONE, MODES, NO_BEHAVIOR, NO_VIDEO
from omnimouse_widgets.views.text.recording import NOTES_TIP

MODEL: Final = "Model", "The model whose predictions are shown"
PRESET: Final = "Preset", "A prepared task; painting changes it to a task made by hand"
REGION: Final = "Region", "The region that is predicted"
STOP: Final = "Stop", "Stop the prediction of the model and of the baseline"
REPEAT: Final = "Predict again", "Request the same prediction again"
WAIT: Final = "Wait", "Go on waiting; the result is shown when it arrives"
RESTART: Final = (
    "Restart",
    "End the process of the model and start it again; the prediction is repeated",
)
FILE_MASK: Final = (
    "Use the file's mask",
    "Show the mask under which the predictions of this file were made",
)
CONNECT: Final = "Connect to {}", "Connect to the server that the file of the model names"
REFINE: Final = (
    ("Go on", "Continue to refine the score over further windows"),
    ("Pause", "Stop refining the score over further windows"),
)
"""The button beside the score while it stands, and while it is refined."""
BEHAVIOR: Final = tuple((mode, mode, text) for mode, text in MODES.items())
CODES: Final = (
    (VISIBLE, "visible", "Paint: visible to the model (1)"),
    (HIDDEN, "hidden", "Paint: withheld, not predicted (2)"),
    (TARGET, "target", "Paint: withheld, predicted, scored (3)"),
)
TOOLS: Final[tuple[tuple[str, str, str], ...]] = (
    ("brush", "Brush", "Drag on the field to paint neurons (P)"),
    ("lasso", "Lasso", "Draw around neurons to paint them (L)"),
    ("rectangle", "Box", "Draw a rectangle around neurons to paint them (R)"),
    ("select", "Select", "Click neurons to select them; drag to pan"),
)
COLOUR_BY: Final = "Colour by", "Quantity that colours the neurons (C: state)"
AREAS: Final = "Outline areas", "Show the outline and the name of each area"
PLANES: Final = "Show all {}s, or only one; painting then changes only the neurons shown"
UNDO: Final = "Undo", "Ctrl+Z"
REDO: Final = "Redo", "Ctrl+Shift+Z"


def video_options(half: str) -> tuple[tuple[str, str, str], ...]:
    """Return the parts of the video that a model may see; `half` says how long a half is."""
    return (
        ("all", "all", "The model sees every frame"),
        ("none", "none", "The model sees no frame"),
        ("first", "start", f"The model sees the first {half}"),
        ("last", "end", f"The model sees the last {half}"),
    )


def refusals(state: LiveState) -> tuple[str, str]:
    """Return why nothing can be chosen of video and of behaviour; "" where it can."""
    session, spec = state.session, state.spec
    no_video = "" if spec.video is not None else NO_VIDEO
    no_behavior = "" if spec.behavior is not None else NO_BEHAVIOR
    # The recording first: a window of one without video has none for any model.
    return (
        no_video if session is not None and session.stimulus is not None else HAS_NO_VIDEO,
        no_behavior if session is not None and session.behavior_names else HAS_NONE,
    )


PAGE: Final[dict[str, Any]] = {
    "ended": "The kernel of this view has ended: run its cells again.",
    "waiting": "Waiting for the kernel…",
    "no_session": NO_SESSION,
    "sample": "sample {}",
    "table_keys": "↑ ↓ select · Shift extends · Ctrl moves only · Space adds or removes",
    "trace_keys": "← → move the cursor (Shift: the window) · ↑ ↓ scroll the rows",
    "raster_keys": "Arrows move a cell, Shift by 5, Space paints it, Enter selects its neurons, "
    "brackets change the brush, 1 visible, 2 hidden, 3 target, comma and period move the cursor. "
    "Ctrl+wheel zooms the rows, the right button pans them.",
    "rows": "{} rows",
    "saved": "Saved {} in the downloads of the browser",
}
"""Texts of every part of a page."""
BAR: Final = {
    "model": MODEL,
    "preset": PRESET,
    "region": REGION,
    "video": ["Video", video_options("")],
    "behavior": ["Behaviour", BEHAVIOR],
    "stop": STOP,
    "repeat": REPEAT,
    "connect": CONNECT,
    "wait": WAIT,
    "restart": RESTART,
    "refine": [
        (f"{word} scores", tip)
        for word, (_, tip) in zip(("Continue", "Pause"), REFINE, strict=True)
    ],
    "file_mask": FILE_MASK,
    "progress": "Progress",
    "score": "Score: {}",
    "notes": NOTES_TIP,
}
PAINTER: Final = {
    "tools": ["Tool", TOOLS],
    "codes": ["Paint", CODES],
    "bar": "Painting",
    "samples": "samples",
    "span": ["First sample that a stroke sets", "Sample after the last one that a stroke sets"],
    "painted": "samples {}",
    "colour_by": COLOUR_BY,
    "area": ["area…", "Paint a brain area"],
    "probe": ["probe…", "Paint the units of a probe"],
    "plane": ["Imaging planes", PLANES.format("plane")],
    "outlined": AREAS,
    "undo": [*UNDO, "Nothing to undo"],
    "redo": [*REDO, "Nothing to redo"],
    "fit": ["Fit", "Show the whole field (Home)"],
    "states": STATE_NAMES,
    "order": ORDER,
    "selected": "selected",
    "field": "Imaged field. Arrow keys move the brush, space paints, brackets change its size, "
    "1, 2 and 3 choose what is painted, P L R S the tool, Control Z undoes.",
    "keys": "Drag paints · Ctrl-click selects · Ctrl-wheel zooms · middle-drag pans",
}


# -- text about an error that no view expects: a message, and details for a report ----
COPY: Final = "Copy details"
COPY_TIP: Final = "Copy the error and its traceback, for a report"
COPIED: Final = "copied"


def error_text(error: BaseException) -> str:
    """Return the message of an error, for the view that has it."""
    return f"Error in this view: {type(error).__name__}: {error}\nThe rest of OmniMouse goes on."


def error_details(error: BaseException) -> str:
    """Return an error with its traceback."""
    return "".join(traceback.format_exception(error))
