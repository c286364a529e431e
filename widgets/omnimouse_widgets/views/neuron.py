"""Panel *Neuron*: field, tuning and repeats of the neuron in focus, as plots, text and table.

The module is longer than usual because a panel is one file: each block of this one has a
plot, its evidence in words, and the reason that stands there without a result.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.barcodes import LearnedNeurons, key_of
from omnimouse_model.analysis.direction_tuning import DirectionTuning, p_text
from omnimouse_model.analysis.receptive_fields import ReceptiveField
from omnimouse_model.analysis.spike_activity import REFRACTORY_S, SpikeActivity
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import VIDEO_SIZE
from omnimouse_model.display import interval_text, number_text
from omnimouse_model.evaluation.repeats import (
    AlignedPrediction,
    ClipRepeats,
    align_prediction,
    ceiling_problem,
)
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.laboratory import Laboratory
from omnimouse_model.live.navigation import Navigation
from omnimouse_model.live.neurons.neuron_info import NeuronInfo, NeuronProperties
from omnimouse_model.live.neurons.planes import Selection
from omnimouse_model.live.neurons.repeats import TrialAverages
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.storage.tables import Column, write_table
from omnimouse_widgets import palette
from omnimouse_widgets.views import laboratory as laboratory_view
from omnimouse_widgets.views.record import (
    NO_SESSION,
    Action,
    Block,
    Choice,
    Clipboard,
    Curves,
    Image,
    Item,
    Legend,
    Line,
    Menu,
    Message,
    Overlay,
    Plot,
    Raster,
    Row,
    SaveFile,
    SavePicture,
    Text,
)
from omnimouse_widgets.views.repeats import (
    CEILING_TIP,
    brightest_response,
    clip_text,
    response_pixels,
)
from omnimouse_widgets.views.text.model import model_title
from omnimouse_widgets.views.text.tier_score import no_score_of
from omnimouse_widgets.views.text.units import drawn_units, unit_text
from omnimouse_widgets.views.traces import predicted_of
from omnimouse_widgets.views.trials import (
    PLOT_LABEL,
    average_curves,
    average_signs,
    no_average_text,
)

PARTS: Final = {
    "spikes": ("Spikes", "Rate and autocorrelogram"),
    "trials": ("Trials", "Mean rate around the onset of trials"),
    "field": ("Field", "Receptive field, from the recording's video"),
    "tuning": ("Tuning", "Response to directions of motion"),
    "repeats": ("Repeats", "Responses to repeats of a clip, and their reliability"),
    "model": ("Model", "What the model has learned of this neuron"),
    "laboratory": ("Laboratory", "What the chosen experiment found"),
}
"""Parts of what is known of a neuron: label and help of each name."""
NO_NEURON: Final = "Select a neuron: Ctrl-click on the field, or a row of the table."
PENDING: Final = "◌"
NONE_FOUND: Final = "none found"
PLACE: Final = "○ model"
NO_REPEATS: Final = "No clip was shown twice: reliability is unknown."
NOT_COMPUTED: Final = "The numbers are not computed yet"
FIELD_TIP: Final = (
    "Receptive field: mean of the recording's video, weighted by the responses of the\n"
    "neuron (blue: less contrast, orange: more; or motion energy, dark to yellow).\n"
    "○ model: the place of the frame that a digital twin reads for the neuron."
)
LAG_TIP: Final = (
    "The field at its peak, of which only the shape has a meaning, against the time from frame to\n"
    "response, in ms. Above 0, the response goes with more contrast there, below with less; for\n"
    "motion energy, the higher the stronger. Yellow line: the time of the field that is shown."
)
TUNING_TIP: Final = (
    "Mean response, in standard deviations of the neuron's response, after motion in each\n"
    "direction (0°: to the right, 90°: up); bars: one standard error; dotted: the mean;\n"
    "yellow line: the preferred direction, drawn only if the selectivity exceeds that of\n"
    "shuffled responses."
)
TUNING_WORDS: Final = (
    "DSI: length of the vector sum of the responses to all directions over their sum, from 0\n"
    "(none) to 1 (one direction alone); not the contrast of two opposite ones. OSI: the same\n"
    "with doubled angles, for orientations. p: share of shuffled responses that are as selective.\n"
    "Motion at its field: in the video, where the neuron has its receptive field; on the whole\n"
    "screen: where none was found."
)
RATE_TIP: Final = "Spikes per second over the recording; dotted: their mean"
FOLLOW_TIP: Final = (
    "Autocorrelogram: rate of spikes after a spike, against the time between them; dotted:\n"
    "the mean rate, which a unit that fires at random has at all times. A neuron does not\n"
    "fire twice within 2 ms: spikes there are of other neurons."
)
REPEATS_TIP: Final = (
    "Each row is a repeat of the clip, from dark (no response) to yellow; frame: the window.\n"
    "Press a row to move the window there."
)
MEAN_TIP: Final = (
    "Solid: mean over repeats; band: standard deviation of the repeats; orange, dashed: the\n"
    "prediction of this window. Vertical: in standard deviations of the neuron's response,\n"
    "or spikes per second."
)
MEAN_SIGNS: Final = (
    ("━", palette.RECORDED, "mean over repeats, band: s.d. of the repeats"),
    ("╍", palette.PREDICTED, "prediction of this window"),
)
NOW_TIP: Final = (
    "State in the samples of the brush; score; slope of recorded on predicted "
    "responses (1: calibrated); position in the selection"
)
MODEL_TIP: Final = (
    "What the model has learned of this neuron: the neurons whose weights have the\n"
    "smallest angle to its own (0: same, 0.5: unrelated)"
)
PLACE_TIP: Final = (
    "Circle: the place of the frame that it reads, on the receptive field of the recording"
)
FRAME: Final = (36, 64)
"""Height and width in pixels of the frames from which fields are computed."""
NEAREST: Final = 5
"""Neurons that are listed by their barcodes."""
LAG_STEP_MS: Final = 200
KINDS = {"plain": "average frame", "energy": "average motion energy"}
SOURCES = {
    "trials": "directions of the trials",
    "place": "motion at its field",
    "screen": "motion on the whole screen",
}


class NeuronView(OfController):
    """Properties of the neuron in focus, computed from the recording while it is in sight.

    Attributes
    ----------
    part
        What is shown of the neuron, a name of `PARTS`; one part has room in a low window.
        "" without a neuron.
    clip
        Number of the clip whose repeats are shown.
    """

    name = "neuron"
    changed = Signal()

    def __init__(
        self,
        neuron_info: NeuronInfo,
        state: LiveState,
        results: Results,
        laboratory: Laboratory,
        navigation: Navigation,
        selection: Selection,
        trial_averages: TrialAverages,
    ) -> None:
        self._facts, self._state, self._results = neuron_info, state, results
        self._experiments, self._navigation = laboratory, navigation
        self._selection, self._averages = selection, trial_averages
        self._part, self.clip = "", 0

    def show_part(self, name: str) -> None:
        """Show another part of what is known of the neuron, or "" for the first."""
        if name and name not in PARTS:
            raise ValueError(f"The part is one of {', '.join(PARTS)}, not {name!r}.")
        self._part = name
        self.changed.emit()

    def show_clip(self, number: int) -> None:
        """Show the repeats of another clip."""
        self.clip = number
        self.changed.emit()

    def blocks(self) -> Sequence[Block]:
        """Return the record: head, field and tuning, model, repeats, laboratory."""
        events, results, facts = self._state.events, self._results, self._facts
        about = [facts.changed, events.session]
        learned, laboratory = results.events.learned, self._experiments.changed
        shown = [events.selection, events.mask, events.active_span, results.changed]
        # Which part is on screen depends on those that there are.
        part = [*about, self.changed, learned, laboratory]
        return [
            # A new selection needs new numbers, but only if the panel is visible.
            Block(
                tuple, [events.selection, events.session, facts.focus_changed], follow=self._follow
            ),
            Block(self._head, [*about, *shown]),
            Block(self._parts, part),
            Block(self._spikes, part),
            Block(self._trials, [*part, self._averages.changed, results.events.peri_event]),
            Block(self._field, part),
            Block(self._tuning, part),
            Block(self._repeats, [*part, events.window, results.changed]),
            Block(self._laboratory, [*part, events.cursor, events.window]),
        ]

    def _follow(self, is_visible: bool) -> None:
        """Compute the numbers only while the panel is visible."""
        session = self._state.session
        has_spikes = session is not None and session.responses.has_events
        self._averages.show(is_visible and has_spikes, self)
        if is_visible:
            self._facts.follow()
        else:
            self._facts.stop()

    # -- head -------------------------------------------------------------------------
    def _head(self) -> Sequence[Item | Row]:
        session, neuron, facts = self._state.session, self._facts.focus, self._facts
        is_known = session is not None and neuron is not None and neuron < session.n_neurons
        title = now = tip = ""
        if session is None:
            now = NO_SESSION
        elif neuron is None or not is_known:
            now = NO_NEURON
        else:
            title, tip = (heading(session, neuron, is_full=one) for one in (False, True))
            selection = self._state.selection
            now = state_text(self._state, self._results, neuron)
            if len(selection) > 1 and neuron in selection:
                now += f" · {selection.index(neuron) + 1} of {len(selection)} selected"
        # Its plot shows what is computed: in a narrow dock there is room for the rest.
        step, _, left = facts.message.partition(": ")
        progress = f"{PENDING} {left or step}" if facts.is_busy else ""
        if facts.is_stopped and not facts.is_busy:
            progress = "Stopped before the end."
        # Beside the buttons: a row of its own would move the plots.
        work: list[Item] = [Text("progress", progress, tip=facts.message, is_line=True)]
        if facts.is_busy:
            work.append(Action("stop", "Stop", "Stop the computation", facts.stop_by_user))
        elif facts.is_stopped or facts.error is not None:
            work.append(Action("stop", "Compute", "Compute the missing numbers", facts.retry))
        fault = f"⚠ Not computed: {facts.error}" if facts.error else ""
        return [
            Text("heading", title, tip=tip, is_line=True),
            Text("now", now, tip=NOW_TIP),
            Row("actions", (*self._actions("" if is_known else now), *work), wide="progress"),
            Text("problem", fault, "problem"),
        ]

    def _actions(self, missing: str) -> tuple[Item, ...]:
        """Return steps, copy and export; `missing` says why there is no neuron."""
        one = "" if len(self._state.selection) > 1 else "Select several neurons to step through"
        unknown = missing or ("" if self._facts.current is not None else NOT_COMPUTED)
        step = self._facts.step
        return (
            Action(
                "previous",
                "◂",
                "Previous selected neuron (← or Shift+N)",
                partial(step, -1),
                one,
                "Left",
            ),
            Action("next", "▸", "Next selected neuron (→ or N)", partial(step, 1), one, "Right"),
            Action(
                "copy", "Copy", "Copy the numbers as text (Ctrl+C)", self._copy, missing, "Ctrl+C"
            ),
            Menu(
                "export",
                "Export",
                "Save the part that is shown as a picture, or all numbers as a table",
                (
                    Action(
                        "picture", "Picture (PNG)…", "Save the part that is shown", self._picture
                    ),
                    Action("numbers", "Numbers (CSV)…", "Save all numbers", self._numbers),
                    Action(
                        "python",
                        "Copy as Python",
                        "A script that prints receptive field and tuning from the recording",
                        self._script,
                    ),
                ),
                unknown,
            ),
        )

    def _copy(self) -> Clipboard:
        neuron = self._facts.focus
        assert neuron is not None
        text = info_text(self._state, self._results, self._facts.current, neuron)
        return Clipboard(text, "On the clipboard: the numbers of this neuron")

    def _script(self) -> Clipboard:
        return Clipboard(self._facts.as_python(), "The script is on the clipboard")

    def _file_name(self, ending: str) -> str:
        session, neuron = self._state.session, self._facts.focus
        assert session is not None
        assert neuron is not None
        return f"unit-{session.units.names[neuron]}.{ending}"

    def _picture(self) -> SavePicture:
        neuron = self._facts.focus
        assert neuron is not None
        text = info_text(self._state, self._results, self._facts.current, neuron)
        return SavePicture(self._file_name("png"), "", text)

    def _numbers(self) -> SaveFile:
        session, info = self._state.session, self._facts.current
        assert session is not None
        assert info is not None

        def write(path: Path) -> list[Path]:
            write_table(path, info_columns(session, info))
            return [path]

        return SaveFile(self._file_name("csv"), write)

    # -- parts ------------------------------------------------------------------------
    @property
    def _offered(self) -> tuple[str, ...]:
        """Names of the parts that this recording, model and laboratory have."""
        session, neuron = self._state.session, self._facts.focus
        if session is None or neuron is None:
            return ()
        has_events = session.responses.has_events
        has = {
            "spikes": has_events,
            "trials": has_events,
            "field": session.stimulus is not None,
            "model": learned_of(self._results, session) is not None,
            "laboratory": self._found is not None,
        }
        return tuple(name for name in PARTS if has.get(name, True))

    @property
    def part(self) -> str:
        """Name of the part on screen: the chosen one, else the first offered; "" for none."""
        offered = self._offered
        return self._part if self._part in offered else next(iter(offered), "")

    def _parts(self) -> Sequence[Item]:
        offered = self._offered
        if not offered:
            return []
        options = tuple((name, *PARTS[name]) for name in offered)
        label = "Part of what is known of the neuron"
        return [Choice("part", label, "", options, self.part, self.show_part, is_row=True)]

    # -- spikes -----------------------------------------------------------------------
    def _spikes(self) -> Sequence[Item | Row]:
        """Return rate and autocorrelogram of a spiking recording."""
        info = self._facts.current
        if self.part != "spikes":
            return []
        found = None if info is None else info.spikes
        about = "" if found is None else f"Spikes: {spikes_text(found)}"
        return [
            Text("spikes_text", about),
            Row("spikes", (rate_plot(found), follow_plot(found))),
        ]

    def _trials(self) -> Sequence[Item]:
        """Return the average around trials of a spiking recording."""
        neuron, averages = self._facts.focus, self._averages
        if neuron is None or self.part != "trials":
            return []
        around, time_s = averages.of(neuron), averages.time_s
        if not around or time_s is None:
            problem = no_average_text(averages, self._state, self._results)
            return [Message("averages", PLOT_LABEL, problem)]
        return [
            Legend("averages_legend", average_signs(around)),
            average_curves(time_s, around, drawn_units(self._state.spec)),
        ]

    # -- field, tuning, model ---------------------------------------------------------
    def _field(self) -> Sequence[Item | Row]:
        """Return the receptive field, or what the model has learned."""
        info, neuron = self._facts.current, self._facts.focus
        part = self.part
        if neuron is None or part not in ("field", "model"):
            return []
        field = None if info is None else info.field
        learned = learned_of(self._results, self._state.session)
        place = None
        if learned is not None and learned.positions is not None:
            place = learned.positions[neuron]
        if part == "field":
            plots = Row("plots", (field_plot(field, place), lag_plot(field)))
            return [Text("field_text", "" if field is None else field_text(field)), plots]
        assert learned is not None
        tips = (MODEL_TIP, PLACE_TIP) if place is not None else (MODEL_TIP,)
        words = learned_text(learned, neuron, NEAREST)
        model: list[Item] = [Text("model", words, tip="\n".join(tips))]
        if learned.barcodes is not None:
            help_text = "Select this neuron, and those with the most similar fingerprints"
            nearest = partial(self._select_nearest, learned, neuron)
            model.append(Action("nearest", "Select nearest", help_text, nearest))
        row = Row("model_row", tuple(model), wide="model")
        # The field is of the recording: here for the place of a model on it alone.
        if place is None or "field" not in self._offered:
            return [row]
        reason = "" if field is None else field.problem
        return [row, Text("field_text", reason), Row("plots", (field_plot(field, place),))]

    def _tuning(self) -> Sequence[Item | Row]:
        info = self._facts.current
        if self.part != "tuning":
            return []
        tuning = None if info is None else info.tuning
        return [
            Text("tuning_text", "" if tuning is None else tuning_text(tuning), tip=TUNING_WORDS),
            # Alone in its row: angles on the axis need its width.
            Row("tuning_row", (tuning_plot(tuning),)),
        ]

    def _select_nearest(self, learned: LearnedNeurons, neuron: int) -> None:
        nearest, _ = learned.nearest(neuron, NEAREST)
        # The neuron itself last: the last one has the focus.
        self._selection.select([*nearest.tolist(), neuron])

    # -- repeats ----------------------------------------------------------------------
    def _shown_repeats(self) -> ClipRepeats | None:
        info = self._facts.current
        if info is None or not info.repeats:
            return None
        # Another neuron can have fewer clips.
        return info.repeats[min(self.clip, len(info.repeats) - 1)]

    def _prediction(self, repeats: ClipRepeats) -> AlignedPrediction | None:
        """Return the window's prediction aligned to a repeat of the clip, or None."""
        window, neuron = self._state.window, self._facts.focus
        if window is None or neuron is None:
            return None
        predicted = predicted_of(self._results.selected, neuron, window)
        if predicted is None:
            return None
        return align_prediction(repeats, window.timestamps["responses"], predicted)

    def _drawn_unit(self, repeats: ClipRepeats) -> tuple[float, str]:
        """Return the unit in which predictions are drawn, and its number per s.d."""
        session, unit = self._state.session, drawn_units(self._state.spec)
        if session is None or unit == "normalised":
            return 1.0, unit_text(unit)
        counts = float(session.response_scale[repeats.neurons[0]])
        return counts * session.responses.rate_hz, unit

    def _repeats(self) -> Sequence[Item | Row]:
        info, repeats = self._facts.current, self._shown_repeats()
        if self.part != "repeats":
            return []
        if info is None or info.repeats is None or repeats is None:
            is_known = info is not None and info.repeats is not None
            text = NO_REPEATS if is_known else PENDING
            return [Message("repeats", "Repeats of a clip", text)]
        over = self._prediction(repeats)
        text = repeats_text(repeats)
        # `over.r == over.r` is False for NaN.
        if over is not None and over.r == over.r:
            text += f" · r of this window's prediction with the mean: {number_text(over.r)}"
        names = [clip_text(r.clip, i) for i, r in enumerate(info.repeats)]
        about: list[Item] = [
            Text("repeats_text", text, tip=f"{CEILING_TIP} It is {number_text(repeats.oracle[0])}.")
        ]
        if len(names) > 1:
            options = tuple((str(i), name, "") for i, name in enumerate(names))
            now = str(min(self.clip, len(names) - 1))
            chosen = Choice(
                "clip", "Clip", "The displayed clip", options, now,
                lambda number: self.show_clip(int(number)),
            )  # fmt: skip
            about.append(chosen)
        per_sd, unit = self._drawn_unit(repeats)
        mean = mean_plot(repeats, over, per_sd, unit)
        return [
            Row("repeats_row", tuple(about), wide="repeats_text"),
            Legend(
                "mean_signs",
                (*MEAN_SIGNS[: 1 if over is None else 2], _brightest_sign(repeats, per_sd, unit)),
            ),
            Row("repeats_plots", (repeat_rows(repeats, self._go_to), mean)),
            _window_frame(repeats, over),
        ]

    def _go_to(self, time_s: float, height: float) -> None:
        """Move the window so that a moment of a repeat is in its middle."""
        repeats = self._shown_repeats()
        if repeats is not None and 0 <= height < (n := len(repeats.onset_s)):
            onset_s = float(repeats.onset_s[n - 1 - int(height)])  # the first is on top
            self._navigation.centre_on(onset_s + time_s)

    # -- laboratory -------------------------------------------------------------------
    @property
    def _found(self) -> Plot | None:
        """What the chosen experiment of the laboratory found of the neuron, None without."""
        laboratory, neuron = self._experiments, self._facts.focus
        plot = laboratory_view.lab_content(laboratory, self._state, neuron)
        found = laboratory.exciting
        is_of_neuron = found is None or neuron in found.neurons
        # A decoding is about all neurons: its matrix is no plot.
        if not is_of_neuron or isinstance(plot, Message) or not isinstance(plot, Plot):
            return None
        return plot

    def _laboratory(self) -> Sequence[Item]:
        plot, laboratory, neuron = self._found, self._experiments, self._facts.focus
        if plot is None or self.part != "laboratory":
            return []
        text = laboratory_view.neuron_text(laboratory, self._state.session, neuron)
        if laboratory.exciting is not None:
            text = laboratory_view.summary(laboratory)
        elif laboratory.result is not None:
            model = model_title(laboratory.result.predictor_id, laboratory.predictor_name)
            text += f" · {model}"
        signs = Legend("found_signs", laboratory_view.direction_signs(plot))
        return [Text("found", text), signs, replace(plot, name="found_plot")]


