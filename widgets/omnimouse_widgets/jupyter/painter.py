"""The imaged field, painted with the mouse, the finger or the keyboard."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from traitlets import CaselessStrEnum, Dict, Float, Int, List, Tuple, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import (
    HIDDEN,
    MIXED,
    N_SAMPLES,
    TARGET,
    VISIBLE,
)
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.field import neuron_colours
from omnimouse_widgets.drawn.field.colours import core_and_rim, mean_levels
from omnimouse_widgets.drawn.field.hover_text import describe
from omnimouse_widgets.drawn.field.layout import (
    Field,
    neurons_at,
    next_at,
    session_field,
)
from omnimouse_widgets.drawn.field.mask_counts import ORDER, counted
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawn, Part

TOOLS: Final = ("brush", "lasso", "rectangle", "select")
MIXED_ASKED: Final = MIXED + 1
"""Display code of a mixed neuron of which something is asked."""
LARGEST: Final = 200.0


class MaskPainter(Part):
    """Neurons in their places, coloured by the mask or by any number of theirs.

    A stroke sets the samples of the active span of every neuron it touches to the
    brush's code. It is seen at once, and told to the kernel thirty times a second.

    Attributes
    ----------
    tool
        "brush", "lasso", "rectangle" or "select".
    code
        What is painted: 0 hidden, 1 visible, 2 target.
    span
        The samples (start, stop) a stroke sets, kept for each code.
    radius
        Of the brush, in pixels of the screen.
    colour_by
        "state", "score", "area", …: see `controller.colouring.choices`.
    selection
        The selected neurons' indices, at most 64.
    counts
        Neurons by state in the active span: hidden, visible, target, mixed. Follows.
    areas
        Names of the brain areas the recording knows. Follows.
    """

    AHEAD = 8

    _esm = script("painter")
    _css = style()

    tool = CaselessStrEnum(TOOLS, "brush").tag(sync=True)
    code = Int(VISIBLE).tag(sync=True)
    span = Tuple(Int(), Int(), default_value=(0, N_SAMPLES)).tag(sync=True)
    radius = Float(14.0, min=2.0, max=LARGEST).tag(sync=True)
    colour_by = Unicode("state").tag(sync=True)
    selection = List(Int()).tag(sync=True)
    counts = Dict()
    areas = List(Unicode()).tag(sync=True)
    _choices: Any = List().tag(sync=True)
    _legend: Any = Dict().tag(sync=True)
    _colours: Any = List(list(palette.STATE_COLOURS)).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        super().__init__(controller, **traits)
        state, events = controller.state, controller.state.events
        self._field: tuple[object, Field] | None = None
        self._fields = 0
        self._told: tuple[object, np.ndarray, dict[str, int]] | None = None
        self.bind("code", events.brush_code, lambda: state.brush_code, self._take_code)
        self.bind(
            "span",
            events.active_span,
            lambda: tuple(state.active_span),
            lambda span: controller.set_active_span(*span),
        )
        self.bind(
            "colour_by",
            events.colour_by,
            lambda: state.colour_by,
            controller.set_colour_by,
        )
        self.bind(
            "selection",
            events.selection,
            lambda: list(state.selection),
            controller.select,
        )
        results, colouring = controller.results, controller.colouring
        self.bind("counts", [events.mask, events.active_span], self._counts)
        self.bind("areas", events.session, self._areas)
        self.bind("_choices", events.session, self._read_choices)
        legend = [events.colour_by, events.session, results.changed, colouring.changed]
        self.bind("_legend", legend, self._read_legend)

    def parts(self) -> Sequence[Drawn]:
        """The field of a recording; then the colours of its neurons."""
        state, results = self._controller.state.events, self._controller.results.events
        return (
            Drawn(self._draw_field, [state.session]),
            Drawn(
                self._draw_colours,
                [
                    state.session,
                    state.mask,
                    state.active_span,
                    state.colour_by,
                    results.scores,
                    results.population_freshness,
                    self._controller.colouring.changed,
                ],
            ),
            Drawn(self._draw_steps, answers=[self._controller.history_changed]),
        )

    def is_awaiting(self) -> bool:
        """Whether the colours of an answer are on their way."""
        return self._controller.results.population_freshness in ("stale", "running")

    # -- what code may call -----------------------------------------------------------
    @property
    def field(self) -> Field | None:
        """Which pixel belongs to which neuron; None while no session is open."""
        session = self._controller.state.session
        if session is None:
            return None
        if self._field is None or self._field[0] is not session:
            self._field = (session, session_field(session))
            self._fields += 1
        return self._field[1]

    def paint(
        self, neurons: Sequence[int] | np.ndarray, code: int | None = None
    ) -> None:
        """Paint neurons as a stroke does; `code` is the brush's by default."""
        chosen = self.code if code is None else code
        with self._controller.stroke(self.stroke_name({"code": chosen})):
            self._controller.paint(neurons, chosen)

    def paint_area(self, name: str, code: int | None = None) -> None:
        """Paint every neuron of a brain area."""
        session = self._controller.state.session
        known = None if session is None else session.units.area
        found = np.flatnonzero(np.asarray(known) == name) if known is not None else ()
        if not len(found):
            raise ValueError(f"No neurons of area {name!r}; known: {self.areas}.")
        self.paint(np.asarray(found), code)

    # -- from the page ----------------------------------------------------------------
    def on_paint(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Neurons the stroke has touched since the last message."""
        neurons = np.frombuffer(buffers[0], np.uint32).astype(np.int64)
        if len(neurons):
            self._controller.paint(neurons, int(content["code"]))

    def on_pick(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Select the neuron under a pixel; again, the next one that lies under it."""
        found = self._at(content)
        selection = self._controller.state.selection
        if not len(found):
            return
        if content.get("add"):
            neuron = int(found[0])
            if neuron in selection:
                self._controller.select([n for n in selection if n != neuron])
            else:
                self._controller.select([neuron], add=True)
        else:
            self._controller.select([next_at(found, selection)])

    def on_hover(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Say what is under the pointer."""
        found = self._at(content)
        words = ""
        if len(found):
            words = describe(self._controller, int(found[0]), others=len(found) - 1)
        self.say("hovered", words=words, to=content["view"])

    def on_area(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Paint an area."""
        self.paint_area(str(content["name"]), int(content["code"]))

    def on_toggle_colours(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """From the state to what was chosen last beside it, and back."""
        self._controller.colouring.toggle()

    def _at(self, content: dict[str, Any]) -> np.ndarray:
        if self.field is None:
            return np.empty(0, np.int64)
        return neurons_at(self.field, float(content["y"]), float(content["x"]))

    # -- to the page ------------------------------------------------------------------
    def _draw_field(self) -> None:
        """What stays while a recording is open; a page that has it keeps it."""
        field = self.field
        if field is None:
            self.show("nothing")
            return
        self._told = None
        self.show(
            "field",
            [
                field.labels,
                _grey(field),
                field.centres.astype(np.float32),
                field.covered_at.astype(np.uint32),
                field.covered_by.astype(np.uint32),
            ],
            number=self._fields,
            shape=list(field.labels.shape),
            neurons=field.n_neurons,
            rims=field.has_rims,
            note=field.note,
            selected=palette.SELECTED,
        )

    def _draw_colours(self) -> None:
        """States of all neurons or of those that changed; colours where they differ."""
        done = dict(self.done)
        state, field = self._controller.state, self.field
        mask = state.mask
        if field is None or mask is None or mask.n_neurons != field.n_neurons:
            return
        states = mask.state_in(state.active_span)
        most = mask.cells[slice(*state.active_span)].max(axis=0, initial=0)
        codes = states.astype(np.uint8)
        codes[(states == MIXED) & (most == TARGET)] = MIXED_ASKED
        rows = self._rows(field)
        key = (state.session, state.colour_by, rows is None)
        before = self._told
        fields = {"done": done, "by": state.colour_by}
        if rows is None and before is not None and before[0] == key:
            changed = np.flatnonzero(codes != before[1]).astype(np.uint32)
            if len(changed) or done != before[2]:
                self.show("patch", [changed, codes[changed]], **fields)
        else:
            buffers = [codes, _brush_rows(state)]
            self.show("codes", buffers + ([] if rows is None else [rows]), **fields)
        self._told = (key, codes, done)

    def _draw_steps(self) -> None:
        controller = self._controller
        self.keep("steps", undo=controller.undo_name, redo=controller.redo_name)

    def _rows(self, field: Field) -> np.ndarray | None:
        """uint8 (2, P, 4) colours of cores and rims; None where the codes tell all."""
        scale = self._controller.colouring.scale
        is_number = self._controller.state.colour_by == "score" or (
            scale is not None and scale.is_known
        )
        found = core_and_rim(self._controller, field) if is_number else None
        return None if found is None else _bytes(*found)

    # -- traits that follow -----------------------------------------------------------
    def _take_code(self, code: int) -> None:
        self._controller.set_brush(code)
        if self.tool == "select":
            self.tool = "brush"

    def _counts(self) -> dict[str, int]:
        counts, _ = counted(self._controller.state)
        return {palette.STATE_WORDS[code]: int(counts[code]) for code in ORDER}

    def _areas(self) -> list[str]:
        session = self._controller.state.session
        known = None if session is None else session.units.area
        return [] if known is None else sorted({str(a) for a in known} - {""})

    def _read_choices(self) -> list[list[str]]:
        choices = self._controller.colouring.choices
        return [[q.name, q.label, q.explanation] for q in choices]

    def _read_legend(self) -> dict[str, Any]:
        """What the colours mean, beside those of the states."""
        colouring = self._controller.colouring
        scale = colouring.scale
        told: dict[str, Any] = {"words": colouring.words}
        if scale is None or not scale.is_known:
            return told
        told["label"] = scale.quantity.label
        if scale.words:
            told["entries"] = [
                [word, palette.AREA_COLOURS[at % len(palette.AREA_COLOURS)]]
                for at, word in enumerate(scale.words)
            ]
        else:
            low, high = scale.ends
            told |= {"low": low, "high": high, "middle": scale.middle}
        return told


def _grey(field: Field) -> np.ndarray:
    """uint8 (H, W): the mean image in greys, dark where there is none."""
    if field.mean is None or not np.isfinite(field.mean).all():
        return np.full(field.labels.shape, 24, np.uint8)
    low, high = mean_levels(field.mean)
    shares = np.clip((field.mean - low) / (high - low), 0, 1)
    return np.asarray(shares * 255, np.uint8)


def _bytes(core: np.ndarray, rim: np.ndarray) -> np.ndarray:
    return np.asarray((np.stack([core, rim]) * 255).round(), np.uint8)


def _brush_rows(state: LiveState) -> np.ndarray:
    """uint8 (2, 5, 4): how a core and a rim look by display code, before numbers come.

    In the score view what has just been painted has no score yet.
    """
    if state.colour_by == "score":
        unscored = np.full(3, np.nan, np.float32)
        codes = np.array([HIDDEN, VISIBLE, TARGET])
        core, rim = neuron_colours.score_colours(unscored, codes)
        core, rim = (np.concatenate([x, x[[TARGET, TARGET]]]) for x in (core, rim))
    else:
        codes = np.array([HIDDEN, VISIBLE, TARGET, MIXED, MIXED])
        most = np.array([HIDDEN, VISIBLE, TARGET, VISIBLE, TARGET])
        core, rim = neuron_colours.state_colours(codes, most)
    return _bytes(core, rim)
