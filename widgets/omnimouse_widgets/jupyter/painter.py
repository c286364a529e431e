"""Imaging field widget: neurons are painted with mouse, touch or keyboard."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any, Final

import numpy as np
from traitlets import Bool, CaselessStrEnum, Dict, Float, Int, List, Tuple, Unicode

from omnimouse_model.data.session import Session
from omnimouse_model.errors import MaskError
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference.background_task import BackgroundTask
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import HIDDEN, MIXED, TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing, Part
from omnimouse_widgets.views.field import layout
from omnimouse_widgets.views.field.areas import OutlinedAreas, outline_areas
from omnimouse_widgets.views.field.colours import (
    STATE_RIM,
    core_and_rim,
    score_colours,
    state_colours,
    table_of,
)
from omnimouse_widgets.views.field.text import ORDER, compute_action, counted, describe
from omnimouse_widgets.views.text.controls import PAGE, PAINTER, TOOLS

MIXED_TARGET: Final = MIXED + 1
"""Display code of a mixed neuron with target samples in the active span."""
MAX_RADIUS: Final = 200.0


class MaskPainter(Part):
    """Neurons at their positions, coloured by the mask or by another quantity.

    A stroke sets the samples of the active span of every touched neuron to the code of
    the brush. The page draws it at once and sends it to the kernel 30 times per second.

    Attributes
    ----------
    tool
        "brush", "lasso", "rectangle" or "select".
    code
        Code of the brush: 0 hidden, 1 visible, 2 target.
    span
        Samples (start, stop) that a stroke sets; each code has its own span.
    radius
        Radius of the brush in CSS pixels.
    colour_by
        "state", "score", "area", …: see `controller.colouring.choices`.
    selection
        Indices of the selected neurons, at most 64.
    counts
        Numbers of hidden, visible, target and mixed neurons in the active span;
        read-only.
    changes
        How states change within the active span: "985 visible, then target; targets
        hidden: 15 at the start"; read-only.
    areas
        Names of the brain areas of the recording; read-only.
    probes
        Names of the probes of the recording; read-only.
    plane
        Number of the imaging plane or probe that is shown alone, None for all. Only
        neurons that are shown are painted.
    areas_shown
        Whether the brain areas are outlined.
    """

    # Messages of a stroke are small: a confirmation for every eighth is sufficient.
    AHEAD = 8

    _esm = script("field_overlay", "painter")
    _css = style()

    tool = CaselessStrEnum(tuple(name for name, *_ in TOOLS), "brush").tag(sync=True)
    code = Int(VISIBLE).tag(sync=True)
    span = Tuple(Int(), Int(), default_value=(0, 0)).tag(sync=True)
    radius = Float(14.0, min=2.0, max=MAX_RADIUS).tag(sync=True)
    colour_by = Unicode("state").tag(sync=True)
    selection = Tuple().tag(sync=True)
    counts = Dict()
    changes = Unicode().tag(sync=True)
    areas = List(Unicode()).tag(sync=True)
    probes = List(Unicode()).tag(sync=True)
    plane = Int(None, allow_none=True).tag(sync=True)
    areas_shown = Bool(False).tag(sync=True)
    _texts = Dict(PAGE | PAINTER).tag(sync=True)
    _planes: Any = List().tag(sync=True)
    _n_samples: Any = Int(0).tag(sync=True)
    _choices: Any = List().tag(sync=True)
    _legend: Any = Dict().tag(sync=True)
    _colours: Any = List(list(palette.STATE_COLOURS)).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._results, self._selection, self._colouring = (
            controller.results,
            controller.selection,
            controller.colouring,
        )
        self._shown_planes = controller.planes
        # Outlining takes a second: not on the thread that draws all parts.
        self._outlining: BackgroundTask[tuple[Session, layout.Field], OutlinedAreas] = (
            BackgroundTask(outline_areas, self._take_outlines)
        )
        self._outlined: OutlinedAreas | None = None
        super().__init__(controller, **traits)
        state, events = controller.state, controller.state.events
        self._field: layout.Field | None = None
        self._field_number = 0
        # Key, codes and `handled` of the latest colours that were sent.
        self._sent: tuple[object, np.ndarray, dict[str, int]] | None = None
        self.bind_field("code", self._set_code, "brush_code")
        self.bind("_n_samples", events.window, lambda: state.spec.n_samples)
        self.bind_field(
            "span", lambda span: controller.editor.set_active_span(*span), "active_span"
        )
        self.bind_field("colour_by", controller.colouring.choose)
        self.bind_field("selection", controller.selection.select)
        results, colouring = controller.results, controller.colouring
        cells = [events.mask, events.active_span]
        self.bind("counts", cells, self._counts)
        self.bind("changes", cells, lambda: "; ".join(filter(None, counted(state)[1:])))
        self.bind("areas", events.session, lambda: self._names("area"))
        self.bind("probes", events.session, lambda: self._names("probe"))
        planes = controller.planes
        shown = [events.plane_shown, events.session]
        self.bind("plane", shown, lambda: planes.number, planes.show)
        self.bind("_planes", events.session, self._read_planes)
        self.bind_field("areas_shown", controller.colouring.outline_areas)
        offered = [events.session, colouring.changed]
        self.bind("_choices", offered, self._read_choices)
        legend = [events.colour_by, events.session, results.changed, colouring.changed]
        self.bind("_legend", legend, self._read_legend)

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions of field, colours and undo names."""
        state, results = self._state.events, self._results.events
        return (
            Drawing(self._draw_field, [state.session]),
            Drawing(self._draw_planes, [state.session, state.plane_shown]),
            Drawing(self._draw_areas, [state.session, state.areas_shown, self._outlining.changed]),
            Drawing(
                self._draw_colours,
                [
                    state.session,
                    state.mask,
                    state.active_span,
                    state.colour_by,
                    results.neuron_scores,
                    results.population_freshness,
                    self._colouring.changed,
                ],
            ),
            # `answers`: during a stroke, the undo names wait for the prediction.
            Drawing(self._draw_steps, results=[self._editor.history_changed]),
        )

    def is_awaiting(self) -> bool:
        """Return whether colours for a new prediction are still to come."""
        return self._results.population_freshness in ("stale", "running")

    # -- what code may call -----------------------------------------------------------
    @property
    def field(self) -> layout.Field | None:
        """The assignment of pixels to neurons; None without a session."""
        session = self._state.session
        if session is None:
            return None
        # `_field_number` counts the fields, so that a page can skip one that it has.
        if (field := layout.field_of(session)) is not self._field:
            self._field = field
            self._field_number += 1
        return field

    def paint(self, neurons: Sequence[int] | np.ndarray, code: int | None = None) -> None:
        """Paint neurons as one undo step; `code` defaults to that of the brush."""
        code = self.code if code is None else code
        with self._editor.stroke(self.stroke_name({"code": code})):
            self._editor.paint(neurons, code)

    def paint_area(self, name: str, code: int | None = None) -> None:
        """Paint all neurons of a brain area.

        Raises
        ------
        MaskError
            If the recording has no neurons of this area.
        """
        self._paint_group("area", name, code)

    def paint_probe(self, name: str, code: int | None = None) -> None:
        """Paint all units of a probe.

        Raises
        ------
        MaskError
            If the recording has no units on this probe.
        """
        self._paint_group("probe", name, code)

    # -- from the page ----------------------------------------------------------------
    def on_paint(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Paint the neurons that the stroke has touched since the last message.

        A stroke over the field of an earlier recording changes nothing.
        """
        if self.field is None or content["field"] != self._field_number:
            return
        # uint32 is the array type of the page; numpy indexing expects int64.
        neurons = np.frombuffer(buffers[0], np.uint32).astype(np.int64)
        if len(neurons):
            self._editor.paint(neurons, int(content["code"]))

    def on_pick(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Select the neuron at a pixel; a repeated click selects the next one below."""
        neurons = self._neurons_at(content)
        selection = self._state.selection
        if not len(neurons):
            return
        if not content.get("add"):
            self._selection.select([layout.neuron_on_click(neurons, selection)])
        else:
            self._selection.toggle(int(neurons[0]))

    def on_hover(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Send a description of the neuron at the pointer."""
        neurons = self._neurons_at(content)
        text = ""
        if len(neurons):
            text = describe(self._state, self._results, int(neurons[0]), others=len(neurons) - 1)
        self.send_now("hovered", text=text, to=content["view"])

    def on_area(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Paint all neurons of a brain area."""
        self.paint_area(str(content["name"]), int(content["code"]))

    def on_probe(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Paint all units of a probe."""
        self.paint_probe(str(content["name"]), int(content["code"]))

    def on_toggle_colours(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Switch between colours of the mask and those of the last other quantity."""
        self._colouring.toggle()

    def on_compute(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Compute the quantity that colours the neurons for all of them, or stop it."""
        if (action := compute_action(self._colouring)) is not None:
            action.run()

    def _neurons_at(self, content: dict[str, Any]) -> np.ndarray:
        if self.field is None:
            return np.empty(0, np.int64)
        neurons = layout.neurons_at(self.field, float(content["y"]), float(content["x"]))
        return np.asarray(self._shown_planes.visible_among(neurons))

    # -- to the page ------------------------------------------------------------------
    def _draw_field(self) -> None:
        """Send the pixels of the field, which are constant for a recording."""
        field, session = self.field, self._state.session
        if field is None or session is None:
            self.add_message("nothing")
            return
        # The page has no colours for a new field: the next ones are for all neurons.
        self._sent = None
        self.add_message(
            "field",
            [
                field.labels,
                _grey(field),
                field.centres.astype(np.float32),
                field.covered_at.astype(np.uint32),
                field.covered_by.astype(np.uint32),
                # -1, an unknown plane, becomes the largest number.
                np.asarray(session.units.plane).astype(np.uint16),
            ],
            number=self._field_number,
            shape=list(field.labels.shape),
            neurons=field.n_neurons,
            rims=field.has_rims,
            texts=field.texts,
            outlines=[np.round(path, 1).tolist() for path in field.outlines],
            um_per_pixel=layout.um_per_pixel(session, field),
            selected=palette.SELECTED,
        )

    def _draw_planes(self) -> None:
        """Send the names of the planes, and the part of the field that is shown."""
        planes, field = self._shown_planes, self.field
        session = self._state.session
        if field is None or session is None:
            return
        number = planes.number
        tile = layout.tile_of(field.tiles, number)
        # A field of probes has their names among its texts.
        shown = [] if field.texts else [t for t in field.tiles if tile in (None, t)]
        names = layout.name_places(shown, [planes.label_of(t.plane) for t in shown])
        region = None
        if tile is not None:
            region = [tile.top, tile.left, tile.bottom, tile.right]
        self.add_if_changed("planes", number=number, names=names, region=region)

    def _draw_areas(self) -> None:
        """Send the outlines of the areas, or start to compute them."""
        session, field = self._state.session, self.field
        outlined, error = self._outlined, self._outlining.error
        if error is not None:
            raise error
        outlines = []
        is_shown = self._state.areas_shown and bool(self.areas)
        if is_shown and session is not None and field is not None:
            if outlined is None or outlined.session is not session:
                if not self._outlining.message:
                    self._outlining.start((session, field), "Outlining areas")
            else:
                outlines = [
                    {
                        "area": outline.area,
                        "plane": outline.plane,
                        "is_named": outline.is_named,
                        "path": np.round(outline.yx, 1).tolist(),
                        "colour": _hex(colour),
                    }
                    for outline, colour in zip(outlined.outlines, outlined.colours, strict=True)
                ]
        self.add_if_changed("areas", outlines=outlines)

    def _take_outlines(self, outlined: OutlinedAreas) -> None:
        self._outlined = outlined

    def _draw_colours(self) -> None:
        """Send the states of all or of the changed neurons, and their colours."""
        # Read before the state: see `Part.handled`.
        handled = dict(self.handled)
        state, field = self._state, self.field
        mask = state.mask
        # A new session is set before its mask. The signal of the mask follows.
        if field is None or mask is None or mask.n_neurons != field.n_neurons:
            return
        states = mask.state_in(state.active_span)
        # TARGET is the largest code: the maximum shows whether any sample is a target.
        highest = mask.cells[slice(*state.active_span)].max(axis=0, initial=0)
        codes = states.astype(np.uint8)
        codes[(states == MIXED) & (highest == TARGET)] = MIXED_TARGET
        rows = self._colour_rows(field)
        key = (state.session, state.colour_by, rows is None)
        last = self._sent
        fields = {"handled": handled, "colour_by": state.colour_by}
        # A stroke changes few neurons: send only these if the page has the others.
        if rows is None and last is not None and last[0] == key:
            changed = np.flatnonzero(codes != last[1]).astype(np.uint32)
            if len(changed) or handled != last[2]:
                self.add_message("patch", [changed, codes[changed]], **fields)
        else:
            buffers = [codes, _brush_rows(state)]
            self.add_message("codes", buffers + ([] if rows is None else [rows]), **fields)
        self._sent = (key, codes, handled)

    def _draw_steps(self) -> None:
        self.add_if_changed("steps", undo=self._editor.undo_name, redo=self._editor.redo_name)

    def _colour_rows(self, field: layout.Field) -> np.ndarray | None:
        """Return uint8 (2, P, 4) colours of cores and rims; None if codes suffice."""
        scale = self._colouring.scale
        # The page knows the colours of the states: send colours only for numbers.
        is_number = self._state.colour_by == "score" or (scale is not None and scale.is_known)
        colours = (
            core_and_rim(self._state, self._results, self._colouring, field) if is_number else None
        )
        return None if colours is None else _bytes(*colours)

    # -- values of traits -------------------------------------------------------------
    def _set_code(self, code: int) -> None:
        self._editor.set_brush(code)
        # Choosing a code shows the intention to paint.
        if self.tool == "select":
            self.tool = "brush"

    def _counts(self) -> dict[str, int]:
        counts = counted(self._state).by_code
        return {palette.STATE_NAMES[code]: int(counts[code]) for code in ORDER}

    def _groups(self, kind: str) -> np.ndarray:
        """Return the area or the probe of each neuron; empty if there are none."""
        session = self._state.session
        groups = None if session is None else getattr(session.units, kind)
        return np.asarray([] if groups is None else groups).astype(str)

    def _names(self, kind: str) -> list[str]:
        # An empty name marks a neuron without an area.
        return sorted({*self._groups(kind).tolist()} - {""})

    def _paint_group(self, kind: str, name: str, code: int | None) -> None:
        neurons = np.flatnonzero(self._groups(kind) == name)
        if not len(neurons):
            names = ", ".join(self._names(kind))
            expected = f"expected one of {names}" if names else "but the recording has none"
            raise MaskError(f"{kind}: found {name!r}, {expected}.")
        self.paint(self._shown_planes.visible_among(neurons), code)

    def _read_planes(self) -> list[tuple[int | str, str]]:
        """Return the choices of the menu, "" for all; none with fewer than two."""
        planes = self._shown_planes
        if not planes.numbers:
            return []
        each = [(number, planes.label_of(number)) for number in planes.numbers]
        return [("", planes.label_of_all), *each]

    def close(self) -> None:
        """Remove the part from every page, and stop outlining areas."""
        super().close()
        if "_outlining" in vars(self):  # missing if the constructor raised an error
            self._outlining.close(0.0)

    def _read_choices(self) -> list[list[str]]:
        choices = self._colouring.choices
        return [[q.name, q.label, q.explanation] for q in choices]

    def _read_legend(self) -> dict[str, Any]:
        """Return the legend of the quantity that colours the neurons."""
        colouring = self._colouring
        scale = colouring.scale
        legend: dict[str, Any] = {"text": colouring.message}
        if (action := compute_action(colouring)) is not None:
            legend |= {"action": action.name, "label_of_action": action.label, "help": action.help}
        # Without a known quantity, the page shows the legend of the states: what is chosen
        # stands before its message.
        if scale is None or not scale.is_known:
            chosen = "" if scale is None else scale.quantity.label
            legend["text"] = " · ".join(filter(None, (chosen, legend["text"])))
            return legend
        legend["label"] = scale.quantity.label
        if self._state.colour_by != "score":  # whose rings are not those of the states
            legend["outlines"] = [(code, _hex(STATE_RIM[code])) for code in (VISIBLE, HIDDEN)]
        if scale.categories:
            # A palette with fewer colours than categories repeats.
            colours = cycle(palette.AREA_COLOURS)
            legend["entries"] = [*zip(scale.categories, colours, strict=False)]
        else:
            low, high = scale.ends
            legend |= {"low": low, "high": high, "middle": scale.middle}
            table = table_of(scale.quantity)
            # 17 stops follow the tables closely; the browser interpolates.
            stops = ", ".join(
                _hex(table[at] / 255) for at in np.linspace(0, 255, 17).round().astype(int)
            )
            legend["bar"] = f"linear-gradient(to right, {stops})"
        marks = (
            (colouring.unknown_text, "transparent"),
            (colouring.untuned_text, palette.UNSCORED),
        )
        legend["unmarked"] = [(text, fill, palette.UNKNOWN_RING) for text, fill in marks if text]
        return legend


def _hex(colour: np.ndarray) -> str:
    red, green, blue = np.rint(255 * np.asarray(colour)[:3]).astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _grey(field: layout.Field) -> np.ndarray:
    """Return the mean image as uint8 (H, W), uniformly dark without an image."""
    if field.mean is None or not np.isfinite(field.mean).all():
        return np.full(field.labels.shape, 24, np.uint8)
    low, high = field.levels
    shares = np.clip((field.mean - low) / (high - low), 0, 1)
    return np.asarray(shares * 255, np.uint8)


def _bytes(core: np.ndarray, rim: np.ndarray) -> np.ndarray:
    return np.asarray((np.stack([core, rim]) * 255).round(), np.uint8)


def _brush_rows(state: LiveState) -> np.ndarray:
    """Return uint8 (2, 5, 4): RGBA of core and rim for each display code.

    The page uses them for neurons that have just been painted. In the score view, such
    neurons have no score yet.
    """
    if state.colour_by == "score":
        unscored = np.full(3, np.nan, np.float32)
        codes = np.array([HIDDEN, VISIBLE, TARGET])
        core, rim = score_colours(unscored, codes)
        # Mixed neurons (codes 3 and 4) look like targets without a score.
        core, rim = (np.concatenate([x, x[[TARGET, TARGET]]]) for x in (core, rim))
    else:
        codes = np.array([HIDDEN, VISIBLE, TARGET, MIXED, MIXED])
        most = np.array([HIDDEN, VISIBLE, TARGET, VISIBLE, TARGET])
        core, rim = state_colours(codes, most)
    return _bytes(core, rim)