# -- plots -----------------------------------------------------------------------------
def field_plot(field: ReceptiveField | None, place: np.ndarray | None = None) -> Plot:
    """Return a map over the frame with its centre; `place` is what a model reads.

    `place` is (row, column) as shares of the frame.
    """
    label, title = "Receptive field", "receptive field"
    missing = PENDING if field is None else NONE_FOUND if field.problem else ""
    if field is None or (field.problem and place is None):
        return Message("field", label, missing, title=title)
    height, width = FRAME
    pixels = np.full((height, width, 3), 16, np.uint8)
    if missing:
        title = f"{missing} · {PLACE}"
    else:
        pixels = _map_pixels(field)
        if place is not None:
            title = f"of the recording · {PLACE}"
    row, column = field.centre_yx
    circle = None
    if place is not None:
        circle = (float(place[1]) * width, float(place[0]) * height, palette.PREDICTED)
    return Image(
        "field",
        label,
        pixels,
        palette.CURSOR,
        # Pixel i covers [i, i + 1): its middle is i + 0.5.
        None if missing else (column + 0.5, row + 0.5),
        circle=circle,
        title=title,
        tip=FIELD_TIP,
    )


def _map_pixels(field: ReceptiveField) -> np.ndarray:
    """Return the map as colours of the frame's pixels."""
    # "plain" maps have both signs: a range symmetric about 0 keeps 0 at the middle
    # colour. Motion energy is not negative.
    is_signed = field.kind == "plain"
    table = palette.residual_table() if is_signed else palette.viridis_table()
    shares = field.map / max(float(np.abs(field.map).max()), 1e-12)
    shares = (shares + 1) / 2 if is_signed else np.clip(shares, 0, 1)
    colours = table[np.round(255 * shares).astype(np.uint8)]
    # The map has larger cells than the frame.
    rows, columns = (np.arange(n) * k // n for n, k in zip(FRAME, field.map.shape, strict=True))
    return np.asarray(colours[rows][:, columns])


def lag_plot(field: ReceptiveField | None) -> Plot:
    """Return the strength at the map's peak against the lag, with the best one."""
    label, title = "Lag of the receptive field", "lag (ms)"
    if field is None or field.problem:
        return Message("lag", label, PENDING if field is None else NONE_FOUND, title=title)
    lags_ms = 1000 * field.lags_s
    # The range contains 0, the level of no influence, which has its own line.
    low, high = float(min(field.course.min(), 0)), float(max(field.course.max(), 0))
    margin = 0.08 * max(high - low, 1e-12)
    ends, last = np.array([low - margin, high + margin]), float(lags_ms[-1])
    best = np.full(2, 1000 * field.lag_s)
    is_signed = field.kind == "plain"
    words = (low, "less"), (high, "more" if is_signed else "most")
    # A small end has no room beside 0.
    named = [(at, word) for at, word in words if abs(at) > 0.2 * (high - low)]
    ticks = np.arange(0, last + 1, LAG_STEP_MS).tolist()
    return Curves(
        "lag",
        label,
        (
            Line("", palette.AXIS, np.array([0.0, last]), np.zeros(2), "", dash="dotted"),
            Line("", palette.VISIBLE, lags_ms, field.course, ""),
            Line("", palette.CURSOR, best, ends, ""),
        ),
        "",
        "contrast" if is_signed else "motion energy",
        tuple((tick, f"{tick:g}") for tick in ticks),
        up_ticks=((0.0, "0"), *named),
        limits=(0.0, last, *ends.tolist()),
        title=title,
        tip=LAG_TIP,
    )


def tuning_plot(tuning: DirectionTuning | None) -> Plot:
    """Return the response to each direction."""
    label, title = "Direction tuning", "direction"
    if tuning is None or tuning.problem:
        text = PENDING if tuning is None else "unknown"
        return Message("tuning", label, text, title=title)
    # The line is drawn only for selectivity beyond that of shuffled responses.
    is_sure = tuning.is_direction_selective
    is_sure |= not tuning.has_directions and tuning.is_orientation_selective
    # The first direction again, a whole turn later.
    degrees = np.append(tuning.directions_deg, tuning.directions_deg[0] + 360)
    response = np.append(tuning.response, tuning.response[0])
    error = np.append(tuning.error, tuning.error[0])
    reach = np.concatenate([response - error, response + error])
    low, high = min(float(np.nanmin(reach)), 0.0), float(np.nanmax(reach))
    lines = [
        Line("mean", palette.AXIS, degrees[[0, -1]], np.full(2, tuning.response.mean()), "",
             dash="dotted"),
        Line("response (bars: s.e.)", palette.VISIBLE, degrees, response, sd=error),
    ]  # fmt: skip
    if is_sure:
        at = (tuning.preferred_deg - degrees[0]) % 360 + degrees[0]
        ends = np.array([low, high])
        lines.append(Line("preferred", palette.CURSOR, np.full(2, at), ends, ""))
    ticks = tuple((float(at), f"{at}°") for at in range(0, 361, 45))
    return Curves(
        "tuning", label, tuple(lines), "direction of motion", "s.d.", ticks,
        limits=(float(degrees[0]) - 8, float(degrees[-1]) + 8, low, high), tip=TUNING_TIP,
    )  # fmt: skip


def rate_plot(found: SpikeActivity | None) -> Plot:
    """Return the rate of a unit over the recording."""
    label = "Rate over the recording"
    if found is None:
        return Message("rate", label, PENDING)
    mean = np.full(2, found.mean_rate_hz)
    ends = found.time_s[[0, -1]]
    lines = (
        Line("mean", palette.AXIS, ends, mean, "", dash="dotted"),
        Line("", palette.RECORDED, found.time_s, found.rate_hz, ""),
    )
    return Curves("rate", label, lines, "time (s)", "spikes/s", None, in_view=(0.0,), tip=RATE_TIP)


def follow_plot(found: SpikeActivity | None) -> Plot:
    """Return the autocorrelogram of a unit."""
    label = "Autocorrelogram"
    if found is None or found.n_spikes < 2:
        text = PENDING if found is None else "fewer than two spikes"
        return Message("autocorrelogram", label, text)
    lags_ms = 1000 * found.lag_s
    width = float(lags_ms[1] - lags_ms[0])
    end = float(lags_ms[-1]) + width / 2
    mean = np.full(2, found.mean_rate_hz)
    lines = (
        Line("", palette.VISIBLE_RING, lags_ms, found.follow_hz, "", bar=width),
        Line("mean rate", palette.AXIS, np.array([0.0, end]), mean, "", dash="dotted"),
    )
    return Curves(
        "autocorrelogram", label, lines, "time after a spike (ms)", "spikes/s", None,
        in_view=(0.0,), tip=FOLLOW_TIP,
    )  # fmt: skip


def repeat_rows(
    repeats: ClipRepeats, pick: Callable[[float, float], object] | None = None
) -> Curves:
    """Return one row per repeat of one neuron, the first on top."""
    n, length = len(repeats.onset_s), max(repeats.clip.duration_s, 1e-3)
    # Unknown samples have the darkest colour.
    pixels = response_pixels(np.nan_to_num(repeats.responses[0]))
    place = (0.0, length, 0.0, float(n))
    return Curves(
        "repeats", "Repeats of a clip", (), "", "", (), up_ticks=((n / 2, f"{n}\nrepeats"),),
        limits=place, raster=Raster(pixels, place), tip=REPEATS_TIP, pick=pick,
    )  # fmt: skip


def _brightest_sign(repeats: ClipRepeats, per_sd: float, unit: str) -> tuple[str, str, str]:
    """Return which response is yellow in the rows of repeats."""
    most = per_sd * brightest_response(np.nan_to_num(repeats.responses[0]))
    # In words: a light page exchanges the colours of a legend, and not those of a picture.
    return ("yellow:", palette.AXIS, f"{most:z.2g} {unit} or more (dark: 0)")


def _window_frame(repeats: ClipRepeats, over: AlignedPrediction | None) -> Overlay:
    """Return the frame around the window's part of a repeat."""
    if over is None:
        return Overlay("window", "repeats", palette.PREDICTED)
    left, right = float(over.time_s[0]), float(over.time_s[-1])
    top = float(len(repeats.onset_s) - over.repeat)
    x = np.array([left, right, right, left, left])
    return Overlay(
        "window", "repeats", palette.PREDICTED, x, np.array([top, top, top - 1, top - 1, top])
    )


def mean_plot(
    repeats: ClipRepeats, over: AlignedPrediction | None, per_sd: float = 1.0, unit: str = "s.d."
) -> Curves:
    """Return the mean over repeats with its standard deviation, and a prediction.

    The prediction has the unit, of which repeats have `per_sd` for each of theirs.
    """
    average, spread = per_sd * repeats.average[0], per_sd * repeats.spread[0]
    lines = [Line("", palette.RECORDED, repeats.time_s, average, "", error=spread)]
    drawn = [average - spread, average + spread, average, np.zeros(1)]
    if over is not None:
        lines.append(Line("", palette.PREDICTED, over.time_s, over.values, "", dash="dashed"))
        drawn.append(over.values)
    # Include 0, so that the height of a response can be read off.
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    margin = 0.05 * max(float(np.ptp(values)), 1e-6)
    length = max(repeats.clip.duration_s, 1e-3)
    step = max(round(length / 5), 1)
    return Curves(
        "mean",
        "Mean over repeats",
        tuple(lines),
        "time in the clip (s)",
        unit,
        tuple((float(tick), f"{tick:g}") for tick in range(0, int(length) + 1, step)),
        limits=(0.0, length, float(values.min()) - margin, float(values.max()) + margin),
        tip=MEAN_TIP,
    )


# -- text ------------------------------------------------------------------------------
def heading(session: Session, neuron: int, *, is_full: bool = True) -> str:
    """Return a heading such as `unit 413 · V1 · plane 2 · depth 210 µm · index 412`.

    *Unit* is the recording's id, *index* the place that code uses; it is left out if it
    is the same. With x, y and index (`is_full`), it is too long for a panel.
    """
    units = session.units
    parts = [f"unit {units.names[neuron]}"]
    if units.area is not None:
        parts.append(str(units.area[neuron]))
    if units.plane[neuron] >= 0:
        parts.append(units.group_name(int(units.plane[neuron])))
    x, y, depth = (float(value) for value in units.xyz_um[neuron])
    if np.isfinite(depth):
        parts.append(f"depth {number_text(depth, 0)} µm")
    if is_full and np.isfinite([x, y]).all():
        parts.append(f"x {number_text(x, 0)}, y {number_text(y, 0)} µm")
    # Scripts need the index; without ids of the recording it is the same number.
    if is_full and units.names[neuron] != neuron:
        parts.append(f"index {neuron}")
    return " · ".join(parts)


def state_text(state: LiveState, results: Results, neuron: int) -> str:
    """Return a neuron's state in the mask and its score."""
    if state.mask is None:
        return ""
    text = state.mask.pattern_of(neuron, state.active_span)
    scores = results.neuron_scores
    if scores is None or not np.isfinite(scores.values[neuron]):
        return f"{text} · {no_score_of(state, results, neuron)}"
    older = " (older)" if results.are_scores_old else ""
    score = state.metric.text(float(scores.values[neuron]))
    slope = ""
    if scores.slopes is not None and np.isfinite(scores.slopes[neuron]):
        value = number_text(scores.slopes[neuron])
        slope = f" · slope of recorded on predicted {value} (1: calibrated)"
    return f"{text} · {score} {scores.evidence}{slope}{older}"


def field_text(field: ReceptiveField) -> str:
    """Return one line about a receptive field, or why there is none."""
    if field.problem:
        return field.problem
    (row, column), (height, width) = field.centre_yx, VIDEO_SIZE
    return (
        f"row {row:z.0f}, column {column:z.0f} of {height} × {width} px · "
        f"lag {1000 * field.lag_s:z.0f} ms · halves agree r = {number_text(field.reliability)} · "
        f"{KINDS[field.kind]}"
    )


def tuning_text(tuning: DirectionTuning) -> str:
    """Return one line about a tuning, or why there is none."""
    if tuning.problem:
        return tuning.problem
    orientation = f"OSI {tuning.osi:z.2f} (p {p_text(tuning.p_orientation)})"
    source = SOURCES[tuning.source]
    if not tuning.has_directions:
        preferred = "no preferred orientation"
        if tuning.is_orientation_selective:
            preferred = f"orientation {tuning.preferred_deg:z.0f}°"
        return f"{preferred} · {orientation} · {source}"
    preferred = f"prefers {tuning.preferred_deg:z.0f}°"
    if not tuning.is_direction_selective:
        preferred = "no preferred direction"
        if tuning.is_orientation_selective:
            # Short: a second line would push the plot out of a small dock.
            preferred = f"orientation {tuning.preferred_orientation_deg:z.0f}°, no direction"
    direction = f"DSI {tuning.dsi:z.2f} (p {p_text(tuning.p_direction)})"
    return f"{preferred} · {direction} · {orientation} · {source}"


def learned_text(learned: LearnedNeurons, neuron: int, count: int = 5) -> str:
    """Return a neuron's readout position and nearest neurons as one line of text."""
    parts = []
    if learned.positions is not None:
        row, column = learned.positions[neuron]
        parts.append(
            f"reads at {100 * column:z.0f} % of the width, {100 * row:z.0f} % of the height"
        )
    nearest, distance = learned.nearest(neuron, count)
    if len(nearest):
        names = learned.names
        near = ", ".join(
            f"{names[other]} ({far:z.2f})" for other, far in zip(nearest, distance, strict=True)
        )
        parts.append(f"nearest fingerprints (0 same, 0.5 unrelated): {near}")
    return " · ".join(parts)


def learned_of(results: Results, session: Session | None) -> LearnedNeurons | None:
    """Return the learned properties of a session's neurons; None if not computed."""
    learned = results.learned
    if learned is None or session is None or learned.session_key != key_of(session):
        return None
    return learned


def spikes_text(found: SpikeActivity) -> str:
    """Return e.g. `4,012 · 3.30 spikes/s · 0.2 % of intervals below 2 ms`."""
    rate = found.mean_rate_hz
    text = f"{found.n_spikes:,} · " + (
        f"{rate:z.2f} spikes/s" if np.isfinite(rate) else "never observed"
    )
    if np.isfinite(found.refractory_share):
        limit = f"{1000 * REFRACTORY_S:g} ms"
        text += f" · {100 * found.refractory_share:z.2g} % of intervals below {limit}"
    return text


def repeats_text(repeats: ClipRepeats) -> str:
    """Return one line about the repeats of a clip, for one neuron."""
    n = len(repeats.onset_s)
    shown = f"{n} × {repeats.clip.duration_s:z.1f} s"
    problem = ceiling_problem(str(repeats.status[0]), n)
    if problem:
        return f"{shown} · no reliability: {problem}"
    return (
        f"{shown} · reliability {repeats.cc_max[0]:z.2f} of the mean, "
        f"{interval_text(repeats.single_trial_max[0], *repeats.interval, 2)} of one trial"
    )


def info_text(
    state: LiveState, results: Results, info: NeuronProperties | None, neuron: int
) -> str:
    """Return several self-contained lines for the clipboard."""
    if state.session is None:
        return ""
    lines = [
        f"session: {state.session.id}",
        heading(state.session, neuron),
        state_text(state, results, neuron),
    ]
    if info is not None and info.field is not None:
        lines.append(f"receptive field: {field_text(info.field)}")
    if info is not None and info.tuning is not None:
        lines.append(f"direction tuning: {tuning_text(info.tuning)}")
    if info is not None and info.spikes is not None:
        lines.append(f"spikes: {spikes_text(info.spikes)}")
    learned = learned_of(results, state.session)
    if learned is not None:
        lines.append(f"{learned.predictor_id}: {learned_text(learned, neuron)}")
    if info is not None and info.repeats is not None:
        for repeats in info.repeats:
            lines.append(f"clip {repeats.clip.stim_id}: {repeats_text(repeats)}")
        lines += [] if info.repeats else [NO_REPEATS]
    return "\n".join(lines)


def info_columns(session: Session, info: NeuronProperties) -> dict[str, Column]:
    """Return all numbers as columns `quantity, row, column, value`.

    `neuron` is the index, `unit_id` the recording's id, as in tables of neurons.
    """
    rows: list[tuple[str, object, object, object]] = [("neuron", "", "", info.neuron)]
    rows += [("unit_id", "", "", session.units.unit_id[info.neuron]), *_rows(info)]
    return dict(zip(("quantity", "row", "column", "value"), zip(*rows, strict=True), strict=True))


def _rows(info: NeuronProperties) -> Iterator[tuple[str, object, object, object]]:
    field, tuning = info.field, info.tuning
    if field is not None and not field.problem:
        yield "field kind", "", "", field.kind
        yield "field reliability", "", "", field.reliability
        yield "field centre", "y", "px", field.centre_yx[0]
        yield "field centre", "x", "px", field.centre_yx[1]
        yield from _array("field map", field.map)
        for lag_s, value in zip(field.lags_s, field.course, strict=True):
            yield "field course", round(float(lag_s), 4) + 0.0, "s", float(value)
    if tuning is not None and not tuning.problem:
        for name in ("dsi", "osi", "p_direction", "p_orientation", "preferred_deg"):
            yield name, "", "", getattr(tuning, name)
        curve = (tuning.directions_deg, tuning.response, tuning.error)
        for degrees, value, error in zip(*curve, strict=True):
            yield "tuning", f"{degrees:g}", "response", float(value)
            yield "tuning", f"{degrees:g}", "error", float(error)
    if info.spikes is not None:
        for name in ("n_spikes", "mean_rate_hz", "refractory_share"):
            yield name, "", "", getattr(info.spikes, name)
        for time_s, value in zip(info.spikes.time_s, info.spikes.rate_hz, strict=True):
            yield "rate_hz", round(float(time_s), 4), "s", float(value)
        for lag_s, value in zip(info.spikes.lag_s, info.spikes.follow_hz, strict=True):
            yield "autocorrelogram_hz", round(float(lag_s), 4), "s", float(value)
    for repeats in info.repeats or ():
        name = f"clip {repeats.clip.stim_id}"
        yield f"{name} cc_max", "", "", float(repeats.cc_max[0])
        yield f"{name} single_trial_max", "", "", float(repeats.single_trial_max[0])
        yield f"{name} oracle", "", "", float(repeats.oracle[0])
        yield from _array(f"{name} repeats", repeats.responses[0])


def _array(name: str, values: np.ndarray) -> Iterator[tuple[str, int, int, float]]:
    for (row, column), value in np.ndenumerate(values):
        yield name, row, column, float(value)
